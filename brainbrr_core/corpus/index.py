"""The index: every recording of a corpus, and scanning a corpus for it.

A second scan of an unchanged corpus opens no file: a row of the index is used again as long as the
sizes, times and inodes of its files are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import Corpus
from brainbrr_core.constants import MontageName
from brainbrr_core.corpus.demographics import with_people
from brainbrr_core.corpus.hash_memo import with_known_hashes
from brainbrr_core.corpus.identity import SIMILAR_PATIENT, identify_patients, with_similar_patients
from brainbrr_core.corpus.layouts.base import Layout, RecordingFile, is_partition_key
from brainbrr_core.corpus.layouts.known import CORPUS_FOLDER, detect_layout, open_layout
from brainbrr_core.corpus.recording import UNSEEN, Recording
from brainbrr_core.corpus.row_reading import Rules, is_unchanged, read_row, with_path
from brainbrr_core.corpus.same_content import SAME_CONTENT, exclude_copies, without_comparisons
from brainbrr_core.corpus.same_corpus import check_same_corpus, check_vanished, layout_now
from brainbrr_core.corpus.skipped import Skipped
from brainbrr_core.corpus.sources import CorpusFiles, LocalFiles, state_of
from brainbrr_core.corpus.splits import Assignment, IndexedSplits
from brainbrr_core.edf.formats import FORMATS
from brainbrr_core.errors import BrainbrrError, OutOfMemory, WorkRemains
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.progress import progress, summarize_when_stopped

#: Incremented when the columns, or how they are derived from the files, change.
SCHEMA_VERSION = 3
#: Recordings that one task checks for changes.
_BATCH = 500

#: Findings from comparing recordings with each other, which each scan does again.
_COMPARISONS = frozenset({SAME_CONTENT, SIMILAR_PATIENT})


@dataclass(frozen=True, slots=True)
class IndexedCorpus:
    """What an index of several corpora says of one of them.

    Attributes
    ----------
    name : str
        Its name.
    prefix : str
        What comes before its partition keys and patients.
    layout, channel_rules, assignment, release, license
        As those of the :class:`Index` of the corpus alone.
    same_patients : tuple of (str, str)
        Patients of this corpus who are in another one: the name here, and the one there.
    """

    name: str
    prefix: str
    layout: str
    channel_rules: str
    assignment: Assignment | None
    release: str
    license: str
    same_patients: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Index:
    """All recordings of a corpus, or of several (``brainbrr_core.corpus.several``).

    Attributes
    ----------
    recordings : tuple of Recording
        In the order of their partition keys.
    layout : str
        Name of the layout of the corpus; of several, the names of their layouts.
    skipped : tuple of Skipped
        Files and folders of the corpus that are not read.
    unsettled : tuple of str
        Paths of EDFs that changed while they were read, such as one that is being copied, and of
        those in ``out_of_memory``. Their rows are those of the previous index, if it had any. Not
        stored in the file of the index.
    out_of_memory : tuple of str
        Paths of recordings for which memory did not suffice. Not stored in the file of the index.
    channel_rules : str
        The settings by which the signals were judged, as text; empty where they are unknown.
    assignment : Assignment or None
        What assigned the patients to splits; None where the corpus itself did, and in an index of
        an earlier version of the program.
    resplit : tuple of (str, str, str)
        Patients who were in another split in the index before: name, that split and the new one.
        Not stored in the file of the index.
    release : str
        The release of the corpus where its files state one, otherwise empty.
    license : str
        The note on the license of the corpus in the settings.
    corpora : tuple of IndexedCorpus
        The corpora that have names. What the other attributes say of a corpus alone is here then.
    absent : tuple of str
        Corpora that were not on this machine, so that their rows are those of the previous index.
        Not stored in the file of the index.
    """

    recordings: tuple[Recording, ...]
    layout: str
    skipped: tuple[Skipped, ...] = ()
    unsettled: tuple[str, ...] = field(default=(), compare=False)
    out_of_memory: tuple[str, ...] = field(default=(), compare=False)
    channel_rules: str = ""
    assignment: Assignment | None = None
    resplit: tuple[tuple[str, str, str], ...] = field(default=(), compare=False)
    release: str = ""
    license: str = ""
    corpora: tuple[IndexedCorpus, ...] = ()
    absent: tuple[str, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def in_montage(self, montage: MontageName) -> Index:
        """The index as a montage sees its recordings: see :meth:`Recording.in_montage`."""
        if montage == "10-20":
            return self
        return replace(self, recordings=tuple(r.in_montage(montage) for r in self.recordings))

    def with_known_hashes(self, cache_root: Path) -> Index:
        """The index with the hashes of remote EDFs that were downloaded since it was written."""
        recordings = with_known_hashes(self.recordings, cache_root)
        return self if recordings is self.recordings else replace(self, recordings=recordings)

    def by_key(self) -> dict[str, Recording]:
        """The recordings by partition key."""
        return {recording.partition_key: recording for recording in self.recordings}


@no_collection()
def scan(
    data: Path | CorpusFiles,
    previous: Index | None = None,
    corpus: Corpus | None = None,
    *,
    force: bool = False,
    workers: int | None = None,
) -> Index:
    """Scan a corpus: find its recordings, and read their headers and annotations.

    Parameters
    ----------
    data : pathlib.Path or CorpusFiles
        Folder of the corpus, or access to its files.
    previous : Index, optional
        Index of an earlier scan. Unchanged files are not read again, and its layout is used unless
        the settings name one. A recording with a file that cannot be read now keeps its row, with a
        finding. If the rules for channels changed, headers are read again, but no EDF is hashed.
    corpus : Corpus, optional
        Settings of the corpus; by default those of the default configuration.
    force : bool
        Accept that recordings vanished, or that the corpus is another one.
    workers : int, optional
        EDFs that are read concurrently; by default as the source suggests.

    Returns
    -------
    Index
        The recordings of the corpus.

    Raises
    ------
    BrainbrrError
        There is nothing to index; a patient is in two splits; a list or table of splits does not
        fit the patients; the content of one recording is in two splits or under two patients; or a
        folder cannot be read. Unless ``force``, also when more than 5 % of the previous recordings
        are gone or cannot be read any more, or most of them have other content: an unmounted drive,
        or another corpus.
    """
    corpus = corpus or Corpus()
    source: CorpusFiles = LocalFiles(data) if isinstance(data, Path) else data
    root = source.address(source.root)
    name: str | None = corpus.layout
    if name is None and previous is not None:
        recordings_before = () if force else previous.recordings
        name = layout_now(source.root, previous.layout, recordings_before, root)
    texts = Texts(corpus.annotation_texts)
    layout = open_layout(source.root, name, root, texts)
    layout.suffixes &= source.formats
    files = list(layout.recordings())
    if force and corpus.layout is None and _is_other(previous, files):
        now = detect_layout(source.root)
        if now is not None:
            layout = open_layout(source.root, now.name, root, texts)
            layout.suffixes &= source.formats
            files = list(layout.recordings())
    if not files:
        raise BrainbrrError(
            f"no {_listed(layout.suffixes)} file below {root}: give {CORPUS_FOLDER}"
        )
    # An old index may have hidden files, which are not recordings.
    keys = {file.partition_key for file in files}
    before = {
        key: r
        for key, r in (previous.by_key() if previous else {}).items()
        if key in keys or is_partition_key(key)
    }
    if len(keys) < len(files):
        raise _repeated_key(files)
    gone = before.keys() - keys
    if not force:
        check_vanished(before, gone, [], root, _sizes(source, files, before) if gone else None)
    before_splits = None
    if previous is not None:
        before_splits = IndexedSplits(previous.assignment, previous.recordings)
    files, splits = identify_patients(files, corpus, source.root, root, before_splits)
    # Another layout reads other things from the same files.
    is_same_layout = previous is not None and previous.layout == layout.name
    known = {
        key: without_comparisons(r, _COMPARISONS) if r.findings else r
        for key, r in before.items()
        if is_same_layout
    }
    same_rules = previous is not None and previous.channel_rules == corpus.channel_rules
    rules = Rules(corpus, changed=not same_rules)
    recordings, unsettled, out_of_memory = _recordings(source, layout, files, known, rules, workers)
    if not force:
        lost = [r for r in recordings if r.findings and r.is_unreadable_now]
        check_vanished(before, gone, lost, root)
        check_same_corpus(before, recordings, root)
    recordings, assignment = splits.completed(recordings)
    compared = with_people(_compare(recordings, files, source), layout.people())
    ordered = tuple(sorted(compared, key=attrgetter("partition_key")))
    skipped = tuple(sorted(layout.skipped))
    return Index(
        ordered,
        layout.name,
        skipped,
        tuple(sorted((*unsettled, *out_of_memory))),
        tuple(sorted(out_of_memory)),
        corpus.channel_rules,
        assignment,
        resplit(before, ordered),
        layout.release,
        corpus.license,
    )


def _listed(suffixes: Iterable[str]) -> str:
    return " or ".join(suffix for suffix in FORMATS if suffix in suffixes)


def _is_other(previous: Index | None, files: Iterable[RecordingFile]) -> bool:
    """Whether an index has recordings, and none of these files is one of them."""
    if previous is None or not previous.recordings:
        return False
    return previous.by_key().keys().isdisjoint(file.partition_key for file in files)


def _sizes(
    source: CorpusFiles, files: Iterable[RecordingFile], before: Mapping[str, Recording]
) -> dict[str, int]:
    """Sizes of the EDFs that an earlier index has, too, by partition key."""
    states = {
        file.partition_key: state_of(source, file.location)
        for file in files
        if file.partition_key in before
    }
    return {key: state.size for key, state in states.items() if state != UNSEEN}


def resplit(
    before: dict[str, Recording], after: Iterable[Recording]
) -> tuple[tuple[str, str, str], ...]:
    """Patients with a recording in another split than before: name, that split and the new one."""
    changed = {
        (recording.patient, earlier.split, recording.split)
        for recording in after
        if (earlier := before.get(recording.partition_key)) is not None
        and earlier is not recording
        and earlier.split != recording.split
    }
    return tuple(sorted(changed))


def _compare(
    recordings: list[Recording], files: Iterable[RecordingFile], source: CorpusFiles
) -> list[Recording]:
    """The rows with findings from comparing them: see ``same_content`` and ``identity``."""
    paths = {file.partition_key: file.location for file in files}
    unique = exclude_copies(recordings, lambda r: source.object_tag(paths[r.partition_key]))
    return with_similar_patients(unique)


def _recordings(
    source: CorpusFiles,
    layout: Layout,
    files: list[RecordingFile],
    known: dict[str, Recording],
    rules: Rules,
    workers: int | None,
) -> tuple[list[Recording], list[str], list[str]]:
    """The rows of all files in order, and the addresses of EDFs that changed while they were read.

    The last are addresses of recordings for which memory did not suffice.

    ``known`` has earlier rows by partition key. An exception gets a note that says how much is
    done.
    """
    rows: dict[str, Recording] = {}
    unsettled: list[str] = []
    out_of_memory: list[str] = []
    done = 0

    def summary() -> str:
        return (
            f"{done} of {len(files)} recordings are indexed, {len(files) - done} remain; run the "
            f"same command again: the {source.hashed} EDFs hashed so far are not hashed again"
        )

    def unchanged(batch: Sequence[RecordingFile]) -> list[Recording]:
        return [
            row
            for file in batch
            if (row := known.get(file.partition_key)) is not None
            and is_unchanged(source, layout, file, row, rules)
        ]

    def read(file: RecordingFile) -> Recording | None:
        row = known.get(file.partition_key)
        try:
            return read_row(source, layout, file, row, rules)
        except WorkRemains as error:
            addresses = out_of_memory if isinstance(error, OutOfMemory) else unsettled
            addresses.append(source.address(file.location))
            return None if row is None else with_path(source, row, file)

    with (
        progress("index", len(files), "recordings") as bar,
        summarize_when_stopped(summary),
    ):
        # Most files are unchanged, which needs no file to be opened.
        batches = [files[at : at + _BATCH] for at in range(0, len(files), _BATCH)]
        with thread_pool(source.concurrent_states) as pool:
            each = map if source.concurrent_states == 1 else pool.map
            for batch in each(unchanged, batches):
                rows.update((recording.partition_key, recording) for recording in batch)
                done += len(batch)
                bar.advance(len(batch))
        others = [file for file in files if file.partition_key not in rows]
        with thread_pool(workers or source.concurrent_reads) as pool:
            for file, recording in zip(others, pool.map(read, others), strict=True):
                done += 1
                bar.advance()
                if recording is not None:
                    rows[file.partition_key] = recording
    in_order = (rows.get(file.partition_key) for file in files)
    rows_in_order = [recording for recording in in_order if recording is not None]
    return rows_in_order, unsettled, out_of_memory


def _repeated_key(files: list[RecordingFile]) -> BrainbrrError:
    repeated = [key for key, n in Counter(f.partition_key for f in files).items() if n > 1]
    return BrainbrrError(
        f"two files give the partition key {repeated[0]} (.edf and .EDF?): remove one"
    )
