"""The split of each patient, where the folders of a corpus do not say it.

Lists in the settings come first, then a table, then what the corpus itself says. Patients of a
corpus that says nothing are assigned by a hash; by the scheme ``hash``, those of any corpus are. In
a small corpus a split may get no patient with seizures by it; such a split is given one from
another split. A patient of an earlier index keeps the split once a network could have been trained
with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.configuration.settings import Split
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.layouts.base import RecordingFile
from brainbrr_core.corpus.participants import SPLIT_TABLE, read_split_table
from brainbrr_core.corpus.patients import name_form, spellings
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.row_reading import with_split
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest

#: What assigned the patients.
LISTS, TABLE, HASH = "lists", "table", "hash"
#: Prefix of the name of a patient in BIDS, which lists may leave out.
_SUBJECT = "sub-"
#: How many patients a message names.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Assignment:
    """What assigned the patients of an index to splits.

    Attributes
    ----------
    rule : str
        ``lists``, ``table`` or ``hash``.
    settings : str
        The settings that decide, as text: equal text and equal patients give equal splits.
    trainable : bool
        Whether train and dev both had a patient with seizures in this index or an earlier one. A
        network may have been trained then, so that no patient of the index may move.
    moved : tuple of (str, str)
        Patients in another split than their hash gives, and that split.
    """

    rule: str
    settings: str
    trainable: bool = False
    moved: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexedSplits:
    """The splits of an earlier index: what assigned them, and its recordings."""

    assignment: Assignment | None
    recordings: Sequence[Recording]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How the patients of a scan get their splits.

    Attributes
    ----------
    settings : Split
        The settings of the splits.
    assignment : Assignment or None
        What assigns patients; None where the corpus itself does.
    kept : frozenset of str
        Name forms of the patients of an earlier index, who stay in their splits.
    """

    settings: Split
    assignment: Assignment | None
    kept: frozenset[str] = frozenset()

    def completed(
        self, recordings: Sequence[Recording]
    ) -> tuple[list[Recording], Assignment | None]:
        """The recordings, with a patient with seizures in each split where that is possible.

        Only a hash is completed. Patients who are ``kept`` move only as long as no network could
        have been trained with their splits.
        """
        if self.assignment is None or self.assignment.rule != HASH:
            return list(recordings), self.assignment
        names = {form: min(group) for form, group in spellings(r.patient for r in recordings)}
        if self.assignment.trainable and names.keys() <= self.kept:
            # Nobody may move.
            return list(recordings), self.assignment
        before = {name_form(r.patient): r.split for r in recordings}
        ictal = {name_form(r.patient) for r in recordings if _has_seizure(r)}
        fixed = self.kept if self.assignment.trainable else frozenset()
        seed = self.settings.seed
        movable = {form: seeded_fraction(names[form], seed) for form in ictal - fixed}
        after = before | _moves({form: before[form] for form in ictal}, movable, self.settings)
        of_ictal = {after[form] for form in ictal}
        moved = dict(self.assignment.moved)
        for form, name in names.items():
            moved.pop(name, None)
            if after[form] != seeded_split(name, self.settings):
                moved[name] = after[form]
        assignment = replace(
            self.assignment,
            trainable=self.assignment.trainable or {"train", "dev"} <= of_ictal,
            moved=tuple(sorted(moved.items())),
        )
        return [with_split(r, after[name_form(r.patient)]) for r in recordings], assignment


