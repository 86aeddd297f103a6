"""GDF, Neuroscan and Nihon Kohden files, made byte by byte from the formats' descriptions.

Each has a patient's name where its format has a place for one, so that a test can look for it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

#: What no index, log or report may have.
PATIENT = "Mustermann"
#: Types of events of a GDF by the text of an annotation.
GDF_CODES = {"seizure": 0x0117, "seizure end": 0x8117, "boundary": 0x7FFE}


def _digital(raw: Any, kind: str) -> np.ndarray[Any, Any]:
    """The samples in steps of 0.1 µV, (n, signals)."""
    return np.rint(10e6 * raw.get_data()).astype(kind).T


def _notes(raw: Any) -> list[tuple[float, float, str]]:
    notes = raw.annotations
    return [
        (float(onset), float(duration), str(text))
        for onset, duration, text in zip(
            notes.onset, notes.duration, notes.description, strict=True
        )
    ]


def write_gdf(
    path: Path,
    raw: Any,
    version: str = "2.20",
    units: tuple[str, ...] = (),
    event_rate: float | None = None,
) -> Path:
    """A GDF with int16 samples, one data record a second, and a table of events with durations.

    ``units`` are those of the signals where they are not µV.
    """
    is_first = version < "1.9"
    rate, names = int(raw.info["sfreq"]), raw.ch_names
    count, records = len(names), raw.n_times // rate
    units = units or ("uV",) * count
    header = f"GDF {version}".encode()
    length = 256 * (count + 1)
    if is_first:
        header += f"P1 {PATIENT}".encode().ljust(80) + b"recording".ljust(80)
        header += f"{raw.info['meas_date']:%Y%m%d%H%M%S}00".encode()
        header += struct.pack("<q", length) + bytes(24 + 20)
    else:
        header += f"P1 {PATIENT}".encode().ljust(66) + bytes(10 + 4) + b"recording".ljust(64)
        header += bytes(16)
        days = raw.info["meas_date"].toordinal() + 366
        clock = raw.info["meas_date"]
        seconds = 3600 * clock.hour + 60 * clock.minute + clock.second
        header += struct.pack("<QQ", (days << 32) + round(seconds / 86_400 * 2**32), 0)
        header += struct.pack("<H", length // 256) + bytes(6 + 8 + 6 + 6 + 12 + 12)
    header += struct.pack("<qII", records, 1, 1)
    header += struct.pack("<I", count) if is_first else struct.pack("<HH", count, 0)
    assert len(header) == 256
    limits = [-(2**15), 2**15 - 1]
    header += b"".join(name.encode().ljust(16, b"\0") for name in names)
    header += bytes(80 * count)
    if is_first:
        header += b"".join(unit.encode().ljust(8) for unit in units)
    else:
        codes = {"V": 4256, "mV": 4274, "uV": 4275, "nV": 4276, "": 0}
        header += bytes(6 * count) + struct.pack(f"<{count}H", *(codes[unit] for unit in units))
    header += np.repeat(np.array(limits) / 10, count).astype("<f8").tobytes()
    header += np.repeat(limits, count).astype("<i8" if is_first else "<f8").tobytes()
    header += bytes((80 if is_first else 68 + 12) * count)
    header += np.full(count, rate, "<i4").tobytes() + np.full(count, 3, "<i4").tobytes()
    header += bytes(32 * count)
    assert len(header) == length
    samples = _digital(raw, "<i2")[: records * rate].reshape(records, rate, count)
    notes = [note for note in _notes(raw) if note[2] in GDF_CODES]
    number, own_rate = len(notes), rate if event_rate is None else event_rate
    if is_first:
        table = bytes([3]) + int(own_rate).to_bytes(3, "little") + struct.pack("<I", number)
    else:
        table = bytes([3]) + number.to_bytes(3, "little") + struct.pack("<f", own_rate)
    table += np.array([1 + round(note[0] * rate) for note in notes], "<u4").tobytes()
    table += np.array([GDF_CODES[note[2]] for note in notes], "<u2").tobytes()
    table += np.zeros(number, "<u2").tobytes()
    table += np.array([round(note[1] * rate) for note in notes], "<u4").tobytes()
    path.write_bytes(header + samples.transpose(0, 2, 1).tobytes() + table)
    return path


def write_cnt(
    path: Path,
    raw: Any,
    sample_bytes: int = 2,
    date: str = "",
    accept: dict[int, int] | None = None,
) -> Path:
    """A Neuroscan file; events of type 2 with the numbers 1, 2, ... and no duration.

    ``accept`` gives the upper half of a byte of an event, by its number from 0.
    """
    names, rate = raw.ch_names, int(raw.info["sfreq"])
    count = len(names)
    setup = bytearray(900)
    setup[:12] = b"Version 3.0\0"
    setup[121 : 121 + len(PATIENT)] = PATIENT.encode()
    stamp = date or f"{raw.info['meas_date']:%m/%d/%y}"
    setup[225 : 225 + len(stamp)] = stamp.encode()
    setup[235:243] = f"{raw.info['meas_date']:%H:%M:%S}".encode()
    struct.pack_into("<H", setup, 370, count)
    struct.pack_into("<H", setup, 376, rate)
    struct.pack_into("<i", setup, 864, raw.n_times)
    channels = b""
    for number, name in enumerate(names):
        channel = bytearray(75)
        # Positions of the electrodes, of which MNE makes a sphere.
        struct.pack_into("<ff", channel, 19, 10 + 40 * (number % 5), 10 + 30 * (number // 5))
        channel[: len(name)] = name.encode()
        # Of the number that is stored, 0.1 µV each: calibration * sensitivity / 204.8.
        struct.pack_into("<f", channel, 59, 20.48)
        struct.pack_into("<f", channel, 71, 1.0)
        channels += bytes(channel)
    samples = _digital(raw, f"<i{sample_bytes}").tobytes()
    first = 900 + len(channels)
    struct.pack_into("<i", setup, 886, first + len(samples))
    events = b""
    for number, (onset, _, _) in enumerate(_notes(raw)):
        # The position of the sample after the event.
        offset = first + (round(onset * rate) + 1) * count * sample_bytes
        upper = (accept or {}).get(number, 0) << 4
        events += struct.pack("<HBBihhfBBB", number + 1, 0, upper, offset, 0, 0, 0, 0, 0, 0)
    table = struct.pack("<Bii", 2, len(events), 0) + events
    path.write_bytes(bytes(setup) + channels + samples + table)
    return path


#: Numbers of signals in the table of electrodes of Nihon Kohden; those above are free.
_NUMBERS = {
    name: number
    for number, name in enumerate(
        [
            *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
            *("F7", "F8", "T3", "T4", "T5", "T6", "Fz", "Cz", "Pz"),
        ]
    )
}
_MODEL = b"EEG-1100A V01.00"


def write_nihon_kohden(path: Path, raw: Any, blocks: int = 1) -> Path:
    """A recording of Nihon Kohden: ``.EEG``, labels, start (``.PNT``) and comments (``.LOG``).

    It consists of one or more blocks of samples, with labels (``.21E``) in capital letters. Steps
    are those of the format, 6399.902 µV in 16 bits, so a value is off by half of one at most.
    """
    names, rate = raw.ch_names, int(raw.info["sfreq"])
    numbers = [_NUMBERS.get(name, 26 + at) for at, name in enumerate(names)]
    count = len(names)
    labels = "".join(f"{number:04}={name}\n" for number, name in zip(numbers, names, strict=True))
    text = f"[ELECTRODE]\n{labels.upper()}[REFERENCE]\n[SD_DEF]\n0000=x\n"
    path.with_suffix(".21E").write_text(text, encoding="latin-1")
    point = bytearray(0x400)
    point[:16] = _MODEL
    point[0x40:0x4E] = f"{raw.info['meas_date']:%Y%m%d%H%M%S}".encode()
    point[0x100 : 0x100 + len(PATIENT)] = PATIENT.encode()
    path.with_suffix(".PNT").write_bytes(bytes(point))
    notes = _notes(raw)
    log = bytearray(0x91 + 0x400)
    log[:16] = _MODEL
    log[0x91] = 1
    struct.pack_into("<I", log, 0x92, len(log))
    # A second table has the fractions of seconds.
    struct.pack_into("<I", log, 0x92 + 22 * 20, len(log) + 0x14 + 45 * len(notes))
    main = [(onset, text) for onset, _, text in notes]
    for fraction in (False, True):
        table = bytearray(0x14)
        table[1:17] = _MODEL
        table[0x12] = len(notes)
        for onset, text in main:
            whole = int(onset)
            clock = f"{whole // 3600:02}{whole // 60 % 60:02}{whole % 60:02}"
            entry = bytearray(45)
            if fraction:
                entry[24:30] = f"{round(1e6 * (onset - whole)):06}".encode()
            else:
                entry[: len(text)] = text.encode("latin-1")
                entry[20:26] = clock.encode()
            table += entry
        log += table
    path.with_suffix(".LOG").write_bytes(bytes(log))
    step = (3199.902 + 3200) / 65535
    # MNE: a value is the stored one times the step plus the offset of the range.
    offset = -3200 + 32768 * step
    values = np.rint((1e6 * raw.get_data().T - offset) / step).astype(np.int64)
    head = bytearray(0x1800)
    head[:16] = _MODEL
    head[0x79 : 0x79 + 4] = b"name"
    head[0x4F : 0x4F + len(PATIENT)] = PATIENT.encode()
    head[0x81:0x91] = _MODEL
    head[0x91] = 1
    struct.pack_into("<I", head, 0x92, 0x400)
    head[0x17FE] = 1
    head[0x400 + 17] = blocks
    body = b""
    for number, part in enumerate(np.array_split(values, blocks)):
        struct.pack_into("<I", head, 0x400 + 18 + 20 * number, 0x1800 + len(body))
        block = bytearray(0x27)
        struct.pack_into("<HI", block, 0x1A, 0xC000 | rate, 10 * len(part) // rate)
        block[0x26] = count
        for each in numbers:
            block += bytes([each]) + bytes(9)
        marked = np.concatenate([part, np.zeros((len(part), 1), np.int64)], axis=1)
        body += bytes(block) + (marked + 0x8000).astype("<u2").tobytes()
    path.write_bytes(bytes(head) + body)
    return path
