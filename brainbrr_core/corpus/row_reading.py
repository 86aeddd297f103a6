"""One row of the index: read from the files of a recording, or the earlier row if unchanged.

Finding the recordings of a corpus belongs to :mod:`brainbrr_core.corpus.index`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.edf_annotations import read_edf_labels
from brainbrr_core.corpus.layouts.base import Layout, RecordingFile
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels
from brainbrr_core.corpus.layouts.eeg_json import BAD_EEG_JSON, power_line_findings
from brainbrr_core.corpus.recording import (
    UNREADABLE_NOW,
    UNSEEN,
    BipolarSignal,
    Companion,
    Recording,
)
from brainbrr_core.corpus.sources import CorpusFiles, state_of
from brainbrr_core.edf.formats import is_part, reader_of
from brainbrr_core.edf.header import EdfFacts, UnusableEdf
from brainbrr_core.edf.reader import open_edf, recording_start
from brainbrr_core.errors import BrainbrrError, WorkRemains, check_exhausted
from brainbrr_core.files.regular import check_regular
from brainbrr_core.files.state import FileState, Hashes

#: Findings that may only mean that a file next to the EDF could not be opened.
_UNOPENED = frozenset(
    {"unreadable_annotation", "unusable_types", "bad_channel_table", BAD_EEG_JSON}
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the channels of an EDF are judged, and whether that changed since the last scan."""

    channels: ChannelRules
    changed: bool


def read_row(
    source: CorpusFiles,
    layout: Layout,
    file: RecordingFile,
    known: Recording | None,
    rules: Rules,
) -> Recording:
    """One row: the ``known`` one of unchanged files, otherwise a new one from reading them.

    A recording that could be read before and cannot be read now keeps its row, with a finding.

    Raises :class:`WorkRemains` when the EDF changes while it is read, and :class:`BrainbrrError`
    when this process cannot open more files.
    """
    if known is not None:
        # Of a file that could not be read, the rules may have changed since it was.
        if known.is_unreadable_now or _is_outdated(known, layout):
            rules = replace(rules, changed=True)
        known = without_unreadable_mark(known)
    companions = companions_now(source, file)
    state = state_of(source, file.location)
    try:
        recording = _row(source, layout, file, known, rules, state, companions)
    except OSError as error:
        check_exhausted(source.address(file.path), error)
        if known is not None and not _was_never_read(known):
            return _mark_unreadable(source, known, file, file.path, error)
        unreadable = _unreadable(source, file, state, error)
        return _with_labels(source, unreadable, layout, file, companions)
    if known is not None and not _has_unopened(known) and _has_unopened(recording):
        for path in file.companions:
            try:
                check_regular(path)
                with path.open("rb"):
                    continue
            except OSError as error:
                check_exhausted(source.address(path), error)
                return _mark_unreadable(source, known, file, path, error)
    return recording


def is_unchanged(
    source: CorpusFiles, layout: Layout, file: RecordingFile, known: Recording, rules: Rules
) -> bool:
    """Whether :func:`read_row` would return ``known`` itself; opens no file."""
    if rules.changed or _was_never_read(known) or _is_outdated(known, layout):
        return False
    # Most recordings have no findings.
    if known.findings and (known.is_unreadable_now or _has_unopened(known)):
        return False
    if known.label_texts != texts_digest(layout, file):
        return False
    if not _has_path(source, known, file) or known.reader != reader_of(file.location):
        return False
    return _has_states(source, known, file)


def _has_states(source: CorpusFiles, known: Recording, file: RecordingFile) -> bool:
    """Whether a recording and the files that describe it are in the states of a known row."""
    companions, names = known.companions, file.companion_names
    if len(companions) != len(names) or not _is_in_state(source, file.location, known.state):
        return False
    for companion, name, path in zip(companions, names, file.companion_locations(), strict=True):
        if companion.name != name or not _is_in_state(source, path, companion.state):
            return False
    return True


def _is_in_state(source: CorpusFiles, location: str, before: FileState) -> bool:
    now = state_of(source, location)
    return now == before or before.is_of_same_file(now)


def companions_now(source: CorpusFiles, file: RecordingFile) -> tuple[Companion, ...]:
    """The files that describe an EDF, and their present states."""
    return tuple(
        Companion(name, state_of(source, file.companion(name))) for name in file.companion_names
    )


def _row(
    source: CorpusFiles,
    layout: Layout,
    file: RecordingFile,
    known: Recording | None,
    rules: Rules,
    state: FileState,
    companions: tuple[Companion, ...],
) -> Recording:
    """The row of a readable recording. Raises ``OSError`` where a file cannot be read."""
    if (
        known is None
        or _was_never_read(known)
        or not _is_same_signal(known, file, state, companions)
    ):
        signal = _read_signal(source, layout, file, rules, state, Hashes())
        return _with_labels(source, signal, layout, file, companions)
    # A file that could not be opened may be readable now, although its state is the same.
    before = () if _has_unopened(known) else known.companions
    same_labels = known.label_texts == texts_digest(layout, file)
    if _are_same(before, companions) and same_labels and not rules.changed:
        return with_path(source, known, file)
    if rules.changed or _table(before, file) != _table(companions, file):
        hashes = Hashes(known.content_hash, known.data_hash)
        signal = _read_signal(source, layout, file, rules, state, hashes)
    else:
        signal = replace(known, findings=_signal_findings(known))
    return _with_labels(source, with_path(source, signal, file), layout, file, companions)


