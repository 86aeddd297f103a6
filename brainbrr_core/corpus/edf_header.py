"""The fixed-width header of an EDF file, as far as a clinical recording needs it.

Only what decides about the signal is kept: no identity, date or free text leaves this module.
Source of the layout: Kemp et al. (1992), Electroenceph. clin. Neurophysiol. 82, 391-393, and the
EDF+ specification (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

#: Name and width of each field of a signal, in the order in which the columns follow.
_COLUMNS = (
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
_MICROVOLTS = {"UV": 1.0, "µV": 1.0, "ΜV": 1.0, "MV": 1e3, "V": 1e6}


class UnusableEdf(Exception):
    """The file gives no signal; ``reason`` is one of ``SIGNAL_REASONS``.

    ``rate`` and ``samples`` are what the file holds, where that much could be read.
    """

    def __init__(
        self, reason: str, detail: str = "", rate: Fraction = Fraction(0), samples: int = 0
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.rate, self.samples = reason, detail, rate, samples


@dataclass(frozen=True, slots=True)
class EdfSignal:
    """One signal of a data record: its label, where it lies and how many samples it has."""

    label: str
    offset: int
    samples: int
    dimension: str
    ranges: tuple[str, str, str, str]

    def microvolts(self) -> float:
        """What one digital unit is worth. Raises :class:`UnusableEdf` where nothing says."""
        factor = _MICROVOLTS.get(self.dimension.upper())
        if factor is None:
            raise UnusableEdf("unknown_unit", self.label)
        try:
            low, high, bottom, top = (float(text) for text in self.ranges)
        except ValueError:
            raise UnusableEdf("unreadable", f"a range of {self.label}") from None
        gain = factor * (high - low) / (top - bottom) if top != bottom else 0.0
        # Also false for what is not a number.
        if not 0 < abs(gain) < float("inf"):
            raise UnusableEdf("no_calibration", self.label)
        return gain


@dataclass(frozen=True, slots=True)
class EdfHeader:
    """What the header promises; ``records`` is negative where it does not say."""

    signals: tuple[EdfSignal, ...]
    records: int
    header_bytes: int
    record_duration: Fraction
    discontinuous: bool

    @property
    def record_samples(self) -> int:
        """16-bit numbers in one data record, annotations included."""
        return sum(signal.samples for signal in self.signals)


def read_header(path: Path) -> EdfHeader:
    """Read an EDF header.

    Raises :class:`UnusableEdf` when it is none or contradicts itself, ``OSError`` when the file
    cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(256)
        if head[:1] == b"\xff":
            raise UnusableEdf("bdf_file")
        if len(head) < 256 or head[:8].strip() != b"0":
            raise UnusableEdf("unreadable", "no EDF header")
        try:
            count, records, header_bytes = int(head[252:]), int(head[236:244]), int(head[184:192])
            duration = Fraction(head[244:252].decode("ascii").strip())
        except (ValueError, ZeroDivisionError):
            raise UnusableEdf("unreadable", "a number in the header") from None
        if count < 1 or header_bytes != 256 * (count + 1) or duration < 0:
            raise UnusableEdf("unreadable", "the header contradicts itself")
        columns = file.read(256 * count)
    if len(columns) < 256 * count:
        raise UnusableEdf("unreadable", "the header is cut short")
    if duration == 0:
        raise UnusableEdf("no_samples")
    signals = _signals(columns, count)
    if sum(signal.samples for signal in signals) == 0:
        raise UnusableEdf("no_samples")
    return EdfHeader(signals, records, header_bytes, duration, head[192:197] == b"EDF+D")


def _signals(columns: bytes, count: int) -> tuple[EdfSignal, ...]:
    fields: dict[str, list[str]] = {}
    place = 0
    for name, width in _COLUMNS:
        fields[name] = [
            columns[place + width * n : place + width * (n + 1)].decode("latin-1").strip()
            for n in range(count)
        ]
        place += width * count
    try:
        samples = [int(text) for text in fields["samples"]]
    except ValueError:
        raise UnusableEdf("unreadable", "a number of samples") from None
    if min(samples) < 0:
        raise UnusableEdf("unreadable", "a number of samples")
    return tuple(
        EdfSignal(
            label=fields["label"][n],
            offset=sum(samples[:n]),
            samples=samples[n],
            dimension=fields["dimension"][n],
            ranges=(
                fields["physical_min"][n],
                fields["physical_max"][n],
                fields["digital_min"][n],
                fields["digital_max"][n],
            ),
        )
        for n in range(count)
    )
