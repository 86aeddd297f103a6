"""What a layout of a corpus must tell; a new kind of corpus is one subclass."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

from brainbrr_core.annotation import (
    UNKNOWN,
    Event,
    Finding,
    ParsedAnnotation,
    seizure_seconds,
)
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.corpus.skipped import Skipped, beside, is_edf
from brainbrr_core.errors import BrainbrrError, check_exhausted
from brainbrr_core.machine.walk import Listing, is_text, walk

#: Seconds of seizure or background that a recording has at least, or nothing is known of it.
_LEAST_KNOWN_S = 0.01


class RecordingFile(NamedTuple):
    """One EDF of a corpus and what its path says about it.

    ``split`` is None where the corpus has no splits of its own, and ``patient`` is empty where
    the path does not tell it. ``table_name`` is that of a table that marks channels as bad, and so
    shapes the signal; what ``annotation_names`` names only shapes the labels. Such names count
    from the EDF's folder on (``..`` leads to one above).

    All is text: of the hundreds of thousands of files of a corpus, few are opened.
    """

    partition_key: str
    split: str | None
    patient: str
    session: str
    montage: str
    location: str
    annotation_names: tuple[str, ...] = ()
    table_name: str | None = None

    @property
    def path(self) -> Path:
        """The EDF."""
        return Path(self.location)

    @property
    def companion_names(self) -> tuple[str, ...]:
        """Of every file that says something about this EDF."""
        if self.table_name is None:
            return self.annotation_names
        return (*self.annotation_names, self.table_name)

    def companion(self, name: str) -> str:
        """Where a file of that name lies."""
        return companion_location(self.location, name)

    @property
    def annotations(self) -> tuple[Path, ...]:
        """The files that shape the labels."""
        return tuple(Path(self.companion(name)) for name in self.annotation_names)

    @property
    def channel_table(self) -> Path | None:
        """The table that marks channels as bad."""
        return None if self.table_name is None else Path(self.companion(self.table_name))

    @property
    def companions(self) -> tuple[Path, ...]:
        """Every file that says something about this EDF."""
        return tuple(Path(self.companion(name)) for name in self.companion_names)


def companion_location(edf: str, name: str) -> str:
    """Where a file lies whose ``name`` counts from the folder of an EDF on."""
    folder, slash, _ = edf.rpartition("/")
    location = f"{folder}{slash}{name}"
    return os.path.normpath(location) if name.startswith("../") else location


class Folder(NamedTuple):
    """A folder of a corpus: its path, the names of the folders from the root to it, and what lies
    in it by name, or None where that was not listed.
    """

    path: str
    below: tuple[str, ...]
    entries: Mapping[str, os.DirEntry[str]] | None = None

    def location(self, name: str) -> str:
        """Where a file of that name lies."""
        return name if self.path == "." else f"{self.path.rstrip('/')}/{name}"

    def present(self, *names: str) -> tuple[str, ...]:
        """Those of the names under which there is a file, or something that cannot be seen."""
        if self.entries is None:
            return tuple(name for name in names if _is_present(Path(self.location(name))))
        return tuple(
            name
            for name in names
            if (entry := self.entries.get(name)) is not None and _is_file_or_link(entry)
        )

    def unlisted(self) -> Folder:
        """The folder whose files the file system is asked for, one by one."""
        return self._replace(entries=None)


@dataclass(frozen=True, slots=True)
class Labelling:
    """What a recording's annotation files say; ``reason`` is one of ``LABEL_REASONS`` or None."""

    events: tuple[Event, ...]
    duration_s: float | None
    source: str
    reason: str | None
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, parsed: ParsedAnnotation, source: str, signal_s: float | None) -> Labelling:
        """The labelling that one file gives a signal of ``signal_s`` seconds.

        ``source`` names the kind of file.
        """
        reason = None if parsed.usable else "bad_annotation"
        if reason is None and signal_s is not None:
            unknown = seizure_seconds(event for event in parsed.events if event.label == UNKNOWN)
            if unknown > signal_s - _LEAST_KNOWN_S:
                reason = "all_unknown"
        return cls(parsed.events, parsed.duration_s, source, reason, parsed.findings)

    @classmethod
    def unreadable(cls, path: Path, source: str, error: OSError) -> Labelling:
        """The labelling of a file that cannot be opened.

        Raises :class:`BrainbrrError` where that says nothing about the file.
        """
        check_exhausted(str(path), error)
        finding = Finding("unreadable_annotation", path.name, error.strerror or "")
        return cls((), None, source, "bad_annotation", (finding,))

    @classmethod
    def absent(cls, *findings: Finding) -> Labelling:
        """There is no annotation, which is not background."""
        return cls((), None, "", "no_annotation", findings)


