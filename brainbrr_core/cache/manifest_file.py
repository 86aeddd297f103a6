"""A manifest on disk: checksummed Parquet, and whether it is current.

What a manifest is, and how it is made, is in :mod:`brainbrr_core.cache.manifest`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest import (
    AT_ONCE,
    CATEGORIES,
    SCHEMA_VERSION,
    Manifest,
    ManifestRecording,
    annotated_time,
    make_manifest,
    settings_digest,
    source_digest,
)
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.store import MANIFESTS, Store
from brainbrr_core.cache.version import montage_of
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.constants import RATE
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.recording import set_each
from brainbrr_core.errors import WorkRemains, not_writable
from brainbrr_core.files import arrow_values
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import canonical_json
from brainbrr_core.files.checked_parquet import (
    ChecksumMismatch,
    encode_checked,
    open_checked,
    read_texts,
)
from brainbrr_core.machine.memory import no_collection, release_arrow_memory

#: Whether there is a manifest, and whether it is that of the shards and annotations of today.
ManifestState: TypeAlias = Literal["current", "stale", "missing"]
_CONTENT = "brainbrr.manifest"


SCHEMA = pa.schema(
    [
        ("partition_key", pa.dictionary(pa.int32(), pa.string())),
        ("corpus", pa.dictionary(pa.int8(), pa.string())),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("patient", pa.dictionary(pa.int32(), pa.string())),
        ("start_sample", pa.int64()),
        ("ictal_fraction", pa.float32()),
        ("category", pa.dictionary(pa.int8(), pa.string())),
        ("seizure_type", pa.dictionary(pa.int8(), pa.string())),
        ("unknown_fraction", pa.float32()),
    ]
)


def manifest_path(store: Store, settings: ManifestSettings) -> Path:
    """Path of the manifest of a profile with these settings.

    Parameters
    ----------
    store : Store
        The version of the cache.
    settings : ManifestSettings
        The profile and what shapes its manifest.

    Returns
    -------
    Path
        Path of the file, which need not exist.
    """
    name = f"{settings.profile}-{settings_digest(settings)[:12]}.parquet"
    return store.folder / MANIFESTS / name


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all."""
    recordings = manifest.recordings
    types = _seizure_types(manifest)
    columns = {
        "partition_key": _dictionary(manifest.recording, [r.partition_key for r in recordings]),
        "split": _dictionary(*_codes([r.split for r in recordings], manifest.recording), pa.int8()),
        "patient": _dictionary(*_codes([r.patient for r in recordings], manifest.recording)),
        "start_sample": pa.array(manifest.start),
        "ictal_fraction": pa.array(manifest.ictal),
        "category": _dictionary(manifest.category, list(CATEGORIES), pa.int8()),
        "seizure_type": types,
        "unknown_fraction": pa.array(manifest.unknown),
    }
    schema = SCHEMA
    if several := any(r.corpus for r in recordings):
        names = [r.corpus for r in recordings]
        columns["corpus"] = _dictionary(*_codes(names, manifest.recording), pa.int8())
    else:
        schema = SCHEMA.remove(SCHEMA.get_field_index("corpus"))
    text = canonical_json(
        {
            "schema": SCHEMA_VERSION,
            "profile": manifest.profile,
            "version": manifest.version,
            "source": manifest.source,
            "window_samples": manifest.window_samples,
            "without_windows": manifest.without_windows,
            "unknown_windows": manifest.unknown_windows,
            "recordings": [],
        }
    )
    begin, end = text.split(_ROWS)
    text = "".join([begin, _ROWS, *_rows_as_text(recordings, several=several), end])
    table = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
    with replacing(path) as temporary:
        temporary.write_bytes(encode_checked(table, {_CONTENT: text}))


#: What comes before the recordings in a manifest's text; nothing else in it has these characters,
#: since those of a text would be escaped.
_ROWS = '"recordings":['


def _rows_as_text(recordings: Sequence[ManifestRecording], *, several: bool) -> Iterator[str]:
    """The recordings as canonical JSON without its outer brackets, in pieces.

    Those of ``several`` corpora also have the name of theirs.

    Some at a time: for all of them at once, JSON keeps every number as a text until the end.
    """
    for start in range(0, len(recordings), AT_ONCE):
        if start:
            yield ","
        yield canonical_json(
            [
                [
                    r.partition_key,
                    r.split,
                    r.patient,
                    r.montage,
                    r.fingerprint,
                    r.samples,
                    r.seizures,
                    r.unknown,
                    *([r.corpus] if several else []),
                ]
                for r in recordings[start : start + AT_ONCE]
            ]
        )[1:-1]


#: What is between two recordings in a manifest's text, and how many characters are read at once.
_BETWEEN, _CHARACTERS = '],["', 1 << 18


