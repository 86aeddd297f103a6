"""Files beside EDFs that a layout of a corpus reads: which EDFs each describes, and its content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from brainbrr_core.annotation import seizeit
from brainbrr_core.corpus.layouts.base import stem_of
from brainbrr_core.corpus.layouts.inheritance import is_inherited
from brainbrr_core.deidentification import bids, people, tables
from brainbrr_core.deidentification.tables import NotInVocabulary, TableContext
from brainbrr_core.files.regular import check_regular

#: Bytes of the largest file that is copied.
_LARGEST = 1 << 26


class Scope(Enum):
    """Which EDFs a file describes."""

    OWN = "the one with its name"
    INHERITED = "those that have all entities of its name, in its folder or below (BIDS)"
    FOLDER = "those in its folder"
    BELOW = "those in its folder or below"


@dataclass(frozen=True)
class Kind:
    """A kind of file: its names, what it describes, and what writes its text anew.

    ``ending`` is the end of its name or, except for files of one recording, all of it.
    """

    ending: re.Pattern[str]
    scope: Scope
    clean: Callable[[str, TableContext], str]

    def stem(self, name: str) -> str | None:
        """What a name has before the ending; None for a file of another kind."""
        if self.scope in (Scope.FOLDER, Scope.BELOW):
            # As layouts find them: in any case.
            return "" if re.fullmatch(self.ending.pattern, name, re.IGNORECASE) else None
        match = re.fullmatch(rf"(.+){self.ending.pattern}", name)
        return None if match is None else match[1]


def _kind(ending: str, scope: Scope, clean: Callable[[str, TableContext], str]) -> Kind:
    return Kind(re.compile(ending), scope, clean)


#: The first that fits a name counts.
_KINDS = (
    _kind(r"_events\.tsv", Scope.INHERITED, tables.clean_events),
    _kind(r"_channels\.tsv", Scope.INHERITED, bids.clean_channels),
    _kind(r"_eeg\.json", Scope.INHERITED, bids.clean_acquisition),
    _kind(re.escape(seizeit.SUFFIX), Scope.OWN, tables.clean_seizeit),
    _kind(r"\.csv_bi", Scope.OWN, tables.clean_csv),
    _kind(r"\.tse(?:_bi)?", Scope.OWN, tables.clean_tse),
    _kind(r"\.lbl(?:_bi)?", Scope.OWN, tables.clean_lbl),
    _kind(r"chb\d\d-summary\.txt", Scope.FOLDER, tables.clean_summary),
    _kind(r"Seizures-list-PN\d\d\.txt", Scope.FOLDER, tables.clean_seizure_list),
    _kind(r"RECORDS-WITH-SEIZURES", Scope.BELOW, tables.clean_inventory),
    _kind(r"SUBJECT-INFO", Scope.BELOW, people.clean_subject_info),
    _kind(r"subject_info\.csv", Scope.BELOW, people.clean_subject_table),
    _kind(r"participants\.tsv", Scope.BELOW, people.clean_participants),
    _kind(r"split\.tsv", Scope.BELOW, people.clean_split_table),
    _kind(r"_?AAREADME\.txt", Scope.BELOW, tables.clean_readme),
    _kind(r"\.csv", Scope.OWN, tables.clean_csv),
)


@dataclass(frozen=True)
class Companion:
    """A file that describes EDFs.

    ``edfs`` are their paths in the folder that is copied. ``ending`` is what follows the name of
    the recording in that of a file that describes it alone, and otherwise None.
    """

    relative: PurePosixPath
    kind: Kind
    edfs: tuple[PurePosixPath, ...]
    ending: str | None

    @property
    def inside(self) -> tuple[PurePosixPath, ...]:
        """The EDFs, relative to the folder of the file."""
        return tuple(edf.relative_to(self.relative.parent) for edf in self.edfs)


class Companions:
    """Finds which of some EDFs a file describes; ``edfs`` are their paths."""

    def __init__(self, edfs: Iterable[PurePosixPath]) -> None:
        self._edfs = sorted(edfs)
        self._by_stem = {edf.with_name(stem_of(edf.name)): edf for edf in self._edfs}

    def find(self, relative: PurePosixPath) -> Companion | None:
        """A file with the EDFs that it describes; None where it describes none of them."""
        named = _kind_of(relative.name)
        if named is None:
            return None
        kind, stem = named
        if kind.scope in (Scope.OWN, Scope.INHERITED):
            for name in (stem, f"{stem}_eeg"):
                edf = self._by_stem.get(relative.with_name(name))
                if edf is not None:
                    return Companion(relative, kind, (edf,), relative.name.removeprefix(stem))
        edfs = tuple(edf for edf in self._edfs if _is_described(relative, kind.scope, edf))
        return Companion(relative, kind, edfs, None) if edfs else None


def is_companion(name: str) -> bool:
    """Whether a file with this name may describe EDFs."""
    return _kind_of(name) is not None


def _kind_of(name: str) -> tuple[Kind, str] | None:
    """The kind of a file, and what its name has before the ending."""
    for kind in _KINDS:
        stem = kind.stem(name)
        if stem is not None:
            return kind, stem
    return None


def _is_described(relative: PurePosixPath, scope: Scope, edf: PurePosixPath) -> bool:
    if scope is Scope.FOLDER:
        return edf.parent == relative.parent
    is_below = relative.parent in edf.parents
    if scope is Scope.INHERITED:
        return is_below and is_inherited(relative.name, stem_of(edf.name))
    return is_below and scope is Scope.BELOW


def cleaned(path: Path, kind: Kind, context: TableContext) -> bytes | None:
    """The bytes of a file in fixed words; None where it may have free text."""
    try:
        check_regular(path)
        if path.stat().st_size > _LARGEST:
            return None
        return kind.clean(path.read_text(encoding="utf-8"), context).encode()
    except (OSError, UnicodeDecodeError, NotInVocabulary):
        return None
