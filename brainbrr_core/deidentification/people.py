"""Tables of the people in a corpus, written anew with names, ages, sexes and splits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from brainbrr_core.corpus.demographics import OLDEST, age_in, sex_in
from brainbrr_core.corpus.participants import SPLIT_WORDS
from brainbrr_core.deidentification.tables import NotInVocabulary, TableContext

#: What becomes of the cells of a column.
_Cell = Callable[[str, Counter[str]], str]
_SEIZURE_TYPES = ("IAS", "WIAS", "FBTC")


def clean_participants(text: str, context: TableContext) -> str:
    """A ``participants.tsv`` or ``split.tsv`` with name, age, sex and split of those who are there.

    Raises :class:`NotInVocabulary` for a table without names.
    """
    folders = {part for edf in context.edfs for part in edf.parts[:-1]}
    columns = {"participant_id": _as_it_is, "age": _age, "sex": _sex, "split": _split}

    def is_there(name: str) -> bool:
        return f"sub-{name.removeprefix('sub-')}" in folders or name in folders

    return _cleaned(_rows(text, "\t"), columns, is_there, "\t", context)


def clean_split_table(text: str, context: TableContext) -> str:
    """A ``split.tsv`` with name and split of those whose name is in the path of a recording.

    Raises :class:`NotInVocabulary` for a table without names.
    """
    paths = "\n".join(str(edf) for edf in context.edfs).casefold()
    columns = {"participant_id": _as_it_is, "split": _split}
    return _cleaned(
        _rows(text, "\t"),
        columns,
        lambda name: bool(name) and name.casefold() in paths,
        "\t",
        context,
    )


def clean_subject_info(text: str, context: TableContext) -> str:
    """The ``SUBJECT-INFO`` of CHB-MIT with name, sex and age of those who are there.

    Raises :class:`NotInVocabulary` for a table without names.
    """
    folders = {edf.parts[0] for edf in context.edfs}
    columns = {"Case": _as_it_is, "Gender": _sex, "Age (years)": _age}
    return _cleaned(_rows(text, "\t"), columns, folders.__contains__, "\t", context)


def clean_subject_table(text: str, context: TableContext) -> str:
    """The ``subject_info.csv`` of Siena with name, age, sex and type of seizure.

    Raises :class:`NotInVocabulary` for a table without names.
    """
    folders = {edf.parts[0].upper() for edf in context.edfs}
    columns = {
        "patient_id": _as_it_is,
        "age_years": _age,
        "gender": _sex,
        "seizure": _seizure_type,
    }
    return _cleaned(_rows(text, ","), columns, lambda name: name.upper() in folders, ",", context)


def _rows(text: str, separator: str) -> list[list[str]]:
    lines = filter(str.strip, text.removeprefix("\ufeff").splitlines())
    return [[cell.strip() for cell in line.split(separator)] for line in lines]


def _cleaned(
    rows: list[list[str]],
    columns: Mapping[str, _Cell],
    is_there: Callable[[str], bool],
    separator: str,
    context: TableContext,
) -> str:
    """A table with some columns, the first of which names people, and those who are there."""
    names = rows[0] if rows else []
    removed = context.removed
    key = next(iter(columns))
    if key not in names or len(set(names)) != len(names):
        raise NotInVocabulary
    kept = [name for name in names if name in columns]
    removed["table_column"] += len(names) - len(kept)
    lines = [separator.join(kept)]
    for row in rows[1:]:
        cells = dict(zip(names, row, strict=False))
        if len(row) != len(names):
            raise NotInVocabulary
        if is_there(cells[key]):
            lines.append(separator.join(columns[name](cells[name], removed) for name in kept))
        else:
            removed["person"] += 1
    return "\n".join(lines) + "\n"


def _as_it_is(cell: str, _removed: Counter[str]) -> str:
    return cell


def _age(cell: str, removed: Counter[str]) -> str:
    age = age_in(cell)
    if age == OLDEST and cell != str(OLDEST):
        removed["age"] += 1
        return str(OLDEST)
    return _or_nothing(cell, removed, is_kept=age is not None)


def _sex(cell: str, removed: Counter[str]) -> str:
    return _or_nothing(cell, removed, is_kept=bool(sex_in(cell)))


def _split(cell: str, removed: Counter[str]) -> str:
    return _or_nothing(cell, removed, is_kept=cell.lower() in SPLIT_WORDS)


def _seizure_type(cell: str, removed: Counter[str]) -> str:
    return _or_nothing(cell, removed, is_kept=cell.upper() in _SEIZURE_TYPES)


def _or_nothing(cell: str, removed: Counter[str], *, is_kept: bool) -> str:
    if is_kept or cell in ("", "n/a"):
        return cell
    removed["table_wording"] += 1
    return "n/a"
