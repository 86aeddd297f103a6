"""``Seizures-list-PNxx.txt`` of the Siena Scalp EEG Database: the seizures of a patient.

The list is written by hand. For each seizure it gives the name of an EDF and the clock times at
which its registration and the seizure start and end, with dots or colons. What is known of it:

- a name may have an O for a 0 (``PNO6-1.edf``) or lack its number (``PN01.edf``, ``PN11-.edf``);
- a second seizure of an EDF may repeat neither its name nor its registration, while another
  registration without a name belongs to an unknown EDF;
- a heading may be ``Seizure n 1 (in sleep):``, and a time just ``Start time``;
- a time may have a blank in it, a remark after it, or an alternative (``11.41.04 opure 11.40.43``);
- the start of a registration may not be that of the EDF.

The clock times of seizures count from the start in the header of the EDF, which a machine wrote.
The registration times of the list confirm it or are a finding. (Detti et al. 2020, Processes 8,
846.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from brainbrr_core.annotation.clock import (
    DAY_S,
    clock_times,
    clock_words,
    seconds_after,
    seconds_between,
)
from brainbrr_core.annotation.events import UNKNOWN
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order, on_signal
from brainbrr_core.annotation.policy import CLOCK_MISMATCH_S, ROUNDING_S
from brainbrr_core.annotation.texts import Meaning, label_of
from brainbrr_core.files.regular import read_text

_HEADING = re.compile(r"seizure\s*n\s*[.°]?\s*(\d+).*", re.IGNORECASE)
_NAME = re.compile(r"file\s*name\s*:\s*(.*)", re.IGNORECASE)
#: Any other line with the name of an EDF.
_ANY_NAME = re.compile(r".*\.edf\b.*", re.IGNORECASE)
_TIME = re.compile(
    r"(?:(registration|seizure)\s+)?(start|end)(?:\s+time\s*:?|\s*:)\s*(.*)", re.IGNORECASE
)
#: A time that may be that of a seizure, and not a date.
_ANY_CLOCK = re.compile(
    r"(?=.*(?:seiz|regist|start|end|onset|offset|time)).*\d[.:,]\d\d[.:,]\d\d", re.IGNORECASE
)
#: The types in ``subject_info.csv`` as types of HED-SCORE: focal with impaired awareness, focal
#: without, focal to bilateral tonic-clonic.
_TYPES = {"IAS": "sz_foc_ia", "WIAS": "sz_foc_a", "FBTC": "sz_foc_f2b"}


@dataclass(frozen=True, slots=True)
class Clock:
    """The times of one line: one, several alternatives, or nothing where it is not understood."""

    times: tuple[int, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ListedSeizure:
    """A seizure of a list, with the name of its EDF (None where the list gives none)."""

    name: str | None
    start: Clock | None
    end: Clock | None


@dataclass(frozen=True, slots=True)
class Registration:
    """When, according to a list, the registration of an EDF starts and ends."""

    name: str
    line: int
    start: Clock | None
    end: Clock | None


@dataclass(frozen=True, slots=True)
class SeizureList:
    """The content of a list."""

    where: str
    seizures: tuple[ListedSeizure, ...]
    registrations: tuple[Registration, ...]

    @property
    def names(self) -> list[str]:
        """The names of EDFs in the list, in its order."""
        return list(dict.fromkeys(one.name for one in self.registrations))

    def names_of(self, edf: str) -> list[str]:
        """The names in the list that mean the EDF with this file name."""
        return [name for name in self.names if _means(name, edf, self.names)]


def read(path: Path) -> SeizureList:
    """Read a list. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name)


def parse(text: str, where: str) -> SeizureList:
    """Parse the text of a list; ``where`` names it in findings."""
    reader = _Reader()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        reader.read_line(line.strip(), number)
    reader.end_seizure()
    reader.end_registration()
    return SeizureList(where, tuple(reader.seizures), tuple(reader.registrations))


