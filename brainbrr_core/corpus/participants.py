"""The participants table of BIDS, which may assign each participant to a split."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError

#: Values of the column in lower case, and the splits that they mean.
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


def read_splits(table: Path, shown: str) -> dict[str, str] | None:
    """The split of each participant, by folder name (``sub-01``).

    None where there is no table, or it has no column ``split``. A participant with ``n/a`` is left
    out. ``shown`` is the name of the table in messages.

    Raises :class:`BrainbrrError` for a table that cannot be read, a value that is not a split, and
    a participant with two splits.
    """
    try:
        text = table.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrainbrrError(
            f"{shown} cannot be read ({error.strerror}), and it may assign "
            "splits: fix its permissions"
        ) from None
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    columns = [cell.strip() for cell in rows[0]] if rows else []
    if "split" not in columns:
        return None
    if "participant_id" not in columns:
        raise BrainbrrError(f"{shown} has a column 'split' but no 'participant_id': add it")
    id_column, split_column = columns.index("participant_id"), columns.index("split")
    splits: dict[str, str] = {}
    for row in rows[1:]:
        cells = [cell.strip() for cell in row] + [""] * len(columns)
        value = cells[split_column]
        if value.lower() in ("", "n/a"):
            continue
        split = _SPLITS.get(value.lower())
        if split is None:
            raise BrainbrrError(
                f"{shown}: {value!r} is not a split: use train, dev or eval (or val and test)"
            )
        name = (
            cells[id_column] if cells[id_column].startswith("sub-") else f"sub-{cells[id_column]}"
        )
        if splits.setdefault(name, split) != split:
            raise BrainbrrError(
                f"{shown} assigns {name} to both {splits[name]} and {split}: keep one of them"
            )
    return splits
