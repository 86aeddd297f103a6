"""The fixed-width header of an EDF or BDF file, as far as a clinical recording needs it.

Only what describes the signals, and the start time, leaves this module: no identity, no free text.
A header is untrusted input, so every number is bounded before it is used.

The format: Kemp et al. (1992), Electroenceph. clin. Neurophysiol. 82, 391-393, and the
EDF+ specification (2003). A BDF has samples of 24 bits and is otherwise the same.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Finding
from brainbrr_core.edf import units
from brainbrr_core.edf.source import EdfBytes

#: Name and width in bytes of each field of a signal, in the order of the file.
COLUMNS = (
    ("label", 16),
    ("transducer", 80),
    ("dimension", 8),
    ("physical_min", 8),
    ("physical_max", 8),
    ("digital_min", 8),
    ("digital_max", 8),
    ("prefiltering", 80),
    ("samples", 8),
    ("reserved", 32),
)
#: µV per digital unit, 1 kV: a larger gain is not a calibration, and would overflow in float32.
_LARGEST_GAIN = 1e9
#: The label of a signal that holds EDF+ annotations, and the same of BDF+.
ANNOTATIONS, BDF_ANNOTATIONS = "EDF Annotations", "BDF Annotations"
#: How a BDF begins.
BDF_MAGIC = b"\xffBIOSEMI"
#: Bytes of the largest data record that is accepted. The specification allows 61,440, but some
#: programs write the whole recording as one record.
LARGEST_RECORD = 1 << 26
_INTEGER = re.compile(rb"[0-9]{1,8}")
_DECIMAL = re.compile(rb"[0-9]{1,8}(\.[0-9]{0,8})?")
_DATE = re.compile(rb"([0-9]{2})([.:])([0-9]{2})([.:])([0-9]{2})")


@dataclass
class EdfFacts:
    """What was learned about a file before reading it succeeded or failed; filled in step by step.

    ``rate`` is that of the electrodes in Hz and ``samples`` their length; ``signals`` counts the
    signals that are not annotations; ``matched`` has each electrode, or derivation, of the file
    with the label of its signal. ``missing`` has the others, or of a bipolar file that has all,
    the labels that are marked as bad and not used; it is None before that is known.
    """

    rate: Fraction = Fraction(0)
    samples: int = 0
    signals: int = 0
    matched: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] | None = None
    discontinuous: bool = False
    findings: list[Finding] = field(default_factory=list)


class UnusableEdf(Exception):
    """A file that does not give the channels of a montage.

    Attributes
    ----------
    reason : str
        A key of ``brainbrr_core.corpus.recording.SIGNAL_REASONS``.
    detail : str
        What exactly is wrong, for a finding; may be empty.
    facts : EdfFacts
        What could be read nevertheless.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail
        self.facts = EdfFacts()


@dataclass(frozen=True, slots=True)
class EdfSignal:
    """One signal of an EDF.

    ``offset`` and ``samples`` are the position and the number of its samples in a data record.
    ``dimension`` is the unit, ``ranges`` physical minimum and maximum, digital minimum and maximum,
    all as text of the header. ``has_limits`` says whether the digital ones are the limits of its
    samples.
    """

    label: str
    offset: int
    samples: int
    dimension: str
    ranges: tuple[str, str, str, str]
    has_limits: bool = True

    def microvolts(self) -> float:
        """µV per digital unit. Raises :class:`UnusableEdf` where the header does not say it."""
        factor, unit = units.microvolts_in(self.dimension), units.quote_unit(self.dimension)
        if factor is None:
            raise UnusableEdf("unknown_unit", f"{self.label}: {unit}")
        try:
            low, high, bottom, top = (float(text) for text in self.ranges)
        except ValueError:
            raise UnusableEdf("unreadable", f"a range of {self.label} is not a number") from None
        gain = factor * (high - low) / (top - bottom) if top > bottom else 0.0
        # A gain that is not a number fails this comparison, too.
        if not 0 < abs(gain) <= _LARGEST_GAIN:
            raise UnusableEdf("no_calibration", self.label)
        lost = units.oddity_of(self.dimension) == units.LOST_UNIT
        if lost and not units.is_range_of_eeg(abs(high - low), abs(gain)):
            raise UnusableEdf("unknown_unit", f"{self.label}: {unit} from {low:g} to {high:g}")
        return gain


@dataclass(frozen=True, slots=True)
class EdfHeader:
    """The content of a header; ``records`` is -1 where it does not give their number.

    ``kind`` is ``EDF+C`` or ``EDF+D``, also for a BDF+, or empty for a plain EDF.
    ``record_duration`` is in seconds. ``start`` is None where the header gives no possible date and
    time. ``odd_date`` is the code of a finding about the date, or empty. ``sample_bytes`` is the
    width of a sample: 2, 3 in a BDF, 8 where a library decodes the samples.
    """

    signals: tuple[EdfSignal, ...]
    records: int
    header_bytes: int
    record_duration: Fraction
    kind: str
    start: datetime | None
    odd_date: str
    sample_bytes: int = 2

    @property
    def record_samples(self) -> int:
        """Numbers in one data record, annotations included."""
        return sum(signal.samples for signal in self.signals)

    def is_text(self, signal: EdfSignal) -> bool:
        """Whether a signal holds annotations instead of samples."""
        return signal.label == (BDF_ANNOTATIONS if self.sample_bytes == 3 else ANNOTATIONS)


