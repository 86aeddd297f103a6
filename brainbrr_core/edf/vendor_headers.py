"""What GDF, Neuroscan and Nihon Kohden files say and MNE's readers do not check or keep.

MNE reads a file that is cut short up to its end, takes units that it does not know for volts, and
drops marks of a pause. Only numbers of the headers are looked at here: names, birth dates and other
texts about the patient, which all three formats have, are not read.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.files.regular import check_regular

#: Bytes of the fixed part of the header of a GDF, and of that of a Neuroscan file and its channels.
_GDF_HEADER, _CNT_HEADER, _CNT_CHANNEL = 256, 900, 75
#: Bytes of a sample by its type in a GDF: integers of 8 to 64 bits, float32 and float64.
_GDF_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8}
#: V, mV and µV as GDF 2 codes them, which are the ones that MNE converts.
_GDF_VOLTS = frozenset({4256, 4274, 4275})
#: The version from which the table of events of a GDF has its sampling rate as a float.
_GDF_FLOAT_RATE = 1.94
#: What the types of events of a GDF are called, as far as they concern seizures.
_GDF_EVENTS = {
    0x0117: "seizure",
    0x0118: "electrographic seizure",
    0x0119: "clinical seizure",
    0x011A: "subclinical seizure",
}
#: The type of an event with which recording goes on after a pause, and what is added to a type
#: where the event ends.
_GDF_NEW_SEGMENT, _GDF_END = 0x7FFE, 0x8000
#: Bytes from which the place of its events does not fit into the header of a Neuroscan file.
_CNT_LARGEST = 2_000_000_000
#: How a Neuroscan file marks that the recording was interrupted, in the upper half of a byte.
_CNT_DISCONTINUITY = 14
#: Bytes of an event of a Neuroscan file by the type of its table.
_CNT_EVENT_BYTES = {1: 8, 2: 19, 3: 19}
_CNT_DATE = re.compile(rb"(\d\d)/(\d\d)/(\d\d)")
_CNT_TIME = re.compile(rb"(\d\d):(\d\d):(\d\d)")
#: How a Nihon Kohden file begins: the model of the recorder and a version.
_NIHON_KOHDEN = re.compile(rb"(?:EEG|QI|DAE)-\d{3,4}[A-Z]? +V\d\d\.\d\d")


class Stated(NamedTuple):
    """What a header says.

    ``volts`` says of each channel whether its unit is a voltage; empty where MNE's reader tells.
    ``start`` is the time of the first sample, where MNE's reader does not tell; ``gaps`` are the
    times of interruptions in seconds. Samples are to be read in whole blocks of ``block``.
    """

    volts: tuple[bool, ...] = ()
    start: datetime | None = None
    gaps: tuple[float, ...] = ()
    block: int = 1


def stated_in(path: Path, suffix: str) -> Stated | None:
    """What the header of a file with this suffix says; None for another format.

    Raises :class:`UnusableEdf` for a file that is of another format than its name says, that is cut
    short, or that cannot be read as it is meant, and ``OSError``.
    """
    read = _READERS.get(suffix)
    if read is None:
        return None
    check_regular(path)
    with path.open("rb") as file:
        try:
            return read(file, os.fstat(file.fileno()).st_size)
        except struct.error:
            raise UnusableEdf("unreadable", "the header is cut short") from None


def _numbers(file: BinaryIO, position: int, form: str) -> tuple[int, ...]:
    """Little-endian numbers at a position. Raises ``struct.error`` beyond the end."""
    file.seek(position)
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


def _gdf(file: BinaryIO, size: int) -> Stated:
    file.seek(0)
    magic = re.fullmatch(rb"GDF (\d\.\d\d)", file.read(8))
    if magic is None:
        raise UnusableEdf("unreadable", "no GDF header")
    version = float(magic[1])
    is_first = version < 1.9
    records, duration, scale = _numbers(file, 236, "qII")
    (count,) = _numbers(file, 252, "I" if is_first else "H")
    (length,) = _numbers(file, 184, "q") if is_first else (256 * _numbers(file, 184, "H")[0],)
    least = _GDF_HEADER * (count + 1)
    if not count or length < least or not duration or not scale or records < 0:
        raise UnusableEdf("unreadable", "the header contradicts itself")
    if length > least:
        raise UnusableEdf("unreadable", "its header has further blocks, which MNE does not read")
    samples = _numbers(file, _GDF_HEADER + 216 * count, f"{count}i")
    kinds = _numbers(file, _GDF_HEADER + 220 * count, f"{count}i")
    if not set(kinds) <= _GDF_BYTES.keys() or min(samples) < 0:
        raise UnusableEdf("unreadable", "its samples have a type that is not read")
    rates = sorted({Fraction(number * scale, duration) for number in samples})
    if len(rates) > 1:
        raise UnusableEdf("uneven_rates", ", ".join(f"{float(rate):g} Hz" for rate in rates))
    end = length + records * sum(
        number * _GDF_BYTES[kind] for number, kind in zip(samples, kinds, strict=True)
    )
    if size < end:
        raise UnusableEdf("truncated_file", f"{size} of {end} bytes")
    gaps = _gdf_gaps(file, size, end, version, rates[0]) if size > end else ()
    if is_first:
        file.seek(_GDF_HEADER + 96 * count)
        units = [file.read(8).strip(b" \0") for _ in range(count)]
        volts = tuple(unit[:2] == b"uV" or unit == b"V" for unit in units)
    else:
        codes = _numbers(file, _GDF_HEADER + 102 * count, f"{count}H")
        volts = tuple(code in _GDF_VOLTS for code in codes)
    return Stated(volts, gaps=gaps)


def _gdf_gaps(
    file: BinaryIO, size: int, position: int, version: float, rate: Fraction
) -> tuple[float, ...]:
    """When new segments begin, in seconds, from the table of events at a position.

    Raises :class:`UnusableEdf` where not all events are there, or at times that MNE mistakes.
    """
    mode, *head = _numbers(file, position, "8B")
    if version < _GDF_FLOAT_RATE:
        own_rate = float(int.from_bytes(bytes(head[:3]), "little"))
        events = int.from_bytes(bytes(head[3:]), "little")
    else:
        events = int.from_bytes(bytes(head[:3]), "little")
        (own_rate,) = struct.unpack("<f", bytes(head[3:]))
    whole = position + 8 + events * (12 if mode == 3 else 6)
    if size < whole:
        raise UnusableEdf("truncated_file", f"{size} of {whole} bytes with its events")
    # MNE takes the positions of events for samples.
    if events and own_rate and abs(own_rate - float(rate)) > 1e-3:
        raise UnusableEdf(
            "unreadable",
            f"its events are counted at {own_rate:g} Hz, its samples at {float(rate):g} Hz",
        )
    samples = _numbers(file, position + 8, f"{events}I")
    kinds = _numbers(file, position + 8 + 4 * events, f"{events}H")
    return tuple(
        float((sample - 1) / rate)
        for sample, kind in sorted(zip(samples, kinds, strict=True))
        if kind == _GDF_NEW_SEGMENT and sample > 1
    )


def gdf_text(code: str, *, is_instant: bool) -> str:
    """What the type of an event of a GDF means; the number itself where it is none of seizures."""
    number = int(code) if code.isdigit() else 0
    name = _GDF_EVENTS.get(number & ~_GDF_END)
    if name is None:
        return code
    if number & _GDF_END:
        return f"{name} end"
    return f"{name} onset" if is_instant else name


def _cnt(file: BinaryIO, size: int) -> Stated:
    file.seek(0)
    if file.read(4) in (b"RIFF", b"RF64"):
        raise UnusableEdf("unreadable", "a recording of ANT Neuro: convert it to EDF")
    if size >= _CNT_LARGEST:
        raise UnusableEdf("unreadable", "2 GB or more, too large for its header: convert it to EDF")
    (count,) = _numbers(file, 370, "H")
    (rate,) = _numbers(file, 376, "H")
    (position,) = _numbers(file, 886, "i")
    first = _CNT_HEADER + _CNT_CHANNEL * count
    if not count or not rate or position < first:
        raise UnusableEdf("unreadable", "no header of Neuroscan")
    if size < position + 9:
        raise UnusableEdf("truncated_file", f"{size} of {position + 9} bytes")
    kind, events_bytes, _ = _numbers(file, position, "Bii")
    each = _CNT_EVENT_BYTES.get(kind, 0)
    if not each or events_bytes < 0 or events_bytes % each:
        raise UnusableEdf("unreadable", "its table of events makes no sense")
    if size < position + 9 + events_bytes:
        whole = position + 9 + events_bytes
        raise UnusableEdf("truncated_file", f"{size} of {whole} bytes with its events")
    (samples,) = _numbers(file, 864, "i")
    # Each channel has this many samples in a row; MNE fails within such a block.
    width = (position - first) // (count * samples) if samples > 0 else 2
    block = max(1, _numbers(file, 894, "i")[0] // max(1, width))
    if samples % block:
        raise UnusableEdf("unreadable", "its last block of samples is not whole")
    file.seek(position + 9)
    table = file.read(events_bytes)
    gaps = []
    for at in range(0, events_bytes, each):
        _, _, accept, offset = struct.unpack_from("<HBBi", table, at)
        if accept >> 4 == _CNT_DISCONTINUITY:
            # The offset is a sample in a table of type 3, otherwise a position in the file.
            share = (offset - first) / (position - first) if position > first else 0.0
            gaps.append((offset if kind == 3 else share * samples) / rate)
    return Stated(start=_cnt_start(file), gaps=tuple(sorted(gaps)), block=block)


def _cnt_start(file: BinaryIO) -> datetime | None:
    """The start, where the order of day and month, which depends on the language, is certain."""
    file.seek(225)
    date = _CNT_DATE.match(file.read(10))
    time = _CNT_TIME.match(file.read(12))
    if date is None or time is None:
        return None
    one, other, short = (int(number) for number in date.groups())
    if one <= 12 and other <= 12 and one != other:
        return None
    month, day = (one, other) if one <= 12 else (other, one)
    year = 1900 + short if short >= 85 else 2000 + short
    try:
        return datetime(year, month, day, int(time[1]), int(time[2]), int(time[3]))
    except ValueError:
        return None


def _nihon_kohden(file: BinaryIO, size: int) -> Stated:
    file.seek(0)
    if _NIHON_KOHDEN.fullmatch(file.read(16)) is None:
        raise UnusableEdf(
            "unreadable", "no recording of Nihon Kohden; of BrainVision, the .vhdr is the main file"
        )
    (controls,) = _numbers(file, 0x91, "B")
    for control in range(controls):
        (address,) = _numbers(file, 0x92 + 20 * control, "I")
        (blocks,) = _numbers(file, address + 17, "B")
        for number in range(blocks):
            (block,) = _numbers(file, address + 18 + 20 * number, "I")
            rate, tenths = _numbers(file, block + 0x1A, "HI")
            (count,) = _numbers(file, block + 0x26, "B")
            samples = tenths * (rate & 0x3FFF) // 10
            # Every sample ends with the marks of its time.
            end = block + 0x27 + 10 * count + 2 * (count + 1) * samples
            if size < end:
                raise UnusableEdf("truncated_file", f"{size} of {end} bytes")
    return Stated()


_READERS: dict[str, Callable[[BinaryIO, int], Stated]] = {
    ".gdf": _gdf,
    ".cnt": _cnt,
    ".eeg": _nihon_kohden,
}