class _Head(BaseModel):
    """The values of a manifest's text other than its recordings."""

    profile: str
    version: str
    source: str
    window_samples: int
    without_windows: dict[str, int]
    unknown_windows: dict[str, int]


def _rows_of_text(text: str) -> tuple[tuple[ManifestRecording, ...], _Head]:
    """The recordings of a manifest's text, and its other values.

    Read some at a time: as one list, the values of all of them would take hundreds of megabytes.
    """
    start = at = text.index(_ROWS) + len(_ROWS)
    recordings: list[ManifestRecording] = []
    while text[at] != "]":
        end = text.find(_BETWEEN, at + _CHARACTERS) + 1
        try:
            rows = json.loads(f"[{text[at:end]}]") if end else None
        except ValueError:
            # A text that looks like what is between recordings.
            rows = None
        if rows is None:
            row, end = json.JSONDecoder().raw_decode(text, at)
            rows = [row]
        recordings += _read_recordings(rows)
        at = end + (text[end] == ",")
    return tuple(recordings), _Head.model_validate_json(text[:start] + text[at:])


def _codes(
    names: Sequence[str], recording: NDArray[np.int32]
) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of the windows into the sorted distinct names, and these names."""
    distinct = sorted(set(names))
    position = {name: number for number, name in enumerate(distinct)}
    return np.array([position[name] for name in names], np.int32)[recording], distinct


def _dictionary(
    codes: NDArray[np.int32] | NDArray[np.int8],
    names: Sequence[str],
    kind: pa.DataType | None = None,
) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, type=kind or pa.int32()), pa.array(names, type=pa.string())
    )


def _seizure_types(manifest: Manifest) -> pa.DictionaryArray:
    """The label of the first seizure in each window, null where there is none."""
    labels = sorted({label for r in manifest.recordings for _, _, label in r.seizures})
    # Of most recordings, all seizures have one label.
    several = np.int8(-2)
    by_recording = np.array([_label_code(r, labels, several) for r in manifest.recordings], np.int8)
    codes = np.where(manifest.ictal > 0, by_recording[manifest.recording], np.int8(-1))
    length_s = manifest.window_samples / RATE
    for row in np.flatnonzero(codes == several):
        begin = manifest.start[row] / RATE
        seizures = manifest.recordings[manifest.recording[row]].seizures
        label = next(
            name for start, stop, name in seizures if stop > begin and start < begin + length_s
        )
        codes[row] = labels.index(label)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), pa.array(labels, type=pa.string())
    )


def _label_code(recording: ManifestRecording, labels: list[str], several: np.int8) -> int:
    """The number of the label that all seizures have, ``several``, or -1 where there is none."""
    own = {label for _, _, label in recording.seizures}
    return labels.index(own.pop()) if len(own) == 1 else int(several) if own else -1


#: What of each window a training needs; the rest is for those who read the file otherwise.
_COLUMNS_READ = [
    "partition_key",
    "start_sample",
    "ictal_fraction",
    "category",
    "unknown_fraction",
]


def _unsealed(content: bytes) -> tuple[str, dict[str, pa.Array]]:
    """The text of a manifest's file and its columns, of which none holds on to the file."""
    file = open_checked(content)
    table = file.read(_COLUMNS_READ, use_threads=False)
    columns = {name: table[name].combine_chunks() for name in _COLUMNS_READ}
    del table
    release_arrow_memory()
    return read_texts(file)[_CONTENT], columns


def _read_recordings(rows: Sequence[Sequence[Any]]) -> list[ManifestRecording]:
    """The recordings of some rows of a manifest's text, each in the order of the fields."""
    recordings = list(map(ManifestRecording.__new__, repeat(ManifestRecording, len(rows))))
    key, split, patient, montage, fingerprint, samples, seizures, unknown, *corpus = zip(
        *rows, strict=True
    )
    columns: dict[str, Iterable[object]] = {
        "partition_key": key,
        "split": map(sys.intern, split),
        "patient": map(sys.intern, patient),
        "montage": map(sys.intern, montage),
        "fingerprint": fingerprint,
        "samples": samples,
        "seizures": [
            tuple([(start, stop, sys.intern(label)) for start, stop, label in own]) if own else ()
            for own in seizures
        ],
        "unknown": [tuple(map(tuple, own)) if own else () for own in unknown],
        "corpus": map(sys.intern, corpus[0]) if corpus else repeat(""),
    }
    # As ManifestRecording(...) would make them, in a third of the time.
    for name, column in columns.items():
        set_each(recordings, name, column)
    return recordings


