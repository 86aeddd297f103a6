"""The index: every recording of a corpus, in one Parquet file.

A second scan of an unchanged corpus reads no file: what was learnt about a file is kept with
its size, mtime and inode, and used again while these are the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from brainbrr_core.annotation import Finding
from brainbrr_core.corpus.edf import open_edf
from brainbrr_core.corpus.edf_header import UnusableEdf
from brainbrr_core.corpus.hashing import content_hash, file_state
from brainbrr_core.corpus.layout import SPLITS, Layout, RecordingFile
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS, FileState, Recording
from brainbrr_core.corpus.tusz import TuszLayout
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.progress import progress

#: Bumped when the columns, or how they are derived from the files, change.
SCHEMA_VERSION = 1
#: Seconds by which annotation and signal may differ before it is a finding.
_DURATION_TOLERANCE_S = 1.0
#: Fraction of the known recordings that may vanish between two scans.
VANISHED_LIMIT = 0.05


@dataclass(frozen=True)
class Index:
    """All recordings of one corpus, in the order of their partition keys."""

    recordings: tuple[Recording, ...]
    layout: str

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def by_key(self) -> dict[str, Recording]:
        """Recordings by partition key."""
        return {recording.partition_key: recording for recording in self.recordings}


def detect_layout(data_dir: Path) -> Layout:
    """The layout of the corpus below ``data_dir``. Raises when there is none we know."""
    return TuszLayout(data_dir)


def scan(
    data_dir: Path,
    known: Index | None = None,
    *,
    force: bool = False,
    workers: int | None = None,
) -> Index:
    """Scan a corpus; ``known`` is the index of an earlier scan.

    Raises :class:`BrainbrrError` when there is nothing to index, when a patient is in two
    splits, and (unless ``force``) when more than 5 % of the known recordings are gone or most of
    them hold other bytes: an unmounted drive, or another corpus.
    """
    layout = detect_layout(data_dir)
    files = list(layout.recordings())
    if not files:
        raise BrainbrrError(f"no .edf file below {data_dir}: is this the corpus?")
    _check_patients(files)
    before = known.by_key() if known is not None else {}
    _check_keys(files)
    if not force:
        _check_vanished(before, files, data_dir)
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool, progress("index", len(files), "recordings") as bar:

        def read(file: RecordingFile) -> Recording:
            recording = _read(layout, file, before.get(file.partition_key))
            bar.advance()
            return recording

        recordings = tuple(pool.map(read, files))
    if not force:
        _check_same_corpus(before, recordings, data_dir)
    return Index(tuple(sorted(recordings, key=lambda r: r.partition_key)), layout.name)


def _check_keys(files: list[RecordingFile]) -> None:
    repeated = [key for key, n in Counter(f.partition_key for f in files).items() if n > 1]
    if repeated:
        raise BrainbrrError(
            f"two files give the partition key {repeated[0]} (.edf and .EDF?): remove one"
        )


def _check_patients(files: list[RecordingFile]) -> None:
    splits: dict[str, set[str]] = {}
    for file in files:
        splits.setdefault(file.patient, set()).add(file.split)
    shared = sorted(patient for patient, places in splits.items() if len(places) > 1)
    if shared:
        raise BrainbrrError(
            f"{len(shared)} patients are in more than one split ({', '.join(shared[:5])}): "
            "a model would be scored on patients it has seen; mend the folders"
        )


def _check_vanished(before: dict[str, Recording], files: list[RecordingFile], root: Path) -> None:
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
    before: dict[str, Recording], after: tuple[Recording, ...], root: Path
) -> None:
    common = [recording for recording in after if recording.partition_key in before]
    changed = sum(r.content_hash != before[r.partition_key].content_hash for r in common)
    if len(common) > 1 and changed > len(common) / 2:
        raise _other_corpus(before, root)


def _other_corpus(before: dict[str, Recording], root: Path) -> BrainbrrError:
    return BrainbrrError(
        f"this cache root belongs to another corpus than {root} ({len(before)} recordings, such "
        f"as {min(before)}): set BRAINBRR_CACHE_ROOT to another folder, or, if the corpus itself "
        "was replaced, run `brainbrr index --force`"
    )


def _read(layout: Layout, file: RecordingFile, known: Recording | None) -> Recording:
    """One row: what is known of an unchanged file, or what reading it tells."""
    state = file_state(file.path)
    annotation_states = tuple(file_state(path) for path in file.annotation_paths)
    same_signal = known is not None and known.state == state
    same_labels = known is not None and known.annotation_states == annotation_states
    if known is not None and same_signal and same_labels:
        return replace(known, path=str(file.path))
    if known is not None and same_signal:
        signal = replace(known, path=str(file.path), findings=_signal_findings(known))
    else:
        signal = _read_signal(file, state)
    return _with_labels(signal, layout, file, annotation_states)


def _signal_findings(recording: Recording) -> tuple[Finding, ...]:
    return tuple(f for f in recording.findings if f.where == Path(recording.path).name)


def _read_signal(file: RecordingFile, state: FileState) -> Recording:
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    rate, samples = Fraction(0), 0
    matched: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    digest = content_hash(file.path)
    try:
        edf = open_edf(file.path)
    except UnusableEdf as error:
        reason = error.reason
        rate, samples = error.rate, error.samples
        findings = (Finding(error.reason, file.path.name, error.detail),)
    else:
        rate, samples, missing = edf.rate, edf.samples, edf.missing
        matched = tuple((name, label) for name, (_, label) in edf.match.signals.items())
        findings = edf.findings
    if file_state(file.path) != state:
        raise BrainbrrError(f"{file.path} changed while it was indexed: run the command again")
    return Recording(
        partition_key=file.partition_key,
        split=file.split,
        patient=file.patient,
        session=file.session,
        montage=file.montage,
        path=str(file.path),
        state=state,
        content_hash=digest,
        rate=rate,
        samples=samples,
        matched=matched,
        missing=missing,
        signal_reason=reason,
        label_reason=None,
        label_source="",
        annotation_states=(),
        annotated_duration_s=None,
        events=(),
        findings=findings,
    )


def _with_labels(
    recording: Recording, layout: Layout, file: RecordingFile, states: tuple[FileState, ...]
) -> Recording:
    labelling = layout.labelling(file)
    findings = [*recording.findings, *labelling.findings]
    duration = recording.duration_s
    where = next((path.name for path in file.annotation_paths), file.path.name)
    if labelling.duration_s is not None and (
        abs(labelling.duration_s - duration) > _DURATION_TOLERANCE_S
    ):
        findings.append(
            Finding(
                "duration_mismatch",
                where,
                f"annotated {labelling.duration_s:.2f} s, signal {duration:.2f} s",
            )
        )
    past = [event for event in labelling.events if event.stop > duration + _DURATION_TOLERANCE_S]
    if past:
        findings.append(
            Finding(
                "events_past_signal",
                where,
                f"{len(past)} of {len(labelling.events)} events end after {duration:.2f} s",
            )
        )
    return replace(
        recording,
        label_reason=labelling.reason,
        label_source=labelling.source,
        annotation_states=states,
        annotated_duration_s=labelling.duration_s,
        events=labelling.events,
        findings=tuple(findings),
    )


def summarize(index: Index, seizure_labels: tuple[str, ...]) -> dict[str, Any]:
    """Counts that explain an index: found = usable + excluded, excluded = sum of the reasons."""
    return _counts(index.recordings, seizure_labels) | {
        "layout": index.layout,
        "splits": {
            split: _counts([r for r in index if r.split == split], seizure_labels)
            for split in SPLITS
            if any(r.split == split for r in index)
        },
        "findings": dict(
            sorted(Counter(finding.code for r in index for finding in r.findings).items())
        ),
    }


def _counts(recordings: Iterable[Recording], labels: tuple[str, ...]) -> dict[str, Any]:
    rows = list(recordings)
    reasons = Counter(row.reason for row in rows if row.reason is not None)
    unknown = set(reasons) - SIGNAL_REASONS.keys() - LABEL_REASONS.keys()
    if unknown:
        raise ValueError(f"reasons outside the closed list: {sorted(unknown)}")
    return {
        "found": len(rows),
        "usable": len(rows) - sum(reasons.values()),
        "excluded": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items())),
        "patients": len({row.patient for row in rows}),
        "hours": round(sum(row.duration_s for row in rows) / 3600, 4),
        "seizures": sum(len(row.seizures(labels)) for row in rows),
    }