def _is_same_signal(
    known: Recording, file: RecordingFile, state: FileState, companions: tuple[Companion, ...]
) -> bool:
    """Whether the files of a recording itself, and what reads them, are those of a known row."""
    if not known.state.is_of_same_file(state) or known.reader != reader_of(file.location):
        return False
    if not known.reader:
        return True
    before, now = (
        tuple(companion for companion in all_of_them if is_part(companion.name))
        for all_of_them in (known.companions, companions)
    )
    return _are_same(before, now)


def _is_outdated(recording: Recording, layout: Layout) -> bool:
    """Whether a version of the program that knew fewer labels may have judged a recording.

    It is a bipolar one that was only looked at for electrodes, or one without an electrode that has
    a label of its own in the corpus.
    """
    if recording.signal_reason == "bipolar_montage" and recording.bipolar is None:
        return True
    return bool(layout.aliased) and not layout.aliased.isdisjoint(recording.missing)


def _was_never_read(recording: Recording) -> bool:
    """Whether the EDF could never be opened; a file that is not an EDF would have a hash."""
    return recording.signal_reason == "unreadable" and not recording.content_hash


def _has_unopened(recording: Recording) -> bool:
    return any(finding.code in _UNOPENED for finding in recording.findings)


def without_unreadable_mark(recording: Recording) -> Recording:
    """A recording without the finding that one of its files cannot be read now."""
    if not recording.is_unreadable_now:
        return recording
    findings = tuple(f for f in recording.findings if f.code != UNREADABLE_NOW)
    return replace(recording, findings=findings)


def _mark_unreadable(
    source: CorpusFiles, known: Recording, file: RecordingFile, path: Path, error: OSError
) -> Recording:
    """The known row, with a finding that names the file that cannot be read, and why."""
    mark = Finding(UNREADABLE_NOW, path.name, error.strerror or type(error).__name__)
    return replace(with_path(source, known, file), findings=(*known.findings, mark))


def _are_same(before: tuple[Companion, ...], now: tuple[Companion, ...]) -> bool:
    return len(before) == len(now) and all(
        one.name == other.name and one.state.is_of_same_file(other.state)
        for one, other in zip(before, now, strict=True)
    )


def texts_digest(layout: Layout, file: RecordingFile) -> str:
    """Digest of the patterns for a recording's annotations; empty where none is free text."""
    names = file.annotation_names
    for name in names:
        if name.endswith(".tsv"):
            break
    else:
        if names:
            return ""
    return layout.texts.digest


def is_as_indexed(
    source: CorpusFiles, layout: Layout, file: RecordingFile, recording: Recording
) -> bool:
    """Whether the row of a recording is up to date with the present states of its files.

    It is not when a file changed, when the texts that name seizures did (:func:`texts_digest`), or
    when a file that could not be read is accessible again. Opens no file.
    """
    if not recording.is_unreadable_now:
        same_texts = recording.label_texts == texts_digest(layout, file)
        return same_texts and _has_states(source, recording, file)
    absent = {companion.name for companion in recording.companions if companion.state == UNSEEN}
    return state_of(source, file.location) == UNSEEN or any(
        companion.state == UNSEEN and companion.name not in absent
        for companion in companions_now(source, file)
    )


def with_path(source: CorpusFiles, recording: Recording, file: RecordingFile) -> Recording:
    """The recording with what its path says, which may change without the file."""
    if _has_path(source, recording, file):
        return recording
    return replace(
        recording,
        split=file.split or "",
        patient=file.patient,
        session=file.session,
        montage=file.montage,
        path=source.address(file.location),
    )


def with_split(recording: Recording, split: str) -> Recording:
    """The recording in a split; itself where it is in it."""
    return recording if recording.split == split else replace(recording, split=split)


def _has_path(source: CorpusFiles, recording: Recording, file: RecordingFile) -> bool:
    return (
        recording.path == source.address(file.location)
        and recording.patient == file.patient
        and recording.split == (file.split or "")
        and recording.session == file.session
        and recording.montage == file.montage
    )


def _table(companions: tuple[Companion, ...], file: RecordingFile) -> list[Companion]:
    """What says something about the signal among the companions of an EDF."""
    return [companion for companion in companions if companion.name not in file.annotation_names]


def _signal_findings(recording: Recording) -> tuple[Finding, ...]:
    name = recording.file_name
    return tuple(finding for finding in recording.findings if finding.where == name)