class Layout(ABC):
    """One way to lay a corpus out on disk."""

    #: The name that ``--layout`` takes.
    name: ClassVar[str]
    #: What the folders look like, for a message.
    form: ClassVar[str]

    def __init__(self, root: Path, shown: str = "", texts: Texts = DEFAULT_TEXTS) -> None:
        self.root = root
        #: What a message calls the root, where that is not its path.
        self.shown = shown or str(root)
        #: Understands annotations of free text.
        self.texts = texts
        #: What lies below the root and is not read; complete after ``recordings``.
        self.skipped: list[Skipped] = []

    @classmethod
    @abstractmethod
    def find(cls, data_dir: Path) -> Path | None:
        """The folder from which keys count, or None where the corpus is laid out otherwise."""

    def folders(self) -> list[Path]:
        """Folders in which recordings lie."""
        return [self.root]

    def existing(self, folders: Iterable[Path]) -> list[Path]:
        """Those of the folders that are there; a link that leads nowhere is reported."""
        there = []
        for folder in folders:
            if folder.is_dir():
                there.append(folder)
            elif folder.is_symlink():
                self._skip("broken_link", folder)
        return there

    def describe(self, path: Path) -> RecordingFile | None:
        """What the path of an EDF below the root says about it; None where it is no recording."""
        return self.described(self.folder_of(path), path.name)

    def folder_of(self, path: Path) -> Folder:
        """The folder of a file below the root, of which nothing else is looked at."""
        return Folder(str(path.parent), path.relative_to(self.root).parts[:-1])

    @abstractmethod
    def described(self, folder: Folder, name: str) -> RecordingFile | None:
        """What folder and name of an EDF say about it; None where it is no recording."""

    @abstractmethod
    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Read the annotations of a recording whose signal lasts ``signal_s`` (None: unknown)."""

    def annotates(self, _folder: str, _name: str, _recordings: Collection[str]) -> bool | None:
        """Whether a file of a folder of that name is the annotation of one of its ``recordings``.

        These are the names of its EDFs without their ending. None where the file is no annotation.
        """
        return None

    def recordings(self) -> Iterator[RecordingFile]:
        """Every recording below the root.

        Raises :class:`BrainbrrError` for a folder that cannot be read: nobody could say what is
        missing.
        """
        self.skipped = []
        # A link from one of the folders to one above must not be followed: its recordings would
        # be in two splits.
        above = (self.root, *self.root.resolve().parents)
        try:
            for listing in walk(self.folders(), self._skip, above=above):
                yield from self._recordings_in(listing)
        except OSError as error:
            raise unreadable_folder(error) from None

    def _recordings_in(self, listing: Listing) -> Iterator[RecordingFile]:
        folder = self._folder(listing)
        is_named_in_text = not folder.below or is_partition_key("/".join(folder.below))
        names = [entry.name for entry in listing.files]
        edfs = list(filter(is_edf, names))
        for name in edfs:
            file = None
            if name.startswith("."):
                self._skip("hidden_edf", folder.location(name))
            elif not is_named_in_text or not is_text(name):
                self._skip("no_text", folder.location(name))
            elif (file := self.described(folder, name)) is None:
                self._skip("not_of_layout", folder.location(name))
            if file is not None:
                yield file
        if names:
            name_of_folder = folder.below[-1] if folder.below else ""
            for kind, name in beside(names, edfs, partial(self.annotates, name_of_folder)):
                self._skip(kind, folder.location(name))

    def _folder(self, listing: Listing) -> Folder:
        # As text: an object for each of tens of thousands of paths takes longer than its listing.
        root = str(self.root)
        path = str(Path(listing.folder)) if root == "." else listing.folder
        inside = path if root == "." else path[len(root.rstrip("/")) + 1 :]
        below = tuple(inside.split("/")) if inside not in ("", ".") else ()
        return Folder(path, below, {entry.name: entry for entry in listing.files})

    def _skip(self, kind: str, path: str | Path) -> None:
        # A string names a folder by the slash at its end, which a path does not keep.
        end = "/" if isinstance(path, str) and path.endswith("/") else ""
        self.skipped.append(Skipped.at(kind, Path(path).relative_to(self.root), end))

    @staticmethod
    def key(folder: Folder, name: str) -> str:
        """The partition key of an EDF: its path below the root without the suffix."""
        return "/".join((*folder.below, stem_of(name)))


def stem_of(name: str) -> str:
    """The name of a file without its suffix, as ``Path.stem`` gives it."""
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix else name


#: Names that tell the patient by themselves: those of BIDS and of TUSZ.
_NAMED_PATIENT = re.compile(r"(?P<bids>sub-[^_]+)_.+|(?P<tusz>[^_]+)_s\d+_t\d+")


def patient_in(stem: str) -> str:
    """The patient that the name of an EDF tells, without its ending; empty where it tells none."""
    match = _NAMED_PATIENT.fullmatch(stem)
    return match[match.lastgroup or 0] if match is not None else ""


def is_partition_key(key: str) -> bool:
    """Whether a path can be a partition key: no part of it is hidden, and it is plain text."""
    if not key or key.startswith((".", "/")) or key.endswith("/") or "/." in key or "//" in key:
        return False
    return is_text(key)


def unreadable_folder(error: OSError) -> BrainbrrError:
    """What to raise where a folder, or what a link leads to, cannot be looked into."""
    return BrainbrrError(
        f"the folder {error.filename} cannot be read ({error.strerror}), so nobody knows which "
        "recordings are in it: fix its permissions or move it out of the corpus"
    )


def present(*paths: Path) -> tuple[Path, ...]:
    """Those of the paths at which there is a file, or something that cannot be seen."""
    return tuple(path for path in paths if _is_present(path))


def _is_file_or_link(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) or entry.is_symlink()
    except OSError:
        return True


def _is_present(path: Path) -> bool:
    try:
        return path.is_file() or path.is_symlink()
    except OSError:
        # In a folder that may not be looked into, for one.
        return True
