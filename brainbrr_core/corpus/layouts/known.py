"""All layouts, and choosing the one of a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import Layout
from brainbrr_core.corpus.layouts.bids import BidsLayout
from brainbrr_core.corpus.layouts.chbmit import ChbmitLayout
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.layouts.inheritance import dataset_root
from brainbrr_core.corpus.layouts.listed import PatientFolderLayout
from brainbrr_core.corpus.layouts.seizeit import SeizeItLayout
from brainbrr_core.corpus.layouts.siena import SienaLayout
from brainbrr_core.corpus.layouts.tusz import TuszLayout
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import as_text, is_utf8

_OF_PATIENT_FOLDERS: tuple[type[PatientFolderLayout], ...] = (
    ChbmitLayout,
    SienaLayout,
    SeizeItLayout,
)
#: Layouts that are detected, in the order in which they are tried; others are selected by name.
_DETECTED: tuple[type[Layout], ...] = (TuszLayout, BidsLayout, *_OF_PATIENT_FOLDERS)
_ALL: tuple[type[Layout], ...] = (*_DETECTED, FolderLayout)
#: Every layout by its name.
LAYOUTS: dict[str, type[Layout]] = {layout.name: layout for layout in _ALL}


def fits(name: str, data_dir: Path) -> bool:
    """Whether the folder can be read by the layout with this name."""
    return LAYOUTS[name].find(data_dir) is not None


#: How the folder of a single corpus is given.
GIVEN_BY = "--data-dir, BRAINBRR_DATA_DIR or data_dir in a configuration"
#: What to give instead of a folder that is not that of a corpus.
CORPUS_FOLDER = f"the folder that holds the corpus ({GIVEN_BY})"


def open_layout(
    data_dir: Path, name: str | None = None, shown: str = "", texts: Texts = DEFAULT_TEXTS
) -> Layout:
    """The layout of the corpus at ``data_dir``: the one with this name, or the first that fits.

    ``shown`` is the name of the folder in messages, where that is not its path; ``texts``
    interprets annotations of free text.

    Raises :class:`BrainbrrError` when the folder is missing or empty, or no layout fits.
    """
    shown = shown or str(data_dir)
    if not is_utf8(shown):
        raise BrainbrrError(
            f"the path {as_text(shown)} is not UTF-8, so it cannot be stored in an index: rename "
            "the folder, or link to it under another name"
        )
    if not data_dir.is_dir():
        raise BrainbrrError(f"no data directory at {shown}: give {CORPUS_FOLDER}")
    candidates = _DETECTED if name is None else (LAYOUTS[name],)
    layout = _first_fitting(candidates, data_dir, shown, texts)
    if layout is not None:
        return layout
    if not any(data_dir.iterdir()):
        raise BrainbrrError(f"{shown} is empty: give {CORPUS_FOLDER}")
    forms = " or ".join(f"{candidate.form} ({candidate.name})" for candidate in candidates)
    raise BrainbrrError(
        f"{shown} is not laid out as {forms}: give {CORPUS_FOLDER}, or "
        f"select another layout with --layout ({', '.join(LAYOUTS)})"
    )


def detect_layout(data_dir: Path) -> Layout | None:
    """The layout that the corpus at ``data_dir`` is recognized to have; None if there is none."""
    return _first_fitting(_DETECTED, data_dir, str(data_dir), DEFAULT_TEXTS)


def layout_around(edf: Path, texts: Texts = DEFAULT_TEXTS) -> Layout:
    """The layout that finds the annotations of an EDF that is in no index.

    That of a published corpus where its folder has the name of a patient of it, otherwise that of
    any folder. Its root is absolute.
    """
    edf = edf.absolute()
    for layout in _OF_PATIENT_FOLDERS:
        if layout.folder_name.fullmatch(edf.parent.name):
            return layout(edf.parent.parent, texts=texts)
    return FolderLayout(dataset_root(edf), texts=texts)


def _first_fitting(
    candidates: Iterable[type[Layout]], data_dir: Path, shown: str, texts: Texts
) -> Layout | None:
    for layout in candidates:
        root = layout.find(data_dir)
        if root is not None:
            return layout(root, shown if root == data_dir else "", texts)
    return None
