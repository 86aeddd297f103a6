"""Tables of participants that assign each of them to a split: that of BIDS, and ``split.tsv``."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.regular import read_text

#: File in the folder of a corpus that assigns each patient to a split.
SPLIT_TABLE = "split.tsv"
#: Values of the column in lower case, and the splits that they mean.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "eval": "eval",
    "test": "eval",
}
_SUBJECT = "sub-"


def read_splits(table: Path, shown: str) -> dict[str, str] | None:
    """The split of each participant in a table of BIDS, by folder name (``sub-01``).

    None where there is no table, or it has no column ``split``. Otherwise as
    :func:`read_split_table`.
    """
    rows = _rows(table, shown)
    if rows is None or "split" not in rows[0]:
        return None
    return _splits(rows, shown, _SUBJECT)


def read_split_table(table: Path, shown: str) -> dict[str, str] | None:
    """The split of each participant in a table, by the name that it gives.

    None where there is no table. A participant with ``n/a`` is left out. ``shown`` is the name of
    the table in messages.

    Raises :class:`BrainbrrError` for a table that cannot be read or lacks a column, a value that is
    not a split, and a participant with two splits.
    """
    rows = _rows(table, shown)
    return None if rows is None else _splits(rows, shown, "")


def _rows(table: Path, shown: str) -> list[list[str]] | None:
    """The cells of a table, those of its header first; None where there is no table."""
    try:
        text = read_text(table)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrainbrrError(
            f"{shown} cannot be read ({error.strerror}), and it may assign splits: make it a "
            "file that you may read"
        ) from None
    lines = [line for line in text.splitlines() if line.strip()]
    return [[cell.strip() for cell in line.split("\t")] for line in lines] or [[]]


def _splits(rows: list[list[str]], shown: str, prefix: str) -> dict[str, str]:
    columns = rows[0]
    for column, other in (("participant_id", "split"), ("split", "participant_id")):
        if column not in columns:
            has = (
                f"a column '{other}' but no '{column}'"
                if other in columns
                else ("no columns 'participant_id' and 'split', separated by a tab")
            )
            raise BrainbrrError(f"{shown} has {has}: add it")
    id_column, split_column = columns.index("participant_id"), columns.index("split")
    splits: dict[str, str] = {}
    for row in rows[1:]:
        cells = row + [""] * len(columns)
        value = cells[split_column]
        if value.lower() in ("", "n/a"):
            continue
        split = SPLIT_WORDS.get(value.lower())
        if split is None:
            raise BrainbrrError(
                f"{shown}: {value!r} is not a split: use train, dev or eval (or val and test)"
            )
        name = cells[id_column]
        name = name if name.startswith(prefix) else prefix + name
        if splits.setdefault(name, split) != split:
            raise BrainbrrError(
                f"{shown} assigns {name} to both {splits[name]} and {split}: keep one of them"
            )
    return splits
