"""Which signals of an EDF give the channels of a montage, and those channels in µV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA, MontageName
from brainbrr_core.display.counts import count
from brainbrr_core.edf.header import EdfHeader, EdfSignal, UnusableEdf
from brainbrr_core.edf.raw import calibration
from brainbrr_core.edf.source import Digital
from brainbrr_core.edf.units import LARGEST_UV
from brainbrr_core.signal.derivation import (
    BipolarMatch,
    Sum,
    add_up,
    match_derivations,
    sums_of_electrodes,
)
from brainbrr_core.signal.montage import MontageMatch, electrode_of, match_channels
from brainbrr_core.signal.quantization import to_microvolts

#: With fewer of the 19 electrodes, it is another kind of recording (behind the ear, a monitor).
FEW_CHANNELS = 10


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """Which signals of a file a montage can use, by their labels.

    ``derivations`` is None where the electrodes decide: for the montage ``10-20``, and for a
    referential recording.
    """

    montage: MontageName
    electrodes: MontageMatch
    derivations: BipolarMatch | None

    @property
    def is_usable(self) -> bool:
        """Whether the labels name all channels, or enough of them."""
        if self.derivations is not None:
            return not self.derivations.missing
        return self.electrodes.reason is None

    @property
    def is_derived(self) -> bool:
        """Whether the channels are computed from electrodes."""
        return self.montage == "double-banana" and self.derivations is None

    @property
    def indices(self) -> dict[str, int]:
        """The index of the signal of each electrode or derivation."""
        if self.derivations is not None:
            return {name: index for name, (index, *_) in self.derivations.signals.items()}
        return {name: index for name, (index, _) in self.electrodes.signals.items()}

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Each electrode or derivation and the label of its signal."""
        if self.derivations is not None:
            return tuple((name, label) for name, (_, label, _) in self.derivations.signals.items())
        return tuple((name, label) for name, (_, label) in self.electrodes.signals.items())

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes or derivations that no signal carries.

        Of a bipolar file with all derivations, the labels that are marked as bad and not used.
        """
        if self.derivations is not None:
            return self.derivations.missing or self.derivations.bad
        return self.electrodes.missing

    @property
    def bad(self) -> tuple[str, ...]:
        """Electrodes of the file, or labels of its derivations, that are marked as bad."""
        return (self.derivations or self.electrodes).bad

    @property
    def unmatched(self) -> tuple[str, ...]:
        """What is marked as bad and is not in the file."""
        return (self.derivations or self.electrodes).unmatched


#: Gives, for the labels of a file, those that are electrodes in its corpus only, each with its
#: electrode. Of several signals with such a label, the first is meant.
Aliases = Callable[[Sequence[str]], Mapping[str, str]]


def aliases_of(matched: Iterable[tuple[str, str]]) -> Aliases:
    """The aliases among electrodes that were matched before, each with the label of its signal."""
    known = {
        label: name for name, label in matched if name in CHANNELS and electrode_of(label) is None
    }
    return lambda _labels: known


def match_labels(
    labels: list[str],
    bad: Iterable[str],
    rules: ChannelRules | None,
    montage: MontageName,
    aliases: Aliases | None = None,
) -> LabelMatch:
    """Match the labels of a file to a montage; ``bad`` names channels that count as missing."""
    bad, names = tuple(bad), labels
    meant = aliases(labels) if aliases is not None else {}
    if meant:
        stripped = [label.strip() for label in labels]
        by_index = {stripped.index(label): name for label, name in meant.items()}
        names = [by_index.get(index, label) for index, label in enumerate(labels)]
    electrodes = match_channels(names, bad, rules)
    if meant:
        signals = {
            name: (index, labels[index].strip()) for name, (index, _) in electrodes.signals.items()
        }
        electrodes = replace(electrodes, signals=signals)
    is_bipolar = montage == "double-banana" and electrodes.reason == "bipolar_montage"
    return LabelMatch(montage, electrodes, match_derivations(labels, bad) if is_bipolar else None)


@dataclass(frozen=True)
class MontageChannels:
    """The channels of a montage in one EDF.

    Attributes
    ----------
    signals : dict of str to EdfSignal
        The signals of the file that are read, by the electrode that each carries, or the
        derivation.
    sums : tuple of Sum, optional
        Each channel as a sum of ``signals``; None where they are the channels themselves.
    missing : tuple of str
        Channels that must be interpolated after the filters.
    interpolated : tuple of str
        Electrodes that are interpolated, whether before the filters or after them.
    copies : dict of str to tuple of EdfSignal
        Other signals of the same derivation: the file can be used where they are the same signal.
    """

    signals: dict[str, EdfSignal]
    sums: tuple[Sum, ...] | None = None
    missing: tuple[str, ...] = ()
    interpolated: tuple[str, ...] = ()
    copies: dict[str, tuple[EdfSignal, ...]] = field(default_factory=dict)

    @cached_property
    def gains(self) -> tuple[float, ...]:
        """µV per digital unit of each signal. Raises :class:`UnusableEdf` where one has none."""
        return tuple(signal.microvolts() for signal in self.signals.values())

    def check_calibration(self) -> None:
        """Raise :class:`UnusableEdf` where the header does not say what a signal's samples mean."""
        for signal in self.signals.values():
            signal.microvolts()

    @property
    def per_record(self) -> int:
        """Samples of each signal in a data record."""
        return next(iter(self.signals.values())).samples

    def microvolts(
        self, records: NDArray[Digital], zero: NDArray[Digital], skip: int, count: int
    ) -> NDArray[np.float32]:
        """The channels (channels, count) of some data records, without the first ``skip`` samples.

        They are relative to the samples at the beginning of each signal in the data record
        ``zero``. Raises :class:`UnusableEdf` where a sample is not finite.
        """
        if self.sums is None and records.dtype.kind == "i":
            out = np.empty((len(self.signals), count), np.float32)
            offsets = np.array([signal.offset for signal in self.signals.values()])
            zeros = zero[offsets].astype(np.float32)
            gains = np.array(self.gains, np.float32)
            to_microvolts(records, offsets, self.per_record, skip, zeros, gains, out)
            return out
        exact = np.empty((len(self.signals), count), np.float64)
        for values, signal, gain in zip(exact, self.signals.values(), self.gains, strict=True):
            digital = records[:, signal.offset : signal.offset + signal.samples].reshape(-1)
            values[:] = digital[skip : skip + count]
            values -= float(zero[signal.offset])
            values *= gain
        self._check_finite(exact)
        return exact.astype(np.float32) if self.sums is None else add_up(self.sums, exact)

    def _check_finite(self, samples: NDArray[np.float64]) -> None:
        """Raise :class:`UnusableEdf` where samples (signals, n) are not numbers, or too large."""
        odd = [
            name
            for name, own in zip(self.signals, samples, strict=True)
            if not (np.abs(own) <= LARGEST_UV).all()
        ]
        if odd:
            raise UnusableEdf("not_finite", ", ".join(odd))

    def check_copies(self, records: NDArray[Digital]) -> None:
        """Raise :class:`UnusableEdf` unless the copies equal their signals in some data records.

        Two samples are equal that are less than a step of their digital values apart, on average of
        both.
        """
        for name, copies in self.copies.items():
            signal = self.signals[name]
            for copy in copies:
                if copy.samples != signal.samples or _differ(records, signal, copy):
                    raise UnusableEdf(
                        "duplicate_channel",
                        f"{name}: the file has two signals {signal.label!r} and {copy.label!r}, "
                        "which differ",
                    )


