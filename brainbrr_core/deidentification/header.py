"""The header of an EDF: the fields that may say who was recorded, and a header without them.

The fields of patient and recording are those of EDF+ (specification of 2003, 2.1.3): code, sex,
birth date and name of the patient; start date, code, technician and equipment of the recording.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from brainbrr_core.deidentification.naming import identity_words, names_patient
from brainbrr_core.deidentification.secret import PSEUDONYM
from brainbrr_core.edf import units
from brainbrr_core.edf.header import ANNOTATIONS, COLUMNS, EdfHeader, UnusableEdf
from brainbrr_core.signal.montage import derivation_of, electrode_of

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATE = re.compile(
    rf"(?P<day>\d\d?)-(?P<month>{'|'.join(_MONTHS)})-(?P<year>\d{{4}})", re.IGNORECASE
)
_CLOCK = re.compile(r"([01]\d|2[0-3])[.:]([0-5]\d)[.:]([0-5]\d)")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
#: What stands for a subfield that is unknown, or left out on purpose.
_ABSENT = ("", "X")
_SEXES = ("M", "F", "X")
#: The date of a header that has none, by the specification of EDF+ and the habit of EDF.
UNKNOWN_DATE = datetime.date(1985, 1, 1)
_LAST_YEAR = 2084
#: Filters in the words that the specification proposes: ``HP:0.1Hz LP:75Hz N:50Hz``.
_FILTERS = re.compile(
    r"(\s*(HP|LP|HPF|LPF|BP|N|NF|NOTCH)\s*[:=]?\s*"
    r"(DC|OFF|NONE|\d{1,4}(\.\d{1,4})?)\s*(k?Hz)?\s*[,;]?)*\s*",
    re.IGNORECASE,
)
#: Units besides those of voltages: with a prefix, or by themselves.
_UNIT = re.compile(
    r"[yzafpnum\xb5\xe6kMGT]?(V|A|Hz|s|m|g|K|W|Pa|bar|l|L|N|T|Ohm|rad|S)2?(/(s|m|min|h)2?)?"
    r"|[%]|degC?|\xb0C?|C|mmHg|cmH2O|bpm|BPM|bits?|counts?|Bool(ean)?|dB|min|h"
)


@dataclass(frozen=True)
class Identity:
    """Who a copy is of: a pseudonym, and by how many days its date moves."""

    pseudonym: str
    days: int

    def shifted(self, date: datetime.date) -> datetime.date | None:
        """A date that has moved; None where an EDF cannot have it."""
        if date.year > _LAST_YEAR:
            return None
        moved = date + datetime.timedelta(days=self.days)
        return moved if moved.year <= _LAST_YEAR else None


@dataclass(frozen=True)
class HeaderFields:
    """The texts of a header: ``fixed`` by name, ``signals`` by name and in the order of the file.

    They are without the blanks and zero bytes around them.
    """

    fixed: dict[str, str]
    signals: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, content: bytes) -> HeaderFields:
        """The texts of a header that is one of an EDF."""
        fixed = {name: _text(content[start:stop]) for name, (start, stop) in FIXED.items()}
        count, start = int(fixed["signals"]), 256
        signals = {}
        for name, width in COLUMNS:
            stop = start + count * width
            signals[name] = tuple(
                _text(content[at : at + width]) for at in range(start, stop, width)
            )
            start = stop
        return cls(fixed, signals)

    @cached_property
    def patient(self) -> dict[str, str]:
        """What the header says of the patient, by kind; pseudonyms and ``X`` are left out."""
        text = self.fixed["patient"]
        words = text.split()
        named = {"patient_text": text}
        if (
            len(words) >= 4
            and words[1] in _SEXES
            and (words[2] == "X" or _DATE.fullmatch(words[2]))
        ):
            code, sex, birth, name, *more = words
            named = {
                "patient_code": "" if PSEUDONYM.fullmatch(code) else code,
                "patient_sex": sex,
                "patient_birth_date": birth,
                "patient_name": name,
                "patient_text": " ".join(more),
            }
        return {kind: value for kind, value in named.items() if value not in _ABSENT}

    @cached_property
    def recording(self) -> dict[str, str]:
        """What the header says of the recording besides its date, by kind."""
        text = self.fixed["recording"]
        words = text.split()
        named = {"recording_text": text}
        is_edf_plus = len(words) >= 5 and words[0].lower() == "startdate"
        if is_edf_plus and (words[1] == "X" or _DATE.fullmatch(words[1])):
            code, technician, equipment, *more = words[2:]
            named = {
                "recording_code": code,
                "recording_technician": technician,
                "recording_equipment": equipment,
                "recording_text": " ".join(more),
            }
        return {kind: value for kind, value in named.items() if value not in _ABSENT}

    @cached_property
    def identity_words(self) -> frozenset[str]:
        """Words of the header that name the patient; none of a sex or a birth date."""
        return identity_words(
            value
            for kind, value in self.patient.items()
            if kind in ("patient_code", "patient_name", "patient_text")
        )

    @property
    def birth_date(self) -> datetime.date | None:
        """The patient's birth date; None where the header does not give one that is possible."""
        return _date_in(self.patient.get("patient_birth_date", ""))

    @property
    def recording_date(self) -> datetime.date | None:
        """The date in the field of the recording, by EDF+; None where it has none."""
        words = self.fixed["recording"].split()
        return _date_in(words[1]) if words[1:] and words[0].lower() == "startdate" else None


