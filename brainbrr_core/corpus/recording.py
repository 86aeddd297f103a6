"""One recording of the index: what it contains, and whether and why it cannot be used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from brainbrr_core.annotation import UNKNOWN, Event, Finding, seizure_seconds, uncovered
from brainbrr_core.constants import MontageName
from brainbrr_core.edf.formats import is_part
from brainbrr_core.files.state import FileState

#: Why a recording has no shard. A closed list.
SIGNAL_REASONS = {
    "unreadable": "the file is not a readable EDF, or not of the format of its suffix",
    "missing_part": "a file that the recording consists of is not there: copy it, too",
    "bdf_file": "a BDF file with an .edf name",
    "annotations_only": "the file has annotations and no signals",
    "no_samples": "the file has no samples",
    "truncated_file": "the file is shorter than its header says: copy it again",
    "discontinuous": "the time stamps show gaps: later annotations would be shifted",
    "clock_drift": "the time stamps and the number of samples drift apart: later annotations would "
    "be shifted",
    "bad_channel_table": "the channel table next to the file is not valid",
    "few_channels": "fewer than 10 of the 19 electrodes: another kind of recording",
    "missing_channels": "more electrodes are missing than may be interpolated, or one at the edge "
    "of the cap is missing together with a neighbor",
    "bipolar_montage": "bipolar derivations: preprocessing.montage double-banana may read them, "
    "10-20 needs a referential recording",
    "missing_derivations": "a bipolar recording without all 18 derivations of the double banana",
    "no_common_reference": "the electrodes have different references, and corpus.references is "
    "common",
    "duplicate_channel": "two signals are labeled as the same electrode, or as the same derivation "
    "and differ",
    "uneven_rates": "the electrodes have different sampling rates",
    "unsupported_rate": "the sampling rate is below 100 Hz, or above 100 kHz",
    "unknown_unit": "the unit of an electrode is not V, mV, µV or nV",
    "no_calibration": "the ranges of an electrode are empty or not numbers",
    "not_finite": "a sample of an electrode is not a number, or infinite",
    "flat_signal": "every electrode has a constant value",
    "too_short": "shorter than one 10 s block",
    "same_content": "another recording, of the patient or in another corpus, has the same samples: "
    "only one is used",
}
#: Why a recording has a shard but no windows. A closed list.
LABEL_REASONS = {
    "no_annotation": "there is no annotation file, and no annotation in the EDF mentions a "
    "seizure: missing labels are not background",
    "bad_annotation": "the annotation file cannot be trusted (see its findings)",
    "all_unknown": "no second is known to be seizure or background (see its findings)",
}
#: Irregularities of a signal that is used nevertheless. A closed list; the findings of an excluded
#: signal include its reason.
SIGNAL_FINDINGS = {
    "colon_date": "the start date is written with colons",
    "impossible_date": "the header gives no possible start date and time",
    "record_count_unknown": "the header does not say how many data records there are",
    "extra_records": "the file is longer than its header says; the rest is ignored",
    "partial_last_record": "the file ends within a data record, which is ignored",
    "no_time_stamps": "records without time stamps: the absence of gaps is taken on trust",
    "low_rate": "sampled below 240 Hz: frequencies above half of the sampling rate are missing",
    "bad_channel": "marked bad in the channel table, or in a FIF itself: counts as missing",
    "unmatched_bad_channel": "marked bad in the channel table, but the file has no such channel",
    "mixed_references": "the electrodes have different references",
    "interpolated_channel": "missing, and interpolated from its neighbors",
    "odd_unit": "the unit is µV in another encoding or by another name, and read as µV",
    "lost_unit": "the unit is missing: read as µV, since the physical range is that of an EEG",
    "inverted_channel": "the physical range is reversed, and so is the polarity",
    "unreadable_now": "could not be read when the corpus was last indexed: its row and its shard "
    "are kept",
    "similar_patient": "another patient of this split differs in case or Unicode form only: "
    "probably one person, counted as two",
    "power_line_50": "its eeg.json states a power line of 50 Hz, so that preprocessing.notch_hz "
    "should be 50",
    "power_line_60": "its eeg.json states a power line of 60 Hz, so that preprocessing.notch_hz "
    "should be 60",
    "bad_eeg_json": "its eeg.json cannot be read, so that the power-line frequency is not known",
    "flat_channel": "has a constant value: its z-score is 0",
}


#: The state, in an index, of a file that cannot be accessed, such as a broken link.
UNSEEN = FileState(0, 0, 0)
#: Code of the finding about a recording with a file that could be read before and cannot be now.
UNREADABLE_NOW = "unreadable_now"
#: Findings about an EDF that are not about its channels.
_OF_ANY_MONTAGE = frozenset({UNREADABLE_NOW, "similar_patient"})


class Companion(NamedTuple):
    """A file that describes an EDF, or is a part of it: its path from the EDF's folder, state."""

    name: str
    state: FileState


