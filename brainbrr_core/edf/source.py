"""How the bytes of one EDF are read: of a file here, or in ranges of one that lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EdfBytes(Protocol):
    """One EDF, of which any part can be read. All may raise ``OSError``."""

    @property
    def name(self) -> str:
        """The file's own name, for findings."""

    def size(self) -> int:
        """Bytes of the file."""

    def head(self, count: int) -> bytes:
        """The first ``count`` bytes, fewer where the file is shorter."""

    def samples(self, offset: int, count: int) -> NDArray[np.int16]:
        """``count`` little-endian 16-bit numbers from byte ``offset``, (count,)."""


@dataclass(frozen=True, slots=True)
class LocalEdf:
    """An EDF of this machine."""

    path: Path

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def head(self, count: int) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            return file.read(count)

    def samples(self, offset: int, count: int) -> NDArray[np.int16]:
        """Numbers read into memory of their own, not mapped."""
        return np.fromfile(self.path, np.dtype("<i2"), count, offset=offset)
