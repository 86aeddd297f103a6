"""Event files of a reference and of a detector: which belong together, and their content.

A folder has one file for each recording, at any depth: ``csv_bi`` or ``csv`` (TUH), ``tse_bi`` or
``tse`` (TUSZ 1.5), ``*.tsv`` (SzCORE and BIDS) or EDF+ with its annotations. No signal is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from brainbrr_core.annotation import (
    UNKNOWN,
    Event,
    ParsedAnnotation,
    on_signal,
    szcore,
    tal,
    tse,
    tuh,
    uncovered,
)
from brainbrr_core.annotation.edf_plus import ENDS
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS, excludes
from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import AnnotationTexts
from brainbrr_core.constants import PROBABILITY_EDF
from brainbrr_core.corpus.layouts.base import patient_in
from brainbrr_core.corpus.patients import patient_pattern
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.edf.header import UnusableEdf, read_header
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.records import available_records
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.edf.timestamps import record_clock
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import walk
from brainbrr_core.scoring import RecordingEvents

#: Suffixes of files with events. Of several files of one recording in a folder, the first counts.
SUFFIXES = (".csv_bi", ".csv", ".tse_bi", ".tse", ".tsv", ".edf")
#: Endings, before the suffix, that are not part of a recording's name.
_ENDINGS = (".annotations", "_events", "_eeg")
#: What a table lacks that does not have the columns of events.
_NO_EVENTS = (
    f"its first line lacks the columns {szcore.REQUIRED[0]}, {szcore.REQUIRED[1]} and one of "
    f"{', '.join(szcore.KINDS)}, separated by tabs"
)
#: The most files or recordings that a message names.
_NAMED = 3


class Unmatched(StrEnum):
    """What to do with a recording that only one of two folders has."""

    REFUSE = "refuse"
    SKIP = "skip"
    EMPTY = "empty"


@dataclass(frozen=True)
class MatchedEvents:
    """Recordings with their reference and hypothesis, and those that lack one of the two.

    Attributes
    ----------
    recordings : tuple of RecordingEvents
        The recordings to score, ordered by name.
    without_hypothesis, without_reference : tuple of str
        Names of recordings that only the reference, or only the hypothesis, has.
    """

    recordings: tuple[RecordingEvents, ...]
    without_hypothesis: tuple[str, ...]
    without_reference: tuple[str, ...]


def match_events(
    reference: Path,
    hypothesis: Path,
    *,
    patient_pattern: str | None = None,
    unmatched: Unmatched = Unmatched.REFUSE,
    seizure_texts: Sequence[str] = (),
) -> MatchedEvents:
    """Read the events of a reference and of a detector, and match them by recording.

    Files match by their path below the folder, without suffix, ``_events`` and ``_eeg``; where the
    two folders are arranged in different ways, by their name. Two files match whatever they are
    called.

    Parameters
    ----------
    reference, hypothesis : pathlib.Path
        Folders with a file of events for each recording, or two such files.
    patient_pattern : str, optional
        Regular expression whose one group is the patient; it is searched for in the path below the
        reference's folder. By default the patient is the one that a BIDS or TUSZ name contains,
        otherwise the topmost folder, otherwise the whole name, so that each recording counts as a
        patient.
    unmatched : Unmatched, optional
        ``refuse`` a recording that only one folder has, ``skip`` it, or score a reference without a
        hypothesis as if nothing had been detected (``empty``).
    seizure_texts : sequence of str, optional
        Regular expressions of further texts that mean a seizure, in EDF+ and in the columns of
        BIDS, beside words such as "seizure" and the labels of TUSZ and SzCORE.

    Returns
    -------
    MatchedEvents
        Times in seconds from the start of each recording. Where the annotation of a reference is
        neither seizure nor background, the time is unknown.

    Raises
    ------
    BrainbrrError
        For a file that cannot be read or understood, recordings that do not match, a recording
        whose length no file states, and two lengths that differ.
    """
    patient, texts = _patient_rule(patient_pattern), _texts(seizure_texts)
    if reference.is_file() and hypothesis.is_file():
        name = _name(reference.name)
        files = {name: (reference, hypothesis)}
        return MatchedEvents((_read_pair(name, files[name], patient(name), texts),), (), ())
    references, reference_tables = _files(reference)
    detected, hypothesis_tables = _files(hypothesis)
    hypotheses = _by_name(detected, references)
    without_hypothesis = tuple(name for name in references if name not in hypotheses)
    without_reference = tuple(name for name in hypotheses if name not in references)
    _refuse_tables(without_hypothesis, hypothesis_tables)
    _refuse_tables(without_reference, reference_tables)
    if unmatched is Unmatched.REFUSE:
        _refuse(without_hypothesis, hypothesis)
        _refuse(without_reference, reference)
    recordings = tuple(
        _read_pair(name, (path, hypotheses.get(name)), patient(name), texts)
        for name, path in references.items()
        if name in hypotheses or unmatched is Unmatched.EMPTY
    )
    # Without any match the names differ: that nothing was detected cannot be meant.
    if not references.keys() & hypotheses.keys():
        raise BrainbrrError(
            f"{reference} and {hypothesis} have no recording in common: name the files of both "
            "after the recordings"
        )
    return MatchedEvents(recordings, without_hypothesis, without_reference)


def _refuse(names: Sequence[str], folder: Path) -> None:
    """Raise :class:`BrainbrrError` if a folder lacks the event files of some recordings."""
    if names:
        shown = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        raise BrainbrrError(
            f"{shown}{more}: no event file in {folder}: add it, or use --unmatched skip or empty"
        )


def _refuse_tables(names: Sequence[str], tables: Sequence[Path]) -> None:
    """Raise :class:`BrainbrrError` if a recording without events has a table that is not read."""
    missing = {name.rpartition("/")[2] for name in names}
    for table in tables:
        if _name(table.name) in missing:
            raise BrainbrrError(f"{table} is not read: {_NO_EVENTS}")


def _files(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The event file of each recording below a folder, by the recording's name, sorted.

    Also the tables (``.tsv``) that do not have the columns of events.
    """
    if not folder.is_dir():
        missing = "is not a folder" if folder.exists() else "does not exist"
        raise BrainbrrError(f"{folder} {missing}: give two folders with events, or two files")
    files: dict[str, Path] = {}
    tables: list[Path] = []
    for listing in walk([folder], unreadable=_unreadable):
        for entry in listing.files:
            path = Path(entry.path)
            if path.suffix.lower() not in SUFFIXES or entry.name.startswith("."):
                continue
            if entry.name.endswith(PROBABILITY_EDF):
                continue
            if path.suffix.lower() == ".tsv" and not _has_events(path):
                tables.append(path)
                continue
            name = _name(path.relative_to(folder).as_posix())
            other = files.setdefault(name, path)
            if other is path:
                continue
            if _precedence(path) == _precedence(other):
                raise BrainbrrError(
                    f"{other} and {path} are both the events of {name}: keep one of them"
                )
            files[name] = min(path, other, key=_precedence)
    if not files:
        suffixes = ", ".join(SUFFIXES)
        unread = f"; {tables[0]} is not read: {_NO_EVENTS}" if tables else ""
        raise BrainbrrError(f"{folder} has no event file: it needs files with {suffixes}{unread}")
    return dict(sorted(files.items())), tables


