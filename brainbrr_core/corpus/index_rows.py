"""The columns of an index: how each is written from recordings and read back.

Each column is read when the first recording is asked for its field. For 100,000 recordings, one
dictionary per row with everything in it would take six times as long and a gigabyte more. Values
that many rows share (a patient, the channels of a montage) are one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise, repeat
from operator import attrgetter
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.corpus.recording import BipolarSignal, Companion, Recording, set_each
from brainbrr_core.files import arrow_values
from brainbrr_core.files.state import FileState, Hashes
from brainbrr_core.machine.memory import no_collection, release_arrow_memory

Value = TypeVar("Value")
Element = TypeVar("Element")
_Codes = NDArray[np.int32]

_STATE_FIELDS = {"size": pa.int64(), "mtime_ns": pa.int64(), "inode": pa.uint64()}
_COMPANION_FIELDS = {"name": pa.string(), **_STATE_FIELDS}
_EVENT_FIELDS = {
    "start": pa.float64(),
    "stop": pa.float64(),
    "label": pa.string(),
    "confidence": pa.float64(),
    "channels": pa.list_(pa.string()),
}
_FINDING_FIELDS = {"code": pa.string(), "where": pa.string(), "detail": pa.string()}
_MATCHED_FIELDS = {"electrode": pa.string(), "label": pa.string()}
_BIPOLAR_FIELDS = {
    "reason": pa.string(),
    "rate_numerator": pa.int64(),
    "rate_denominator": pa.int64(),
    "samples": pa.int64(),
    "matched": pa.list_(pa.struct(_MATCHED_FIELDS)),
    "missing": pa.list_(pa.string()),
    "findings": pa.list_(pa.struct(_FINDING_FIELDS)),
}
#: Columns with many texts of which few differ, as Parquet names them, and which every index has.
#: They are read as codes.
REPETITIVE = (
    *("split", "patient", "session", "montage", "signal_reason", "label_reason", "label_source"),
    *("label_texts", "missing.list.element"),
    *("matched.list.element.electrode", "matched.list.element.label"),
    *("events.list.element.label", "events.list.element.channels.list.element"),
    *("findings.list.element.code", "findings.list.element.detail"),
)


# Reading: each function gives the values of a column, one for each row.


def _integers(array: pa.Array) -> list[int]:
    """Integers, none of them absent."""
    values: list[int] = arrow_values.numbers(array).tolist()
    return values


def _numbers(array: pa.Array) -> list[float]:
    """Floating-point numbers, none of them absent."""
    values: list[float] = arrow_values.numbers(array).tolist()
    return values


def _flags(array: pa.Array) -> list[bool]:
    """Truth values, none of them absent."""
    values: list[bool] = arrow_values.flags(array).tolist()
    return values


def _optional_numbers(array: pa.Array) -> list[float | None]:
    """Floating-point numbers, some of them absent."""
    values: list[float | None] = array.to_pylist()
    return values


def _shared(array: pa.Array) -> list[str]:
    """Texts many of which are equal: equal texts are one object. An absent text is empty."""
    codes, texts = _encode(array)
    return list(map([*texts, ""].__getitem__, codes.tolist()))


def _optional_shared(array: pa.Array) -> list[str | None]:
    """Texts many of which are equal or absent: equal texts are one object."""
    codes, texts = _encode(array)
    values: list[str | None] = [*texts, None]
    return list(map(values.__getitem__, codes.tolist()))


def _encode(array: pa.Array) -> tuple[_Codes, list[str]]:
    """The different texts of a column, and the position of each row's text among them.

    The position of an absent text is -1.
    """
    encoded = array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()
    return arrow_values.codes(encoded), arrow_values.texts(encoded.dictionary)


def _rates(numerators: Sequence[int], denominators: Sequence[int]) -> list[Fraction]:
    pairs = list(zip(numerators, denominators, strict=True))
    fractions = {pair: Fraction(*pair) for pair in set(pairs)}
    return [fractions[pair] for pair in pairs]


def _states(array: pa.Array) -> list[FileState]:
    return _file_states(*array.flatten())


def _file_states(*columns: pa.Array) -> list[FileState]:
    # As FileState(...) would make them, in a third of the time.
    return list(map(partial(tuple.__new__, FileState), zip(*map(_integers, columns), strict=True)))


def _elements(array: pa.ListArray) -> pa.Array:
    """The elements of all lists, one after the other; no list is absent."""
    # Not array.flatten(): that imports all of Arrow's functions, which takes longer than a column.
    start = array.offsets[0].as_py() if len(array) else 0
    return array.values[start : array.offsets[-1].as_py() if len(array) else 0]


def _spans(array: pa.ListArray) -> Iterator[tuple[int, int]]:
    """Start and stop of each list in ``_elements(array)``."""
    offsets: list[int] = arrow_values.numbers(array.offsets).tolist()
    offsets = [offset - offsets[0] for offset in offsets] if offsets else [0]
    return pairwise(offsets)


def _split_lists(array: pa.ListArray, elements: Sequence[Element]) -> list[tuple[Element, ...]]:
    """``elements``, made from ``_elements(array)``, as one tuple for each list."""
    return [tuple(elements[start:stop]) for start, stop in _spans(array)]


def _share_lists(
    array: pa.ListArray, codes: _Codes, make: Callable[[_Codes], Value]
) -> list[Value]:
    """What ``make`` gives for the codes of each list; equal lists give one object."""
    by_codes: dict[bytes, Value] = {}
    values = []
    for start, stop in _spans(array):
        own = codes[start:stop]
        key = own.tobytes()
        value = by_codes.get(key)
        if value is None:
            value = by_codes[key] = make(own)
        values.append(value)
    return values


def _shared_lists(array: pa.ListArray) -> list[tuple[str, ...]]:
    """Lists of texts many of which are equal."""
    codes, texts = _encode(_elements(array))
    return _share_lists(array, codes, lambda own: tuple(texts[code] for code in own.tolist()))


def _matched(array: pa.ListArray) -> list[tuple[tuple[str, str], ...]]:
    (first, electrodes), (second, labels) = map(_encode, _elements(array).flatten())

    def pairs(own: _Codes) -> tuple[tuple[str, str], ...]:
        return tuple((electrodes[one], labels[other]) for one, other in own.tolist())

    return _share_lists(array, np.stack([first, second], axis=1), pairs)


def _companions(array: pa.ListArray) -> list[tuple[Companion, ...]]:
    name, *state = _elements(array).flatten()
    pairs = zip(arrow_values.texts(name), _file_states(*state), strict=True)
    return _split_lists(array, list(map(partial(tuple.__new__, Companion), pairs)))


def _events(array: pa.ListArray) -> list[tuple[Event, ...]]:
    start, stop, label, confidence, channels = _elements(array).flatten()
    values: dict[str, Sequence[object]] = {
        "start": _numbers(start),
        "stop": _numbers(stop),
        "label": _shared(label),
        "confidence": _numbers(confidence),
        "channels": _shared_lists(channels),
    }
    # As Event(...) would make them, in a third of the time.
    events = list(map(Event.__new__, repeat(Event, len(start))))
    for name, column in values.items():
        set_each(events, name, column)
    return _split_lists(array, events)


def _findings(array: pa.ListArray) -> list[tuple[Finding, ...]]:
    code, where, detail = _elements(array).flatten()
    findings = map(Finding, _shared(code), arrow_values.texts(where), _shared(detail))
    return _split_lists(array, list(findings))


def _bipolar(array: pa.Array) -> list[BipolarSignal | None]:
    return [
        None
        if row is None
        else BipolarSignal(
            row["reason"],
            Fraction(row["rate_numerator"], row["rate_denominator"]),
            row["samples"],
            tuple((one["electrode"], one["label"]) for one in row["matched"]),
            tuple(row["missing"]),
            tuple(Finding(**one) for one in row["findings"]),
        )
        for row in array.to_pylist()
    ]


# Writing: each function gives the value of one row.


def _state_row(recording: Recording) -> Mapping[str, object]:
    return recording.state._asdict()


def _companion_rows(recording: Recording) -> list[dict[str, object]]:
    return [{"name": c.name, **c.state._asdict()} for c in recording.companions]


def _event_rows(recording: Recording) -> list[dict[str, object]]:
    return [{name: getattr(event, name) for name in _EVENT_FIELDS} for event in recording.events]


def _finding_rows(source: Recording | BipolarSignal) -> list[dict[str, object]]:
    return [{name: getattr(one, name) for name in _FINDING_FIELDS} for one in source.findings]


def _matched_rows(source: Recording | BipolarSignal) -> list[dict[str, str]]:
    return [dict(zip(_MATCHED_FIELDS, pair, strict=True)) for pair in source.matched]


def _bipolar_row(recording: Recording) -> dict[str, object] | None:
    bipolar = recording.bipolar
    if bipolar is None:
        return None
    return {
        "reason": bipolar.reason,
        "rate_numerator": bipolar.rate.numerator,
        "rate_denominator": bipolar.rate.denominator,
        "samples": bipolar.samples,
        "matched": _matched_rows(bipolar),
        "missing": bipolar.missing,
        "findings": _finding_rows(bipolar),
    }


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the file.

    ``read`` gives the values of the recordings' field of the same name; None for a column that is
    not such a field. ``write`` gives the value of one row; without it, it is that field.
    """

    name: str
    type: pa.DataType
    read: Callable[[pa.Array], Sequence[object]] | None = None
    write: Callable[[Recording], object] | None = None


