"""Small EDFs, good ones and ones broken in one way each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import edfio
import numpy as np

from brainbrr_core.constants import CHANNELS, SPLITS


def write_edf(
    path: Path,
    *,
    labels: Sequence[str] | None = None,
    rate: float = 256,
    seconds: float = 12,
    unit: str = "uV",
    scale: float = 1.0,
    rates: dict[str, float] | None = None,
    patient: str = "",
    seed: int = 0,
    stamped: bool = False,
    record_s: float = 1,
) -> Path:
    """Write noise of 20 µV in the named channels (the 19 wanted ones by default).

    ``stamped`` makes it EDF+C, whose records of ``record_s`` seconds carry time stamps. In a corpus
    that names its patients, files of different names differ: the same samples twice are refused.
    """
    rng = np.random.default_rng([seed, zlib.crc32(path.name.encode())] if _is_named(path) else seed)
    names = labels or [f"EEG {name.upper()}-REF" for name in CHANNELS]
    signals = []
    for name in names:
        own = (rates or {}).get(name, rate)
        data = 20 * scale * rng.standard_normal(int(own * seconds)).clip(-5, 5)
        signals.append(
            edfio.EdfSignal(
                data,
                own,
                label=name,
                physical_dimension=unit,
                physical_range=(-200 * scale, 200 * scale),
            )
        )
    annotations = [edfio.EdfAnnotation(0, None, "start")] if stamped else None
    edf = edfio.Edf(signals, data_record_duration=record_s, annotations=annotations)
    if patient:
        edf.patient = edfio.Patient(name=patient, code="MRN0042")
    path.parent.mkdir(parents=True, exist_ok=True)
    edf.write(path)
    return path


def _is_named(path: Path) -> bool:
    """Whether a file lies below the folder of a split or of a BIDS subject."""
    return any(part in SPLITS or part.startswith("sub-") for part in path.parts)


def patch(path: Path, offset: int, field: bytes, width: int) -> None:
    """Overwrite one header field, padded with blanks."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(field.ljust(width))


def patch_signal(path: Path, column: int, width: int, index: int, field: bytes) -> None:
    """Overwrite a field of signal ``index``; ``column`` is its offset per signal."""
    with path.open("rb") as file:
        signals = int(file.read(256)[252:])
    patch(path, 256 + column * signals + width * index, field, width)


def restamp(path: Path, kind: bytes, onsets: Sequence[str]) -> None:
    """Make a stamped EDF of ``kind`` and give each record another time stamp ("" for none)."""
    content = bytearray(path.read_bytes())
    count = int(content[252:256])
    labels = [bytes(content[256 + 16 * n : 272 + 16 * n]).strip() for n in range(count)]
    place = 256 + 216 * count
    sizes = [2 * int(content[place + 8 * n : place + 8 * n + 8]) for n in range(count)]
    which = labels.index(b"EDF Annotations")
    content[192:236] = kind.ljust(44)
    for record, onset in enumerate(onsets):
        start = 256 * (count + 1) + record * sum(sizes) + sum(sizes[:which])
        stamp = f"{onset}\x14\x14\0".encode() if onset else b""
        assert len(stamp) <= sizes[which], f"no room for {onset}"
        content[start : start + sizes[which]] = stamp.ljust(sizes[which], b"\0")
    path.write_bytes(content)


def another_copy(source: Path, target: Path, number: int = 0) -> None:
    """Copy a file; of an EDF, the last sample is another one, so that it is another recording."""
    content = source.read_bytes()
    if source.suffix == ".edf":
        last = int.from_bytes(content[-2:], "little", signed=True)
        last += 1 + number if last < 0 else -1 - number
        content = content[:-2] + last.to_bytes(2, "little", signed=True)
    target.write_bytes(content)


def cut(path: Path, keep: Callable[[int], int]) -> None:
    """Keep the first ``keep(size)`` bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: keep(len(content))])
