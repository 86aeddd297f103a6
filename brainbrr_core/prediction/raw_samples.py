"""Samples from a pipe: frames of the channels, one after the other, without a header.

A frame is one sample of each channel, little-endian: float32 or int16, worth a stated number of µV
a unit. Channels are the electrodes in the order of ``CHANNELS`` (Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz
Fp2 F4 C4 P4 F8 T4 T6 O2), from which the derivations of another montage are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import CHANNELS, MontageName
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.derivation import add_up, sums_of_electrodes

SampleType = Literal["float32", "int16"]
#: Bytes that are asked for at once; a pipe gives what it has.
_READ = 1 << 16


def sample_type_of(name: str) -> SampleType:
    """The type that a user named. Raises :class:`BrainbrrError` for an unknown one."""
    for sample_type in get_args(SampleType):
        if name == sample_type:
            return cast(SampleType, sample_type)
    raise BrainbrrError(
        f"sample type {name!r} is not known: use {' or '.join(get_args(SampleType))}"
    )


def raw_samples(
    file: BinaryIO,
    kind: SampleType,
    microvolts: float,
    log: Callable[[str], None],
    montage: MontageName = "10-20",
) -> Iterator[NDArray[np.float32]]:
    """Samples (channels, n) of a montage in µV from each channel's first, as they arrive.

    Raises :class:`BrainbrrError` for a sample that is not finite.
    """
    dtype = np.dtype("<f4" if kind == "float32" else "<i2")
    size = dtype.itemsize * len(CHANNELS)
    rest = b""
    frames = 0
    zero: NDArray[np.float32] | None = None
    # read1 gives what a pipe holds, where read would wait for the whole amount.
    read = getattr(file, "read1", file.read)
    while piece := read(_READ):
        piece = rest + piece
        arrived = len(piece) // size
        rest = piece[arrived * size :]
        if not arrived:
            continue
        values = np.frombuffer(piece, dtype, arrived * len(CHANNELS)).astype(np.float32)
        samples = values.reshape(arrived, len(CHANNELS)).T
        if not np.isfinite(samples).all():
            raise BrainbrrError(
                f"a sample is not finite among {frames} to {frames + arrived - 1}: are the type "
                f"({kind}), the byte order and the {len(CHANNELS)} channels as --help says?"
            )
        frames += arrived
        if zero is None:
            zero = samples[:, :1].copy()
        if montage == "10-20":
            yield (samples - zero) * np.float32(microvolts)
        else:
            electrodes = samples.astype(np.float64) - zero
            yield add_up(sums_of_electrodes(), electrodes * microvolts)
    if rest:
        log(f"{count(len(rest), 'byte')} at the end left out: no whole frame of {size} bytes")
