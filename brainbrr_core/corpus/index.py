"""The index: every recording of a corpus, in one Parquet file.

A second scan of an unchanged corpus reads no file: what was learnt about a file is kept with
its size, mtime and inode, and used again while these are the same.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from brainbrr_core.annotation import Finding
from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.model import ChannelRules, Corpus
from brainbrr_core.corpus.channels_tsv import bad_channels
from brainbrr_core.corpus.edf import open_edf
from brainbrr_core.corpus.edf_annotations import edf_labelling
from brainbrr_core.corpus.edf_header import EdfFacts, UnusableEdf
from brainbrr_core.corpus.files import CorpusFiles, LocalFiles, state_of
from brainbrr_core.corpus.hashing import Hashes
from brainbrr_core.corpus.identity import SIMILAR_PATIENT, identified, with_similar_patients
from brainbrr_core.corpus.layout import Layout, RecordingFile, is_partition_key
from brainbrr_core.corpus.layouts import open_layout
from brainbrr_core.corpus.recording import (
    UNREADABLE_NOW,
    UNSEEN,
    Companion,
    FileState,
    Recording,
)
from brainbrr_core.corpus.same_content import SAME_CONTENT, counted_once, uncompared
from brainbrr_core.corpus.skipped import Skipped
from brainbrr_core.errors import BrainbrrError, WorkRemains, check_exhausted
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.progress import progress, told_when_stopped
from brainbrr_core.signal.montage import CHANNELS

#: Bumped when the columns, or how they are derived from the files, change.
SCHEMA_VERSION = 3
#: Fraction of the known recordings that may vanish, or become unreadable, between two scans.
VANISHED_LIMIT = 0.05

#: Known files that a thread looks at in a row.
_TOGETHER = 16

#: Findings that come from comparing recordings with each other, anew at each scan.
_COMPARED = frozenset({SAME_CONTENT, SIMILAR_PATIENT})
#: Findings that may only mean that a file beside the EDF could not be opened.
_UNOPENED = frozenset({"unreadable_annotation", "unusable_types", "bad_channel_table"})


@dataclass(frozen=True)
class Index:
    """All recordings of one corpus, in the order of their partition keys.

    ``skipped`` is what lies below the corpus's root and is not read. ``unsettled`` are EDFs that
    changed while they were read, such as one that is still being copied: the index has of them
    what it had before. No file of an index tells of those. ``channel_rules`` are those settings
    of the corpus that the recordings' signals were judged by, as one text; empty where that is
    not known.
    """

    recordings: tuple[Recording, ...]
    layout: str
    skipped: tuple[Skipped, ...] = ()
    unsettled: tuple[str, ...] = field(default=(), compare=False)
    channel_rules: str = ""

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def by_key(self) -> dict[str, Recording]:
        """Recordings by partition key."""
        return {recording.partition_key: recording for recording in self.recordings}


def scan(
    data: Path | CorpusFiles,
    known: Index | None = None,
    corpus: Corpus | None = None,
    *,
    force: bool = False,
    workers: int | None = None,
) -> Index:
    """Scan a corpus, a folder or one behind a URL.

    ``known`` is the index of an earlier scan, whose layout holds by default. Where its signals
    were judged by other rules than ``corpus`` has, they are judged anew, from the headers: no
    unchanged EDF is hashed again. A known recording of
    which a file cannot be read now keeps its row, with a finding that says so.

    Raises :class:`BrainbrrError` when there is nothing to index, when a patient is in two splits,
    when the content of a recording is, or is two patients', when a folder cannot be read, and
    (unless ``force``) when more than 5 % of the known recordings are gone or cannot be read any
    more, or most of them hold other bytes: an unmounted drive, or another corpus.
    """
    corpus = corpus or Corpus()
    source: CorpusFiles = LocalFiles(data) if isinstance(data, Path) else data
    place = source.address(source.root)
    remembered = known.layout if known is not None else None
    texts = Texts(corpus.annotation_texts)
    layout = open_layout(source.root, corpus.layout or remembered, place, texts)
    with no_collection():
        files = list(layout.recordings())
    if not files:
        raise BrainbrrError(f"no .edf file below {place}: is this the corpus?")
    files = identified(files, corpus)
    # Hidden files were once taken for recordings.
    before = {key: r for key, r in known.by_key().items() if is_partition_key(key)} if known else {}
    _check_keys(files)
    gone = before.keys() - {file.partition_key for file in files}
    if not force:
        _check_vanished(before, gone, [], place)
    # What a file says about its recording depends on the layout.
    is_same_layout = known is not None and known.layout == layout.name
    trusted = {key: uncompared(r, _COMPARED) for key, r in before.items() if is_same_layout}
    same_rules = known is not None and known.channel_rules == corpus.channel_rules
    rules = _Rules(corpus, changed=not same_rules)
    recordings, unsettled = _recordings(source, layout, files, trusted, rules, workers)
    if not force:
        lost = [r for r in recordings if r.is_unreadable_now]
        _check_vanished(before, gone, lost, place)
        _check_same_corpus(before, recordings, place)
    compared = _compared(recordings, files, source)
    ordered = tuple(sorted(compared, key=lambda recording: recording.partition_key))
    skipped, left = tuple(sorted(layout.skipped)), tuple(sorted(unsettled))
    return Index(ordered, layout.name, skipped, left, corpus.channel_rules)


@dataclass(frozen=True, slots=True)
class _Rules:
    """By what the channels of an EDF are judged; ``changed`` since what is known was."""

    channels: ChannelRules
    changed: bool


def _compared(
    recordings: list[Recording], files: Iterable[RecordingFile], source: CorpusFiles
) -> list[Recording]:
    """The rows with what follows from comparing them: see ``same_content`` and ``identity``."""
    paths = {file.partition_key: file.path for file in files}
    once = counted_once(recordings, lambda r: source.object_tag(paths[r.partition_key]))
    return with_similar_patients(once)


def _recordings(
    source: CorpusFiles,
    layout: Layout,
    files: list[RecordingFile],
    trusted: dict[str, Recording],
    rules: _Rules,
    workers: int | None,
) -> tuple[list[Recording], list[str]]:
    """The rows of all files, in their order, and the addresses of those that changed meanwhile.

    ``trusted`` is what is known of them. What interrupts this carries a note of what is done.
    """
    recordings: list[Recording] = []
    unsettled: list[str] = []
    done = 0

    def summary() -> str:
        return (
            f"{done} of {len(files)} recordings are indexed, {len(files) - done} remain; the "
            f"{source.hashed} that were hashed now need not be again: give the same command again"
        )

    with (
        no_collection(),
        progress("index", len(files), "recordings") as bar,
        told_when_stopped(summary),
        thread_pool(workers or source.requests) as pool,
    ):

        def read(file: RecordingFile) -> Recording | None:
            known = trusted.get(file.partition_key)
            try:
                return _read(source, layout, file, known, rules)
            except WorkRemains:
                unsettled.append(source.address(file.path))
                return None if known is None else _placed(source, known, file)

        def read_each(batch: list[RecordingFile]) -> list[Recording | None]:
            return list(map(read, batch))

        for batch in pool.map(read_each, _batches(files, trusted)):
            for recording in batch:
                done += 1
                bar.advance()
                if recording is not None:
                    recordings.append(recording)
    return recordings, unsettled


def _batches(
    files: Iterable[RecordingFile], known: Container[str]
) -> Iterator[list[RecordingFile]]:
    """The files in their order: each new one alone, some known ones in a row together.

    Most known ones are unchanged: to hand each to a thread would take longer than to see that.
    """
    batch: list[RecordingFile] = []
    for file in files:
        if batch and (len(batch) == _TOGETHER or file.partition_key not in known):
            yield batch
            batch = []
        batch.append(file)
        if file.partition_key not in known:
            yield batch
            batch = []
    if batch:
        yield batch


def _check_keys(files: list[RecordingFile]) -> None:
    repeated = [key for key, n in Counter(f.partition_key for f in files).items() if n > 1]
    if repeated:
        raise BrainbrrError(
            f"two files give the partition key {repeated[0]} (.edf and .EDF?): remove one"
        )


def _check_vanished(
    before: dict[str, Recording], gone: set[str], unreadable: Iterable[Recording], root: str
) -> None:
    """``unreadable`` are those that cannot be read now; some may have been so before."""
    if before and len(gone) == len(before):
        raise _other_corpus(before, root)
    readable = {key for key, recording in before.items() if not recording.is_unreadable_now}
    lost = [r for r in unreadable if r.partition_key in readable]
    # Those that could not be read before and are gone now are lost with all that is known of them.
    if len(gone) <= VANISHED_LIMIT * len(before) and (
        len(gone & readable) + len(lost) <= VANISHED_LIMIT * len(readable)
    ):
        return
    what = [f"{len(gone)} of {len(before)} known recordings are gone from {root}"] if gone else []
    if lost:
        why = next(f.detail for f in lost[0].findings if f.code == UNREADABLE_NOW)
        what.append(
            f"{len(lost)} of {len(readable)} known recordings cannot be read any more, such as "
            f"{lost[0].path}: {why}"
        )
    raise BrainbrrError(
        f"{'; '.join(what)} (is the drive mounted?): nothing was changed; if it is meant, run "
        "`brainbrr index --force`, which keeps what is known of those that cannot be read"
    )


def _check_same_corpus(before: dict[str, Recording], after: Iterable[Recording], root: str) -> None:
    common = [recording for recording in after if recording.partition_key in before]
    changed = sum(not _same_bytes(before[r.partition_key], r) for r in common)
    if len(common) > 1 and changed > len(common) / 2:
        raise _other_corpus(before, root)


def _same_bytes(before: Recording, after: Recording) -> bool:
    # A remote EDF's hash is unknown until it is fetched.
    return before.content_hash == after.content_hash or before.state.is_of_same_file(after.state)


def _other_corpus(before: dict[str, Recording], root: str) -> BrainbrrError:
    return BrainbrrError(
        f"this cache root belongs to another corpus than {root} ({len(before)} recordings, such "
        f"as {min(before)}): set BRAINBRR_CACHE_ROOT to another folder, or, if the corpus itself "
        "was replaced, run `brainbrr index --force`"
    )


def _read(
    source: CorpusFiles,
    layout: Layout,
    file: RecordingFile,
    known: Recording | None,
    rules: _Rules,
) -> Recording:
    """One row: what is known of an unchanged file, what reading it tells, or, where it could be
    read before and cannot be read now, what was known of it.

    Raises :class:`WorkRemains` when the file changes meanwhile, and :class:`BrainbrrError` when
    this process may open no more files.
    """
    if known is not None:
        if known.is_unreadable_now:
            # The rules may have changed while it could not be read.
            rules = replace(rules, changed=True)
        known = unmarked(known)
    companions = tuple(
        Companion(file.companion_name(path), state_of(source, path)) for path in file.companions
    )
    state = state_of(source, file.path)
    try:
        recording = _row(source, layout, file, known, rules, state, companions)
    except OSError as error:
        check_exhausted(source.address(file.path), error)
        if known is not None and not _was_never_read(known):
            return _kept(source, known, file, file.path, error)
        unreadable = _unreadable(source, file, state, error)
        return _with_labels(source, unreadable, layout, file, companions)
    if known is not None and not _has_unopened(known) and _has_unopened(recording):
        for path in file.companions:
            try:
                with path.open("rb"):
                    continue
            except OSError as error:
                check_exhausted(source.address(path), error)
                return _kept(source, known, file, path, error)
    return recording


def _row(
    source: CorpusFiles,
    layout: Layout,
    file: RecordingFile,
    known: Recording | None,
    rules: _Rules,
    state: FileState,
    companions: tuple[Companion, ...],
) -> Recording:
    """One row of a file that can be read. Raises ``OSError`` where it must be and cannot."""
    if known is None or not known.state.is_of_same_file(state) or _was_never_read(known):
        signal = _read_signal(source, file, rules, state, Hashes())
        return _with_labels(source, signal, layout, file, companions)
    # What could not be opened may be opened now, though nothing else about it changed.
    before = () if _has_unopened(known) else known.companions
    same_labels = known.label_texts == asked_texts(layout, file)
    if _are_same(before, companions) and same_labels and not rules.changed:
        return _placed(source, known, file)
    if rules.changed or _table(before, file) != _table(companions, file):
        hashes = Hashes(known.content_hash, known.data_hash)
        signal = _read_signal(source, file, rules, state, hashes)
    else:
        signal = replace(known, findings=_signal_findings(known))
    return _with_labels(source, _placed(source, signal, file), layout, file, companions)


def _was_never_read(recording: Recording) -> bool:
    """Whether the EDF could not be opened: one whose content is no EDF has a hash."""
    return recording.signal_reason == "unreadable" and not recording.content_hash


def _has_unopened(recording: Recording) -> bool:
    return any(finding.code in _UNOPENED for finding in recording.findings)


def unmarked(recording: Recording) -> Recording:
    """A recording without the mark that one of its files cannot be read at present."""
    if not recording.is_unreadable_now:
        return recording
    findings = tuple(f for f in recording.findings if f.code != UNREADABLE_NOW)
    return replace(recording, findings=findings)


def _kept(
    source: CorpusFiles, known: Recording, file: RecordingFile, path: Path, error: OSError
) -> Recording:
    """What is known of a recording, marked with which of its files cannot be read, and why."""
    mark = Finding(UNREADABLE_NOW, path.name, error.strerror or type(error).__name__)
    return replace(_placed(source, known, file), findings=(*known.findings, mark))


def _are_same(before: tuple[Companion, ...], now: tuple[Companion, ...]) -> bool:
    return len(before) == len(now) and all(
        one.name == other.name and one.state.is_of_same_file(other.state)
        for one, other in zip(before, now, strict=True)
    )


def asked_texts(layout: Layout, file: RecordingFile) -> str:
    """Which patterns understand a recording's annotations; empty where none of it is free text."""
    fixed = file.annotations and all(path.suffix != ".tsv" for path in file.annotations)
    return "" if fixed else layout.texts.digest


