"""Recordings from the columns of an index, and the other way around.

Read column by column, each when the first recording is asked for what it says: of 100,000
recordings, one dictionary for each row with all it holds would take six times as long and a
gigabyte more. What many rows share (a patient, the channels of a montage) is one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.corpus.recording import Companion, Recording
from brainbrr_core.files.state import FileState, Hashes
from brainbrr_core.machine.memory import no_collection, release_arrow_memory

Value = TypeVar("Value")
Part = TypeVar("Part")

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
#: Status, reason, duration and the figures of seizures follow from the rest: they are for those
#: who read the file with another program, and are not read here.
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
        ("label_texts", pa.string()),
        ("data_hash", pa.string()),
    ]
)
#: Columns of very many texts of which few differ, as Parquet names them.
REPETITIVE = ("matched.list.element.electrode", "matched.list.element.label")


def row(recording: Recording) -> dict[str, Any]:
    """A recording as a row of :data:`SCHEMA`."""
    return {
        "partition_key": recording.partition_key,
        "split": recording.split,
        "patient": recording.patient,
        "session": recording.session,
        "montage": recording.montage,
        "status": "ok" if recording.reason is None else "excluded",
        "reason": recording.reason,
        "duration_s": recording.duration_s,
        "seizures": len(recording.all_seizures),
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
        "label_texts": recording.label_texts,
        "data_hash": recording.data_hash,
    }


def _state_row(state: FileState) -> dict[str, int]:
    return {"size": state.size, "mtime_ns": state.mtime_ns, "inode": state.inode}


def recordings(count: int, column: Callable[[str], pa.Array]) -> tuple[Recording, ...]:
    """The recordings of ``count`` rows of an index, of which ``column`` gives one column.

    A column is read when the first recording is asked for what it says.
    """

    def values(field: str) -> list[Any]:
        with no_collection():
            if field == "rate":
                pairs = _numbers(column("rate_numerator")), _numbers(column("rate_denominator"))
                return _rates(*pairs)
            made = _VALUES[field](column(field))
        release_arrow_memory()
        return made

    return Recording.read_when_asked(count, values)


def hashes_by_file(
    names: Sequence[str], column: Callable[[str], pa.ChunkedArray]
) -> dict[tuple[str, FileState], Hashes]:
    """Hashes of the EDFs of an index by path and state, whatever else its schema is.

    Empty where it has not the three columns that say it, in the form that they always had.
    """
    if not {"path", "state", "content_hash"} <= set(names):
        return {}
    paths, states, contents = (column(name) for name in ("path", "state", "content_hash"))
    if (paths.type, states.type, contents.type) != (pa.string(), _STATE, pa.string()):
        return {}
    data = column("data_hash").to_pylist() if "data_hash" in names else [""] * len(paths)
    files = zip(
        paths.to_pylist(),
        (FileState(**state) for state in states.to_pylist()),
        map(Hashes, contents.to_pylist(), data),
        strict=True,
    )
    return {(path, state): hashes for path, state, hashes in files if hashes.content}


def _texts(array: pa.Array) -> list[str]:
    """Texts of which most differ."""
    return list(array.to_numpy(zero_copy_only=False))


def _numbers(array: pa.Array) -> list[Any]:
    """Numbers or truth values, none of them absent."""
    values: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
    return values


def _optional_numbers(array: pa.Array) -> list[Any]:
    """Numbers of which some are absent."""
    values: list[Any] = array.to_pylist()
    return values


def _shared(array: pa.Array) -> list[Any]:
    """Texts of which many are the same, or absent: each is one object."""
    codes, texts = _coded(array)
    texts.append(None)
    return [texts[code] for code in codes.tolist()]


def _coded(array: pa.Array) -> tuple[Any, list[Any]]:
    """Codes of texts into the list of different ones; -1 for an absent text."""
    encoded = array.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()


def _rates(numerators: Sequence[int], denominators: Sequence[int]) -> list[Fraction]:
    known: dict[tuple[int, int], Fraction] = {}
    pairs = list(zip(numerators, denominators, strict=True))
    for pair in set(pairs):
        known[pair] = Fraction(*pair)
    return [known[pair] for pair in pairs]


def _states(array: pa.Array) -> list[FileState]:
    size, mtime, inode = (_numbers(field) for field in array.flatten())
    return list(map(FileState, size, mtime, inode))


def _spans(array: pa.ListArray) -> Iterator[tuple[int, int]]:
    """Where each list begins and ends among ``array.flatten()``."""
    offsets = array.offsets.to_numpy()
    offsets = (offsets - offsets[:1]).tolist() if len(offsets) else [0]
    return pairwise(offsets)


def _lists(array: pa.ListArray, parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """``parts``, made of ``array.flatten()``, as one tuple for each list."""
    return [tuple(parts[start:stop]) for start, stop in _spans(array)]


def _known_lists(array: pa.ListArray, codes: Any, made: Callable[[Any], Value]) -> list[Value]:
    """What ``made`` gives for the codes of each list: one object for those that are the same."""
    known: dict[bytes, Value] = {}
    values = []
    for start, stop in _spans(array):
        code = codes[start:stop].tobytes()
        value = known.get(code)
        if value is None:
            value = known[code] = made(codes[start:stop])
        values.append(value)
    return values


def _shared_lists(array: pa.ListArray) -> list[tuple[str, ...]]:
    """Lists of texts of which many are the same."""
    codes, texts = _coded(array.flatten())
    return _known_lists(array, codes, lambda part: tuple(texts[code] for code in part.tolist()))


def _matched(array: pa.ListArray) -> list[tuple[tuple[str, str], ...]]:
    (first, electrodes), (second, labels) = map(_coded, array.flatten().flatten())

    def pairs(part: Any) -> tuple[tuple[str, str], ...]:
        return tuple((electrodes[one], labels[other]) for one, other in part.tolist())

    return _known_lists(array, np.stack([first, second], axis=1), pairs)


def _companions(array: pa.ListArray) -> list[tuple[Companion, ...]]:
    name, *state = array.flatten().flatten()
    states = map(FileState, *map(_numbers, state))
    return _lists(array, list(map(Companion, _texts(name), states)))


def _events(array: pa.ListArray) -> list[tuple[Event, ...]]:
    start, stop, label, confidence, channels = array.flatten().flatten()
    events = map(
        Event,
        _numbers(start),
        _numbers(stop),
        _shared(label),
        _numbers(confidence),
        _shared_lists(channels),
    )
    return _lists(array, list(events))


def _findings(array: pa.ListArray) -> list[tuple[Finding, ...]]:
    code, where, detail = array.flatten().flatten()
    findings = map(Finding, _shared(code), _texts(where), _shared(detail))
    return _lists(array, list(findings))


#: How a field of a recording comes from the column of its name.
_VALUES: dict[str, Callable[[pa.Array], list[Any]]] = {
    "partition_key": _texts,
    "split": _shared,
    "patient": _shared,
    "session": _shared,
    "montage": _shared,
    "path": _texts,
    "state": _states,
    "content_hash": _texts,
    "samples": _numbers,
    "signals": _numbers,
    "discontinuous": _numbers,
    "matched": _matched,
    "missing": _shared_lists,
    "signal_reason": _shared,
    "label_reason": _shared,
    "label_source": _shared,
    "companions": _companions,
    "annotated_duration_s": _optional_numbers,
    "events": _events,
    "findings": _findings,
    "label_texts": _shared,
    "data_hash": _texts,
}