#: All columns, in the order of the file. Status, reason, duration and the figures of seizures
#: follow from the others; they are for other programs that read the file.
_COLUMNS = (
    _Column("partition_key", pa.string(), arrow_values.texts),
    _Column("corpus", pa.string(), _shared),
    _Column("split", pa.string(), _shared),
    _Column("patient", pa.string(), _shared),
    _Column("session", pa.string(), _shared),
    _Column("montage", pa.string(), _shared),
    _Column("status", pa.string(), write=lambda r: "ok" if r.reason is None else "excluded"),
    _Column("reason", pa.string()),
    _Column("duration_s", pa.float64()),
    _Column("seizures", pa.int32(), write=lambda r: len(r.all_seizures)),
    _Column("seizure_s", pa.float64()),
    _Column("path", pa.string(), arrow_values.texts),
    _Column("state", pa.struct(_STATE_FIELDS), _states, _state_row),
    _Column("content_hash", pa.string(), arrow_values.texts),
    _Column("rate_numerator", pa.int64(), write=lambda r: r.rate.numerator),
    _Column("rate_denominator", pa.int64(), write=lambda r: r.rate.denominator),
    _Column("samples", pa.int64(), _integers),
    _Column("signals", pa.int32(), _integers),
    _Column("discontinuous", pa.bool_(), _flags),
    _Column("matched", pa.list_(pa.struct(_MATCHED_FIELDS)), _matched, _matched_rows),
    _Column("missing", pa.list_(pa.string()), _shared_lists),
    _Column("signal_reason", pa.string(), _optional_shared),
    _Column("label_reason", pa.string(), _optional_shared),
    _Column("label_source", pa.string(), _shared),
    _Column("companions", pa.list_(pa.struct(_COMPANION_FIELDS)), _companions, _companion_rows),
    _Column("annotated_duration_s", pa.float64(), _optional_numbers),
    _Column("events", pa.list_(pa.struct(_EVENT_FIELDS)), _events, _event_rows),
    _Column("findings", pa.list_(pa.struct(_FINDING_FIELDS)), _findings, _finding_rows),
    _Column("label_texts", pa.string(), _shared),
    _Column("data_hash", pa.string(), arrow_values.texts),
    _Column("bipolar", pa.struct(_BIPOLAR_FIELDS), _bipolar, _bipolar_row),
    _Column("reader", pa.string(), _shared),
    _Column("age", pa.float64(), _optional_numbers),
    _Column("sex", pa.string(), _shared),
)
#: Columns that an index may lack, and what its recordings have there. One of an earlier program
#: lacks ``bipolar``, one of EDFs alone has no readers, one of a single corpus no corpora, and one
#: without a table of people no ages and sexes.
_LATER: Mapping[str, object] = {"bipolar": None, "reader": "", "corpus": "", "age": None, "sex": ""}
#: Those of them that are left out where no recording has anything there.
_LEFT_OUT = ("reader", "corpus", "age", "sex")
SCHEMA = pa.schema([(column.name, column.type) for column in _COLUMNS])
_READERS = {column.name: column.read for column in _COLUMNS if column.read is not None}
_WRITERS = {column.name: column.write or attrgetter(column.name) for column in _COLUMNS}


