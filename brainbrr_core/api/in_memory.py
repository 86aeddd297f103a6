"""Arrays and recordings of MNE as the signal chain reads them: a montage's channels in µV.

Channel names are matched as the labels of an EDF are, and what an EDF is refused for is refused
here in the same words.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Finding
from brainbrr_core.api.arguments import names_of, number_of
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import BLOCK_S, MontageName
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.display.counts import count
from brainbrr_core.edf.channels import composition, match_labels
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import LOWEST_FULL_RATE
from brainbrr_core.edf.units import LARGEST_STEP_UV, LARGEST_UV
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.derivation import add_up
from brainbrr_core.signal.resampling import UnsupportedRate, design

if TYPE_CHECKING:
    import mne

    #: What has samples: a recording of MNE, whose unit is volts, or an array in µV.
    Signal: TypeAlias = mne.io.BaseRaw | NDArray[np.floating] | NDArray[np.integer]

#: Samples ``start`` to ``stop`` of some channels by their positions, float64 in µV.
ReadMicrovolts = Callable[[list[int], int, int], NDArray[np.float64]]

#: How MNE tells channels of one name apart.
_NUMBERED = re.compile(r"(.+)-\d+")
#: A rate is a fraction with a denominator of at most this: then it is exact for any EDF.
_LARGEST_DENOMINATOR = 1_000_000
#: Seconds that are looked at together for channels without a signal.
_CHUNK_S = 60


class MontageSignal:
    """The channels of a montage in an array or a recording of MNE; a ``SignalSource``.

    Only what is asked for is read, so that a recording that MNE has not loaded stays on disk.
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        rate: Fraction,
        samples: int,
        read: ReadMicrovolts,
        *,
        bads: Iterable[str] = (),
        rules: ChannelRules | None = None,
        montage: MontageName = "10-20",
    ) -> None:
        self.name, self.rate, self.samples = name, rate, samples
        self._read = read
        try:
            self._match(list(labels), tuple(bads), rules, montage)
            self._check()
        except UnusableEdf as error:
            raise BrainbrrError(f"{name}: {SIGNAL_REASONS[error.reason]} ({error})") from None

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return float(self.samples / self.rate)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the channels, relative to the first sample of each.

        Raises :class:`BrainbrrError` for one that is not finite.
        """
        signals = self._microvolts(self._positions, start, stop)
        signals -= self._first
        return signals.astype(np.float32) if self._sums is None else add_up(self._sums, signals)

    def _match(
        self,
        labels: list[str],
        bads: tuple[str, ...],
        rules: ChannelRules | None,
        montage: MontageName,
    ) -> None:
        match = match_labels(labels, bads, rules, montage)
        if match.unmatched:
            raise BrainbrrError(
                f"{self.name}: no channel is named {', '.join(match.unmatched)}: correct the names "
                "of bad channels"
            )
        made = composition(labels, match)
        #: Positions of the channels that are read.
        self.used = tuple(made.indices.values())
        self.missing, self.interpolated = made.missing, made.interpolated
        self._positions, self._sums, self._copies = list(self.used), made.sums, made.copies
        self._labels, self._indices = labels, made.indices
        self._marked = match.bad
        self._mixed = match.electrodes.mixed_references if match.derivations is None else ""

    def _check(self) -> None:
        """Refuse what an EDF would be refused for, and say what is odd about the signal."""
        if not self.samples:
            raise UnusableEdf("no_samples")
        if self.duration_s < BLOCK_S:
            raise UnusableEdf("too_short", f"{self.duration_s:g} s")
        try:
            design(self.rate)
        except UnsupportedRate as error:
            raise UnusableEdf("unsupported_rate", str(error)) from None
        self._first = self._microvolts(self._positions, 0, 1)
        self._check_copies()
        flat = self._flat()
        if len(flat) == len(self._positions):
            raise UnusableEdf("flat_signal")
        found = [("bad_channel", label) for label in self._marked]
        if self._mixed:
            found.append(("mixed_references", self._mixed))
        if self.rate < LOWEST_FULL_RATE:
            found.append(("low_rate", f"content ends at {float(self.rate) / 2:g} Hz"))
        found += [("interpolated_channel", channel) for channel in self.interpolated]
        found += [("flat_channel", channel) for channel in flat]
        #: What is odd about the signal and does not exclude it.
        self.findings = tuple(Finding(code, self.name, detail) for code, detail in found)

    def _check_copies(self) -> None:
        for derivation, copies in self._copies.items():
            signal = self._indices[derivation]
            for start, stop in self._chunks():
                values = self._microvolts([signal, *copies], start, stop)
                if (np.abs(values[1:] - values[0]) > LARGEST_STEP_UV).any():
                    raise UnusableEdf(
                        "duplicate_channel",
                        f"{derivation}: the signals named {self._labels[signal]!r} differ",
                    )

    def _flat(self) -> tuple[str, ...]:
        """Channels with one value throughout."""
        suspects = dict(enumerate(self._indices))
        for start, stop in self._chunks():
            rows = list(suspects)
            values = self._microvolts([self._positions[row] for row in rows], start, stop)
            varying = (values != self._first[rows]).any(axis=1)
            suspects = {
                row: suspects[row] for row, varies in zip(rows, varying, strict=True) if not varies
            }
            if not suspects:
                break
        return tuple(suspects.values())

    def _chunks(self) -> Iterable[tuple[int, int]]:
        step = round(_CHUNK_S * self.rate)
        return ((at, min(at + step, self.samples)) for at in range(0, self.samples, step))

    def _microvolts(self, positions: list[int], start: int, stop: int) -> NDArray[np.float64]:
        values = self._read(positions, start, stop)
        # The signal chain computes in float32.
        possible = np.abs(values) <= LARGEST_UV
        if not possible.all():
            row, column = np.argwhere(~possible)[0]
            value = values[row, column]
            what = f"{value:g} µV" if math.isfinite(value) else "no number"
            raise BrainbrrError(
                f"{self.name}: {self._labels[positions[row]]!r} has {what} at "
                f"{float((start + column) / self.rate):g} s: cut that part out, or mark the "
                "channel as bad"
            )
        return values


def is_raw(signal: object) -> TypeGuard[mne.io.BaseRaw]:
    """Whether something is a recording of MNE. Imports MNE only where that is already loaded."""
    if "mne" not in sys.modules:
        return False
    from mne.io import BaseRaw

    return isinstance(signal, BaseRaw)


def montage_signal(
    signal: Signal,
    rate: float | Fraction | None = None,
    channels: Sequence[str] | None = None,
    *,
    bads: Sequence[str] = (),
    rules: ChannelRules | None = None,
    montage: MontageName = "10-20",
) -> MontageSignal:
    """What the signal chain reads of a recording of MNE or of an array (channels, samples) in µV.

    Raises :class:`BrainbrrError` where it does not have the channels of the montage, or lacks what
    an array needs.
    """
    bads = names_of(bads, "bads")
    if is_raw(signal):
        if rate is not None or channels is not None:
            raise BrainbrrError(
                "a recording of MNE states its rate and its channels: leave rate and channels out, "
                "or give an array"
            )
        return _of_raw(signal, bads, rules, montage)
    return _of_array(signal, rate, channels, bads, rules, montage)


def _of_raw(
    raw: mne.io.BaseRaw, bads: Sequence[str], rules: ChannelRules | None, montage: MontageName
) -> MontageSignal:
    from mne.io.constants import FIFF

    from brainbrr_core.edf.decoded import marked_gaps

    gaps = marked_gaps(raw)
    if gaps:
        raise BrainbrrError(
            f"the recording: {SIGNAL_REASONS['discontinuous']} ({count(len(gaps), 'gap')}, the "
            f"first at {gaps[0]:g} s): crop it there, and use each part by itself"
        )
    names = _as_in_the_file(raw.ch_names)
    by_name = dict(zip(raw.ch_names, names, strict=True))

    def read(positions: list[int], start: int, stop: int) -> NDArray[np.float64]:
        values = np.asarray(raw.get_data(positions, start, stop), np.float64)
        return values * 1e6

    signal = MontageSignal(
        "the recording",
        names,
        _rate(raw.info["sfreq"]),
        raw.n_times,
        read,
        bads=[*(by_name.get(name, name) for name in (*raw.info["bads"], *bads))],
        rules=rules,
        montage=montage,
    )
    for position in signal.used:
        if raw.info["chs"][position]["unit"] != FIFF.FIFF_UNIT_V:
            [kind] = raw.get_channel_types([position])
            raise BrainbrrError(
                f"the recording: {raw.ch_names[position]!r} is a channel of the type {kind!r}, "
                "which MNE does not hold in volts: use raw.set_channel_types where it is EEG"
            )
    return signal


def _of_array(
    data: object,
    rate: float | Fraction | None,
    channels: Sequence[str] | None,
    bads: Sequence[str],
    rules: ChannelRules | None,
    montage: MontageName,
) -> MontageSignal:
    if not isinstance(data, np.ndarray):
        raise BrainbrrError(
            f"{type(data).__name__} is no signal: give an array of numpy (channels, samples) in "
            "µV, or a recording of MNE (mne.io.BaseRaw)"
        )
    if data.ndim != 2 or data.dtype.kind not in "iuf":
        raise BrainbrrError(
            f"an array of the shape {data.shape} and the type {data.dtype} is no signal: give real "
            "numbers (channels, samples) in µV"
        )
    if rate is None:
        raise BrainbrrError("an array does not say its sampling rate: give rate, in Hz")
    if channels is None:
        raise BrainbrrError(
            "an array does not say its channels: give channels, the names of its rows, such as "
            "['Fp1', 'F3', ...]"
        )
    channels = names_of(channels, "channels")
    if len(channels) != len(data):
        turned = len(channels) == data.shape[1]
        raise BrainbrrError(
            f"an array of the shape {data.shape} has {len(data)} rows and channels names "
            f"{len(channels)}: " + ("transpose it" if turned else "name each row once")
        )

    def read(positions: list[int], start: int, stop: int) -> NDArray[np.float64]:
        # What is masked has no value, and a matrix has no rows of its own.
        values = np.ma.filled(data[positions, start:stop].astype(np.float64), np.nan)
        return np.asarray(values)

    return MontageSignal(
        "the array",
        channels,
        _rate(rate),
        data.shape[1],
        read,
        bads=bads,
        rules=rules,
        montage=montage,
    )


def _rate(rate: float | Fraction) -> Fraction:
    per_second = number_of(rate, "rate", "samples per second")
    if not (math.isfinite(per_second) and per_second > 0):
        raise BrainbrrError(f"a rate of {rate} Hz is not possible: give samples per second")
    if isinstance(per_second, Fraction):
        return per_second
    return Fraction(per_second).limit_denominator(_LARGEST_DENOMINATOR)


def _as_in_the_file(names: Sequence[str]) -> list[str]:
    """The labels of the file: of several equal ones MNE makes ``X-0``, ``X-1`` and so on."""
    bases = {name: match[1] for name in names if (match := _NUMBERED.fullmatch(name))}
    several = {base for base, count in Counter(bases.values()).items() if count > 1}
    return [bases[name] if bases.get(name) in several else name for name in names]
