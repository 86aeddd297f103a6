"""The index as one sealed Parquet file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from brainbrr_core.configuration.settings import Corpus
from brainbrr_core.corpus.hash_memo import IndexMemo, with_known_hashes
from brainbrr_core.corpus.index import SCHEMA_VERSION, Index, scan
from brainbrr_core.corpus.index_rows import REPETITIVE, SCHEMA, hashes_by_file, recordings, row
from brainbrr_core.corpus.skipped import SKIPPED, Skipped
from brainbrr_core.corpus.sources import LocalFiles
from brainbrr_core.errors import BrainbrrError, not_writable
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.checked_parquet import (
    ChecksumMismatch,
    encode_checked,
    open_checked,
    read_column,
    read_texts,
)
from brainbrr_core.files.state import FileState, Hashes, file_state

#: Keys of the file's metadata.
_SCHEMA, _LAYOUT, _SKIPPED = "brainbrr.index", "brainbrr.layout", "brainbrr.skipped"
_CHANNEL_RULES = "brainbrr.channel_rules"


class UnusableIndex(BrainbrrError):
    """There is an index that cannot be read; a new one takes its place.

    ``hashes`` are those of its EDFs, by path and state, where it is whole and of another version
    of the program: what is unchanged need not be hashed again.
    """

    def __init__(
        self, message: str, hashes: Mapping[tuple[str, FileState], Hashes] | None = None
    ) -> None:
        super().__init__(message)
        self.hashes = hashes or {}


def index_path(cache_root: Path) -> Path:
    """Where the index of a cache root lies."""
    return cache_root / "index.parquet"


def write_index(index: Index, cache_root: Path) -> Path:
    """Write the index of a cache root. Raises :class:`BrainbrrError` where it cannot."""
    table = pa.Table.from_pylist([row(recording) for recording in index], schema=SCHEMA)
    metadata = {
        _SCHEMA: str(SCHEMA_VERSION),
        _LAYOUT: index.layout,
        _SKIPPED: json.dumps(index.skipped),
        _CHANNEL_RULES: index.channel_rules,
    }
    return place_index(encode_checked(table, metadata), cache_root)


def place_index(content: bytes, cache_root: Path) -> Path:
    """Make the bytes of an index that of a cache root. Raises :class:`BrainbrrError`."""
    path = index_path(cache_root)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise not_writable(f"the cache root {cache_root}", cache_root, error) from None
    return path


def read_index(cache_root: Path) -> Index:
    """Read the index of a cache root.

    Raises :class:`BrainbrrError` when there is none, and :class:`UnusableIndex` when it is
    damaged or of another schema version.
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
    return with_known_hashes(_newest[path][1], cache_root)


#: The index that was read last, as long as its file stays the same: one command asks many times.
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
        recordings(file.metadata.row_group(group).num_rows, partial(read_column, file, group))
        for group in range(file.num_row_groups)
    ]
    return Index(
        tuple(chain.from_iterable(groups)),
        metadata[_LAYOUT],
        skipped,
        # An index of which that is not known is judged anew.
        channel_rules=metadata.get(_CHANNEL_RULES, ""),
    )


def _whole_column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    groups = range(file.num_row_groups)
    return pa.chunked_array([read_column(file, group, name) for group in groups])


def _skipped(path: Path, text: str) -> tuple[Skipped, ...]:
    try:
        skipped = tuple(Skipped(kind, where) for kind, where in json.loads(text))
    except (ValueError, TypeError):
        raise UnusableIndex(f"{path} names files in no way that is known") from None
    if any(item.kind not in SKIPPED for item in skipped):
        raise UnusableIndex(f"{path} names files of an unknown kind: run `brainbrr index`")
    return skipped


def update_index(
    data_dir: str | None,
    cache_root: Path,
    corpus: Corpus | None = None,
    *,
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> Index:
    """Scan the corpus and write the index of a cache root, using what it already knows.

    What was hashed before an interruption, or by another version of the program, is not hashed
    again. An index that cannot be read is replaced, which ``log`` is told, as it is told of EDFs
    that changed meanwhile. Raises as :func:`scan` and :func:`write_index` do; then the old index
    stands unchanged.
    """
    if data_dir is None:
        raise BrainbrrError(
            "no data directory: set BRAINBRR_DATA_DIR to the folder that holds the corpus, "
            "or run `brainbrr demo`"
        )
    known, earlier = None, {}
    if index_path(cache_root).is_file():
        try:
            known = read_index(cache_root)
        except UnusableIndex as error:
            earlier = dict(error.hashes)
            if log is not None:
                log(f"{error} (which is being done)")
    memo = IndexMemo(cache_root, earlier)
    if "://" in data_dir:
        # Heavy, and only of use here.
        from brainbrr_core.corpus.mirror import MirroredFiles

        index = scan(MirroredFiles(data_dir, cache_root), known, corpus, force=force)
    else:
        index = scan(LocalFiles(Path(data_dir), memo), known, corpus, force=force)
    if index != known:
        write_index(index, cache_root)
    memo.clear()
    if log is not None:
        for address in index.unsettled:
            log(f"{address} changed while it was read (is it still being copied?): left as it was")
    return index