def index_table(recordings: Iterable[Recording]) -> pa.Table:
    """The table of an index, one row for each recording."""
    rows = [{name: write(one) for name, write in _WRITERS.items()} for one in recordings]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    unused = [name for name in _LEFT_OUT if all(row[name] == _LATER[name] for row in rows)]
    return table.drop_columns(unused) if unused else table


def read_recordings(
    count: int, names: Sequence[str], column: Callable[[str], pa.Array]
) -> tuple[Recording, ...]:
    """The recordings of an index of ``count`` rows with columns of these ``names``.

    ``column`` reads the column of a name. It is called when a recording is first asked for the
    field that the column has.
    """

    def values(field: str) -> Sequence[object]:
        if field in _LATER and field not in names:
            return [_LATER[field]] * count
        with no_collection():
            if field == "rate":
                return _rates(
                    _integers(column("rate_numerator")), _integers(column("rate_denominator"))
                )
            read = _READERS[field](column(field))
        release_arrow_memory()
        return read

    return Recording.read_when_asked(count, values)


def hashes_by_file(
    names: Sequence[str], column: Callable[[str], pa.ChunkedArray]
) -> dict[tuple[str, FileState], Hashes]:
    """Hashes of the EDFs of an index, by path and state, whatever its schema version.

    Empty where the index lacks a column for them, or has it in another form.
    """
    if not {"path", "state", "content_hash"} <= set(names):
        return {}
    paths, states, contents = (column(name) for name in ("path", "state", "content_hash"))
    types = (paths.type, states.type, contents.type)
    if types != (pa.string(), pa.struct(_STATE_FIELDS), pa.string()):
        return {}
    data = column("data_hash").to_pylist() if "data_hash" in names else [""] * len(paths)
    files = zip(
        paths.to_pylist(),
        (FileState(**state) for state in states.to_pylist()),
        map(Hashes, contents.to_pylist(), data),
        strict=True,
    )
    return {(path, state): hashes for path, state, hashes in files if hashes.content}