def _unreadable(error: OSError) -> NoReturn:
    raise BrainbrrError(f"{error.filename} cannot be read ({error.strerror}): make it readable")


def _has_events(path: Path) -> bool:
    try:
        return szcore.has_events(path)
    except OSError as error:
        _unreadable(error)


def _precedence(path: Path) -> tuple[int, bool]:
    # An EDF+ with annotations only may stand next to the EDF that it annotates, and goes first.
    return SUFFIXES.index(path.suffix.lower()), not path.stem.endswith(_ENDINGS[0])


def _name(path: str) -> str:
    """The name of a recording, from the path of one of its files."""
    stem = path.rpartition(".")[0]
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    return stem


def _by_name(hypotheses: dict[str, Path], references: Mapping[str, Path]) -> dict[str, Path]:
    """Hypotheses by the name of their reference: matched by path, otherwise by file name."""
    if hypotheses.keys() & references.keys():
        return hypotheses
    by_file_name: dict[str, list[str]] = {}
    for name in references:
        by_file_name.setdefault(name.rpartition("/")[2], []).append(name)
    by_reference: dict[str, Path] = {}
    for name, path in hypotheses.items():
        candidates = by_file_name.get(name.rpartition("/")[2], [])
        if len(candidates) > 1:
            raise BrainbrrError(
                f"{path} may belong to {candidates[0]} or {candidates[1]}: give both "
                "folders the same subfolders"
            )
        target = candidates[0] if candidates else name
        if target in by_reference:
            raise BrainbrrError(
                f"{path} and {by_reference[target]} both belong to {target}: keep one of them"
            )
        by_reference[target] = path
    return by_reference


def _patient_rule(pattern: str | None) -> Callable[[str], str]:
    """The function that takes the name of a recording and returns its patient."""
    if pattern is None:
        return _patient_of_name
    compiled = patient_pattern(pattern)

    def patient(name: str) -> str:
        match = compiled.search(name)
        if match is None or not match[1]:
            raise BrainbrrError(f"--patient-pattern {pattern!r} finds no patient in {name}")
        return match[1]

    return patient


def _texts(seizure: Sequence[str]) -> Texts:
    """The meaning of annotation texts, including those that ``brainbrr predict`` writes."""
    defaults = AnnotationTexts()
    try:
        added = AnnotationTexts(seizure=(*defaults.seizure, r"\w+, confidence [\d.]+", *seizure))
    except ValueError:
        raise BrainbrrError(
            f"--seizure-text {' '.join(map(repr, seizure))} is not a regular expression"
        ) from None
    return Texts(added)


