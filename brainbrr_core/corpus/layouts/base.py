"""The interface of a layout of a corpus. A new layout is one subclass of :class:`Layout`."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from brainbrr_core.annotation import UNKNOWN, Event, Finding, ParsedAnnotation, seizure_seconds
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.demographics import Person
from brainbrr_core.corpus.participants import SPLIT_TABLE
from brainbrr_core.corpus.skipped import Skipped, in_other_case, skipped_in_folder
from brainbrr_core.edf.formats import FORMATS, Format, choose, format_of, is_edf, part_names
from brainbrr_core.errors import BrainbrrError, check_exhausted
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.machine.walk import Listing, is_folder, is_text, walk, why_not_entered

#: A recording with fewer seconds of seizure and background has no usable labels.
_LEAST_KNOWN_S = 0.01


class RecordingFile(NamedTuple):
    """One EDF of a corpus, or the main file in another format, and what its path says.

    ``split`` is None where the corpus does not define splits, ``patient`` empty where the path does
    not name one. ``annotation_names`` are files that determine the labels; ``table_name`` is a
    table that marks channels as bad, and so determines the signal; ``json_names`` describe the
    acquisition, the nearest first; ``part_names`` are further files of the recording itself, of a
    format that has several. All are relative to the EDF's folder.

    Paths are text because few of a corpus's hundreds of thousands of files are opened.
    """

    partition_key: str
    split: str | None
    patient: str
    session: str
    montage: str
    location: str
    annotation_names: tuple[str, ...] = ()
    table_name: str | None = None
    json_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Path of the EDF."""
        return Path(self.location)

    @property
    def companion_names(self) -> tuple[str, ...]:
        """Names of all files that describe this EDF, and of its further parts."""
        table = () if self.table_name is None else (self.table_name,)
        return (*self.annotation_names, *table, *self.json_names, *self.part_names)

    def companion(self, name: str) -> str:
        """Path of a file with this name relative to the EDF's folder."""
        return companion_location(self.location, name)

    def companion_locations(self) -> list[str]:
        """Paths of all files that describe this EDF."""
        names = self.companion_names
        folder, slash, _ = self.location.rpartition("/")
        return [
            companion_location(self.location, name) if name[:3] == "../" else folder + slash + name
            for name in names
        ]

    @property
    def annotations(self) -> tuple[Path, ...]:
        """Paths of the files that determine the labels."""
        return tuple(Path(self.companion(name)) for name in self.annotation_names)

    @property
    def channel_table(self) -> Path | None:
        """Path of the table that marks channels as bad."""
        return None if self.table_name is None else Path(self.companion(self.table_name))

    @property
    def parts(self) -> tuple[Path, ...]:
        """Paths of the further files of the recording itself."""
        return tuple(Path(self.companion(name)) for name in self.part_names)

    @property
    def companions(self) -> tuple[Path, ...]:
        """Paths of all files that describe this EDF, and of its further parts."""
        return tuple(map(Path, self.companion_locations()))


def companion_location(edf: str, name: str) -> str:
    """Path of a file whose ``name`` is relative to the folder of an EDF."""
    folder, slash, _ = edf.rpartition("/")
    location = f"{folder}{slash}{name}"
    return os.path.normpath(location) if name.startswith("../") else location


class Folder(NamedTuple):
    """A folder of a corpus.

    ``below`` are the names of the folders from the root to it; ``entries`` are its entries by name,
    None where it was not listed.
    """

    path: str
    below: tuple[str, ...]
    entries: Mapping[str, os.DirEntry[str]] | None = None

    def location(self, name: str) -> str:
        """Path of a file with this name."""
        return name if self.path == "." else f"{self.path.rstrip('/')}/{name}"

    def present(self, *names: str) -> tuple[str, ...]:
        """Those of the names that exist as a file or link, or cannot be accessed."""
        if self.entries is None:
            return tuple(name for name in names if _is_present(Path(self.location(name))))
        entries = self.entries
        return tuple(
            [name for name in names if name in entries and _is_file_or_link(entries[name])]
        )

    def in_any_case(self, name: str) -> tuple[str, ...]:
        """The file with this name or, without one, the only one that differs from it in case."""
        exact = self.present(name)
        if exact:
            return exact
        names = _names_in(self.path) if self.entries is None else self.entries
        alike = [other for other in names if other.lower() == name.lower()]
        return self.present(*alike) if len(alike) == 1 else ()

    def unlisted(self) -> Folder:
        """The folder without its entries, so that the file system is asked about each file."""
        return self._replace(entries=None)


