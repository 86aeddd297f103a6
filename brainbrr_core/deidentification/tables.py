"""Files of annotations, written anew where all of their words are fixed ones."""

from __future__ import annotations

import csv
import datetime
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from brainbrr_core.annotation import chbmit, lbl, seizeit, siena, szcore, tuh
from brainbrr_core.annotation.events import UNKNOWN
from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import SEIZURE_LABELS
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.corpus.layouts import tusz
from brainbrr_core.deidentification.annotations import word_of
from brainbrr_core.deidentification.header import Identity

_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{0,15})?")
_CODE = re.compile(r"\d{1,5}")
_EMPTY = ("", "n/a")
_ELECTRODE = (
    r"(?:Fp|AF|F|FT|FC|C|T|TP|CP|P|PO|O|I|A|M|N|Sp)(?:z|\d{1,2})|Nz|ECG|EKG\d?|EMG|EOG|REF|LE|AVG?"
)
_CHANNEL = re.compile(rf"(?:EEG )?(?:{_ELECTRODE})(?:-(?:{_ELECTRODE}))?(?:-\d)?", re.IGNORECASE)
#: The seizure types of HED-SCORE, in lower case.
_TYPE = re.compile(
    r"sz(_(foc|gen|uncl|ukn|uncertain|nfoc|a|ia|ua|m|nm|um|f2b|automatisms|atonic|clonic|tonic"
    r"|epilepticspasms|hyperkinetic|myoclonic|tonicclonic|myoclonictonicclonic|myoclonicatonic"
    r"|autonomic|behavior|cognitive|emotional|sensory|typical|atypical|absence|eyelidmyoclonia))*"
)
_LABELS = frozenset((*SEIZURE_LABELS, BACKGROUND, UNKNOWN, "unkn"))
_TSE_VERSION = re.compile(r"version\s*=\s*tse_v[\d.]{1,8}")
_CSV_VERSION = re.compile(r"#\s*version\s*=\s*csv_v[\d.]{1,8}")
_CSV_DURATION = re.compile(r"#\s*duration\s*=\s*\d{1,9}(\.\d{0,15})?\s*(secs?)?")
#: Names of the databases of Temple University.
_DATABASE = re.compile(
    r"(the )?TUH EEG( (seizure|abnormal|artifact|epilepsy|events?|slowing))?( EEG)?( corpus)?"
    r"( \(?TU[A-Z]{2}\)?)?",
    re.IGNORECASE,
)
_CSV_NAME = re.compile(r"#\s*bname\s*=")


class NotInVocabulary(Exception):
    """A file of annotations has something that is in no fixed vocabulary."""


@dataclass(frozen=True)
class TableContext:
    """What a file of annotations is cleaned with.

    Attributes
    ----------
    texts : Texts
        What free texts mean.
    name : str
        The new name, without a suffix, of the only recording that the file describes; otherwise
        the name that it has.
    identities : frozenset of Identity
        Those of the patients that the file describes; none where it is only looked at.
    removed : Counter of str
        Counts what is left out, by kind.
    edfs : tuple of PurePosixPath
        The EDFs that the file describes, relative to its folder.
    """

    texts: Texts
    name: str
    identities: frozenset[Identity]
    removed: Counter[str]
    edfs: tuple[PurePosixPath, ...] = ()

    @property
    def names(self) -> list[str]:
        """The file names of these EDFs."""
        return [edf.name for edf in self.edfs]