def _patient_of_name(name: str) -> str:
    folder, _, stem = name.rpartition("/")
    # A BIDS name is recognized by its ending, which _name has removed.
    return patient_in(stem) or patient_in(f"{stem}_eeg") or folder.partition("/")[0] or stem


def _read_pair(
    name: str, files: tuple[Path, Path | None], patient: str, texts: Texts
) -> RecordingEvents:
    path, detected_path = files
    reference = _read(path, texts)
    if reference is None:
        raise BrainbrrError(
            f"{path} says nothing about seizures: a reference without seizures needs a file that "
            "says so, such as a csv_bi with a row of bckg"
        )
    hypothesis = None if detected_path is None else _read(detected_path, texts)
    detected_s = None if detected_path is None else _duration(detected_path, hypothesis)
    duration_s = _duration(path, reference)
    if duration_s is None:
        duration_s = detected_s
    if duration_s is None:
        raise BrainbrrError(
            f"{path}: neither the reference nor the hypothesis says how long the recording is: use "
            "csv_bi or SzCORE's tsv for one of them, or put the EDF next to the reference"
        )
    annotated = _cut_to_signal(path, reference, duration_s).events
    seizures = tuple(event for event in annotated if event.label != UNKNOWN)
    unknown = uncovered((event for event in annotated if event.label == UNKNOWN), seizures)
    detections: tuple[Event, ...] = ()
    if detected_path is not None and hypothesis is not None:
        detections = _cut_to_signal(detected_path, hypothesis, duration_s).events
        if any(event.label == UNKNOWN for event in detections):
            raise BrainbrrError(
                f"{detected_path} has an event that may or may not be a detection (an onset "
                "without an end, or a text that is not understood): correct it, or name such "
                "texts with --seizure-text"
            )
    return RecordingEvents(patient, duration_s, seizures, detections, name, detected_s, unknown)


def _read(path: Path, texts: Texts) -> ParsedAnnotation | None:
    """The content of a file; None for an EDF+ whose annotations do not mention a seizure."""
    suffix = path.suffix.lower()
    if suffix == ".edf":
        edf = LocalEdf(path)
        try:
            parsed = tal.parse(annotation_records(edf), path.name, texts)
            others = 0 if parsed else tal.remarks(annotation_records(edf), ENDS)
        except UnusableEdf as error:
            raise _unusable_edf(path, error) from None
        if others:
            raise BrainbrrError(
                f"{path} has {others} annotations, and none is understood as a seizure: name the "
                "texts that are with --seizure-text, or convert the file to csv_bi"
            )
        return parsed
    if suffix == ".tsv":
        return szcore.read(path, texts)
    return tse.read(path) if suffix in (".tse", ".tse_bi") else tuh.read(path)


def _duration(path: Path, parsed: ParsedAnnotation | None) -> float | None:
    """Length of the recording in seconds according to a file, or to the EDF of its name."""
    if parsed is not None and parsed.duration_s is not None:
        return parsed.duration_s
    stem = _name(path.name)
    for name in (f"{path.stem}.edf", f"{stem}.edf", f"{stem}_eeg.edf"):
        edf = path.with_name(name)
        seconds = _signal_s(edf) if edf.is_file() else None
        if seconds is not None:
            return seconds
    return None


def _signal_s(path: Path) -> float | None:
    """Length of an EDF in seconds; None if it has annotations and no signal.

    Raises :class:`BrainbrrError` where its data records have gaps between them: a time then may
    count them or not.
    """
    edf = LocalEdf(path)
    try:
        header = read_header(edf, without_signals=True)
        samples = max((s.samples for s in header.signals if not header.is_text(s)), default=0)
        if not samples:
            return None
        records = available_records(edf, header)
        record_clock(edf, header, records, samples / header.record_duration).check()
    except UnusableEdf as error:
        if error.reason in ("discontinuous", "clock_drift"):
            raise BrainbrrError(
                f"{path} has events whose times are ambiguous: {SIGNAL_REASONS[error.reason]} "
                f"({error}): leave the recording out"
            ) from None
        raise _unusable_edf(path, error) from None
    return float(records * header.record_duration)


def _unusable_edf(path: Path, error: UnusableEdf) -> BrainbrrError:
    return BrainbrrError(f"{path} is not a readable EDF ({error}): export it again")


def _cut_to_signal(path: Path, parsed: ParsedAnnotation, duration_s: float) -> ParsedAnnotation:
    """Fit the events of a file to the length of the signal.

    Raises :class:`BrainbrrError` if the file contradicts itself or that length.
    """
    fitted = on_signal(parsed, duration_s)
    for finding in fitted.findings:
        if excludes(finding.code):
            remedy = "correct the file or leave it out"
            if finding.code == "no_rows":
                remedy = (
                    "of a recording without detections, write one row of background, or no file "
                    "and score with `--unmatched empty`"
                )
            meaning = ANNOTATION_FINDINGS[finding.code][1]
            raise BrainbrrError(f"{path} cannot be scored: {meaning} ({finding}): {remedy}")
    return fitted
