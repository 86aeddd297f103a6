"""The numbers and names that several packages agree on. What one package alone uses stays there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

#: Samples per second of a stored recording, in Hz.
RATE: Final[Literal[256]] = 256
#: Length in seconds of one stored block. Lengths and strides of windows are multiples of it.
BLOCK_S: Final = 10
#: Frames per second of a recording's scores. A detection starts and stops with a frame.
FRAME_HZ: Final = 8
#: Stored samples that one frame covers.
FRAME_SAMPLES: Final = RATE // FRAME_HZ
#: The 19 electrodes of the 10-20 system, in the order of the stored channels of that montage.
CHANNELS: Final = (
    "Fp1",
    "F3",
    "C3",
    "P3",
    "F7",
    "T3",
    "T5",
    "O1",
    "Fz",
    "Cz",
    "Pz",
    "Fp2",
    "F4",
    "C4",
    "P4",
    "F8",
    "T4",
    "T6",
    "O2",
)
#: The 18 bipolar derivations of the longitudinal ("double banana") montage, in the order of the
#: stored channels. Its T7, P7, T8 and P8 are the electrodes T3, T5, T4 and T6.
DOUBLE_BANANA: Final = (
    "Fp1-F7",
    "F7-T7",
    "T7-P7",
    "P7-O1",
    "Fp1-F3",
    "F3-C3",
    "C3-P3",
    "P3-O1",
    "Fz-Cz",
    "Cz-Pz",
    "Fp2-F4",
    "F4-C4",
    "C4-P4",
    "P4-O2",
    "Fp2-F8",
    "F8-T8",
    "T8-P8",
    "P8-O2",
)
MontageName = Literal["10-20", "double-banana"]
#: The stored channels of each montage, in order.
MONTAGES: Final[Mapping[MontageName, tuple[str, ...]]] = {
    "10-20": CHANNELS,
    "double-banana": DOUBLE_BANANA,
}
#: The splits of a corpus: training, tuning, and the final evaluation.
SPLITS: Final = ("train", "dev", "eval")
#: Label of an event that says "no seizure here", as TUSZ writes it.
BACKGROUND: Final = "bckg"
#: How the name of an EDF ends that has the probability of a seizure beside the EEG: a copy, not a
#: recording of its own.
PROBABILITY_EDF: Final = ".probabilities.edf"
