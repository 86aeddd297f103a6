"""The folders in which the recordings of an index were, and what its corpora are called."""

from __future__ import annotations

import re
from pathlib import Path

from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.several import corpora_of
from brainbrr_core.machine.filesystem import real_path

#: Folders that do not name a corpus: its subfolder ``edf``, and versions.
_NOT_A_NAME = re.compile(r"edf|v?\d+(\.\d+)*", re.IGNORECASE)


def data_roots(index: Index) -> dict[str, str]:
    """The folder or URL that the keys of each corpus of an index are relative to, by its name."""
    roots = {}
    for corpus, part in corpora_of(index):
        first = part.recordings[0]
        roots[corpus.name] = first.path.rsplit("/", first.partition_key.count("/") + 1)[0]
    return roots


def corpus_name(index: Index) -> str:
    """The name of a corpus: the one that it has, or the last folder of its root that is a name.

    For ``/data/tusz/v2.0.3/edf`` it is ``tusz``. Those of several corpora are joined, as in
    ``tusz+chbmit``. It can be part of a file name: see :func:`safe_name`.
    """
    return "+".join(name or _name_of(root) for name, root in data_roots(index).items())


def _name_of(root: str) -> str:
    folders = [folder for folder in root.split("/") if folder]
    names = [folder for folder in folders if not _NOT_A_NAME.fullmatch(folder)]
    return safe_name((names or folders or ["corpus"])[-1])


def license_notes(index: Index) -> dict[str, str]:
    """The notes on licenses of the corpora of an index, as a report lists them; those there are."""
    return {
        f"license of {corpus.name or corpus_name(index)}": corpus.license
        for corpus, _ in corpora_of(index)
        if corpus.license
    }


def safe_name(name: str) -> str:
    """``name`` with letters, digits, dots, hyphens and underscores; others become hyphens."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "corpus"


def is_data_root(index: Index, folder: str) -> bool:
    """Whether all recordings of an index were in ``folder``, or in ``edf`` below it."""
    return {*map(_without_edf, data_roots(index).values())} == {_without_edf(folder)}


def _without_edf(folder: str) -> str:
    resolved = folder if "://" in folder else str(real_path(Path(folder)))
    return resolved.rstrip("/").removesuffix("/edf")
