"""The channel table that BIDS puts beside an EDF: which channels are marked bad."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError, is_exhausted


def channel_table(edf: Path) -> Path:
    """Where the channels of ``*_eeg.edf`` are described."""
    return edf.with_name(edf.stem.removesuffix("_eeg") + "_channels.tsv")


def bad_channels(edf: Path) -> tuple[str, ...]:
    """Names that ``*_channels.tsv`` beside ``*_eeg.edf`` marks as bad; none without a table.

    Raises :class:`BrainbrrError` when there is a table that cannot be read, or one without the
    columns of BIDS, and ``OSError`` when this process may open no more files.
    """
    table = channel_table(edf)
    if not table.exists() and not table.is_symlink():
        return ()
    try:
        text = table.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        if is_exhausted(error):
            raise
        raise BrainbrrError(f"{table} cannot be read ({error.strerror})") from None
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    columns = [cell.strip() for cell in rows[0]] if rows else []
    if "name" not in columns:
        raise BrainbrrError(f"{table} has no column 'name': mend or remove it")
    if "status" not in columns:
        return ()
    name, status = columns.index("name"), columns.index("status")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise BrainbrrError(f"{table}: row {number} has {len(row)} of {len(columns)} cells")
    return tuple(row[name].strip() for row in rows[1:] if row[status].strip().lower() == "bad")