def clean_header(
    fields: HeaderFields,
    header: EdfHeader,
    records: int,
    identity: Identity | None,
    removed: Counter[str],
) -> bytes:
    """The bytes of a header with ``records`` data records that says nothing of the patient.

    What it leaves out is counted in ``removed``, by kind. Without an ``identity`` it only counts,
    and the date does not move.

    Raises :class:`UnusableEdf` for a number that is none, and for a signal that may hold text in
    another way than EDF+ does.
    """
    removed.update(dict.fromkeys([*fields.patient, *fields.recording], 1))
    date = header.start.date() if header.start is not None else UNKNOWN_DATE
    if identity is not None and date != UNKNOWN_DATE:
        moved = identity.shifted(date)
        removed["date" if moved is not None else "lost_date"] += 1
        date = moved or UNKNOWN_DATE
    clock = _CLOCK.fullmatch(fields.fixed["time"])
    if clock is None:
        removed["time"] += 1
    kind = fields.fixed["reserved"]
    if kind != header.kind:
        removed["header_text"] += 1
    day = "X" if date == UNKNOWN_DATE else f"{date.day:02}-{_MONTHS[date.month - 1]}-{date.year}"
    code = identity.pseudonym if identity is not None else "X"
    fixed = {
        "version": "0",
        "patient": f"{code} X X X",
        "recording": f"Startdate {day} X X X",
        "date": f"{date.day:02}.{date.month:02}.{date.year % 100:02}",
        "time": ".".join(clock.groups()) if clock is not None else "00.00.00",
        "header_bytes": str(header.header_bytes),
        "reserved": header.kind,
        "records": str(records),
        "record_duration": fields.fixed["record_duration"],
        "signals": str(len(header.signals)),
    }
    columns = {name: _clean_column(name, fields, removed) for name, _ in COLUMNS}
    return b"".join(
        [
            *(_field(fixed[name], stop - start) for name, (start, stop) in FIXED.items()),
            *(_field(text, width) for name, width in COLUMNS for text in columns[name]),
        ]
    )


def _clean_column(name: str, fields: HeaderFields, removed: Counter[str]) -> Sequence[str]:
    """The texts of one field of all signals."""
    texts = fields.signals[name]
    if name in ("transducer", "reserved"):
        removed["transducer" if name == "transducer" else "signal_text"] += sum(map(bool, texts))
        return [""] * len(texts)
    if name == "prefiltering":
        kept = [text if _FILTERS.fullmatch(text) else "" for text in texts]
    elif name == "label":
        kept = [
            _clean_label(text, number, fields.identity_words)
            for number, text in enumerate(texts, start=1)
        ]
    elif name == "dimension":
        kept = [text if is_unit(text) else "?" for text in texts]
        name = "unit"
    else:
        for number, text in enumerate(texts, start=1):
            if _NUMBER.fullmatch(text) is None:
                raise UnusableEdf("unreadable", f"a number of signal {number} is none")
        return texts
    removed[name] += sum(text != before for text, before in zip(kept, texts, strict=True))
    return kept


def _clean_label(label: str, number: int, words: frozenset[str]) -> str:
    if label == ANNOTATIONS:
        return label
    if "annotation" in label.casefold():
        raise UnusableEdf("unreadable", f"signal {number} may hold text, and not as EDF+ does")
    # P3 may be a patient's code, too; where all EEG has an electrode of that name, it names nobody.
    is_electrode = electrode_of(label) is not None or derivation_of(label) is not None
    if label.isprintable() and (is_electrode or not names_patient(label, words)):
        return label
    return f"signal {number}"


def _date_in(word: str) -> datetime.date | None:
    """The date that a word such as ``12-MAR-2019`` is; None for another, or an impossible one."""
    match = _DATE.fullmatch(word)
    if match is None:
        return None
    month = _MONTHS.index(match["month"].upper()) + 1
    try:
        return datetime.date(int(match["year"]), month, int(match["day"]))
    except ValueError:
        return None


def is_unit(text: str) -> bool:
    """Whether a text is a unit of measurement, or says that it is unknown."""
    lost = text in ("?", "")
    return lost or units.microvolts_in(text) is not None or _UNIT.fullmatch(text) is not None


def _text(content: bytes) -> str:
    return content.decode("latin-1").strip(" \0")


def _field(text: str, width: int) -> bytes:
    return text.encode("latin-1").ljust(width)


def _positions() -> dict[str, tuple[int, int]]:
    """First byte of each field of the fixed part, and the one after its last."""
    widths = {
        "version": 8,
        "patient": 80,
        "recording": 80,
        "date": 8,
        "time": 8,
        "header_bytes": 8,
        "reserved": 44,
        "records": 8,
        "record_duration": 8,
        "signals": 4,
    }
    positions, start = {}, 0
    for name, width in widths.items():
        positions[name] = (start, start + width)
        start += width
    return positions


#: Where each field of the fixed part of a header begins and ends.
FIXED = _positions()