def _differ(records: NDArray[Digital], one: EdfSignal, other: EdfSignal) -> bool:
    gain, other_gain = one.microvolts(), other.microvolts()
    first = records[:, one.offset : one.offset + one.samples]
    second = records[:, other.offset : other.offset + other.samples]
    if one.ranges == other.ranges and gain == other_gain:
        return not np.array_equal(first, second)
    _, offset, _ = calibration(one)
    _, other_offset, _ = calibration(other)
    difference = (gain * first + offset) - (other_gain * second + other_offset)
    # A little less than a step: what is left of it is the rounding of these numbers.
    return bool((np.abs(difference) > 0.499 * (abs(gain) + abs(other_gain))).any())


@dataclass(frozen=True, slots=True)
class Composition:
    """How the channels of a montage are made from the signals of a recording.

    ``indices`` has the signal of each electrode or derivation that is used, ``sums`` each channel
    as a sum of them (None where they are the channels themselves), ``missing`` the channels that
    are interpolated after the filters, ``interpolated`` all electrodes that are interpolated, and
    ``copies`` other signals of the same derivation, which must be the same signal.
    """

    indices: dict[str, int]
    sums: tuple[Sum, ...] | None = None
    missing: tuple[str, ...] = ()
    interpolated: tuple[str, ...] = ()
    copies: dict[str, tuple[int, ...]] = field(default_factory=dict)