@dataclass(frozen=True, slots=True)
class RecordingLabels:
    """The content of a recording's annotation files.

    ``reason`` says why they are not usable: a key of ``LABEL_REASONS``, or None.
    """

    events: tuple[Event, ...]
    duration_s: float | None
    source: str
    reason: str | None
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, parsed: ParsedAnnotation, source: str, signal_s: float | None) -> RecordingLabels:
        """The labels from an annotation of a signal of ``signal_s`` seconds.

        ``source`` names the kind of file.
        """
        reason = None if parsed.usable else "bad_annotation"
        if reason is None and signal_s is not None:
            unknown = seizure_seconds(event for event in parsed.events if event.label == UNKNOWN)
            if unknown > signal_s - _LEAST_KNOWN_S:
                reason = "all_unknown"
        return cls(parsed.events, parsed.duration_s, source, reason, parsed.findings)

    @classmethod
    def unreadable(cls, path: Path, source: str, error: OSError) -> RecordingLabels:
        """The labels from a file that cannot be opened.

        Raises :class:`BrainbrrError` where this process cannot open any more files.
        """
        check_exhausted(str(path), error)
        finding = Finding("unreadable_annotation", path.name, error.strerror or "")
        return cls((), None, source, "bad_annotation", (finding,))

    @classmethod
    def absent(cls, *findings: Finding) -> RecordingLabels:
        """The labels of a recording without annotations, which is not background."""
        return cls((), None, "", "no_annotation", findings)


@dataclass(frozen=True, slots=True)
class CompleteCorpus:
    """What a published corpus, named by its ``title``, has when all of it is there."""

    title: str
    recordings: int
    seizures: int