class _Reader:
    """Reads a list line by line; a name holds for the seizures after it, until another one."""

    def __init__(self) -> None:
        self.seizures: list[ListedSeizure] = []
        self.registrations: list[Registration] = []
        self._name: tuple[str, int] | None = None
        self._registration: dict[str, Clock] = {}
        self._seizure: dict[str, Clock] = {}

    def read_line(self, line: str, number: int) -> None:
        if (name := _NAME.fullmatch(line)) is not None:
            self.end_seizure()
            self.end_registration()
            self._name = (name[1].strip(), number) if name[1].strip() else None
        elif (time := _TIME.fullmatch(line)) is not None:
            clock = Clock(clock_times(time[3]) or (), number)
            which = time[2].lower()
            if (time[1] or "").lower() == "registration":
                self.end_seizure()
                before = self._registration.get(which)
                if before is not None and before.times != clock.times:
                    # Another registration without a name: its seizures are in an unknown EDF.
                    self.end_registration()
                    self._name = None
                self._registration[which] = clock
            else:
                if which in self._seizure:
                    self.end_seizure()
                self._seizure[which] = clock
        elif _ANY_CLOCK.match(line) is not None:
            # A time of which it is not known what it is.
            self.end_seizure()
            self._seizure["start"] = Clock((), number)
            self.end_seizure()
        elif _ANY_NAME.fullmatch(line) is not None:
            # What follows need not belong to the EDF that was named last.
            self.end_seizure()
            self.end_registration()
            self._name = None
        elif _HEADING.fullmatch(line) is not None:
            self.end_seizure()

    def end_seizure(self) -> None:
        if self._seizure:
            name = None if self._name is None else self._name[0]
            seizure = ListedSeizure(name, self._seizure.get("start"), self._seizure.get("end"))
            self.seizures.append(seizure)
            self._seizure = {}

    def end_registration(self) -> None:
        if self._name is not None:
            name, line = self._name
            start, end = (self._registration.get(which) for which in ("start", "end"))
            self.registrations.append(Registration(name, line, start, end))
        self._registration = {}


def recording_annotation(
    listed: SeizureList,
    edf: str,
    start: datetime | None,
    signal_s: float | None,
    label: str = "seiz",
) -> ParsedAnnotation | None:
    """The seizures of an EDF, in seconds from its first sample; None where the list lacks it.

    ``edf`` is its file name, ``start`` the time of its first sample according to its header, and
    ``signal_s`` its length (each None where it is unknown). Events have the label ``label``.

    Where a seizure starts or ends at one of several times, it is certain between the last start and
    the first end; the time between the alternatives is unknown.
    """
    findings: list[Finding] = []
    lost = [seizure for seizure in listed.seizures if seizure.name is None]
    for seizure in lost:
        line = next(clock.line for clock in (seizure.start, seizure.end) if clock is not None)
        findings.append(Finding("seizure_without_file", f"{listed.where}:{line}"))
    names = listed.names_of(edf)
    if not names:
        return None
    registrations = [one for one in listed.registrations if one.name in names]
    for one in registrations:
        if one.name.lower() != edf.lower():
            findings.append(Finding("other_file_name", f"{listed.where}:{one.line}"))
    first = _first_sample(registrations, listed.where, start, signal_s, findings)
    marks: list[Mark] = []
    if first is not None:
        for seizure in listed.seizures:
            if seizure.name in names:
                marks += _marks(seizure, first, label, listed.where, findings)
    fitted = on_signal(in_order(listed.where, marks, 0, None, findings), signal_s)
    # Stated for information: the last seconds of many recordings are not part of the registration.
    ends = [one.end.times[0] for one in registrations if one.end and len(one.end.times) == 1]
    if first is None or not ends:
        return fitted
    return replace(fitted, duration_s=seconds_after(ends[0], first))


