"""The index: every recording of a corpus, in one Parquet file.

A second scan of an unchanged corpus reads no file: what was learnt about a file is kept with
its size, mtime and inode, and used again while these are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.annotation import Finding
from brainbrr_core.configuration.model import Corpus
from brainbrr_core.corpus.channels_tsv import bad_channels
from brainbrr_core.corpus.edf import open_edf
from brainbrr_core.corpus.edf_header import EdfFacts, UnusableEdf
from brainbrr_core.corpus.files import CorpusFiles, LocalFiles
from brainbrr_core.corpus.layout import Layout, RecordingFile
from brainbrr_core.corpus.layouts import open_layout, seeded_split
from brainbrr_core.corpus.recording import Companion, FileState, Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.progress import progress
from brainbrr_core.signal.montage import CHANNELS

#: Bumped when the columns, or how they are derived from the files, change.
SCHEMA_VERSION = 2
#: Fraction of the known recordings that may vanish between two scans.
VANISHED_LIMIT = 0.05


#: What a file is in the index that cannot be seen: a link that leads nowhere, for example.
_UNSEEN = FileState(0, 0, 0)
#: Findings that may only mean that a file beside the EDF could not be opened.
_UNOPENED = frozenset({"unreadable_annotation", "unusable_types", "bad_channel_table"})


@dataclass(frozen=True)
class Index:
    """All recordings of one corpus, in the order of their partition keys.

    ``skipped`` are EDFs, below the corpus's root, that its layout does not count as recordings.
    """

    recordings: tuple[Recording, ...]
    layout: str
    skipped: tuple[str, ...] = ()

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

    ``known`` is the index of an earlier scan, whose layout holds by default.

    Raises :class:`BrainbrrError` when there is nothing to index, when a patient is in two
    splits, when a folder cannot be read, and (unless ``force``) when more than 5 % of the known
    recordings are gone or most of them hold other bytes: an unmounted drive, or another corpus.
    """
    corpus = corpus or Corpus()
    source: CorpusFiles = LocalFiles(data) if isinstance(data, Path) else data
    place = source.address(source.root)
    remembered = known.layout if known is not None else None
    layout = open_layout(source.root, corpus.layout or remembered, place)
    with no_collection():
        files = [_with_split(file, corpus) for file in layout.recordings()]
    if not files:
        raise BrainbrrError(f"no .edf file below {place}: is this the corpus?")
    _check_patients(files)
    before = known.by_key() if known is not None else {}
    _check_keys(files)
    if not force:
        _check_vanished(before, files, place)
    # What a file says about its recording depends on the layout.
    trusted = before if known is not None and known.layout == layout.name else {}
    with (
        no_collection(),
        ThreadPoolExecutor(workers or source.requests) as pool,
        progress("index", len(files), "recordings") as bar,
    ):

        def read(file: RecordingFile) -> Recording:
            recording = _read(source, layout, file, trusted.get(file.partition_key))
            bar.advance()
            return recording

        recordings = tuple(pool.map(read, files))
    if not force:
        _check_same_corpus(before, recordings, place)
    ordered = tuple(sorted(recordings, key=lambda recording: recording.partition_key))
    return Index(ordered, layout.name, tuple(sorted(layout.skipped)))


def _with_split(file: RecordingFile, corpus: Corpus) -> RecordingFile:
    if file.split is not None:
        return file
    return replace(file, split=seeded_split(file.patient, corpus.split))


def _check_keys(files: list[RecordingFile]) -> None:
    repeated = [key for key, n in Counter(f.partition_key for f in files).items() if n > 1]
    if repeated:
        raise BrainbrrError(
            f"two files give the partition key {repeated[0]} (.edf and .EDF?): remove one"
        )


def _check_patients(files: list[RecordingFile]) -> None:
    splits: dict[str, set[str]] = {}
    for file in files:
        splits.setdefault(file.patient, set()).add(file.split or "")
    shared = sorted(patient for patient, places in splits.items() if len(places) > 1)
    if shared:
        raise BrainbrrError(
            f"{len(shared)} patients are in more than one split ({', '.join(shared)}): "
            "a model would be scored on patients it has seen; mend the folders"
        )


def _check_vanished(before: dict[str, Recording], files: list[RecordingFile], root: str) -> None:
    gone = before.keys() - {file.partition_key for file in files}
    if before and len(gone) == len(before):
        raise _other_corpus(before, root)
    if len(gone) > VANISHED_LIMIT * len(before):
        raise BrainbrrError(
            f"{len(gone)} of {len(before)} known recordings are gone from {root} (is the drive "
            "mounted?): nothing was changed; if they were removed on purpose, "
            "run `brainbrr index --force`"
        )