def clean_events(text: str, context: TableContext) -> str:
    """An ``events.tsv`` with fixed words and shifted dates.

    Columns that are not those of SzCORE and BIDS are left out; so are texts that say nothing about
    seizures. Raises :class:`NotInVocabulary` for another cell that may be free text.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    names = [name.strip() for name in lines[0].split("\t")] if lines else []
    is_table = set(szcore.REQUIRED) <= set(names) and set(szcore.KINDS) & set(names)
    if not is_table or len(set(names)) != len(names):
        raise NotInVocabulary
    kept = [name for name in names if name in _CELLS]
    context.removed["table_column"] += len(names) - len(kept)
    rows = ["\t".join(kept)]
    for line in filter(str.strip, lines[1:]):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(names):
            raise NotInVocabulary
        rows.append(
            "\t".join(
                cell if cell in _EMPTY else _CELLS[name](cell, context)
                for name, cell in zip(names, cells, strict=True)
                if name in _CELLS
            )
        )
    return "\n".join(rows) + "\n"


def clean_csv(text: str, context: TableContext) -> str:
    """A ``csv_bi`` or ``csv`` of TUSZ under the recording's new name, without other comments.

    Raises :class:`NotInVocabulary` for a cell that may be free text.
    """
    rows = []
    has_header = False
    for line in filter(str.strip, text.removeprefix("\ufeff").splitlines()):
        if line.startswith("#"):
            rows += _comment(line.strip(), context)
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error:
            raise NotInVocabulary from None
        if not has_header:
            if tuple(cells) != tuh.COLUMNS:
                raise NotInVocabulary
            has_header = True
        else:
            _check_row(cells)
        rows.append(",".join(cells))
    if not has_header:
        raise NotInVocabulary
    return "\n".join(rows) + "\n"


def clean_tse(text: str, context: TableContext) -> str:
    """A ``tse_bi`` or ``tse`` of TUSZ without comments.

    Raises :class:`NotInVocabulary` for anything else that may be free text.
    """
    rows = []
    for line in filter(str.strip, text.removeprefix("\ufeff").splitlines()):
        if line.startswith("#"):
            context.removed["table_comment"] += 1
            continue
        cells = line.split()
        if _TSE_VERSION.fullmatch(line.strip()) is None:
            _check_row(["TERM", *cells])
        rows.append(" ".join(cells))
    return "\n".join(rows) + "\n"


def clean_lbl(text: str, context: TableContext) -> str:
    """An ``lbl_bi`` or ``lbl`` of TUSZ without comments, with symbols of the corpus alone."""
    return _fixed(text, lbl.without_free_text(text, is_channel), context)


def clean_seizeit(text: str, context: TableContext) -> str:
    """An ``_a1.tsv`` of SeizeIT1 without remarks."""
    return _fixed(text, seizeit.without_free_text(text, f"{context.name}{seizeit.SUFFIX}"), context)


def clean_summary(text: str, context: TableContext) -> str:
    """A summary of CHB-MIT without lists of channels and other lines."""
    return _fixed(text, chbmit.summary_without_free_text(text, context.names), context)


def clean_inventory(text: str, context: TableContext) -> str:
    """The ``RECORDS-WITH-SEIZURES`` of CHB-MIT with paths alone."""
    paths = [str(edf) for edf in context.edfs]
    return _fixed(text, chbmit.inventory_without_free_text(text, paths), context)


def clean_seizure_list(text: str, context: TableContext) -> str:
    """A list of seizures of Siena with names of EDFs and clock times alone.

    Clock times stay, since the times of day in the headers of EDFs do.
    """
    return _fixed(text, siena.without_free_text(text, context.names), context)


def clean_readme(text: str, context: TableContext) -> str:
    """An ``AAREADME.txt`` of TUSZ with the database and its version alone.

    Raises :class:`NotInVocabulary` where it states none of the databases of Temple University.
    """
    stated = tusz.stated_release(text)
    if stated is None or _DATABASE.fullmatch(stated[0]) is None:
        raise NotInVocabulary
    kept = f"Database: {stated[0]}\nVersion: {stated[1]}\n"
    context.removed["table_comment"] += text != kept
    return kept


def _fixed(text: str, kept: str, context: TableContext) -> str:
    """A text of which every line stays one; lines that lost something are counted."""
    before = text.removeprefix("\ufeff").splitlines()
    context.removed["table_comment"] += sum(
        old.split() != new.split() for old, new in zip(before, kept.splitlines(), strict=False)
    )
    return kept


def is_channel(text: str) -> bool:
    """Whether a text is the name of a channel in one of the usual forms."""
    return _CHANNEL.fullmatch(text) is not None


def _comment(line: str, context: TableContext) -> list[str]:
    if _CSV_VERSION.fullmatch(line) or _CSV_DURATION.fullmatch(line):
        return [line]
    named = f"# bname = {context.name}"
    if _CSV_NAME.match(line):
        context.removed["table_comment"] += line != named
        return [named]
    context.removed["table_comment"] += 1
    return []


def _check_row(cells: list[str]) -> None:
    if len(cells) != len(tuh.COLUMNS):
        raise NotInVocabulary
    channel, start, stop, label, confidence = cells
    is_channel = channel == "TERM" or _CHANNEL.fullmatch(channel) is not None
    numbers = all(_NUMBER.fullmatch(cell) for cell in (start, stop, confidence))
    if not (is_channel and numbers and label in _LABELS):
        raise NotInVocabulary


def _number(cell: str, _context: TableContext) -> str:
    if _NUMBER.fullmatch(cell) is None:
        raise NotInVocabulary
    return cell


def _channels(cell: str, _context: TableContext) -> str:
    if not all(_CHANNEL.fullmatch(name.strip()) for name in cell.split(",")):
        raise NotInVocabulary
    return cell


def _event_type(cell: str, _context: TableContext) -> str:
    name = cell.lower()
    if _TYPE.fullmatch(name) is None and name not in (*_LABELS, "background"):
        raise NotInVocabulary
    return cell


def _words(cell: str, context: TableContext) -> str:
    if _CODE.fullmatch(cell):
        return cell
    word = word_of(cell, context.texts) or "n/a"
    context.removed["table_wording"] += word != cell
    return word


def _moved(cell: str, context: TableContext) -> str:
    try:
        time = datetime.datetime.fromisoformat(cell)
    except ValueError:
        raise NotInVocabulary from None
    if time.date() == szcore.UNKNOWN_START.date() or not context.identities:
        return cell
    context.removed["table_date"] += 1
    # The dates of several patients move by different numbers of days.
    moved = None
    if len(context.identities) == 1:
        (identity,) = context.identities
        moved = identity.shifted(time.date())
    if moved is None:
        return "n/a"
    return szcore.clock_time(datetime.datetime.combine(moved, time.time()))


_CELLS: dict[str, Callable[[str, TableContext], str]] = {
    "onset": _number,
    "duration": _number,
    "eventType": _event_type,
    "trial_type": _words,
    "value": _words,
    "confidence": _number,
    "channels": _channels,
    "dateTime": _moved,
    "recordingDuration": _number,
    "sample": _number,
}