def composition(labels: list[str], match: LabelMatch) -> Composition:
    """How a montage is made from the signals with these labels.

    Raises :class:`UnusableEdf` where they do not give it.
    """
    indices = match.indices
    electrodes, derivations = match.electrodes, match.derivations
    if derivations is not None:
        if derivations.missing:
            raise UnusableEdf("missing_derivations", ", ".join(derivations.missing))
        signs = [sign for _, _, sign in derivations.signals.values()]
        sums = tuple(((position, sign),) for position, sign in enumerate(signs))
        return Composition(indices, sums, copies=derivations.doubled)
    if electrodes.reason is not None:
        raise _wrong_electrodes(labels, electrodes)
    interpolated = electrodes.to_interpolate
    if match.montage == "10-20":
        return Composition(indices, None, interpolated, interpolated)
    return Composition(indices, sums_of_electrodes(interpolated), (), interpolated)


def montage_channels(header: EdfHeader, match: LabelMatch) -> MontageChannels:
    """The channels of a montage in a file.

    Raises :class:`UnusableEdf` where the file does not have them.
    """
    made = composition([signal.label for signal in header.signals], match)
    return MontageChannels(
        {name: header.signals[index] for name, index in made.indices.items()},
        made.sums,
        made.missing,
        made.interpolated,
        {name: tuple(header.signals[n] for n in copies) for name, copies in made.copies.items()},
    )


def _wrong_electrodes(labels: list[str], match: MontageMatch) -> UnusableEdf:
    """The error for channels that do not give the 19, naming the electrodes that decide it."""
    if match.reason == "duplicate_channel":
        return UnusableEdf("duplicate_channel", ", ".join(match.duplicated))
    if match.reason == "bipolar_montage":
        # A montage of derivations needs no rules for references and interpolation.
        absent = match_derivations(labels).missing
        of_wanted = len(DOUBLE_BANANA) - len(absent)
        reads = "; preprocessing.montage: double-banana reads them" if not absent else ""
        return UnusableEdf(
            "bipolar_montage",
            f"{count(match.bipolar, 'derivation')}, {of_wanted} of the {len(DOUBLE_BANANA)} of "
            f"double-banana{reads}",
        )
    if len(match.signals) < FEW_CHANNELS:
        return UnusableEdf("few_channels", f"{len(match.signals)} of {len(CHANNELS)} electrodes")
    if match.reason == "no_common_reference":
        return UnusableEdf("no_common_reference", match.mixed_references)
    lone = ", ".join(match.without_neighbors)
    why = f"; at the edge without all of their neighbors: {lone}" if lone else ""
    most = match.rules.interpolate_at_most
    limit = f"; {most} at most are interpolated" if len(match.missing) > most else ""
    return UnusableEdf("missing_channels", f"{', '.join(match.missing)}{limit}{why}")
