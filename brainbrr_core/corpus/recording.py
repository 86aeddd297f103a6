"""One recording of the index: what it is, what is in it, whether it can be used and why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from brainbrr_core.annotation import UNKNOWN, Event, Finding, seizure_seconds, uncovered
from brainbrr_core.files.state import FileState

#: Why a recording has no shard. Closed: the index refuses any other.
SIGNAL_REASONS = {
    "unreadable": "the file is no EDF that can be read",
    "bdf_file": "a BDF file under an .edf name",
    "annotations_only": "the file holds annotations and no signal",
    "no_samples": "the file holds no sample of a signal",
    "truncated_file": "the header promises more than the file holds: copy it again",
    "discontinuous": "the time stamps show gaps: later annotations would shift",
    "clock_drift": "the time stamps and the number of samples drift apart: later annotations would "
    "shift",
    "bad_channel_table": "the channel table beside the file cannot be understood",
    "few_channels": "fewer than 10 of the 19 electrodes: another kind of recording",
    "missing_channels": "more electrodes are missing than are interpolated, or one at the edge of "
    "the cap without its neighbors",
    "bipolar_montage": "bipolar derivations: this is a referential model",
    "no_common_reference": "the electrodes are against different references, and corpus.references "
    "says common",
    "duplicate_channel": "two signals claim the same electrode",
    "uneven_rates": "the wanted channels have different sampling rates",
    "unsupported_rate": "the sampling rate is below 100 Hz, or above 100 kHz",
    "unknown_unit": "the unit of a wanted channel is not V, mV, µV or nV",
    "no_calibration": "a wanted channel's ranges are empty or no numbers",
    "flat_signal": "every wanted channel holds one value throughout",
    "too_short": "shorter than one 10 s block",
    "same_content": "another recording of the patient holds the same samples: counted once",
}
#: Why a recording has a shard but no windows.
LABEL_REASONS = {
    "no_annotation": "there is no annotation file, and none of the EDF's own annotations speaks of "
    "a seizure: missing labels are not background",
    "bad_annotation": "the annotation file cannot be trusted (see its findings)",
    "all_unknown": "no second is known to be seizure or background (see its findings)",
}
#: What may be odd about a signal that is used nevertheless. Closed; an excluded one has its reason.
SIGNAL_FINDINGS = {
    "colon_date": "the start date is written with colons",
    "impossible_date": "the header gives no possible start",
    "record_count_unknown": "the header does not say how many data records there are",
    "extra_records": "the file holds more than the header promises; the rest is left out",
    "partial_last_record": "the file ends within a data record, which is left out",
    "no_time_stamps": "records without time stamps: that there are no gaps is taken on trust",
    "low_rate": "sampled below 240 Hz: what lies above half of that is not in the signal",
    "bad_channel": "marked bad in the channel table: counts as missing",
    "unmatched_bad_channel": "marked bad in the channel table, and no channel of the file is named "
    "so",
    "mixed_references": "the electrodes are against different references",
    "interpolated_channel": "missing, and interpolated from its neighbours",
    "odd_unit": "the unit is µV in another encoding or by another name, and read as that",
    "lost_unit": "the unit was lost: taken as µV, since the physical range is that of an EEG",
    "inverted_channel": "the physical range is reversed, so the polarity is",
    "unreadable_now": "could not be read when the corpus was last looked at: what was known of it "
    "is kept, and its shard",
    "similar_patient": "another patient of this split differs in case or Unicode form only: "
    "probably one person, counted as two",
    "flat_channel": "holds one value throughout: its z-score is 0",
}


#: What a file is in the index that cannot be seen: a link that leads nowhere, for example.
UNSEEN = FileState(0, 0, 0)
#: Code of the finding that marks a recording of which a file cannot be read at present.
UNREADABLE_NOW = "unreadable_now"


class Companion(NamedTuple):
    """A file that says something about an EDF: its name, from the EDF's folder on (``..`` leads
    to one above), and its state."""

    name: str
    state: FileState


class _ReadWhenAsked:
    """An object of which a field that is not set yet is read when it is first asked for."""

    #: Sets the field of the name that it is given.
    __slots__ = ("_read",)

    # Hidden from the type checker, which would take any name for that of a field.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in type(self).__match_args__:
                raise AttributeError(f"a {type(self).__name__} has no {name}", name=name, obj=self)
            self._read(name)
            return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Recording(_ReadWhenAsked):
    """One row of the index. Times in seconds, rate in samples per second.

    ``content_hash`` is empty where the file cannot be read, and where it lies behind a URL and was
    never fetched; ``path`` is that URL then. ``signals`` counts the file's signals,
    annotations left out; ``matched`` pairs electrodes with the labels of the channels that carry
    them, ``missing`` lists the others of the 19: a usable recording has them interpolated.
    ``label_texts`` names the patterns by which annotations of free text were understood; empty
    where none were asked. ``data_hash`` is the hash of what follows the header; empty where it is
    not known.
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
    label_texts: str = ""
    data_hash: str = ""

    @classmethod
    def read_when_asked(
        cls, count: int, column: Callable[[str], Iterable[Any]]
    ) -> tuple[Recording, ...]:
        """``count`` recordings of which a field is read when one of them is first asked for it.

        ``column`` gives the values of a field of this name, of all the recordings in order. Of a
        hundred thousand recordings, few commands need all that an index says.
        """
        recordings = tuple(cls.__new__(cls) for _ in range(count))
        lock = Lock()
        done: set[str] = set()

        def read(name: str) -> None:
            # Several threads may ask, and none may read what another is reading.
            with lock:
                if name not in done:
                    _set_each(recordings, name, column(name))
                    done.add(name)

        _set_each(recordings, "_read", repeat(read, count))
        return recordings

    @property
    def file_name(self) -> str:
        """The EDF's own name."""
        return self.path.rpartition("/")[2]

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
        """Seconds of the signal covered by at least one seizure of any label."""
        return self._seconds(self.all_seizures)

    @property
    def all_seizures(self) -> list[Event]:
        """Events that are seizures, of whatever label, in order."""
        return [event for event in self.events if event.label != UNKNOWN]

    def seizures(self, labels: tuple[str, ...]) -> list[Event]:
        """Events whose label counts as seizure, in order."""
        return [event for event in self.events if event.label in labels]

    def unknown(self, labels: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
        """Time that is neither seizure nor background, as disjoint (start, stop) in order.

        It is what events of other labels cover: a type of seizure that ``labels`` leaves out, or
        an interval of which nobody can say what it is (``UNKNOWN``). Where such an event overlaps
        a seizure that counts, the seizure wins.
        """
        others = [event for event in self.events if event.label not in labels]
        return uncovered(others, self.seizures(labels)) if others else ()

    def unknown_s(self, labels: tuple[str, ...]) -> float:
        """Seconds of the signal that are neither seizure nor background."""
        return self._seconds(Event(start, stop) for start, stop in self.unknown(labels))

    def counted_seizure_s(self, labels: tuple[str, ...]) -> float:
        """Seconds of the signal covered by at least one seizure whose label counts."""
        return self._seconds(self.seizures(labels))

    def _seconds(self, events: Iterable[Event]) -> float:
        """Seconds of the signal that at least one of the events covers."""
        length = self.duration_s
        return seizure_seconds(
            Event(event.start, min(event.stop, length)) for event in events if event.start < length
        )


def _set_each(recordings: tuple[Recording, ...], name: str, values: Iterable[Any]) -> None:
    """Set one field of each recording, by the only way past a frozen one that is no detour."""
    setter = getattr(Recording, name).__set__
    for _ in map(setter, recordings, values):
        pass
