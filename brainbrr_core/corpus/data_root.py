"""Where the recordings of an index lay when it was made, and what the corpus is called by that."""

from __future__ import annotations

import re
from pathlib import Path

from brainbrr_core.corpus.index import Index

#: Folders that say nothing of a corpus: what lies below it, and versions.
_SAYS_NOTHING = re.compile(r"edf|v?\d+(\.\d+)*", re.IGNORECASE)


def data_root(index: Index) -> str:
    """The folder, or the address, below which the partition keys of an index are paths."""
    first = index.recordings[0]
    return first.path.rsplit("/", first.partition_key.count("/") + 1)[0]


def corpus_name(index: Index) -> str:
    """The last folder of the data root that says something: ``tusz`` of ``/data/tusz/v2.0.3/edf``.

    Letters, digits, dots, hyphens and underscores alone, so that it may stand in a file's name.
    """
    parts = [part for part in data_root(index).split("/") if part]
    telling = [part for part in parts if not _SAYS_NOTHING.fullmatch(part)]
    return safe_name((telling or parts or ["corpus"])[-1])


def safe_name(name: str) -> str:
    """A name of which every other character than those of :func:`corpus_name` is a hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "corpus"


def is_data_root(index: Index, folder: str) -> bool:
    """Whether the recordings of an index lay in ``folder``, or in its folder ``edf``."""
    return _without_edf(data_root(index)) == _without_edf(folder)


def _without_edf(folder: str) -> str:
    resolved = folder if "://" in folder else str(Path(folder).resolve())
    return resolved.rstrip("/").removesuffix("/edf")
