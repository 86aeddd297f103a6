"""The index as one sealed Parquet file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.atomic import replacing
from brainbrr_core.configuration.model import Corpus
from brainbrr_core.corpus.files import LocalFiles
from brainbrr_core.corpus.hash_memo import IndexMemo, with_known_hashes
from brainbrr_core.corpus.hashing import file_state
from brainbrr_core.corpus.index import SCHEMA_VERSION, Index, scan
from brainbrr_core.corpus.recording import Companion, FileState, Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.sealed import BrokenSeal, read_sealed, sealed_parquet

_STATE_FIELDS = [("size", pa.int64()), ("mtime_ns", pa.int64()), ("inode", pa.uint64())]
_STATE = pa.struct(_STATE_FIELDS)
_COMPANION = pa.struct([("name", pa.string()), *_STATE_FIELDS])
_EVENT = pa.struct(
    [
        ("start", pa.float64()),
        ("stop", pa.float64()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("channels", pa.list_(pa.string())),
    ]
)
_FINDING = pa.struct([("code", pa.string()), ("where", pa.string()), ("detail", pa.string())])
SCHEMA = pa.schema(
    [
        ("partition_key", pa.string()),
        ("split", pa.string()),
        ("patient", pa.string()),
        ("session", pa.string()),
        ("montage", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("duration_s", pa.float64()),
        ("seizures", pa.int32()),
        ("seizure_s", pa.float64()),
        ("path", pa.string()),
        ("state", _STATE),
        ("content_hash", pa.string()),
        ("rate_numerator", pa.int64()),
        ("rate_denominator", pa.int64()),
        ("samples", pa.int64()),
        ("signals", pa.int32()),
        ("discontinuous", pa.bool_()),
        ("matched", pa.list_(pa.struct([("electrode", pa.string()), ("label", pa.string())]))),
        ("missing", pa.list_(pa.string())),
        ("signal_reason", pa.string()),
        ("label_reason", pa.string()),
        ("label_source", pa.string()),
        ("companions", pa.list_(_COMPANION)),
        ("annotated_duration_s", pa.float64()),
        ("events", pa.list_(_EVENT)),
        ("findings", pa.list_(_FINDING)),
    ]
)


#: Keys of the file's metadata.
_SCHEMA, _LAYOUT, _SKIPPED = "brainbrr.index", "brainbrr.layout", "brainbrr.skipped"


class UnusableIndex(BrainbrrError):
    """There is an index that cannot be read; a new one takes its place."""


def index_path(cache_root: Path) -> Path:
    """Where the index of a cache root lies."""
    return cache_root / "index.parquet"


def write_index(index: Index, cache_root: Path) -> Path:
    """Write the index of a cache root. Raises :class:`BrainbrrError` where it cannot."""
    table = pa.Table.from_pylist([_row(recording) for recording in index], schema=SCHEMA)
    metadata = {
        _SCHEMA: str(SCHEMA_VERSION),
        _LAYOUT: index.layout,
        _SKIPPED: json.dumps(index.skipped),
    }
    return place_index(sealed_parquet(table, metadata), cache_root)


def place_index(content: bytes, cache_root: Path) -> Path:
    """Make the bytes of an index that of a cache root. Raises :class:`BrainbrrError`."""
    path = index_path(cache_root)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise BrainbrrError(
            f"the cache root {cache_root} is not writable ({error.strerror}): set "
            "BRAINBRR_CACHE_ROOT to a folder that is"
        ) from None
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
        table, metadata = read_sealed(path.read_bytes())
    except BrokenSeal:
        raise UnusableIndex(
            f"{path} is damaged (its checksum differs): run `brainbrr index`"
        ) from None
    if metadata[_SCHEMA] != str(SCHEMA_VERSION):
        raise UnusableIndex(
            f"{path} was written by another version of the program: run `brainbrr index`"
        )
    with no_collection():
        rows = tuple(_recording(row) for row in table.to_pylist())
    skipped = tuple(json.loads(metadata[_SKIPPED]))
    return Index(rows, metadata[_LAYOUT], skipped)


def update_index(
    data_dir: str | None,
    cache_root: Path,
    corpus: Corpus | None = None,
    *,
    force: bool = False,
    log: Callable[[str], None] | None = None,
) -> Index:
    """Scan the corpus and write the index of a cache root, using what it already knows.

    What was hashed before an interruption is not hashed again. An index that cannot be read is
    replaced, which ``log`` is told, as it is told of EDFs that changed meanwhile. Raises as
    :func:`scan` and :func:`write_index` do; then the old index stands unchanged.
    """
    if data_dir is None:
        raise BrainbrrError(
            "no data directory: set BRAINBRR_DATA_DIR to the folder that holds the corpus, "
            "or run `brainbrr demo`"
        )
    known = None
    if index_path(cache_root).is_file():
        try:
            known = read_index(cache_root)
        except UnusableIndex as error:
            if log is not None:
                log(f"{error} (which is being done)")
    # Heavy, and only of use for a corpus behind a URL.
    memo = IndexMemo(cache_root)
    if "://" in data_dir:
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


def _row(recording: Recording) -> dict[str, Any]:
    return {
        "partition_key": recording.partition_key,
        "split": recording.split,
        "patient": recording.patient,
        "session": recording.session,
        "montage": recording.montage,
        "status": "ok" if recording.reason is None else "excluded",
        "reason": recording.reason,
        "duration_s": recording.duration_s,
        "seizures": len(recording.events),
        "seizure_s": recording.seizure_s,
        "path": recording.path,
        "state": _state_row(recording.state),
        "content_hash": recording.content_hash,
        "rate_numerator": recording.rate.numerator,
        "rate_denominator": recording.rate.denominator,
        "samples": recording.samples,
        "signals": recording.signals,
        "discontinuous": recording.discontinuous,
        "matched": [{"electrode": name, "label": label} for name, label in recording.matched],
        "missing": list(recording.missing),
        "signal_reason": recording.signal_reason,
        "label_reason": recording.label_reason,
        "label_source": recording.label_source,
        "companions": [
            {"name": companion.name, **_state_row(companion.state)}
            for companion in recording.companions
        ],
        "annotated_duration_s": recording.annotated_duration_s,
        "events": [
            {
                "start": event.start,
                "stop": event.stop,
                "label": event.label,
                "confidence": event.confidence,
                "channels": list(event.channels),
            }
            for event in recording.events
        ],
        "findings": [
            {"code": finding.code, "where": finding.where, "detail": finding.detail}
            for finding in recording.findings
        ],
    }


def _state_row(state: FileState) -> dict[str, int]:
    return {"size": state.size, "mtime_ns": state.mtime_ns, "inode": state.inode}


def _recording(row: dict[str, Any]) -> Recording:
    return Recording(
        partition_key=row["partition_key"],
        split=row["split"],
        patient=row["patient"],
        session=row["session"],
        montage=row["montage"],
        path=row["path"],
        state=FileState(**row["state"]),
        content_hash=row["content_hash"],
        rate=Fraction(row["rate_numerator"], row["rate_denominator"]),
        samples=row["samples"],
        signals=row["signals"],
        discontinuous=row["discontinuous"],
        matched=tuple((pair["electrode"], pair["label"]) for pair in row["matched"]),
        missing=tuple(row["missing"]),
        signal_reason=row["signal_reason"],
        label_reason=row["label_reason"],
        label_source=row["label_source"],
        companions=tuple(
            Companion(c["name"], FileState(c["size"], c["mtime_ns"], c["inode"]))
            for c in row["companions"]
        ),
        annotated_duration_s=row["annotated_duration_s"],
        events=tuple(
            Event(e["start"], e["stop"], e["label"], e["confidence"], tuple(e["channels"]))
            for e in row["events"]
        ),
        findings=tuple(Finding(f["code"], f["where"], f["detail"]) for f in row["findings"]),
    )