def read_manifest(path: Path, options: str = "") -> Manifest:
    """Read a manifest.

    Parameters
    ----------
    path : Path
        The Parquet file (see :func:`manifest_path`).
    options : str, default ""
        Options to add to the command that an error names, such as ``" --profile smoke"``.

    Returns
    -------
    Manifest
        The windows and their recordings.

    Raises
    ------
    WorkRemains
        If there is no such file, or it cannot be read. The message names the command that writes
        the manifest.
    """
    try:
        text, columns = _unsealed(path.read_bytes())
    except FileNotFoundError:
        raise WorkRemains(f"no manifest at {path}: run `brainbrr manifest{options}`") from None
    except OSError as error:
        raise WorkRemains(
            f"{path} could not be read ({error.strerror}): run the same command again"
        ) from None
    except ChecksumMismatch:
        raise WorkRemains(f"{path} is damaged: run `brainbrr manifest{options}`") from None
    # What was written by another version of the program has another name: its settings differ.
    with no_collection():
        recordings, head = _rows_of_text(text)
    del text
    position = {r.partition_key: number for number, r in enumerate(recordings)}
    keys, category = columns["partition_key"], columns["category"]
    lookup = np.array([position[key] for key in arrow_values.texts(keys.dictionary)], np.int32)
    names = np.array(
        [CATEGORIES.index(name) for name in arrow_values.texts(category.dictionary)], np.int8
    )
    return Manifest(
        head.profile,
        head.version,
        head.source,
        head.window_samples,
        recordings,
        lookup[arrow_values.codes(keys)],
        arrow_values.numbers(columns["start_sample"]).copy(),
        arrow_values.numbers(columns["ictal_fraction"]).copy(),
        names[arrow_values.codes(category)],
        arrow_values.numbers(columns["unknown_fraction"]).copy(),
        head.without_windows,
        head.unknown_windows,
    )


def is_current(manifest: Manifest, plan: Plan, settings: ManifestSettings) -> bool:
    """Whether a manifest was made from the plan's recordings and these settings."""
    # Of a corpus without a prefix, only the name may have changed.
    corpora = {item.recording.corpus for item in plan.items}
    return (
        all(item.state in (State.FRESH, State.EXCLUDED) for item in plan.items)
        and all(recording.corpus in corpora for recording in manifest.recordings)
        and manifest.version == plan.store.version
        and manifest.source == source_digest(plan, settings)
    )


def manifest_state(plan: Plan, settings: ManifestSettings) -> ManifestState:
    """Whether there is a manifest, and whether it is that of the plan's shards and annotations."""
    try:
        manifest = read_manifest(manifest_path(plan.store, settings))
    except WorkRemains:
        return "missing"
    return "current" if is_current(manifest, plan, settings) else "stale"


def outdated_recordings(manifest: Manifest, index: Index) -> list[str]:
    """Partition keys of the recordings of a manifest of which an index says something else.

    They are excluded or gone, or have another patient, split or annotation. Which labels mean a
    seizure is not needed: a label that no recording of the manifest has is new wherever it is.
    """
    labels = tuple({label for row in manifest.recordings for *_, label in row.seizures})
    montage, by_key = montage_of(manifest.version), index.by_key()

    def is_as_indexed(row: ManifestRecording) -> bool:
        known = by_key.get(row.partition_key)
        if known is None or (known.patient, known.split) != (row.patient, row.split):
            return False
        recording = known.in_montage(montage)
        annotated = annotated_time(recording, row.duration_s, labels)
        return recording.reason is None and annotated == (row.seizures, row.unknown)

    return [row.partition_key for row in manifest.recordings if not is_as_indexed(row)]


@dataclass(frozen=True)
class UpdatedManifest:
    """A manifest that is current, and where it is stored.

    Attributes
    ----------
    manifest : Manifest
        The windows and their recordings.
    path : Path
        The Parquet file.
    rewritten : bool
        Whether the file was missing or stale, and was written.
    """

    manifest: Manifest
    path: Path
    rewritten: bool


def update_manifest(plan: Plan, settings: ManifestSettings) -> UpdatedManifest:
    """Return the current manifest of a plan; write it if it is missing or stale.

    Parameters
    ----------
    plan : Plan
        The selected recordings.
    settings : ManifestSettings
        Profile, windows, seizure labels and the threshold of the category "full".

    Returns
    -------
    UpdatedManifest
        The manifest, its path, and whether it was written.

    Raises
    ------
    WorkRemains
        If a shard is not fresh or cannot be read.
    BrainbrrError
        If no window has a seizure, or the file cannot be written.
    """
    path = manifest_path(plan.store, settings)
    try:
        current = read_manifest(path)
    except WorkRemains:
        # Missing or not readable: a new one is made either way.
        current = None
    if current is not None and is_current(current, plan, settings):
        return UpdatedManifest(current, path, rewritten=False)
    with hold(plan.store, "manifest"):
        made = make_manifest(plan, settings)
        try:
            write_manifest(made, path)
        except OSError as error:
            raise not_writable(f"the manifest {path}", plan.store.root, error) from None
    return UpdatedManifest(made, path, rewritten=True)