def plan_splits(
    files: Sequence[RecordingFile],
    settings: Split,
    data: Path,
    shown: str,
    before: IndexedSplits | None,
) -> tuple[list[RecordingFile], SplitPlan]:
    """The files, whose patients are known, with a split, and how these were found.

    Parameters
    ----------
    files : sequence of RecordingFile
        All files of the corpus, with their patients.
    settings : Split
        The settings of the splits.
    data : pathlib.Path
        Folder of the corpus, or of its mirror.
    shown : str
        How messages name that folder.
    before : IndexedSplits or None
        The splits of the earlier index, if there is one.

    Returns
    -------
    tuple of (list of RecordingFile, SplitPlan)
        Each file with the split of its patient.

    Raises
    ------
    BrainbrrError
        A list or table names a patient whom the corpus does not have, or one patient twice, or
        leaves one out; or the table cannot be read.
    """
    names = {form: min(group) for form, group in spellings(file.patient for file in files)}
    if settings.scheme == "hash":
        return _hashed([file._replace(split=None) for file in files], names, settings, before)
    lists = settings.lists
    table = Path(settings.table) if settings.table is not None else data / SPLIT_TABLE
    where = settings.table or f"{shown}/{SPLIT_TABLE}"
    if lists is not None:
        pairs = [(name, split) for split, listed in lists.items() for name in listed]
        splits = _resolved(pairs, names, "corpus.split")
        if settings.train is not None:
            _refuse_missing(names, splits, "corpus.split")
        plan = SplitPlan(settings, Assignment(LISTS, _text(lists)))
        return [
            file._replace(split=splits.get(name_form(file.patient), file.split or "train"))
            for file in files
        ], plan
    rows = read_split_table(table, where)
    if rows is not None:
        splits = _resolved(list(rows.items()), names, where)
        _refuse_missing(names, splits, where)
        plan = SplitPlan(settings, Assignment(TABLE, _text(sorted(splits.items()))))
        return [file._replace(split=splits[name_form(file.patient)]) for file in files], plan
    _refuse_other_case(data, shown)
    if settings.table is not None:
        raise BrainbrrError(
            f"there is no table {settings.table} (corpus.split.table): write it, with the columns "
            "participant_id and split, or remove the setting"
        )
    if all(file.split is not None for file in files):
        return list(files), SplitPlan(settings, None)
    return _hashed(files, names, settings, before)


def _refuse_other_case(data: Path, shown: str) -> None:
    """Raise :class:`BrainbrrError` for a table that only its name keeps from being read."""
    for path in sorted(data.iterdir()) if data.is_dir() else ():
        if path.name.lower() == SPLIT_TABLE and path.name != SPLIT_TABLE:
            raise BrainbrrError(
                f"{shown}/{path.name} may assign splits, and only {SPLIT_TABLE} is read: rename it"
            )


def _hashed(
    files: Sequence[RecordingFile],
    names: Mapping[str, str],
    settings: Split,
    before: IndexedSplits | None,
) -> tuple[list[RecordingFile], SplitPlan]:
    """Files with the split of the earlier index where it has the patient, else of the hash."""
    assignment = Assignment(
        HASH, _text({"seed": settings.seed, "dev": settings.dev, "eval": settings.eval})
    )
    kept = {} if before is None else _kept(before, assignment, settings)
    if before is not None and kept:
        assignment = before.assignment or assignment
        if not assignment.trainable:
            ictal = {r.split for r in before.recordings if _has_seizure(r)}
            assignment = replace(assignment, trainable={"train", "dev"} <= ictal)
    moved = {name_form(name): split for name, split in assignment.moved}
    splits = {form: seeded_split(name, settings) for form, name in names.items()} | moved | kept
    return [
        file._replace(split=splits[name_form(file.patient)]) if file.split is None else file
        for file in files
    ], SplitPlan(settings, assignment, frozenset(kept))


def _kept(before: IndexedSplits, assignment: Assignment, settings: Split) -> dict[str, str]:
    """The splits of the patients of an earlier index, if the same settings assigned them."""
    splits = {name_form(r.patient): r.split for r in before.recordings}
    earlier = before.assignment
    if earlier is not None:
        same = (earlier.rule, earlier.settings) == (assignment.rule, assignment.settings)
        return splits if same else {}
    # An index of an earlier version of the program does not say which settings it was made with.
    names = spellings(r.patient for r in before.recordings)
    by_hash = {form: seeded_split(min(group), settings) for form, group in names}
    return splits if splits == by_hash else {}


