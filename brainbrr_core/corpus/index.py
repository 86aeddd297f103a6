"""The index: every recording of a corpus, in one Parquet file.

A second scan of an unchanged corpus reads no file: what was learnt about a file is kept with
its size, mtime and inode, and used again while these are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import Corpus
from brainbrr_core.corpus.identity import SIMILAR_PATIENT, identified, with_similar_patients
from brainbrr_core.corpus.layouts.base import Layout, RecordingFile, is_partition_key
from brainbrr_core.corpus.layouts.known import open_layout
from brainbrr_core.corpus.recording import UNREADABLE_NOW, Recording
from brainbrr_core.corpus.row_reading import Rules, at_its_path, is_unchanged, read_row
from brainbrr_core.corpus.same_content import SAME_CONTENT, counted_once, uncompared
from brainbrr_core.corpus.skipped import Skipped
from brainbrr_core.corpus.sources import CorpusFiles, LocalFiles
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.progress import progress, summarize_when_stopped

#: Bumped when the columns, or how they are derived from the files, change.
SCHEMA_VERSION = 3
#: Fraction of the known recordings that may vanish, or become unreadable, between two scans.
VANISHED_LIMIT = 0.05

#: Known files that are looked at in a row.
_TOGETHER = 500

#: Findings that come from comparing recordings with each other, anew at each scan.
_COMPARED = frozenset({SAME_CONTENT, SIMILAR_PATIENT})


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
    names = {file.partition_key for file in files}
    before = {
        key: r
        for key, r in (known.by_key() if known else {}).items()
        if key in names or is_partition_key(key)
    }
    _check_keys(files)
    gone = before.keys() - names
    if not force:
        _check_vanished(before, gone, [], place)
    # What a file says about its recording depends on the layout.
    is_same_layout = known is not None and known.layout == layout.name
    trusted = {
        key: uncompared(r, _COMPARED) if r.findings else r
        for key, r in before.items()
        if is_same_layout
    }
    same_rules = known is not None and known.channel_rules == corpus.channel_rules
    rules = Rules(corpus, changed=not same_rules)
    recordings, unsettled = _recordings(source, layout, files, trusted, rules, workers)
    if not force:
        lost = [r for r in recordings if r.findings and r.is_unreadable_now]
        _check_vanished(before, gone, lost, place)
        _check_same_corpus(before, recordings, place)
    compared = _compared(recordings, files, source)
    ordered = tuple(sorted(compared, key=lambda recording: recording.partition_key))
    skipped, left = tuple(sorted(layout.skipped)), tuple(sorted(unsettled))
    return Index(ordered, layout.name, skipped, left, corpus.channel_rules)


def _compared(
    recordings: list[Recording], files: Iterable[RecordingFile], source: CorpusFiles
) -> list[Recording]:
    """The rows with what follows from comparing them: see ``same_content`` and ``identity``."""
    paths = {file.partition_key: file.location for file in files}
    once = counted_once(recordings, lambda r: source.object_tag(paths[r.partition_key]))
    return with_similar_patients(once)


def _recordings(
    source: CorpusFiles,
    layout: Layout,
    files: list[RecordingFile],
    trusted: dict[str, Recording],
    rules: Rules,
    workers: int | None,
) -> tuple[list[Recording], list[str]]:
    """The rows of all files, in their order, and the addresses of those that changed meanwhile.

    ``trusted`` is what is known of them. What interrupts this carries a note of what is done.
    """
    rows: dict[str, Recording] = {}
    unsettled: list[str] = []
    done = 0

    def summary() -> str:
        return (
            f"{done} of {len(files)} recordings are indexed, {len(files) - done} remain; the "
            f"{source.hashed} that were hashed now need not be again: give the same command again"
        )

    def unchanged(batch: Sequence[RecordingFile]) -> list[Recording]:
        return [
            known
            for file in batch
            if (known := trusted.get(file.partition_key)) is not None
            and is_unchanged(source, layout, file, known, rules)
        ]

    def read(file: RecordingFile) -> Recording | None:
        known = trusted.get(file.partition_key)
        try:
            return read_row(source, layout, file, known, rules)
        except WorkRemains:
            unsettled.append(source.address(file.location))
            return None if known is None else at_its_path(source, known, file)

    with (
        no_collection(),
        progress("index", len(files), "recordings") as bar,
        summarize_when_stopped(summary),
    ):
        # Most known files are unchanged, which is seen without opening one.
        batches = [files[at : at + _TOGETHER] for at in range(0, len(files), _TOGETHER)]
        with thread_pool(source.looks) as pool:
            each = map if source.looks == 1 else pool.map
            for kept in each(unchanged, batches):
                rows.update((recording.partition_key, recording) for recording in kept)
                done += len(kept)
                bar.advance(len(kept))
        others = [file for file in files if file.partition_key not in rows]
        with thread_pool(workers or source.requests) as pool:
            for file, recording in zip(others, pool.map(read, others), strict=True):
                done += 1
                bar.advance()
                if recording is not None:
                    rows[file.partition_key] = recording
    in_order = (rows.get(file.partition_key) for file in files)
    return [recording for recording in in_order if recording is not None], unsettled


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
    unreadable = list(unreadable)
    if not gone and not unreadable:
        return
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
    common = [(before[r.partition_key], r) for r in after if r.partition_key in before]
    changed = sum(one is not other and not _same_bytes(one, other) for one, other in common)
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
