"""The numbers and names that several packages agree on. What one package alone uses stays there."""

from __future__ import annotations

from typing import Final, Literal

#: Samples per second of a stored recording, in Hz.
RATE: Final[Literal[256]] = 256
#: Length in seconds of one stored block. Lengths and strides of windows are multiples of it.
BLOCK_S: Final = 10
#: Frames per second of a recording's scores. A detection starts and stops with a frame.
FRAME_HZ: Final = 8
#: Stored samples that one frame covers.
FRAME_SAMPLES: Final = RATE // FRAME_HZ
#: The 19 electrodes of the 10-20 system, in the order of the stored channels.
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
#: The splits of a corpus: training, tuning, and the final evaluation.
SPLITS: Final = ("train", "dev", "eval")
#: Label of an event that says "no seizure here", as TUSZ writes it.
BACKGROUND: Final = "bckg"
