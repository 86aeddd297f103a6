"""What to say of the splits of an index: who assigned them, who moved, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from brainbrr_core.configuration.settings import Split
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.participants import SPLIT_TABLE
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.splits import HASH, LISTS, Assignment

#: How many patients a line names.
_NAMED = 8


def resplit_line(patients: int) -> str:
    """The line about patients who are in another split than in the index before."""
    who = "1 patient is" if patients == 1 else f"{patients:,} patients are"
    return (
        f"{who} in another split than in the last index: a network that was trained before may "
        "know patients that are scored now"
    )


def describe_assignment(
    recordings: Iterable[Recording], assignment: Assignment | None
) -> Iterator[str]:
    """Lines about what assigned the patients of a corpus, and who is not where a hash says."""
    if assignment is not None:
        yield f"splits: {_rule(assignment)}"
        present = {recording.patient for recording in recordings}
        moved = [(name, split) for name, split in assignment.moved if name in present]
        if moved:
            yield (
                f"{_who(len(moved), 'is', 'are')} in another split than by the hash, so that each "
                f"split has a patient with seizures: "
                f"{_list(f'{name} in {split}' for name, split in moved)}. Patients who are added "
                "later move nobody. A cache root of its own may move others: list the patients "
                f"in a {SPLIT_TABLE} beside the data to have the same splits everywhere"
            )


def describe_splits(
    recordings: Iterable[Recording],
    resplit: tuple[tuple[str, str, str], ...],
    labels: tuple[str, ...],
    settings: Split,
) -> Iterator[str]:
    """Lines about patients of an index who moved, and about splits without seizures.

    Parameters
    ----------
    recordings : iterable of Recording
        The recordings of the index.
    resplit : tuple of (str, str, str)
        Patients who were in another split before: name, that split and the new one.
    labels : tuple of str
        Labels of events that count as seizures.
    settings : Split
        The settings of the splits. Where their scheme has folds, the splits of the index are not
        used, and one line says so.

    Yields
    ------
    str
        The lines.
    """
    if settings.has_folds:
        folds = (
            "a fold for each patient" if settings.scheme != "kfold" else f"{settings.folds} folds"
        )
        yield (
            f"splits: {folds} (corpus.split.scheme {settings.scheme}), which hold out each patient "
            "once; a training or an evaluation of a fold does not use the splits in this table"
        )
        return
    if resplit:
        changes = _list(f"{name} ({old}, now {new})" for name, old, new in resplit)
        yield f"{resplit_line(len(resplit))}: {changes}"
    if line := lacking_seizures(recordings, labels):
        yield line


def lacking_seizures(recordings: Iterable[Recording], labels: tuple[str, ...]) -> str:
    """Which splits have no patient with seizures, and what to do; empty if all have one."""
    recordings = list(recordings)
    lacking = splits_without_seizures(recordings, labels)
    if not lacking:
        return ""
    *others, last = lacking
    where = f"{', '.join(others)} or {last}" if others else last
    return f"no patient with seizures in {where}: {advice(recordings, labels)}"


def splits_without_seizures(recordings: Iterable[Recording], labels: tuple[str, ...]) -> list[str]:
    """Splits, in order, of which no usable recording has a seizure of one of the labels."""
    ictal = {r.split for r in recordings if r.reason is None and r.seizures(labels)}
    return [split for split in SPLITS if split not in ictal]


def advice(recordings: Iterable[Recording], labels: tuple[str, ...]) -> str:
    """What to do about a split without seizures: which patients have some, and what to write."""
    recordings = list(recordings)
    ictal = sorted({r.patient for r in recordings if r.reason is None and r.seizures(labels)})
    if len(ictal) >= 2 and any(recording.corpus for recording in recordings):
        return (
            f"{_who(len(ictal), 'has', 'have')} seizures ({_list(ictal)}); assign them in the "
            "entries of their corpora in a configuration file, such as `split: {dev: [NAME]}` with "
            "the name of the patient in that corpus, and run `brainbrr index`"
        )
    if len(ictal) < 2:
        has = "no patient has" if not ictal else f"only {ictal[0]} has"
        return (
            f"{has} a usable seizure of these labels, and a training needs a patient with seizures "
            "in train and another one in dev: add recordings (`brainbrr index --list` says why "
            "others are not used)"
        )
    shown = f"dev: [{_quoted(ictal[0])}]"
    shown += f", eval: [{_quoted(ictal[1])}]" if len(ictal) > 2 else ", eval: []"
    return (
        f"{_who(len(ictal), 'has', 'have')} seizures ({_list(ictal)}); assign them in a "
        f"configuration file, such as `corpus: {{split: {{{shown}}}}}`, and run `brainbrr index`"
    )


def _rule(assignment: Assignment) -> str:
    if assignment.rule == HASH:
        return "by a hash of each patient's name (corpus.split.seed, dev and eval)"
    if assignment.rule == LISTS:
        return "by the lists of corpus.split; patients in none of them as in the corpus, or train"
    return f"by the table {SPLIT_TABLE}, or that of corpus.split.table"


def _quoted(name: str) -> str:
    """A name as text in YAML: quoted where it could be a number, a date or something else."""
    plain = name[:1].isalpha() and all(char.isalnum() or char in "-_" for char in name)
    words = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    return name if plain and name.lower() not in words else "'" + name.replace("'", "''") + "'"


def _who(count: int, one: str, several: str) -> str:
    return f"1 patient {one}" if count == 1 else f"{count:,} patients {several}"


def _list(items: Iterable[str]) -> str:
    items = list(items)
    more = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    return f"{', '.join(items[:_NAMED])}{more}"