@dataclass(frozen=True, slots=True)
class BipolarSignal:
    """What a bipolar recording gives in the montage ``double-banana``.

    The fields mean what those of a :class:`Recording` do, of derivations instead of electrodes:
    ``reason`` is its ``signal_reason``, and ``findings`` are those about the signal alone. Where
    the signal can be used, ``missing`` has the labels of channels that are marked as bad and were
    not used.
    """

    reason: str | None
    rate: Fraction
    samples: int
    matched: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]


class _ReadWhenAsked:
    """An object whose fields are read when they are first used."""

    #: Called with the name of a field: sets that field.
    __slots__ = ("_read",)

    # Hidden from the type checker, which would otherwise accept any name as a field.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name not in type(self).__match_args__:
                raise AttributeError(f"a {type(self).__name__} has no {name}", name=name, obj=self)
            self._read(name)
            return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Recording(_ReadWhenAsked):
    """One recording of an index.

    Attributes
    ----------
    partition_key : str
        Path of the EDF relative to the data root, without its suffix.
    split, patient, session, montage : str
        What the path and the settings of the corpus say; session and montage may be empty.
    path : str
        Path or URL of the EDF, or of the main file of a recording in another format.
    state : FileState
        Size, time and inode of the EDF.
    content_hash : str
        Hash of the EDF, or of all files of the recording; empty where it cannot be read, or is
        remote and was never downloaded.
    rate : fractions.Fraction
        Sampling rate of the electrodes in Hz; 0 where it is unknown.
    samples : int
        Samples of each electrode.
    signals : int
        Signals of the file, not counting annotations.
    discontinuous : bool
        Whether there are gaps between data records.
    matched : tuple of (str, str)
        Each electrode of the file and the label of its signal.
    missing : tuple of str
        The others of the 19 electrodes; interpolated where the signal can be used. Of a bipolar
        recording in the montage ``double-banana``, see :class:`BipolarSignal`.
    signal_reason, label_reason : str or None
        Why the recording has no shard, or no windows.
    label_source : str
        Kind of the annotation files; empty where there are none.
    companions : tuple of Companion
        Files that describe the EDF, or are parts of the recording, with their states.
    annotated_duration_s : float or None
        Duration that the annotation file states, in seconds.
    events : tuple of Event
        The events of the recording in order.
    findings : tuple of Finding
        Irregularities of its files.
    label_texts : str
        Digest of the patterns that interpreted free text; empty where there was none.
    data_hash : str
        Hash of the EDF without its header; empty where it is unknown.
    bipolar : BipolarSignal or None
        What a bipolar recording gives in the montage ``double-banana``; None for a referential one,
        which gives the same electrodes in every montage.
    reader : str
        Name and version of what read the file, where that shapes the signal; empty for an EDF.
    corpus : str
        Name of its corpus in an index of several; otherwise empty.
    age : float or None
        Age of the patient in years, 90 for each above 89; None where no table of the corpus has it.
    sex : str
        ``F``, ``M`` or ``O`` (other); empty where no table of the corpus has it.
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
    bipolar: BipolarSignal | None = None
    reader: str = ""
    corpus: str = ""
    age: float | None = None
    sex: str = ""

    @classmethod
    def read_when_asked(
        cls, count: int, column: Callable[[str], Iterable[object]]
    ) -> tuple[Recording, ...]:
        """``count`` recordings whose fields are read on first use, for all recordings at once.

        ``column`` returns the values of the field of a name for all recordings, in order. Few
        commands need every field of a hundred thousand recordings.
        """
        recordings = tuple(map(cls.__new__, repeat(cls, count)))
        lock = Lock()
        done: set[str] = set()

        def read(name: str) -> None:
            # Two threads may use the same field for the first time at once.
            with lock:
                if name not in done:
                    set_each(recordings, name, column(name))
                    done.add(name)

        set_each(recordings, "_read", repeat(read, count))
        return recordings

    def in_montage(self, montage: MontageName) -> Recording:
        """The recording as a montage sees it: whether and why its signal cannot be used, and how.

        The index has recordings as ``10-20`` sees them.
        """
        if montage == "10-20" or self.bipolar is None:
            return self
        bipolar, name = self.bipolar, self.file_name
        others = (f for f in self.findings if f.where != name or f.code in _OF_ANY_MONTAGE)
        return replace(
            self,
            signal_reason=bipolar.reason,
            rate=bipolar.rate,
            samples=bipolar.samples,
            matched=bipolar.matched,
            missing=bipolar.missing,
            findings=(*bipolar.findings, *others),
            bipolar=None,
        )

    @property
    def is_usable_in_a_montage(self) -> bool:
        """Whether the signal can be used in at least one montage."""
        return self.signal_reason is None or (
            self.bipolar is not None and self.bipolar.reason is None
        )

    @property
    def file_name(self) -> str:
        """File name of the EDF."""
        return self.path.rpartition("/")[2]

    @property
    def is_unreadable_now(self) -> bool:
        """Whether one of its files could be read once, but not when it was last indexed."""
        return any(finding.code == UNREADABLE_NOW for finding in self.findings)

    @property
    def is_remote(self) -> bool:
        """Whether the EDF is behind a URL."""
        return "://" in self.path

    @property
    def source_version(self) -> str:
        """Version of the signal: content, electrodes that are interpolated, and the reader.

        The content is the hash of the EDF, or the state of a remote object. A channel table next to
        the EDF can change the electrodes. The reader is that of a recording in another format.
        """
        if self.is_remote:
            content = f"{self.state.size}-{self.state.mtime_ns:016x}"
        else:
            content = self.content_hash or "unreadable"
        interpolated = self.missing if self.signal_reason is None else ()
        read_by = (self.reader,) if self.reader else ()
        return "+".join([content, *interpolated, *read_by])

    @property
    def file_states(self) -> list[tuple[str, FileState]]:
        """Path and indexed state of each file of the recording itself, the main file first."""
        own = (self.path, self.state)
        if not self.reader:
            return [own]
        folder = self.path.rpartition("/")[0]
        parts = (companion for companion in self.companions if is_part(companion.name))
        return [own, *((f"{folder}/{part.name}", part.state) for part in parts)]

    @property
    def duration_s(self) -> float:
        """Duration of the signal in seconds; 0 where it is unknown."""
        numerator, denominator = self.rate.as_integer_ratio()
        return self.samples * denominator / numerator if numerator else 0.0

    @property
    def reason(self) -> str | None:
        """Why the recording is excluded, the signal's reason first; None where it is not."""
        return self.signal_reason or self.label_reason

    @property
    def seizure_s(self) -> float:
        """Seconds of the signal covered by at least one seizure of any label."""
        return self._seconds(self.all_seizures)

    @property
    def all_seizures(self) -> list[Event]:
        """Seizures of any label, in order."""
        return [event for event in self.events if event.label != UNKNOWN]

    def seizures(self, labels: tuple[str, ...]) -> list[Event]:
        """Seizures with one of these labels, in order."""
        return [event for event in self.events if event.label in labels]

    def unknown(self, labels: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
        """Intervals (start, stop) that are neither seizure nor background, disjoint, in order.

        They are covered by events of other labels: a type of seizure that is not in ``labels``, or
        an interval marked as unknown. Where such an event overlaps a seizure that counts, the
        overlap is seizure.
        """
        others = [event for event in self.events if event.label not in labels]
        return uncovered(others, self.seizures(labels)) if others else ()

    def unknown_s(self, labels: tuple[str, ...]) -> float:
        """Seconds of the signal that are neither seizure nor background, for these labels."""
        return self._seconds(Event(start, stop) for start, stop in self.unknown(labels))

    def counted_seizure_s(self, labels: tuple[str, ...]) -> float:
        """Seconds of the signal covered by at least one seizure with one of these labels."""
        return self._seconds(self.seizures(labels))

    def _seconds(self, events: Iterable[Event]) -> float:
        """Seconds of the signal that at least one of the events covers."""
        length = self.duration_s
        return seizure_seconds(
            Event(event.start, min(event.stop, length)) for event in events if event.start < length
        )


def set_each(objects: Sequence[object], name: str, values: Iterable[object]) -> None:
    """Set one field of each object of a dataclass with slots, which may be frozen, quickly."""
    if objects:
        setter = getattr(type(objects[0]), name).__set__
        deque(map(setter, objects, values), maxlen=0)
