"""Recordings that MNE reads: their header and samples in the form of an EDF with short records.

Each data record is one sample of every channel, in nV as MNE gives it. So channels, units, times
and flat signals are judged by the same code as those of an EDF.
"""

from __future__ import annotations

import configparser
import errno
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.display.counts import count
from brainbrr_core.edf.formats import FORMATS, main_text, part_names, suffix_of
from brainbrr_core.edf.header import DecodedFile, EdfHeader, EdfSignal, UnusableEdf
from brainbrr_core.edf.vendor_headers import Stated, gdf_text, stated_in
from brainbrr_core.errors import OutOfMemory

#: What MNE raises for a file that it does not understand. It also raises plain ``Exception``.
_MNE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    configparser.Error,
    struct.error,
    zlib.error,
)
#: Digits after the decimal point of a sampling rate or of a time that are not rounding.
_DENOMINATOR = 1_000_000
#: ``FIFFV_UNIT_V``: the unit of channels in volts.
_VOLTS = 107
_NANOVOLTS = 1e9
#: Nihon Kohden: the range of signals in mV is larger than this, that of signals in µV smaller.
_MILLIVOLTS_RANGE = 10_000
#: Annotations by which recording systems and MNE mark that something is missing at that time.
_GAP = re.compile(r"(?:BAD |EDGE )?boundary|BAD_ACQ_SKIP|New Segment/.*", re.IGNORECASE)
#: BrainVision: the number of samples that the header promises, and a form that is text.
_DATA_POINTS = re.compile(r"^\s*DataPoints\s*=\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_ASCII = re.compile(r"^\s*DataFormat\s*=\s*ASCII\s*$", re.IGNORECASE | re.MULTILINE)
#: Persyst: the second of the day of some samples.
_SAMPLE_TIMES = re.compile(r"^\[SampleTimes\]\s*$(.*?)(?=^\[|\Z)", re.I | re.M | re.S)
_SAMPLE_TIME = re.compile(r"^\s*(\d{1,15})=(\d{1,10}(?:\.\d{0,12})?)\s*$", re.MULTILINE)
#: MNE is not safe for threads: it sets its level of messages while it reads.
_LOCK = RLock()


class _Decoding(ExitStack):
    """What MNE raises becomes :class:`UnusableEdf`, except where a file cannot be opened at all.

    Where memory runs out it becomes :class:`OutOfMemory`: the file may be whole.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __enter__(self) -> Self:
        self.enter_context(_LOCK)
        # Of a damaged file, a number may be no possible one.
        self.enter_context(np.errstate(all="ignore"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if isinstance(error, UnusableEdf):
            return
        if isinstance(error, MemoryError):
            raise OutOfMemory(self._path) from None
        if isinstance(error, FileNotFoundError):
            raise UnusableEdf("missing_part", _line(error)) from None
        undecoded = isinstance(error, _MNE_ERRORS) or type(error) is Exception
        # SciPy raises an error without a number for a file that is cut short; a position that makes
        # no sense is an invalid argument.
        if isinstance(error, OSError) and error.errno in (None, errno.EINVAL):
            undecoded = True
        is_scipy = error is not None and type(error).__module__.startswith("scipy.")
        if undecoded or is_scipy:
            raise UnusableEdf("unreadable", _line(error)) from None


def _line(error: BaseException | None) -> str:
    """The first line of an error, without folders and without what it quotes."""
    if isinstance(error, NotImplementedError) and "v7.3" in str(error):
        return "a MATLAB 7.3 file: save it in EEGLAB as version 7"
    text = str(error).strip().partition("\n")[0]
    text = re.sub(r"\S*/", "", text)
    # What MNE quotes from a file may be a name of the patient.
    text = re.sub(r"""(['"]).*\1|\(.*\)""", "...", text)
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


class MneFile(DecodedFile):
    """A recording in one of the formats that MNE reads; opened when it is first asked for.

    Its parts are read as they are needed where the format allows; the data of an EEGLAB file
    without ``.fdt`` is loaded whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The file name without its folder."""
        return self.path.name

    @cached_property
    def _stated(self) -> Stated | None:
        return stated_in(self.path, suffix_of(self.name))

    @cached_property
    def _raw(self) -> Any:
        # Before anything else: a file that is no recording has no parts.
        _ = self._stated
        check_parts(self.path)
        # The main file must be there and readable.
        with self.path.open("rb"):
            pass
        with _Decoding(self.path):
            import mne

            own = FORMATS[suffix_of(self.path.name)]
            read: Callable[..., Any] = getattr(mne.io, own.mne_reader)
            path = self.path.with_suffix(own.read_suffix) if own.read_suffix else self.path
            # Not every reader heeds verbose for all that it prints.
            with mne.utils.use_log_level("ERROR"):
                return read(path, **dict(own.options), preload=False, verbose="ERROR")

    @cached_property
    def header(self) -> EdfHeader:
        """Channels, rate and start; the last sample has been read."""
        raw = self._raw
        with _Decoding(self.path):
            count, channels = int(raw.n_times), len(raw.ch_names)
            rate = Fraction(float(raw.info["sfreq"])).limit_denominator(_DENOMINATOR)
            if not channels or rate <= 0:
                raise UnusableEdf("no_samples")
            signals = tuple(
                EdfSignal(
                    label,
                    number,
                    1,
                    "nV" if is_voltage else "n/a",
                    ("-1", "1", "-1", "1"),
                    has_limits=False,
                )
                for number, (label, is_voltage) in enumerate(
                    zip(raw.ch_names, self._voltages(), strict=True)
                )
            )
            start = self._start()
            self._check_size(count, channels)
            self._check_gaps(rate)
            if count:
                self._data(count - 1, count)
        return EdfHeader(
            signals,
            count,
            0,
            1 / rate,
            "",
            start,
            "" if start is not None else "impossible_date",
            sample_bytes=8,
        )

    def _voltages(self) -> list[bool]:
        """Whether each channel is a voltage."""
        channels = self._raw.info["chs"]
        if self._stated is not None and self._stated.volts:
            return list(self._stated.volts)
        if suffix_of(self.name) == ".eeg":
            # MNE tells the kind of a channel by letters of its label: "FZ" would be none of EEG.
            return [float(channel["range"]) < _MILLIVOLTS_RANGE for channel in channels]
        return [int(channel["unit"]) == _VOLTS for channel in channels]

    def _start(self) -> datetime | None:
        """Date and time of the first sample, as the recorder's clock showed them."""
        if suffix_of(self.name) == ".cnt" and self._stated is not None:
            # MNE takes it for one in the time zone of this machine, with the month first.
            return self._stated.start
        start: datetime | None = self._raw.info["meas_date"]
        if start is None:
            return None
        start = start.replace(tzinfo=None) + timedelta(seconds=float(self._raw.first_time))
        if suffix_of(self.name) == ".gdf":
            # A fraction of a day in 32 bits: its steps are 20 µs.
            start += timedelta(microseconds=50)
            start -= timedelta(microseconds=start.microsecond % 100)
        return start

    @property
    def bad(self) -> tuple[str, ...]:
        """Channels that the file itself marks as bad."""
        return tuple(self._raw.info["bads"])

    def size(self) -> int:
        """Bytes that the samples would have as 64-bit numbers."""
        header = self.header
        return 8 * header.records * header.record_samples

    def head(self, _count: int) -> bytes:
        """Nothing: the header is not stored as bytes."""
        return b""

    def samples(self, offset: int, count: int, _sample_bytes: int = 8) -> NDArray[np.float64]:
        """``count`` numbers in nV from byte ``offset``, sample by sample; both of whole samples."""
        channels = len(self.header.signals)
        first = offset // (8 * channels)
        with _Decoding(self.path):
            data = self._data(first, first + count // channels)
            return np.ascontiguousarray(data.T, np.float64).reshape(-1) * _NANOVOLTS

    def _data(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples ``start`` up to ``stop`` of all channels in V, read in whole blocks."""
        block = 1 if self._stated is None else self._stated.block
        first = start - start % block
        after_last = min(-(-stop // block) * block, int(self._raw.n_times))
        data = self._raw.get_data(start=first, stop=after_last, verbose="ERROR")
        return np.asarray(data[:, start - first : stop - first], np.float64)

    def annotation_lists(self) -> Iterator[bytes]:
        """Annotations as the time-stamped lists of an EDF+, relative to the first sample."""
        with _Decoding(self.path):
            noted, instant_s = self._noted(), self._instant_s
        for start, duration, text in noted:
            length = f"\x15{duration:.9f}" if duration > instant_s else ""
            clean = re.sub(r"[\x00\x14\x15]", " ", text)
            yield f"{start:+.9f}{length}\x14{clean}\x14\0".encode()

    def _noted(self) -> list[tuple[float, float, str]]:
        """Start and duration in seconds, and text, of every annotation."""
        annotations, first = self._raw.annotations, float(self._raw.first_time)
        rows = zip(annotations.onset, annotations.duration, annotations.description, strict=True)
        return [
            (float(onset) - first, float(duration), self._text(str(text), float(duration)))
            for onset, duration, text in rows
        ]

    def _text(self, text: str, duration: float) -> str:
        """The text of an annotation as someone would write it."""
        suffix = suffix_of(self.name)
        if suffix == ".vhdr" and "/" in text:
            # Of "Comment/seizure", what is in front of the slash is the type of the marker.
            return text.partition("/")[2]
        if suffix == ".gdf":
            return gdf_text(text, is_instant=duration <= self._instant_s)
        return text

    @property
    def _instant_s(self) -> float:
        """A marker of one sample is an instant; the longest duration of one, in seconds."""
        return 1.5 / float(self._raw.info["sfreq"])

    def _check_gaps(self, rate: Fraction) -> None:
        """Raise :class:`UnusableEdf` where the file says that samples are missing in between."""
        gaps = marked_gaps(self._raw)
        if suffix_of(self.name) == ".lay":
            gaps += _persyst_gaps(main_text(self.path), rate)
        if self._stated is not None:
            gaps += self._stated.gaps
        if gaps:
            raise UnusableEdf(
                "discontinuous", f"{count(len(gaps), 'gap')}, the first at {gaps[0]:g} s"
            )

    def _check_size(self, count: int, channels: int) -> None:
        """Raise :class:`UnusableEdf` where the file with the samples is cut short."""
        suffix = suffix_of(self.name)
        if suffix not in (".vhdr", ".lay", ".set", ".head"):
            return
        text = main_text(self.path) if suffix in (".vhdr", ".lay") else ""
        promised = _DATA_POINTS.search(text) if suffix == ".vhdr" else None
        if promised is not None and int(promised[1]) > count:
            raise UnusableEdf("truncated_file", f"{count} of {promised[1]} samples")
        if suffix == ".vhdr" and _ASCII.search(text):
            return
        for name in part_names(self.path):
            if name.lower().endswith(".vmrk"):
                continue
            size = self.path.with_name(name).stat().st_size
            whole = {".set": 4, ".head": 2}.get(suffix, 0) * count * channels
            if suffix == ".head" and size > whole:
                raise UnusableEdf("unreadable", f"{name} has more samples than its header says")
            if size < whole or (count and size % (count * channels)):
                raise UnusableEdf("truncated_file", f"{name} does not end with a whole sample")


def marked_gaps(raw: Any) -> list[float]:
    """Where a recording of MNE says that samples are missing, in seconds from its first sample.

    Also where several recordings were joined. A mark at the first sample begins the recording.
    """
    first_s = float(raw.first_time)
    # Of a joined recording, MNE marks each place twice.
    onsets = {
        float(onset) - first_s
        for onset, text in zip(raw.annotations.onset, raw.annotations.description, strict=True)
        if _GAP.fullmatch(str(text))
    }
    return sorted(onset for onset in onsets if onset > 0.5 / float(raw.info["sfreq"]))


def _persyst_gaps(text: str, rate: Fraction) -> list[float]:
    """Seconds at which the clock of a Persyst recording does not agree with its samples."""
    section = _SAMPLE_TIMES.search(text)
    rows = _SAMPLE_TIME.findall(section[1]) if section is not None else []
    times = sorted((int(sample), Fraction(time)) for sample, time in rows)
    gaps = []
    for (before, then), (sample, time) in pairwise(times):
        elapsed = Fraction(sample - before) / rate
        # Over midnight as well; a clock may differ from the samples by 1 %, as in an EDF.
        if abs((time - then) % 86_400 - elapsed) > max(elapsed / 100, 1 / rate):
            gaps.append(float(sample / rate))
    return gaps


def check_parts(path: Path) -> None:
    """Raise :class:`UnusableEdf` where a recording names another file that is not there."""
    for name in part_names(path):
        if not path.with_name(name).is_file():
            raise UnusableEdf("missing_part", name)
