"""The signal chain of the store for any EEG: a recording of MNE, or an array."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.api.in_memory import montage_signal
from brainbrr_core.api.stored_corpus import Unit, check_unit, in_microvolts
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import MONTAGES, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.quantization import span

if TYPE_CHECKING:
    from brainbrr_core.api.in_memory import Signal


def preprocess(
    signal: Signal,
    rate: float | Fraction | None = None,
    channels: Sequence[str] | None = None,
    *,
    bads: Sequence[str] = (),
    montage: MontageName | None = None,
    unit: Unit = "sd",
    settings: Preprocessing | None = None,
    rules: ChannelRules | None = None,
) -> NDArray[np.float32]:
    """Prepare a recording as the store has it: at 256 Hz, filtered, in standard deviations.

    It is resampled, filtered, interpolated where electrodes are missing, z-scored and rounded to 16
    bits by the code that builds the store. An EDF that MNE reads gives the samples of its shard:
    for ``double-banana`` exactly; for ``10-20`` MNE's volts are rounded otherwise than the µV of
    the store, so that one or two samples in 10,000 are the next of the 16-bit numbers (0.0003
    standard deviations).

    Parameters
    ----------
    signal : mne.io.BaseRaw or array, shape (channels, samples)
        The recording, 10 s or longer. An array is in µV. What MNE has marked as bad counts as
        missing.
    rate : float or fractions.Fraction, optional
        Samples per second of an array, 100 to 100,000 Hz.
    channels : sequence of str, optional
        The names of an array's rows, in any spelling of a label of an EDF: ``Fp1``,
        ``EEG FP1-REF``, ``T7``, or ``FP1-F7`` for a derivation. Others are left out.
    bads : sequence of str, optional
        Further channels that count as missing.
    montage : {"10-20", "double-banana"}, optional
        The channels of the result, in the order of ``brainbrr_core.constants.MONTAGES``; by
        default those of ``settings``, 19 electrodes.
    unit : {"sd", "uV"}, optional
        Standard deviations of each channel, as networks get them, or µV of the filtered signal,
        which is clipped and rounded as the store has it.
    settings : Preprocessing, optional
        The chain; by default that of the default configuration, with a notch at 60 Hz.
    rules : ChannelRules, optional
        Which references are accepted, and how many electrodes may be interpolated.

    Returns
    -------
    array of float32, shape (channels, samples)
        The signal at 256 Hz.

    Raises
    ------
    BrainbrrError
        Where the recording does not give the channels of the montage, an array lacks its rate or
        the names of its channels, a sample is not finite, or µV are asked for though each block
        has its own scale (``zscore_minutes``).
    """
    check_unit(unit)
    chain_settings = settings_with(settings, montage)
    if unit == "uV" and chain_settings.zscore_minutes is not None:
        raise BrainbrrError(
            'with zscore_minutes each block has its own scale: there are no µV; use unit="sd"'
        )
    source = montage_signal(
        signal, rate, channels, bads=bads, rules=rules, montage=chain_settings.montage
    )
    chain = Chain(source, chain_settings)
    prepared = np.empty((len(chain_settings.channels), chain.samples), np.float32)
    at = 0
    for blocks, _ in chain.quantized():
        part = span(blocks, 0, min(len(blocks) * chain.block_samples, chain.samples - at))
        prepared[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return prepared if unit == "sd" else in_microvolts(prepared, chain.statistics)


def settings_with(settings: Preprocessing | None, montage: MontageName | None) -> Preprocessing:
    """The settings of the chain, with a montage where one is named."""
    chosen = Preprocessing() if settings is None else settings
    if not isinstance(chosen, Preprocessing):
        raise BrainbrrError(
            f"settings is a {type(chosen).__name__}: give a Preprocessing of "
            "brainbrr_core.configuration"
        )
    if montage is None:
        return chosen
    if montage not in MONTAGES:
        raise BrainbrrError(
            f"the montage {montage!r} is not known: use one of {', '.join(MONTAGES)}"
        )
    return chosen.model_copy(update={"montage": montage})
