"""The channel table that BIDS puts beside an EDF: which channels are marked bad."""

from __future__ import annotations

import csv
from pathlib import Path

from brainbrr_core.errors import BrainbrrError


def bad_channels(edf: Path) -> tuple[str, ...]:
    """Names that ``*_channels.tsv`` beside ``*_eeg.edf`` marks as bad; none without a table.

    Raises :class:`BrainbrrError` when there is a table without the columns name and status.
    """
    table = edf.with_name(edf.stem.removesuffix("_eeg") + "_channels.tsv")
    if not table.is_file():
        return ()
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        columns = rows.fieldnames or ()
        if "name" not in columns:
            raise BrainbrrError(f"{table} has no column 'name': mend or remove it")
        if "status" not in columns:
            return ()
        return tuple(row["name"] for row in rows if (row["status"] or "").strip() == "bad")
