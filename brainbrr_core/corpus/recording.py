"""One recording of the index: what it is, what is in it, whether it can be used and why not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from brainbrr_core.annotation import Event, Finding, seizure_seconds

#: Why a recording has no shard. Closed: the index refuses any other.
SIGNAL_REASONS = {
    "unreadable": "the file is no EDF that can be read",
    "bdf_file": "a BDF file under an .edf name",
    "annotations_only": "the file holds annotations and no signal",
    "no_samples": "the file holds no sample of a signal",
    "truncated_file": "the header promises more than the file holds: copy it again",
    "discontinuous": "EDF+D with gaps: later annotations would shift",
    "bad_channel_table": "the channel table beside the file cannot be understood",
    "few_channels": "fewer than 10 of the 19 electrodes: another kind of recording",
    "missing_channels": "electrodes other than Fz, Cz and Pz are missing",
    "bipolar_montage": "bipolar derivations: this is a referential model",
    "duplicate_channel": "two signals claim the same electrode",
    "uneven_rates": "the wanted channels have different sampling rates",
    "unsupported_rate": "the sampling rate is no ratio of small numbers to 256 Hz",
    "unknown_unit": "the unit of a wanted channel is not V, mV, µV or nV",
    "no_calibration": "a wanted channel's ranges are empty or no numbers",
    "flat_signal": "every wanted channel holds one value throughout",
    "too_short": "shorter than one 10 s block",
}
#: Why a recording has a shard but no windows.
LABEL_REASONS = {
    "no_annotation": "there is no annotation file: missing labels are not background",
    "bad_annotation": "the annotation file cannot be trusted (see its findings)",
}
#: What may be odd about a signal that is used nevertheless. Closed; an excluded one has its reason.
SIGNAL_FINDINGS = {
    "colon_date": "the start date is written with colons",
    "impossible_date": "the header gives no possible start",
    "record_count_unknown": "the header does not say how many data records there are",
    "extra_records": "the file holds more than the header promises; the rest is left out",
    "partial_last_record": "the file ends within a data record, which is left out",
    "no_time_stamps": "EDF+C without time stamps: that there are no gaps is taken on trust",
    "low_rate": "sampled below 240 Hz: what lies above half of that is not in the signal",
    "bad_channel": "marked bad in the channel table: counts as missing",
    "interpolated_channel": "missing, and interpolated from its neighbours",
    "odd_unit": "the unit is µV in another encoding or by another name, and read as that",
    "lost_unit": "the unit was lost: taken as µV, since the physical range is that of an EEG",
    "inverted_channel": "the physical range is reversed, so the polarity is",
    "unreadable_now": "could not be read when the corpus was last looked at: what was known of it "
    "is kept, and its shard",
    "flat_channel": "holds one value throughout: its z-score is 0",
}


class FileState(NamedTuple):
    """What tells cheaply whether a file changed: size in bytes, mtime in ns, inode.

    The inode is 0 where it says nothing: see :func:`brainbrr_core.corpus.hashing.file_state`.
    """

    size: int
    mtime_ns: int
    inode: int

    def is_of_same_file(self, other: FileState) -> bool:
        """Whether both can be states of one unchanged file: an inode of 0 says nothing."""
        same = (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
        return same and (self.inode == other.inode or not self.inode or not other.inode)


#: What a file is in the index that cannot be seen: a link that leads nowhere, for example.
UNSEEN = FileState(0, 0, 0)
#: Code of the finding that marks a recording of which a file cannot be read at present.
UNREADABLE_NOW = "unreadable_now"


class Companion(NamedTuple):
    """A file beside the EDF that says something about it: its name and its state."""

    name: str
    state: FileState


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the index. Times in seconds, rate in samples per second.

    ``content_hash`` is empty where the file cannot be read, and where it lies behind a URL and was
    never fetched; ``path`` is that URL then. ``signals`` counts the file's signals,
    annotations left out; ``matched`` pairs electrodes with the labels of the channels that carry
    them, ``missing`` lists the others of the 19: a usable recording has them interpolated.
    """

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
    signals: int
    discontinuous: bool
    matched: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    signal_reason: str | None
    label_reason: str | None
    label_source: str
    companions: tuple[Companion, ...]
    annotated_duration_s: float | None
    events: tuple[Event, ...]
    findings: tuple[Finding, ...]

    @property
    def is_unreadable_now(self) -> bool:
        """Whether a file of it could be read before, and not when the corpus was last looked at."""
        return any(finding.code == UNREADABLE_NOW for finding in self.findings)

    @property
    def is_remote(self) -> bool:
        """Whether the EDF lies behind a URL."""
        return "://" in self.path

    @property
    def source_version(self) -> str:
        """What changes when the signal of the EDF does: its hash, or the state of a remote object,
        and which electrodes are not taken from it, which a table beside it may change."""
        if self.is_remote:
            content = f"{self.state.size}-{self.state.mtime_ns:016x}"
        else:
            content = self.content_hash or "unreadable"
        interpolated = self.missing if self.signal_reason is None else ()
        return "+".join([content, *interpolated])

    @property
    def duration_s(self) -> float:
        """Length of the signal in seconds."""
        numerator, denominator = self.rate.as_integer_ratio()
        return self.samples * denominator / numerator if numerator else 0.0

    @property
    def reason(self) -> str | None:
        """Why the recording is excluded; the signal's reason comes first. None: it is not."""
        return self.signal_reason or self.label_reason

    @property
    def seizure_s(self) -> float:
        """Seconds of the signal covered by at least one event."""
        length = self.duration_s
        inside = (
            Event(event.start, min(event.stop, length))
            for event in self.events
            if event.start < length
        )
        return seizure_seconds(inside)

    def seizures(self, labels: tuple[str, ...]) -> list[Event]:
        """Events whose label counts as seizure, in order."""
        return [event for event in self.events if event.label in labels]
