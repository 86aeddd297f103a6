"""The folder in which the recordings of an index were, and the name of the corpus after it."""

from __future__ import annotations

import re
from pathlib import Path

from brainbrr_core.corpus.index import Index

#: Folders that do not name a corpus: its subfolder ``edf``, and versions.
_NOT_A_NAME = re.compile(r"edf|v?\d+(\.\d+)*", re.IGNORECASE)


def data_root(index: Index) -> str:
    """The folder or URL that the partition keys of an index are relative to."""
    first = index.recordings[0]
    return first.path.rsplit("/", first.partition_key.count("/") + 1)[0]


def corpus_name(index: Index) -> str:
    """The last folder of the data root that is a name: ``tusz`` for ``/data/tusz/v2.0.3/edf``.

    It can be part of a file name: see :func:`safe_name`.
    """
    folders = [folder for folder in data_root(index).split("/") if folder]
    names = [folder for folder in folders if not _NOT_A_NAME.fullmatch(folder)]
    return safe_name((names or folders or ["corpus"])[-1])


def safe_name(name: str) -> str:
    """``name`` with letters, digits, dots, hyphens and underscores; others become hyphens."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "corpus"


def is_data_root(index: Index, folder: str) -> bool:
    """Whether the recordings of an index were in ``folder``, or in ``edf`` below it."""
    return _without_edf(data_root(index)) == _without_edf(folder)


def _without_edf(folder: str) -> str:
    resolved = folder if "://" in folder else str(Path(folder).resolve())
    return resolved.rstrip("/").removesuffix("/edf")
