"""The table of participants of BIDS, which may say into which split each of them goes."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError

#: What the column may hold, in lower case, and the split that it means.
_SPLITS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "eval": "eval",
    "test": "eval",
}


def splits_of(table: Path, shown: str) -> dict[str, str] | None:
    """The split of each participant by the folder's name (``sub-01``).

    ``shown`` is what messages call the table. None where there is no table, or it has no column
    ``split``. Who has ``n/a`` there has none.

    Raises :class:`BrainbrrError` for a table that cannot be read, a value that is no split, and a
    participant with two of them.
    """
    try:
        text = table.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrainbrrError(
            f"{shown} cannot be read ({error.strerror}), so nobody knows whether it gives the "
            "splits: fix its permissions"
        ) from None
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    columns = [cell.strip() for cell in rows[0]] if rows else []
    if "split" not in columns:
        return None
    if "participant_id" not in columns:
        raise BrainbrrError(f"{shown} has a column 'split' and none 'participant_id': add it")
    who, where = columns.index("participant_id"), columns.index("split")
    splits: dict[str, str] = {}
    for row in rows[1:]:
        cells = [cell.strip() for cell in row] + [""] * len(columns)
        value = cells[where]
        if value.lower() in ("", "n/a"):
            continue
        split = _SPLITS.get(value.lower())
        if split is None:
            raise BrainbrrError(
                f"{shown}: {value!r} is no split: use train, dev or eval (or val and test)"
            )
        name = cells[who] if cells[who].startswith("sub-") else f"sub-{cells[who]}"
        if splits.setdefault(name, split) != split:
            raise BrainbrrError(
                f"{shown} puts {name} into {splits[name]} and into {split}: keep one of them"
            )
    return splits
