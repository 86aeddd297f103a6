"""How the bytes of one EDF are read: from a local file, or in ranges from a remote one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EdfBytes(Protocol):
    """One EDF, of which any range can be read. All methods may raise ``OSError``."""

    @property
    def name(self) -> str:
        """The file name without its folder, for findings."""

    def size(self) -> int:
        """Bytes of the file."""

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer where the file is shorter."""

    def samples(self, offset: int, count: int) -> NDArray[np.int16]:
        """``count`` little-endian 16-bit numbers from byte ``offset``, (count,)."""


@dataclass(frozen=True, slots=True)
class LocalEdf:
    """An EDF on this machine."""

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
        with self.path.open("rb") as file:
            return file.read(count)

    def samples(self, offset: int, count: int) -> NDArray[np.int16]:
        """``count`` numbers from byte ``offset``, read into memory, not mapped."""
        return np.fromfile(self.path, np.dtype("<i2"), count, offset=offset)