def _first_sample(
    registrations: Sequence[Registration],
    where: str,
    start: datetime | None,
    signal_s: float | None,
    findings: list[Finding],
) -> float | None:
    """The clock time of the first sample in seconds; None where nothing gives it.

    That of the header, compared with the registrations of the list.
    """
    stated = [one for one in registrations if one.start is not None and len(one.start.times) == 1]
    line = registrations[0].line
    if signal_s is not None and signal_s > DAY_S:
        detail = f"{signal_s:.0f} s are more than a day"
        findings.append(Finding("clock_contradicts", f"{where}:{line}", detail))
        return None
    if start is None:
        if not stated:
            findings.append(Finding("clock_contradicts", f"{where}:{line}", "no start"))
            return None
        findings.append(Finding("clock_unchecked", f"{where}:{line}", "no start in the header"))
        return float(_start_of(stated[0]))
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = (start - midnight).total_seconds()
    if not stated:
        findings.append(Finding("clock_unchecked", f"{where}:{line}", "no start in the list"))
    for one in stated:
        _compare(one, first, where, signal_s, findings)
    return first


def _start_of(registration: Registration) -> int:
    return registration.start.times[0] if registration.start is not None else 0


def _compare(
    registration: Registration,
    first: float,
    where: str,
    signal_s: float | None,
    findings: list[Finding],
) -> None:
    """Findings for registration times that are not those of the EDF."""
    ends = () if registration.end is None else registration.end.times
    late = (
        seconds_between(ends[0], first + signal_s)
        if signal_s is not None and len(ends) == 1
        else None
    )
    off = seconds_between(_start_of(registration), first)
    detail = f"its start is {off:.0f} s off"
    if late is not None:
        detail += f", its end {late:.0f} s"
    end_fits = late is not None and late <= CLOCK_MISMATCH_S
    if off > CLOCK_MISMATCH_S:
        code = "clock_corrected" if end_fits else "clock_contradicts"
    elif off > ROUNDING_S or (late is not None and not end_fits):
        code = "clock_mismatch"
    else:
        return
    findings.append(Finding(code, f"{where}:{registration.line}", detail))


def _marks(
    seizure: ListedSeizure, first: float, label: str, where: str, findings: list[Finding]
) -> list[Mark]:
    """The marks of one seizure in seconds from the clock time ``first``."""
    marks: list[Mark] = []
    seconds: dict[Meaning, tuple[list[float], int]] = {}
    for meaning, clock in ((Meaning.ONSET, seizure.start), (Meaning.END, seizure.end)):
        if clock is None:
            continue
        if not clock.times:
            detail = "a time is not understood"
            findings.append(Finding("malformed_row", f"{where}:{clock.line}", detail))
            return []
        times = sorted({seconds_after(time, first) for time in clock.times})
        seconds[meaning] = times, clock.line
        if len(times) > 1:
            detail = f"{times[0]:.4f} or {times[-1]:.4f} s"
            findings.append(Finding("alternative_times", f"{where}:{clock.line}", detail))
            marks.append(Mark(times[0], times[-1], Meaning.UNKNOWN, UNKNOWN, clock.line))
    if Meaning.ONSET not in seconds:
        ends, line = seconds[Meaning.END]
        return [*marks, Mark(ends[0], None, Meaning.END, label, line)]
    starts, line = seconds[Meaning.ONSET]
    if Meaning.END not in seconds:
        return [*marks, Mark(starts[-1], None, Meaning.SEIZURE, label, line)]
    stop = seconds[Meaning.END][0][0]
    if stop < starts[-1]:
        detail = f"{starts[-1]:.4f} to {stop:.4f} s"
        findings.append(Finding("stop_before_start", f"{where}:{line}", detail))
    return [*marks, Mark(starts[-1], stop, Meaning.SEIZURE, label, line)]


def unlisted(listed: SeizureList, edfs: Iterable[str]) -> list[str]:
    """Names in a list that mean none of the EDFs with these file names."""
    meant = {name for edf in edfs for name in listed.names_of(edf)}
    return [name for name in listed.names if name not in meant]


