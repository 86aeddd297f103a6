"""How the bytes of one recording are read: from a local file, or in ranges from a remote one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.files.regular import check_regular

#: Samples as they are in a file: 16 bits of an EDF, 24 of a BDF, numbers that a library decoded.
Digital = np.int16 | np.int32 | np.float64


class EdfBytes(Protocol):
    """One EDF or BDF, of which any range can be read. All methods may raise ``OSError``."""

    @property
    def name(self) -> str:
        """The file name without its folder, for findings."""

    def size(self) -> int:
        """Bytes of the file."""

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer where the file is shorter."""

    def samples(self, offset: int, count: int, sample_bytes: int = 2) -> NDArray[Digital]:
        """``count`` little-endian numbers of 2 or 3 bytes from byte ``offset``, (count,)."""


@dataclass(frozen=True, slots=True)
class LocalEdf:
    """An EDF or BDF on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """The file name without its folder."""
        return self.path.name

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer where the file is shorter."""
        check_regular(self.path)
        with self.path.open("rb") as file:
            return file.read(count)

    def samples(self, offset: int, count: int, sample_bytes: int = 2) -> NDArray[Digital]:
        """``count`` numbers from byte ``offset``, read into memory, not mapped."""
        if sample_bytes == 2:
            return np.fromfile(self.path, np.dtype("<i2"), count, offset=offset)
        return from_24_bits(np.fromfile(self.path, np.uint8, 3 * count, offset=offset))


def from_24_bits(content: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The little-endian 24-bit numbers in these bytes; an incomplete last one is left out."""
    count = len(content) // 3
    wide = np.zeros((count, 4), np.uint8)
    wide[:, 1:] = content[: 3 * count].reshape(count, 3)
    return wide.view("<i4").reshape(count) >> 8


def as_bytes(samples: NDArray[Digital]) -> bytes:
    """The bytes that numbers have in a file: the text in a signal for annotations."""
    if samples.dtype.itemsize == 2:
        return samples.tobytes()
    return samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