def is_as_indexed(
    recording: Recording, state: FileState, companions: tuple[Companion, ...], texts: str
) -> bool:
    """Whether the files of a recording, as they are now, have nothing to tell to an index.

    They have when one of them changed, when other ``texts`` (:func:`asked_texts`) are asked, or
    when one that could not be read can be seen again.
    """
    if not recording.is_unreadable_now:
        same = recording.state.is_of_same_file(state) and recording.label_texts == texts
        return same and _are_same(recording.companions, companions)
    absent = {companion.name for companion in recording.companions if companion.state == UNSEEN}
    return state == UNSEEN or any(c.state == UNSEEN and c.name not in absent for c in companions)


def _placed(source: CorpusFiles, recording: Recording, file: RecordingFile) -> Recording:
    """The recording with what its place says, which may change without the file."""
    before = (
        recording.split,
        recording.patient,
        recording.session,
        recording.montage,
        recording.path,
    )
    address = source.address(file.path)
    if before == (file.split or "", file.patient, file.session, file.montage, address):
        return recording
    return replace(
        recording,
        split=file.split or "",
        patient=file.patient,
        session=file.session,
        montage=file.montage,
        path=address,
    )


def _table(companions: tuple[Companion, ...], file: RecordingFile) -> list[Companion]:
    """The channel table among the files beside an EDF: a change of it changes the signal."""
    annotations = {file.companion_name(path) for path in file.annotations}
    return [companion for companion in companions if companion.name not in annotations]


