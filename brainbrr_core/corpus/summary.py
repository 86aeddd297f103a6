"""Counts that explain an index."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.layouts.base import CompleteCorpus
from brainbrr_core.corpus.layouts.eeg_json import POWER_LINE
from brainbrr_core.corpus.layouts.known import LAYOUTS
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_FINDINGS, SIGNAL_REASONS, Recording
from brainbrr_core.corpus.skipped import OF_EDFS, SKIPPED
from brainbrr_core.display.counts import tally
from brainbrr_core.errors import WorkRemains


@dataclass(frozen=True, slots=True)
class RecordingCounts:
    """Counts of some recordings: ``found`` is ``usable`` plus ``excluded`` plus ``unlabeled``.

    ``excluded`` recordings get no shard. ``unlabeled`` ones, without usable annotations, get one
    and take no part in training and scores. ``reasons`` counts both by reason. Figures that begin
    with ``usable`` are those of the usable recordings alone; unknown hours are neither seizure nor
    background.
    """

    found: int
    usable: int
    excluded: int
    unlabeled: int
    reasons: dict[str, int]
    patients: int
    hours: float
    seizures: int
    usable_hours: float
    usable_seizures: int
    usable_seizure_hours: float
    usable_unknown_hours: float


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """How many files of one kind are not read, why, and their paths below the corpus."""

    count: int
    why: str
    paths: list[str]


@dataclass(frozen=True, slots=True)
class IndexSummary(RecordingCounts):
    """Counts of all recordings of an index and of each split.

    ``findings`` counts recordings by the code of their findings, without the reason that excludes
    them. ``skipped`` are the paths of EDFs and folders that are not read; ``not_read`` is
    everything that is not read, by kind. ``unsettled`` are EDFs that changed while they were read,
    or for which memory did not suffice.
    ``split_rule`` is what assigned patients to splits, None where the corpus itself did;
    ``moved_patients`` are those in another split than their hash gives; ``resplit`` are patients
    who were in another split in the index before. ``release`` is what the files of the corpus
    state, ``complete`` what all of a published corpus has, and ``listed_seizures`` counts its
    seizures that were read, of any type, usable or not.
    """

    layout: str
    splits: dict[str, RecordingCounts]
    findings: dict[str, int]
    skipped: list[str]
    not_read: dict[str, SkippedFiles]
    unsettled: list[str]
    split_rule: str | None
    moved_patients: dict[str, str]
    resplit: list[tuple[str, str, str]]
    listed_seizures: int
    release: str
    complete: CompleteCorpus | None

    @property
    def completeness(self) -> str:
        """How many recordings and seizures of a published corpus are there; empty for others."""
        if self.complete is None:
            return ""
        whole = self.complete
        return (
            f"{whole.title} has {whole.recordings:,} recordings with {whole.seizures:,} seizures: "
            f"{self.found:,} with {self.listed_seizures:,} are here"
        )


def explain(code: str) -> str:
    """What a reason or the code of a finding means. Raises ``KeyError`` for an unknown code."""
    for meanings in (SIGNAL_REASONS, LABEL_REASONS, SIGNAL_FINDINGS):
        if code in meanings:
            return meanings[code]
    consequence, text = ANNOTATION_FINDINGS[code]
    return f"{text} ({consequence})"


def other_power_line(index: Index, notch_hz: int) -> tuple[int, int]:
    """Usable recordings with a power line that the notch filter does not remove, and its frequency.

    The frequency is that of most of them, in Hz; both are 0 where there is none.
    """
    by_code = {code: frequency for frequency, code in POWER_LINE.items() if frequency != notch_hz}
    counts = Counter(
        by_code[finding.code]
        for r in index
        if r.findings and r.signal_reason is None
        for finding in r.findings
        if finding.code in by_code
    )
    return (counts.total(), counts.most_common(1)[0][0]) if counts else (0, 0)


def summarize(index: Index, seizure_labels: tuple[str, ...], notch_hz: int = 0) -> IndexSummary:
    """Count the recordings of an index.

    Parameters
    ----------
    index : Index
        The index.
    seizure_labels : tuple of str
        Labels of events that count as seizures.
    notch_hz : int
        Frequency of the notch filter: a power line of this frequency is nothing to report.

    Returns
    -------
    IndexSummary
        The counts.
    """
    usual = {POWER_LINE.get(notch_hz)}
    measured = [_measure(r, seizure_labels) for r in index]
    splits = {split: [row for row in measured if row.recording.split == split] for split in SPLITS}
    findings = Counter(
        code
        for r in index
        for code in {finding.code for finding in r.findings} - {r.reason} - usual
    )
    return IndexSummary(
        **asdict(_counts(measured)),
        layout=index.layout,
        splits={split: _counts(rows) for split, rows in splits.items() if rows},
        findings=dict(sorted(findings.items())),
        skipped=[item.path for item in index.skipped if item.kind in OF_EDFS],
        not_read={
            kind: SkippedFiles(len(paths), SKIPPED[kind], paths)
            for kind, paths in _by_kind(index).items()
        },
        unsettled=list(index.unsettled),
        split_rule=None if index.assignment is None else index.assignment.rule,
        moved_patients={} if index.assignment is None else dict(index.assignment.moved),
        resplit=list(index.resplit),
        listed_seizures=sum(len(r.all_seizures) for r in index),
        release=index.release,
        complete=LAYOUTS[index.layout].complete.get(index.release)
        if index.layout in LAYOUTS
        else None,
    )


def none_usable(index: Index) -> str:
    """What to say of a corpus of which no recording can be used; empty where one can.

    For example, ``217 found, none usable: 217 too_short``.
    """
    reasons = Counter(recording.reason or "" for recording in index)
    if "" in reasons:
        return ""
    return f"{len(index):,} found, none usable: {tally(reasons)}"


def check_usable(index: Index) -> None:
    """Raise :class:`WorkRemains` where no recording of an index can be used."""
    if unusable := none_usable(index):
        raise WorkRemains(
            f"{unusable}: `brainbrr index` tells what that means, and `brainbrr index --list` what "
            "was found in each recording"
        )


def _by_kind(index: Index) -> dict[str, list[str]]:
    """Paths of files and folders that are not read, by kind."""
    paths: dict[str, list[str]] = {}
    for kind, path in sorted(index.skipped):
        paths.setdefault(kind, []).append(path)
    return paths


@dataclass(frozen=True, slots=True)
class _Measured:
    """A recording, its number of seizures, and the seconds that are counted if it is usable."""

    recording: Recording
    seizures: int
    seizure_s: float
    unknown_s: float


def _measure(recording: Recording, labels: tuple[str, ...]) -> _Measured:
    usable = recording.reason is None
    return _Measured(
        recording,
        len(recording.seizures(labels)),
        recording.counted_seizure_s(labels) if usable else 0.0,
        recording.unknown_s(labels) if usable else 0.0,
    )


def _counts(rows: Sequence[_Measured]) -> RecordingCounts:
    usable = [row for row in rows if row.recording.reason is None]
    reasons = Counter(row.recording.reason for row in rows if row.recording.reason is not None)
    unknown = set(reasons) - SIGNAL_REASONS.keys() - LABEL_REASONS.keys()
    if unknown:
        raise ValueError(f"reasons outside the closed list: {sorted(unknown)}")
    return RecordingCounts(
        found=len(rows),
        usable=len(usable),
        excluded=sum(number for code, number in reasons.items() if code in SIGNAL_REASONS),
        unlabeled=sum(number for code, number in reasons.items() if code in LABEL_REASONS),
        reasons=dict(sorted(reasons.items())),
        patients=len({row.recording.patient for row in rows}),
        hours=_hours(row.recording.duration_s for row in rows),
        seizures=sum(row.seizures for row in rows),
        usable_hours=_hours(row.recording.duration_s for row in usable),
        usable_seizures=sum(row.seizures for row in usable),
        usable_seizure_hours=_hours(row.seizure_s for row in usable),
        usable_unknown_hours=_hours(row.unknown_s for row in usable),
    )


def _hours(seconds: Iterable[float]) -> float:
    return round(math.fsum(seconds) / 3600, 4)
