"""The known layouts, and how the one of a corpus is found."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.layouts.base import Layout
from brainbrr_core.corpus.layouts.bids import BidsLayout
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.layouts.tusz import TuszLayout
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import as_text, is_utf8

#: Every layout by its name, in the order in which they are tried.
LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (TuszLayout, BidsLayout, FolderLayout)
}
#: These are found by themselves; another one must be named.
_DETECTED = (TuszLayout, BidsLayout)


def open_layout(
    data_dir: Path, name: str | None = None, shown: str = "", texts: Texts = DEFAULT_TEXTS
) -> Layout:
    """The layout of the corpus at ``data_dir``: the one named, else the first that fits.

    ``shown`` is what a message calls the folder, where that is not its path; ``texts`` understands
    annotations of free text.

    Raises :class:`BrainbrrError` when the folder is absent or empty, or no layout fits.
    """
    shown = shown or str(data_dir)
    if not is_utf8(shown):
        raise BrainbrrError(
            f"{as_text(shown)} is not named in UTF-8, and an index could not hold its path: "
            "rename the folder, or link to it under another name"
        )
    if not data_dir.is_dir():
        raise BrainbrrError(
            f"no data directory at {shown}: set BRAINBRR_DATA_DIR to the folder "
            "that holds the corpus"
        )
    tried = _DETECTED if name is None else (LAYOUTS[name],)
    for layout in tried:
        root = layout.find(data_dir)
        if root is not None:
            return layout(root, shown if root == data_dir else "", texts)
    if not any(data_dir.iterdir()):
        raise BrainbrrError(
            f"{shown} is empty: set BRAINBRR_DATA_DIR to the folder that holds the corpus"
        )
    forms = " or ".join(f"{layout.form} ({layout.name})" for layout in tried)
    raise BrainbrrError(
        f"{shown} is not laid out as {forms}: set BRAINBRR_DATA_DIR to the folder above, or "
        f"name another layout with --layout ({', '.join(LAYOUTS)})"
    )