def _signal_findings(recording: Recording) -> tuple[Finding, ...]:
    name = recording.file_name
    return tuple(finding for finding in recording.findings if finding.where == name)


def _read_signal(
    source: CorpusFiles, file: RecordingFile, rules: _Rules, state: FileState, hashes: Hashes
) -> Recording:
    """What the EDF and its channel table tell; ``hashes`` are the content's, if known.

    Raises ``OSError`` when the EDF cannot be read, :class:`WorkRemains` when it changes meanwhile.
    """
    reason, detail = None, ""
    facts = EdfFacts()
    if state == UNSEEN:
        # Says why.
        state = source.state(file.path)
    if not file.path.is_file():
        raise OSError(errno.EINVAL, "this is no file")
    try:
        if not hashes.content:
            hashes = source.hashes(file.path)
        facts = open_edf(source.edf(file.path), _bad_channels(file), rules.channels).facts
    except UnusableEdf as error:
        reason, detail, facts = error.reason, error.detail, error.facts
    if source.state(file.path) != state:
        raise WorkRemains(f"{file.path} changed while it was indexed: run the command again")
    return _signal_row(source, file, state, hashes, facts, reason, detail)


def _unreadable(
    source: CorpusFiles, file: RecordingFile, state: FileState, error: OSError
) -> Recording:
    """The row of an EDF that could never be read."""
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
    """A row without labels; ``reason`` is why there is no signal, with a ``detail``."""
    excluded = () if reason is None else (Finding(reason, file.path.name, detail),)
    match = facts.match
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
        matched=()
        if match is None
        else tuple((name, label) for name, (_, label) in match.signals.items()),
        missing=CHANNELS if match is None else match.missing,
        signal_reason=reason,
        label_reason=None,
        label_source="",
        companions=(),
        annotated_duration_s=None,
        events=(),
        findings=(*facts.findings, *excluded),
        data_hash=hashes.data,
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
    """The recording with what its annotation files say or, where it has none, its own annotations.

    Raises ``OSError`` when those cannot be read.
    """
    signal_s = recording.duration_s or None
    labelling = layout.labelling(file, signal_s)
    if not file.annotations and recording.signal_reason is None:
        labelling = edf_labelling(source.edf(file.path), signal_s, layout.texts)
    return replace(
        recording,
        label_reason=labelling.reason,
        label_source=labelling.source,
        companions=companions,
        annotated_duration_s=labelling.duration_s,
        events=labelling.events,
        findings=(*recording.findings, *labelling.findings),
        label_texts=asked_texts(layout, file),
    )
