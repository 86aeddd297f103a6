"""Measure how fast a disk is, in about a second and without the page cache."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

_PIECE = 1 << 20
#: A measurement over fewer bytes than this would be meaningless.
_LEAST = 8 << 20


def read_rate(paths: Sequence[Path], seconds: float = 1.0) -> float | None:
    """Bytes per second when reading blocks of 1 MiB of ``paths`` in random order, each once.

    Each block is dropped from the page cache before it is read, so that it comes from the disk.
    Takes at most about ``seconds``. None when there are fewer than 8 MiB to read. Raises
    ``OSError`` when a file cannot be read.
    """
    rng = random.Random(0)
    sizes = {path: path.stat().st_size for path in paths}
    if sum(sizes.values()) < _LEAST:
        return None
    # 2000 files are more than can be read in a second.
    chosen = rng.sample(sorted(sizes), min(len(sizes), 2000))
    pieces = [(path, start) for path in chosen for start in range(0, max(sizes[path], 1), _PIECE)]
    rng.shuffle(pieces)
    count = 0
    begun = time.perf_counter()
    for path, start in pieces:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, start, _PIECE, os.POSIX_FADV_DONTNEED)
            count += len(os.pread(descriptor, _PIECE, start))
        finally:
            os.close(descriptor)
        if time.perf_counter() - begun > seconds:
            break
    return count / max(time.perf_counter() - begun, 1e-9)


def write_rate(folder: Path, seconds: float = 0.3) -> float:
    """Bytes per second when writing a file in ``folder``, including the flush to disk.

    Takes about ``seconds``, longer on a slow disk; the file is removed. Raises ``OSError`` when
    the folder cannot be written to.
    """
    path = folder / f".speed-{secrets.token_hex(8)}"
    piece = os.urandom(_PIECE)
    count = 0
    begun = time.perf_counter()
    try:
        with path.open("wb", buffering=0) as file:
            while time.perf_counter() - begun < seconds:
                count += file.write(piece)
                if count % (8 * _PIECE) == 0:
                    os.fsync(file.fileno())
            os.fsync(file.fileno())
        return count / (time.perf_counter() - begun)
    finally:
        path.unlink(missing_ok=True)