def _form(name: str) -> str:
    """A file name without its suffix, in capitals, with 0 for O, and without blanks."""
    stem = re.sub(r"\.edf$", "", name.strip(), flags=re.IGNORECASE)
    return re.sub(r"\s", "", stem).upper().replace("O", "0")


def _means(name: str, edf: str, names: Iterable[str]) -> bool:
    """Whether a name in a list means an EDF.

    A name without a number means the patient's first EDF, if no name in the list has a number.
    """
    own, wanted = _form(name), _form(edf)
    if own == wanted:
        return True
    patient, dash, number = wanted.partition("-")
    if own.rstrip("-") != patient or (dash, number) != ("-", "1"):
        return False
    return not any(re.match(r"-\d", _form(other).removeprefix(patient)) for other in names)


#: Names of EDFs that are the corpus's own, also in the spellings of its lists.
_OWN_NAME = re.compile(r"PN[0-9O]{2}-?[\d.]{0,8}(?:\.edf)?", re.IGNORECASE)


def without_free_text(text: str, edfs: Collection[str]) -> str:
    """A list that says the same about seizures, line by line, and nothing else.

    Names of EDFs stay where they are those of the corpus or mean one of the ``edfs``.
    """
    listed = parse(text, "")
    meant = {name for edf in edfs for name in listed.names_of(edf)}
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return "\n".join(_fixed_words(line, meant) for line in lines) + "\n"


def _fixed_words(line: str, meant: Collection[str]) -> str:
    """What :class:`_Reader` takes from a line, in fixed words."""
    if (name := _NAME.fullmatch(line)) is not None:
        own = name[1].strip()
        if own and own not in meant and _OWN_NAME.fullmatch(own) is None:
            own = "unknown.edf"
        return f"File name: {own}".strip()
    if (time := _TIME.fullmatch(line)) is not None:
        words = f"{time[1] or ''} {time[2]} time: ".strip().lower().capitalize()
        return f"{words} {clock_words(time[3])}"
    if _ANY_CLOCK.match(line) is not None:
        return "Time 0:00:00"
    if _ANY_NAME.fullmatch(line) is not None:
        return "File name:"
    if (heading := _HEADING.fullmatch(line)) is not None:
        return f"Seizure n {heading[1][-2:]}"
    return ""


#: The electrode before O1 in every EDF of the corpus, and O1 without its letter.
_BEFORE_O1 = re.compile(r"(?:EEG )?P3", re.IGNORECASE)
_O1, _TRUNCATED_O1 = re.compile(r"(?:EEG )?O1", re.IGNORECASE), re.compile(r"(?:EEG )?1")


def truncated_labels(labels: Sequence[str]) -> dict[str, str]:
    """The label that stands for O1 in an EDF, where that has lost its letter; otherwise nothing.

    EDFs of the corpus have further signals ``1`` and ``2`` that are no electrodes: only the signal
    after P3 is meant, and only in an EDF without an O1.
    """
    stripped = [label.strip() for label in labels]
    if any(map(_O1.fullmatch, stripped)):
        return {}
    for before, label in pairwise(stripped):
        if _BEFORE_O1.fullmatch(before) and _TRUNCATED_O1.fullmatch(label):
            return {label: "O1"}
    return {}


def seizure_label(subjects: str, patient: str) -> str:
    """The label of a patient's seizures from the text of ``subject_info.csv``.

    ``seiz`` where it does not give a type that is known.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in subjects.splitlines()]
    columns = rows[0] if rows else []
    if not {"patient_id", "seizure"} <= set(columns):
        return "seiz"
    for cells in rows[1:]:
        row = dict(zip(columns, cells, strict=False))
        if row.get("patient_id", "").upper() == patient.upper():
            return label_of(_TYPES.get(row.get("seizure", "").upper(), "sz")) or "seiz"
    return "seiz"