def _check_same_corpus(
    before: dict[str, Recording], after: tuple[Recording, ...], root: str
) -> None:
    common = [recording for recording in after if recording.partition_key in before]
    changed = sum(not _same_bytes(before[r.partition_key], r) for r in common)
    if len(common) > 1 and changed > len(common) / 2:
        raise _other_corpus(before, root)


def _same_bytes(before: Recording, after: Recording) -> bool:
    # A remote EDF's hash is unknown until it is fetched.
    return before.content_hash == after.content_hash or before.state == after.state


def _other_corpus(before: dict[str, Recording], root: str) -> BrainbrrError:
    return BrainbrrError(
        f"this cache root belongs to another corpus than {root} ({len(before)} recordings, such "
        f"as {min(before)}): set BRAINBRR_CACHE_ROOT to another folder, or, if the corpus itself "
        "was replaced, run `brainbrr index --force`"
    )


def _read(
    source: CorpusFiles, layout: Layout, file: RecordingFile, known: Recording | None
) -> Recording:
    """One row: what is known of an unchanged file, or what reading it tells."""
    try:
        state = source.state(file.path)
    except OSError:
        state = _UNSEEN
    companions = tuple(_companion(source, path) for path in file.companions)
    if known is None or known.state != state or known.signal_reason == "unreadable":
        return _with_labels(_read_signal(source, file, state, ""), layout, file, companions)
    # What could not be opened may be opened now, though nothing else about it changed.
    retry = any(finding.code in _UNOPENED for finding in known.findings)
    before = () if retry else known.companions
    if before == companions:
        return _placed(source, known, file)
    if _table(before, file) != _table(companions, file):
        signal = _read_signal(source, file, state, known.content_hash)
    else:
        signal = replace(known, findings=_signal_findings(known))
    return _with_labels(_placed(source, signal, file), layout, file, companions)


def _placed(source: CorpusFiles, recording: Recording, file: RecordingFile) -> Recording:
    """The recording with what its place says, which may change without the file."""
    return replace(
        recording,
        split=file.split or "",
        patient=file.patient,
        session=file.session,
        montage=file.montage,
        path=source.address(file.path),
    )


def _companion(source: CorpusFiles, path: Path) -> Companion:
    try:
        return Companion(path.name, source.state(path))
    except OSError:
        return Companion(path.name, _UNSEEN)


def _table(companions: tuple[Companion, ...], file: RecordingFile) -> list[Companion]:
    """The channel table among the files beside an EDF: a change of it changes the signal."""
    annotations = {path.name for path in file.annotations}
    return [companion for companion in companions if companion.name not in annotations]


def _signal_findings(recording: Recording) -> tuple[Finding, ...]:
    name = Path(recording.path).name
    return tuple(finding for finding in recording.findings if finding.where == name)


def _read_signal(
    source: CorpusFiles, file: RecordingFile, state: FileState, digest: str
) -> Recording:
    """What the EDF and its channel table tell; ``digest`` is the content's hash, if known."""
    reason, detail = None, ""
    facts = EdfFacts()
    try:
        if state == _UNSEEN or not file.path.is_file():
            raise UnusableEdf("unreadable", "the link leads nowhere, or to no file")
        digest = digest or source.content_hash(file.path)
        facts = open_edf(source.edf(file.path), _bad_channels(file)).facts
    except UnusableEdf as error:
        reason, detail, facts = error.reason, error.detail, error.facts
    except OSError as error:
        reason, detail, digest = "unreadable", error.strerror or "", ""
    else:
        if source.state(file.path) != state:
            raise BrainbrrError(f"{file.path} changed while it was indexed: run the command again")
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
        content_hash=digest,
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
    )


def _bad_channels(file: RecordingFile) -> tuple[str, ...]:
    if file.channel_table is None:
        return ()
    try:
        return bad_channels(file.path)
    except BrainbrrError as error:
        raise UnusableEdf("bad_channel_table", str(error)) from None


def _with_labels(
    recording: Recording, layout: Layout, file: RecordingFile, companions: tuple[Companion, ...]
) -> Recording:
    labelling = layout.labelling(file, recording.duration_s or None)
    return replace(
        recording,
        label_reason=labelling.reason,
        label_source=labelling.source,
        companions=companions,
        annotated_duration_s=labelling.duration_s,
        events=labelling.events,
        findings=(*recording.findings, *labelling.findings),
    )
