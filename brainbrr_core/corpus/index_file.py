"""The index as one Parquet file with a checksum, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from brainbrr_core.configuration.settings import Corpus, CorpusSource
from brainbrr_core.corpus.hash_memo import IndexMemo
from brainbrr_core.corpus.index import SCHEMA_VERSION, Index, IndexedCorpus, scan
from brainbrr_core.corpus.index_rows import (
    REPETITIVE,
    hashes_by_file,
    index_table,
    read_recordings,
)
from brainbrr_core.corpus.layouts.known import GIVEN_BY
from brainbrr_core.corpus.several import corpora_of, join, without_copies
from brainbrr_core.corpus.skipped import SKIPPED, Skipped
from brainbrr_core.corpus.sources import open_corpus
from brainbrr_core.corpus.split_report import resplit_line
from brainbrr_core.corpus.splits import Assignment
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, OutOfMemory, not_writable
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.checked_parquet import (
    ChecksumMismatch,
    encode_checked,
    open_checked,
    read_column,
    read_texts,
)
from brainbrr_core.files.state import FileState, Hashes, file_state
from brainbrr_core.machine.walk import as_text

#: Keys of the metadata of the file.
_SCHEMA, _LAYOUT, _SKIPPED = "brainbrr.index", "brainbrr.layout", "brainbrr.skipped"
_CHANNEL_RULES, _ASSIGNMENT = "brainbrr.channel_rules", "brainbrr.assignment"
_RELEASE, _LICENSE, _CORPORA = "brainbrr.release", "brainbrr.license", "brainbrr.corpora"


class UnusableIndex(BrainbrrError):
    """The index of a cache root cannot be used; ``brainbrr index`` replaces it.

    Attributes
    ----------
    hashes : mapping
        Hashes of its EDFs by path and state, if another version of the program wrote it. EDFs that
        have not changed since need not be hashed again.
    """

    def __init__(
        self, message: str, hashes: Mapping[tuple[str, FileState], Hashes] | None = None
    ) -> None:
        super().__init__(message)
        self.hashes = hashes or {}


def index_path(cache_root: Path) -> Path:
    """Path of the index of a cache root."""
    return cache_root / "index.parquet"


def write_index(index: Index, cache_root: Path) -> Path:
    """Write the index of a cache root, replacing the one that it has.

    Parameters
    ----------
    index : Index
        The index.
    cache_root : pathlib.Path
        The cache root; created where it is missing.

    Returns
    -------
    pathlib.Path
        Path of the file.

    Raises
    ------
    BrainbrrError
        The file cannot be written.
    """
    metadata = {
        _SCHEMA: str(SCHEMA_VERSION),
        _LAYOUT: index.layout,
        _SKIPPED: json.dumps(index.skipped),
        _CHANNEL_RULES: index.channel_rules,
    }
    if index.assignment is not None:
        metadata[_ASSIGNMENT] = json.dumps(asdict(index.assignment), sort_keys=True)
    if index.release:
        metadata[_RELEASE] = index.release
    if index.license:
        metadata[_LICENSE] = index.license
    if index.corpora:
        metadata[_CORPORA] = json.dumps([asdict(corpus) for corpus in index.corpora])
    return place_index(encode_checked(index_table(index), metadata), cache_root)


def place_index(content: bytes, cache_root: Path) -> Path:
    """Write the bytes of an index as that of a cache root; returns its path.

    Raises :class:`BrainbrrError` where it cannot be written.
    """
    path = index_path(cache_root)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise not_writable(f"the cache root {cache_root}", cache_root, error) from None
    return path


def read_index(cache_root: Path) -> Index:
    """Read the index of a cache root.

    Parameters
    ----------
    cache_root : pathlib.Path
        The cache root.

    Returns
    -------
    Index
        The index; fields of its recordings are read when they are first used.

    Raises
    ------
    BrainbrrError
        The cache root has no index.
    UnusableIndex
        The index is damaged, or another version of the program wrote it.
    """
    path = index_path(cache_root)
    try:
        state = file_state(path)
    except FileNotFoundError:
        raise BrainbrrError(f"no index in {cache_root}: run `brainbrr index`") from None
    if _newest.get(path, (None,))[0] != state:
        index = _read(path)
        _newest.clear()
        _newest[path] = (state, index)
    return _newest[path][1].with_known_hashes(cache_root)


#: The index that was read last and the state of its file: one command reads it many times.
_newest: dict[Path, tuple[FileState, Index]] = {}


def _read(path: Path) -> Index:
    try:
        file = open_checked(path.read_bytes(), REPETITIVE)
    except ChecksumMismatch:
        raise UnusableIndex(
            f"{path} is damaged (its checksum differs): run `brainbrr index`"
        ) from None
    metadata = read_texts(file)
    if metadata[_SCHEMA] != str(SCHEMA_VERSION):
        raise UnusableIndex(
            f"{path} was written by another version of the program: run `brainbrr index`",
            hashes_by_file(file.schema_arrow.names, partial(_whole_column, file)),
        )
    skipped = _skipped(path, metadata[_SKIPPED])
    groups = [
        read_recordings(
            file.metadata.row_group(group).num_rows,
            file.schema_arrow.names,
            partial(read_column, file, group),
        )
        for group in range(file.num_row_groups)
    ]
    return Index(
        tuple(chain.from_iterable(groups)),
        metadata[_LAYOUT],
        skipped,
        # Without them, the next scan judges every signal again.
        channel_rules=metadata.get(_CHANNEL_RULES, ""),
        assignment=_assignment(path, metadata.get(_ASSIGNMENT)),
        release=metadata.get(_RELEASE, ""),
        license=metadata.get(_LICENSE, ""),
        corpora=_corpora(path, metadata.get(_CORPORA)),
    )


def _whole_column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    groups = range(file.num_row_groups)
    return pa.chunked_array([read_column(file, group, name) for group in groups])


def _skipped(path: Path, text: str) -> tuple[Skipped, ...]:
    try:
        skipped = tuple(Skipped(kind, item) for kind, item in json.loads(text))
    except (ValueError, TypeError):
        raise UnusableIndex(
            f"{path} has an unreadable list of skipped files: run `brainbrr index`"
        ) from None
    if any(item.kind not in SKIPPED for item in skipped):
        raise UnusableIndex(f"{path} lists skipped files of an unknown kind: run `brainbrr index`")
    return skipped


def _assignment(path: Path, text: str | None) -> Assignment | None:
    """What assigned patients to splits; None in an index that does not say it."""
    if text is None:
        return None
    try:
        values = json.loads(text)
        moved = tuple((str(name), str(split)) for name, split in values["moved"])
        return Assignment(
            str(values["rule"]), str(values["settings"]), values["trainable"] is True, moved
        )
    except (ValueError, TypeError, KeyError):
        raise UnusableIndex(
            f"{path} does not say readably what assigned its patients to splits: run "
            "`brainbrr index`"
        ) from None


def _corpora(path: Path, text: str | None) -> tuple[IndexedCorpus, ...]:
    """The corpora of an index of several; empty in one of a corpus without a name."""
    if text is None:
        return ()
    try:
        return _CORPORA_OF_JSON.validate_json(text)
    except ValueError:
        raise UnusableIndex(
            f"{path} does not say readably which corpora it has: run `brainbrr index`"
        ) from None


_CORPORA_OF_JSON = TypeAdapter(tuple[IndexedCorpus, ...])


def why_absent(source: CorpusSource, *, several: bool) -> str:
    """Why a corpus cannot be scanned on this machine; empty where it can."""
    if source.data_dir is None:
        if several:
            return f"{source.named_by} is not set"
        return (
            "no data directory: set BRAINBRR_DATA_DIR to the folder that holds the corpus, "
            "or run `brainbrr demo`"
        )
    if missing := missing_data_dir(source.data_dir, source.named_by):
        return missing
    # An empty folder is usually where a drive is not mounted.
    if several and "://" not in source.data_dir and not any(Path(source.data_dir).iterdir()):
        return (
            f"{source.named_by} names {as_text(source.data_dir)}, which is empty: mount its drive"
        )
    return ""


def _check_listed(
    indexed: Iterable[tuple[IndexedCorpus, Index]], sources: Sequence[CorpusSource]
) -> None:
    """Raise :class:`BrainbrrError` where a corpus of the index is not among the sources."""
    listed = {source.prefix for source in sources}
    for corpus, index in indexed:
        if corpus.prefix in listed or not len(index):
            continue
        kept = count(len(index), "recording")
        if corpus.prefix:
            raise BrainbrrError(
                f"the index of this cache root has {kept} of the corpus {corpus.name}, which the "
                "configuration does not list: add it to corpora (without data_dir, if it is not "
                "on this machine), or run `brainbrr index --force`, which drops it"
            )
        raise BrainbrrError(
            f"the index of this cache root has {kept} whose keys begin with no name of a corpus, "
            "and every entry of corpora would put one there: give the entry of that corpus "
            "`prefix_keys: false`, which keeps its keys and shards, or run `brainbrr index "
            "--force`, which drops them"
        )


@contextmanager
def _naming(source: CorpusSource) -> Iterator[None]:
    """Have the errors of one of several corpora begin with its name, and say what to edit."""
    try:
        yield
    except BrainbrrError as error:
        if source.name:
            # A variable and an option are for one corpus.
            text = str(error).replace(GIVEN_BY, source.named_by)
            text = text.replace("BRAINBRR_DATA_DIR", source.named_by)
            text = text.replace("with --layout", f"with layout of {source.name} in corpora")
            error.args = (f"corpus {source.name}: {text}",)
        raise


def missing_data_dir(data_dir: str, named_by: str) -> str:
    """What is wrong with a data directory that is not there; empty for one that is, and for a URL.

    ``named_by`` is what sets it, such as ``BRAINBRR_DATA_DIR``.
    """
    path = Path(data_dir)
    if "://" in data_dir or path.is_dir():
        return ""
    wrong = "is a file" if path.is_file() else "does not exist"
    return (
        f"{named_by} names the data directory {as_text(data_dir)}, which {wrong}: mount its drive, "
        f"or set {named_by} to the folder that holds the corpus"
    )


def update_index(
    data_dir: str | None,
    cache_root: Path,
    corpus: Corpus | None = None,
    *,
    force: bool = False,
    named_by: str = "data_dir",
    log: Callable[[str], None] | None = None,
) -> Index:
    """Scan one corpus and update the index of a cache root: see ``index_corpora``.

    Parameters
    ----------
    data_dir : str or None
        Folder or URL of the corpus.
    cache_root : pathlib.Path
        The cache root.
    corpus : Corpus, optional
        Settings of the corpus; by default those of the default configuration.
    force : bool
        Accept that recordings vanished, or that the corpus is another one.
    named_by : str
        What sets ``data_dir``, for messages, such as ``BRAINBRR_DATA_DIR``.
    log : callable, optional
        Called with each remark, a line of text.

    Returns
    -------
    Index
        The new index.

    Raises
    ------
    BrainbrrError
        As ``index_corpora``.
    """
    source = CorpusSource(data_dir, corpus or Corpus(), named_by)
    return index_corpora([source], cache_root, force=force, log=log)


def index_corpora(
    sources: Sequence[CorpusSource],
    cache_root: Path,
    *,
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> Index:
    """Scan the corpora of a configuration and update the index of a cache root.

    EDFs that have not changed are not read again, and EDFs that were hashed before an interruption,
    or by another version of the program, are not hashed again. An index that cannot be used is
    replaced. When an error is raised, the old index is unchanged. Of several corpora, one that is
    not on this machine keeps its rows.

    Parameters
    ----------
    sources : sequence of CorpusSource
        The corpora: several with names, or one without.
    cache_root : pathlib.Path
        The cache root.
    force : bool
        Accept that recordings vanished, that a corpus is another one, or that a corpus of the index
        is not among the sources.
    log : callable, optional
        Called with a line of text when an index is replaced, when patients are in another split
        than before, for each corpus that is not on this machine, and for each EDF that changed
        while it was read.

    Returns
    -------
    Index
        The new index.

    Raises
    ------
    BrainbrrError
        As :func:`~brainbrr_core.corpus.index.scan`, :func:`~brainbrr_core.corpus.several.join` and
        :func:`write_index`, and for a corpus that is not here and was never indexed.
    """
    several = len(sources) > 1
    absent = {
        source.name: why for source in sources if (why := why_absent(source, several=several))
    }
    if not several and absent:
        raise BrainbrrError(absent[sources[0].name])
    previous, earlier = None, {}
    if index_path(cache_root).is_file():
        try:
            previous = read_index(cache_root)
        except UnusableIndex as error:
            earlier = dict(error.hashes)
            if log is not None:
                log(f"{error} (it is being replaced now)")
    alone = {} if previous is None else {one.prefix: (one, i) for one, i in corpora_of(previous)}
    if not force:
        _check_listed(alone.values(), sources)
    memo = IndexMemo(cache_root, earlier)
    scanned = []
    for source in sources:
        _, before = alone.get(source.prefix, (None, None))
        if source.name not in absent:
            with _naming(source):
                files = open_corpus(str(source.data_dir), cache_root, memo)
                scanned.append((source, scan(files, before, source.settings, force=force)))
            continue
        if before is None:
            raise BrainbrrError(f"the corpus {source.name} is in no index: {absent[source.name]}")
        if log is not None:
            log(
                f"the corpus {source.name} is not here, and its {count(len(before), 'recording')} "
                f"stay as they were indexed: {absent[source.name]}"
            )
        scanned.append((source, without_copies(before)))
    index = replace(join(scanned, previous), absent=tuple(absent))
    if index != previous:
        write_index(index, cache_root)
    memo.clear()
    if log is not None:
        if index.resplit:
            log(resplit_line(len(index.resplit)))
        for address in index.unsettled:
            if address in index.out_of_memory:
                log(str(OutOfMemory(address)))
                continue
            log(f"{address} changed while it was read (is it still being copied?): its row is kept")
    return index