def _read_signal(
    source: CorpusFiles,
    layout: Layout,
    file: RecordingFile,
    rules: Rules,
    state: FileState,
    hashes: Hashes,
) -> Recording:
    """The row of a signal, read from the EDF and its channel table; ``hashes`` are used if known.

    Raises ``OSError`` when the EDF cannot be read, and :class:`WorkRemains` when it changes while
    it is read.
    """
    reason, detail, bipolar = None, "", None
    facts = EdfFacts()
    parts = [state_of(source, path) for path in file.parts]
    if state == UNSEEN:
        # Raises the error that says why.
        state = source.state(file.path)
    if not file.path.is_file():
        raise OSError(errno.EINVAL, "not a file")
    try:
        for part in file.parts:
            if not part.is_file():
                raise UnusableEdf("missing_part", part.name)
        if not hashes.content:
            hashes = source.hashes(file.path, file.parts)
        bad = _bad_channels(file)
        edf = open_edf(source.edf(file.path), bad, rules.channels, aliases=layout.aliases)
        facts = edf.facts
        edf.check_samples()
    except UnusableEdf as error:
        reason, detail, facts = error.reason, error.detail, error.facts
    if reason == "bipolar_montage":
        bipolar = _read_bipolar(source, file, bad, rules)
    parts_now = [state_of(source, path) for path in file.parts]
    if source.state(file.path) != state or parts_now != parts:
        raise WorkRemains(f"{file.path} changed while it was indexed: run the command again")
    row = _signal_row(source, file, state, hashes, facts, reason, detail)
    return row if bipolar is None else replace(row, bipolar=bipolar)


def _read_bipolar(
    source: CorpusFiles, file: RecordingFile, bad: tuple[str, ...], rules: Rules
) -> BipolarSignal:
    """What a bipolar EDF gives in the montage of derivations. Raises ``OSError``."""
    reason: str | None = None
    excluded: tuple[Finding, ...] = ()
    try:
        edf = open_edf(source.edf(file.path), bad, rules.channels, "double-banana")
        facts = edf.facts
        edf.check_samples()
    except UnusableEdf as error:
        reason, facts = error.reason, error.facts
        excluded = (Finding(reason, file.path.name, error.detail),)
    return BipolarSignal(
        reason,
        facts.rate,
        facts.samples,
        facts.matched,
        facts.missing or (),
        (*facts.findings, *excluded),
    )


def _unreadable(
    source: CorpusFiles, file: RecordingFile, state: FileState, error: OSError
) -> Recording:
    """The row of an EDF that could never be read, without labels."""
    detail = error.strerror or type(error).__name__
    return _signal_row(source, file, state, Hashes(), EdfFacts(), "unreadable", detail)


def _signal_row(
    source: CorpusFiles,
    file: RecordingFile,
    state: FileState,
    hashes: Hashes,
    facts: EdfFacts,
    reason: str | None,
    detail: str,
) -> Recording:
    """A row without labels; ``reason`` and ``detail`` say why there is no signal."""
    excluded = () if reason is None else (Finding(reason, file.path.name, detail),)
    jsons = (Path(file.companion(name)) for name in file.json_names)
    known = facts.missing is not None
    power_line = power_line_findings(jsons, file.path.name) if known else ()
    return Recording(
        partition_key=file.partition_key,
        split=file.split or "",
        patient=file.patient,
        session=file.session,
        montage=file.montage,
        path=source.address(file.path),
        state=state,
        content_hash=hashes.content,
        rate=facts.rate,
        samples=facts.samples,
        signals=facts.signals,
        discontinuous=facts.discontinuous,
        matched=facts.matched,
        missing=CHANNELS if facts.missing is None else facts.missing,
        signal_reason=reason,
        label_reason=None,
        label_source="",
        companions=(),
        annotated_duration_s=None,
        events=(),
        findings=(*facts.findings, *power_line, *excluded),
        data_hash=hashes.data,
        reader=reader_of(file.location),
    )


def _bad_channels(file: RecordingFile) -> tuple[str, ...]:
    try:
        return bad_channels(file.channel_table)
    except BrainbrrError as error:
        raise UnusableEdf("bad_channel_table", str(error)) from None


def _with_labels(
    source: CorpusFiles,
    recording: Recording,
    layout: Layout,
    file: RecordingFile,
    companions: tuple[Companion, ...],
) -> Recording:
    """The recording with the labels of its annotation files or, without any, of the EDF itself.

    Raises ``OSError`` when the annotations of the EDF, or the start that clock times need, cannot
    be read.
    """
    signal_s = recording.in_montage("double-banana").duration_s or None
    start = None
    if layout.has_clock_times and recording.signal_reason != "unreadable":
        start = recording_start(source.edf(file.path))
    labels = layout.read_labels(file, signal_s, start)
    if not file.annotations and recording.is_usable_in_a_montage:
        labels = read_edf_labels(source.edf(file.path), signal_s, layout.texts)
    return replace(
        recording,
        label_reason=labels.reason,
        label_source=labels.source,
        companions=companions,
        annotated_duration_s=labels.duration_s,
        events=labels.events,
        findings=(*recording.findings, *labels.findings),
        label_texts=texts_digest(layout, file),
    )