class Layout(ABC):
    """How a corpus is laid out on disk."""

    #: The name that ``--layout`` takes.
    name: ClassVar[str]
    #: The form of its paths, for messages.
    form: ClassVar[str]
    #: Whether annotations have clock times, so that labels need the start of the EDF.
    has_clock_times: ClassVar[bool] = False
    #: Suffixes of the main files of its recordings.
    formats: ClassVar[frozenset[str]] = frozenset({".edf"})
    #: Electrodes that may have another label in this corpus than anywhere else.
    aliased: ClassVar[frozenset[str]] = frozenset()
    #: Folders beside those that are searched whose recordings are no part of the data.
    no_raw_data: ClassVar[frozenset[str]] = frozenset()
    #: Tables in its root that are read, besides that of the splits.
    root_tables: ClassVar[tuple[str, ...]] = ()
    #: What a complete corpus has, by its ``release``, where the layout is that of one corpus.
    complete: ClassVar[Mapping[str, CompleteCorpus]] = MappingProxyType({})

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        self.root = root
        #: The name of the root in messages, where that is not its path.
        self.shown = shown or str(root)
        #: Interprets annotations of free text.
        self.texts = texts
        #: Suffixes that are read of those: another source may not give all of them.
        self.suffixes = self.formats
        #: Files and folders below the root that are not read; complete after ``recordings``.
        self.skipped: list[Skipped] = []

    @classmethod
    @abstractmethod
    def find(cls, data_dir: Path) -> Path | None:
        """The folder that keys are relative to, or None where the corpus has another layout."""

    def folders(self) -> list[Path]:
        """Folders that are searched for recordings."""
        return [self.root]

    @property
    def release(self) -> str:
        """The release of the corpus where its files state one, otherwise empty."""
        return ""

    def existing(self, folders: Iterable[Path]) -> list[Path]:
        """Those of the folders that exist; a broken link is reported."""
        existing = []
        for folder in folders:
            if folder.is_dir():
                existing.append(folder)
            elif folder.is_symlink():
                self._skip("broken_link", folder)
        return existing

    def describe_path(self, path: Path) -> RecordingFile | None:
        """What the path of an EDF below the root says; None where it is not a recording."""
        file = self.describe(self.folder_of(path), path.name)
        return None if file is None else with_parts(file)

    def folder_of(self, path: Path) -> Folder:
        """The folder of a file below the root, without listing it."""
        return Folder(str(path.parent), path.relative_to(self.root).parts[:-1])

    @abstractmethod
    def describe(self, folder: Folder, name: str) -> RecordingFile | None:
        """What folder and name of an EDF say; None where it is not a recording."""

    @abstractmethod
    def read_labels(
        self, file: RecordingFile, signal_s: float | None, start: datetime | None = None
    ) -> RecordingLabels:
        """Read the annotations of a recording whose signal lasts ``signal_s`` (None: unknown).

        ``start`` is the time of its first sample, where annotations have clock times
        (``has_clock_times``) and the EDF says it.
        """

    def aliases(self, _labels: Sequence[str]) -> Mapping[str, str]:
        """Labels of a file that are electrodes in this corpus only, each with its electrode.

        They decide which recordings of this corpus have an electrode, and are no part of the rules
        for labels that belong to the preprocessing version.
        """
        return {}

    def people(self) -> Mapping[str, Person]:
        """Age and sex of those whom a table of the corpus names, by the topmost folder of each."""
        return {}

    def annotates(self, _folder: str, _name: str, _recordings: Collection[str]) -> bool | None:
        """Whether a file is the annotation of one of the ``recordings`` in its folder.

        These are names of EDFs without suffix. None where the file is not an annotation.
        """
        return None

    def lists(self, folder: Folder) -> Mapping[str, tuple[str, ...]]:
        """The lists that a folder may have, each with the names of the files that are read for it.

        A list is about several recordings, such as the seizures of a patient.
        """
        tables = () if folder.below else (SPLIT_TABLE, *self.root_tables)
        return {name: folder.present(name) for name in tables}

    def absent(self, _folder: Folder, _edfs: Collection[str]) -> Iterable[str]:
        """Names of EDFs that a list in a folder has and the folder, with these EDFs, has not."""
        return ()

    def recordings(self) -> Iterator[RecordingFile]:
        """Every recording below the root.

        Raises :class:`BrainbrrError` for a folder that cannot be read, since recordings in it would
        be missing.
        """
        self.skipped = []
        # A link to a folder above must not be followed: its recordings would be in two splits.
        above = (self.root, *real_path(self.root).parents)
        folders = self.folders()
        try:
            for listing in walk(folders, self._skip, above=above):
                yield from self._recordings_in(listing)
            if self.root not in folders:
                self._skip_outside(folders, above)
        except OSError as error:
            raise unreadable_folder(error) from None

    def _skip_outside(self, folders: Sequence[Path], above: Sequence[Path]) -> None:
        """Report what has recordings beside the ``folders`` of the layout, which nothing reads."""
        searched = {real_path(path) for path in folders}
        with os.scandir(self.root) as entries:
            beside = sorted(entries, key=attrgetter("name"))
        files = [entry.name for entry in beside if not is_folder(entry)]
        for name in self._recordings_among(files):
            self._skip("not_of_layout", self.root / name)
        for name in in_other_case(files, self.lists(Folder(str(self.root), ()))):
            self._skip("other_case", self.root / name)
        for entry in beside:
            path = self.root / entry.name
            if not is_folder(entry):
                broken = Skipped.at("broken_link", Path(entry.name))
                is_link = entry.is_symlink() and "." not in entry.name
                if is_link and not path.exists() and broken not in self.skipped:
                    self.skipped.append(broken)
                continue
            if (
                entry.name in self.no_raw_data
                or why_not_entered(entry.name) is not None
                or real_path(path) in {*searched, *above}
            ):
                continue
            # A folder of another kind may be closed to this user.
            listings = walk([path], above=(*above, *folders), unreadable=lambda _error: None)
            if any(self._recordings_among([e.name for e in own.files]) for own in listings):
                self._skip("folder_not_of_layout", f"{path}/")

    def _recordings_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of recordings among those of the files of a folder that is not read."""
        return tuple(
            name for name in choose(names, self.suffixes).recordings if not name.startswith(".")
        )

    def _recordings_in(self, listing: Listing) -> Iterator[RecordingFile]:
        folder = self._folder(listing)
        is_named_in_text = not folder.below or is_partition_key("/".join(folder.below))
        names = [entry.name for entry in listing.files]
        chosen = choose(names, self.suffixes)
        for name in chosen.doubled:
            self._skip("same_name", folder.location(name))
        edfs = chosen.recordings
        for name in edfs:
            if name.startswith("."):
                self._skip("hidden_edf", folder.location(name))
            elif not is_named_in_text or not is_text(name):
                self._skip("no_text", folder.location(name))
            elif (file := self.describe(folder, name)) is None:
                self._skip("not_of_layout", folder.location(name))
            else:
                yield with_parts(file)
        if folder.below and is_edf(folder.below[-1]) and not edfs:
            self._skip("folder_named_edf", f"{folder.path}/")
        for name in in_other_case(names, self.lists(folder)):
            self._skip("other_case", folder.location(name))
        for name in self.absent(folder, edfs):
            self._skip("listed_without_edf", folder.location(name))
        if names:
            name_of_folder = folder.below[-1] if folder.below else ""
            for kind, name in skipped_in_folder(
                names, chosen.all, partial(self.annotates, name_of_folder)
            ):
                needs_files = kind == "other_format" and format_of(name) in self._only_files
                self._skip("needs_files" if needs_files else kind, folder.location(name))

    @property
    def _only_files(self) -> set[Format]:
        """Formats that the layout has and its source cannot give."""
        return {FORMATS[suffix] for suffix in self.formats - self.suffixes}

    def _folder(self, listing: Listing) -> Folder:
        # Text, because creating tens of thousands of path objects takes longer than listing them.
        root = str(self.root)
        path = str(Path(listing.folder)) if root == "." else listing.folder
        inside = path if root == "." else path[len(root.rstrip("/")) + 1 :]
        below = tuple(inside.split("/")) if inside not in ("", ".") else ()
        return Folder(path, below, {entry.name: entry for entry in listing.files})

    def _skip(self, kind: str, path: str | Path) -> None:
        # A text that ends in a slash names a folder; a path object drops the slash.
        end = "/" if isinstance(path, str) and path.endswith("/") else ""
        self.skipped.append(Skipped.at(kind, Path(path).relative_to(self.root), end))

    @staticmethod
    def key(folder: Folder, name: str) -> str:
        """The partition key of an EDF: its path below the root without the suffix."""
        return "/".join((*folder.below, stem_of(name)))


def with_parts(file: RecordingFile) -> RecordingFile:
    """The recording with the names of its further files; an EDF has none."""
    if is_edf(file.location):
        return file
    return file._replace(part_names=part_names(file.path))


def folders_named(data_dir: Path, name: re.Pattern[str]) -> list[Path]:
    """The folders directly in ``data_dir`` whose names match a pattern, in order.

    Raises :class:`BrainbrrError` where ``data_dir`` cannot be listed.
    """
    try:
        with os.scandir(data_dir) as entries:
            names = sorted(entry.name for entry in entries if name.fullmatch(entry.name))
    except OSError as error:
        raise unreadable_folder(error) from None
    return [data_dir / own for own in names if (data_dir / own).is_dir()]


def stem_of(name: str) -> str:
    """The name of a file without its suffix, as ``Path.stem`` gives it."""
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix else name


#: File names that contain the patient: those of BIDS and of TUSZ.
_NAMED_PATIENT = re.compile(r"(?P<bids>sub-[^_]+)_.+|(?P<tusz>[^_]+)_s\d+_t\d+")


def patient_in(stem: str) -> str:
    """The patient in the name of an EDF without suffix; empty where there is none."""
    match = _NAMED_PATIENT.fullmatch(stem)
    return match[match.lastgroup or 0] if match is not None else ""


def is_partition_key(key: str) -> bool:
    """Whether a path can be a partition key: nothing in it is hidden, and it is printable."""
    if not key or key.startswith((".", "/")) or key.endswith("/") or "/." in key or "//" in key:
        return False
    return is_text(key)


def unreadable_folder(error: OSError) -> BrainbrrError:
    """The error for a folder, or the target of a link, that cannot be read."""
    return BrainbrrError(
        f"the folder {error.filename} cannot be read ({error.strerror}), so its recordings "
        "are unknown: fix its permissions or move it out of the corpus"
    )


def present(*paths: Path) -> tuple[Path, ...]:
    """Those of the paths that exist as a file or link, or cannot be accessed."""
    return tuple(path for path in paths if _is_present(path))


def _names_in(folder: str) -> list[str]:
    """The names in a folder; none where it cannot be listed, which the walk over it reports."""
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []


def _is_file_or_link(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) or entry.is_symlink()
    except OSError:
        return True


def _is_present(path: Path) -> bool:
    try:
        return path.is_file() or path.is_symlink()
    except OSError:
        # For example, in a folder without permission.
        return True
