"""The channel table of BIDS: which channels of a recording are marked bad."""

from __future__ import annotations

import re
from pathlib import Path

from brainbrr_core.corpus.layouts.base import companion_location
from brainbrr_core.corpus.layouts.inheritance import Tables, dataset_root
from brainbrr_core.errors import BrainbrrError, is_exhausted
from brainbrr_core.files.regular import read_text

#: ``bad``, ``BAD``, ``bad (flat)``, but not ``badly named``.
_BAD = re.compile(r"bad\b", re.IGNORECASE)


def bad_channels_of(edf: Path) -> tuple[str, ...]:
    """Channels marked bad in the channel table of an EDF that is in no index.

    Raises as :func:`bad_channels` does, and :class:`BrainbrrError` where a folder that may have the
    table cannot be read.
    """
    name = Tables(dataset_root(edf)).find(edf, "channels")
    return bad_channels(None if name is None else Path(companion_location(str(edf), name)))


def bad_channels(table: Path | None) -> tuple[str, ...]:
    """Channels marked bad in a ``*_channels.tsv``; none without a table.

    Raises :class:`BrainbrrError` when the table cannot be read or lacks a column of BIDS, and
    ``OSError`` when this process cannot open more files.
    """
    if table is None:
        return ()
    try:
        text = read_text(table)
    except OSError as error:
        if is_exhausted(error):
            raise
        raise BrainbrrError(f"{table} cannot be read ({error.strerror})") from None
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    columns = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "name" not in columns:
        raise BrainbrrError(f"{table} has no column 'name': fix or remove the table")
    if "status" not in columns:
        return ()
    name, status = columns.index("name"), columns.index("status")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise BrainbrrError(
                f"{table}: row {number} has {len(row)} of {len(columns)} cells: fix it"
            )
    return tuple(row[name].strip() for row in rows[1:] if _BAD.match(row[status].strip()))