def seeded_split(patient: str, settings: Split) -> str:
    """The split of a patient by the hash alone.

    It depends only on the seed and the patient, so that adding a patient does not move others. The
    hash, as a fraction of its range, is compared with the fractions of the splits.
    """
    fractions = settings.fractions
    fraction = seeded_fraction(patient, settings.seed)
    if fraction < fractions["eval"]:
        return "eval"
    return "dev" if fraction < fractions["eval"] + fractions["dev"] else "train"


def seeded_fraction(patient: str, seed: int) -> float:
    """The SHA-256 of seed and patient as a fraction of its range."""
    hashed = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def _moves(
    splits: Mapping[str, str], movable: Mapping[str, float], settings: Split
) -> dict[str, str]:
    """Patients with seizures who must move so that each split has one, and where to.

    ``splits`` has the patients with seizures, ``movable`` the fractions of those who may move.
    Without enough of them, train comes first, then dev. Of several patients, the one moves whose
    fraction is nearest to those of the split.
    """
    fractions = settings.fractions
    wanted = [split for split in SPLITS if fractions[split] > 0]
    bounds = {
        "eval": (0.0, fractions["eval"]),
        "dev": (fractions["eval"], fractions["eval"] + fractions["dev"]),
        "train": (fractions["eval"] + fractions["dev"], 1.0),
    }
    now = dict(splits)
    moves: dict[str, str] = {}
    for position, target in enumerate(wanted):
        counts = Counter(now.values())
        if counts[target]:
            continue
        low, high = bounds[target]
        several = {form for form in movable if counts[now[form]] > 1}
        # Else from a split that comes after it, the last one first.
        last = [form for split in wanted[:position:-1] for form in movable if now[form] == split]
        if candidates := several or {form for form in last if now[form] == now[last[0]]}:
            chosen = min(
                candidates,
                key=lambda form: (max(low - movable[form], movable[form] - high), form),
            )
            now[chosen] = moves[chosen] = target
    return moves


def _has_seizure(recording: Recording) -> bool:
    return recording.reason is None and bool(recording.all_seizures)


def _resolved(
    pairs: Iterable[tuple[str, str]], names: Mapping[str, str], where: str
) -> dict[str, str]:
    """The split of each listed patient by name form; ``names`` are the patients of the corpus."""
    splits: dict[str, str] = {}
    unknown: list[str] = []
    for name, split in pairs:
        form = next((f for f in (name_form(name), name_form(_SUBJECT + name)) if f in names), None)
        if form is None:
            unknown.append(name)
        elif splits.setdefault(form, split) != split:
            raise BrainbrrError(
                f"{where} puts {names[form]} in both {splits[form]} and {split}: keep one of them"
            )
    if unknown:
        raise BrainbrrError(
            f"{where} names {count(len(unknown), 'patient')} not in the corpus: "
            f"{_shown([_with_nearest(name, names.values()) for name in unknown])}; correct it"
        )
    return splits


def _refuse_missing(names: Mapping[str, str], splits: Mapping[str, str], where: str) -> None:
    missing = sorted(name for form, name in names.items() if form not in splits)
    if missing:
        raise BrainbrrError(
            f"{where} gives no split for {count(len(missing), 'patient')} of the corpus: "
            f"{_shown(missing)}; add each as train, dev or eval"
        )


def _with_nearest(name: str, names: Collection[str]) -> str:
    # A number without its leading zeros is the most likely mistake.
    same = [other for other in names if _without_zeros(other) == _without_zeros(name)]
    near = same[0] if same else nearest(name, names)
    return f"{name} (the nearest is {near})" if near else name


def _without_zeros(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", name_form(name).removeprefix(_SUBJECT))


def _shown(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"


def _text(values: object) -> str:
    """A short text that is equal for equal values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
