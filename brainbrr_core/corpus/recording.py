"""One recording of the index: what it is, what is in it, whether it can be used and why not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from brainbrr_core.annotation import Event, Finding

#: Why a recording has no shard. Closed: the index refuses any other.
SIGNAL_REASONS = {
    "unreadable": "the file is no EDF that can be read",
    "bdf_file": "a BDF file under an .edf name",
    "no_samples": "the file holds no sample of a signal",
    "truncated_file": "the header promises more than the file holds: copy it again",
    "discontinuous": "EDF+D with gaps: later annotations would shift",
    "missing_channels": "electrodes other than Fz, Cz and Pz are missing",
    "bipolar_montage": "bipolar derivations: this is a referential model",
    "duplicate_channel": "two signals claim the same electrode",
    "uneven_rates": "the wanted channels have different sampling rates",
    "unsupported_rate": "the sampling rate is no ratio of small numbers to 256 Hz",
    "unknown_unit": "the unit of a wanted channel is not V, mV or µV",
    "no_calibration": "a wanted channel's minimum equals its maximum",
    "too_short": "shorter than one 10 s block",
}
#: Why a recording has a shard but no windows.
LABEL_REASONS = {
    "no_annotation": "there is no annotation file: missing labels are not background",
    "bad_annotation": "the annotation file cannot be trusted (see its findings)",
}


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells cheaply whether a file changed: size in bytes, mtime in ns, inode."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the index. Times in seconds, rate in samples per second."""

    partition_key: str
    split: str
    patient: str
    session: str
    montage: str
    path: str
    state: FileState
    content_hash: str
    rate: Fraction
    samples: int
    matched: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    signal_reason: str | None
    label_reason: str | None
    label_source: str
    annotation_states: tuple[FileState, ...]
    annotated_duration_s: float | None
    events: tuple[Event, ...]
    findings: tuple[Finding, ...]

    @property
    def duration_s(self) -> float:
        """Length of the signal in seconds."""
        return float(self.samples / self.rate) if self.rate else 0.0

    @property
    def reason(self) -> str | None:
        """Why the recording is excluded; the signal's reason comes first. None: it is not."""
        return self.signal_reason or self.label_reason

    def seizures(self, labels: tuple[str, ...]) -> list[Event]:
        """Events whose label counts as seizure, in order."""
        return [event for event in self.events if event.label in labels]