class DecodedFile(ABC):
    """A recording in another format, which a library decodes: an EDF whose samples are float64.

    All members may raise :class:`UnusableEdf` and ``OSError``.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The file name without its folder, for findings."""

    @property
    @abstractmethod
    def header(self) -> EdfHeader:
        """The channels, and records of one sample of each."""

    @property
    @abstractmethod
    def bad(self) -> tuple[str, ...]:
        """Channels that the file itself marks as bad."""

    @abstractmethod
    def annotation_lists(self) -> Iterator[bytes]:
        """Each annotation as a time-stamped list of EDF+, relative to the first sample."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of all samples."""

    @abstractmethod
    def head(self, count: int) -> bytes:
        """Nothing: the header is not stored as bytes."""

    @abstractmethod
    def samples(self, offset: int, count: int, sample_bytes: int = 8) -> NDArray[np.float64]:
        """``count`` numbers from byte ``offset`` of all samples, both of whole data records."""


def read_header(file: EdfBytes, *, without_signals: bool = False) -> EdfHeader:
    """Read the header of an EDF or BDF, or of what a library decodes as one.

    A file that has annotations but no signals is accepted only ``without_signals``.

    Raises :class:`UnusableEdf` when the file has no EDF header, or one that contradicts itself, and
    ``OSError`` when it cannot be opened.
    """
    if isinstance(file, DecodedFile):
        return file.header
    head = file.head(256)
    if not head:
        raise UnusableEdf("unreadable", "the file is empty")
    is_bdf = file.name.lower().endswith(".bdf")
    if head[:1] == b"\xff" and not is_bdf:
        raise UnusableEdf("bdf_file")
    if is_bdf and (len(head) < 256 or head[:8] != BDF_MAGIC):
        raise UnusableEdf("unreadable", "no BDF header")
    if not is_bdf and (len(head) < 256 or head[:8].strip() != b"0"):
        raise UnusableEdf("unreadable", "no EDF header")
    count = _integer(head[252:], "the number of signals")
    header_bytes = _integer(head[184:192], "the length of the header")
    number = head[236:244]
    records = -1 if number.strip() == b"-1" else _integer(number, "the number of data records")
    if count < 1 or header_bytes != 256 * (count + 1):
        raise UnusableEdf(
            "unreadable",
            f"the header contradicts itself: its length is {header_bytes} bytes, and {count} "
            f"signals need {256 * (count + 1)}",
        )
    duration = head[244:252].strip(b" \0")
    if _DECIMAL.fullmatch(duration) is None:
        raise UnusableEdf("unreadable", "the header gives no possible duration of a data record")
    columns = file.head(header_bytes)[256:]
    if len(columns) < 256 * count:
        raise UnusableEdf("unreadable", "the header is cut short")
    signals = _signals(columns, count)
    text = BDF_ANNOTATIONS if is_bdf else ANNOTATIONS
    only_annotations = all(signal.label == text for signal in signals)
    if only_annotations and not without_signals:
        raise UnusableEdf("annotations_only")
    record_s = Fraction(duration.decode())
    # Without signals a data record may have no duration.
    if (record_s == 0 and not only_annotations) or not any(signal.samples for signal in signals):
        raise UnusableEdf("no_samples")
    # Programs that rewrite headers shift this field, or change its case.
    kind = head[192:236].strip(b" \0")[:5].upper().decode("latin-1")
    if is_bdf:
        kind = kind.replace("BDF+", "EDF+")
    header = EdfHeader(
        signals,
        records,
        header_bytes,
        record_s,
        kind if kind in ("EDF+C", "EDF+D") else "",
        *_start(head[168:176], head[176:184]),
        sample_bytes=3 if is_bdf else 2,
    )
    size = header.sample_bytes * header.record_samples
    if size > LARGEST_RECORD:
        raise UnusableEdf(
            "unreadable",
            f"a data record of {size} bytes, above the limit of {LARGEST_RECORD}",
        )
    return header


def _integer(text: bytes, what: str) -> int:
    stripped = text.strip(b" \0")
    if _INTEGER.fullmatch(stripped) is None:
        raise UnusableEdf("unreadable", f"{what} is not a number")
    return int(stripped)


def _start(date: bytes, time: bytes) -> tuple[datetime | None, str]:
    """When the recording starts, and the code of a finding about the date (or nothing)."""
    day, clock = _DATE.fullmatch(date), _DATE.fullmatch(time)
    if day is None or clock is None:
        return None, "impossible_date"
    day_of_month, month, short = int(day[1]), int(day[3]), int(day[5])
    # The specification: 85 to 99 are of the 20th century.
    year = 1900 + short if short >= 85 else 2000 + short
    try:
        start = datetime(year, month, day_of_month, int(clock[1]), int(clock[3]), int(clock[5]))
    except ValueError:
        return None, "impossible_date"
    return start, "colon_date" if b":" in (day[2], day[4]) else ""


def _signals(columns: bytes, count: int) -> tuple[EdfSignal, ...]:
    fields: dict[str, list[bytes]] = {}
    start = 0
    for name, width in COLUMNS:
        end = start + width * count
        fields[name] = [columns[at : at + width] for at in range(start, end, width)]
        start = end
    what = "a signal's number of samples in a data record"
    samples = [_integer(text, what) for text in fields["samples"]]
    texts = {
        name: [text.decode("latin-1").strip(" \0") for text in fields[name]]
        for name in (
            "label",
            "dimension",
            "physical_min",
            "physical_max",
            "digital_min",
            "digital_max",
        )
    }
    ranges = zip(
        texts["physical_min"],
        texts["physical_max"],
        texts["digital_min"],
        texts["digital_max"],
        strict=True,
    )
    offsets = accumulate(samples, initial=0)
    return tuple(
        EdfSignal(label, offset, number, dimension, four)
        for label, offset, number, dimension, four in zip(
            texts["label"], offsets, samples, texts["dimension"], ranges, strict=False
        )
    )
