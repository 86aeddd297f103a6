"""What a layout of a corpus must tell; a new kind of corpus is one subclass."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import ClassVar

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

SPLITS = ("train", "dev", "eval")
#: Seconds of seizure or background that a recording has at least, or nothing is known of it.
_LEAST_KNOWN_S = 0.01


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One EDF of a corpus and what its path says about it.

    ``split`` is None where the corpus has no splits of its own, and ``patient`` is empty where
    the path does not tell it. ``channel_table`` marks channels as bad, and so shapes the signal;
    ``annotations`` only shape the labels.
    """

    partition_key: str
    split: str | None
    patient: str
    session: str
    montage: str
    path: Path
    annotations: tuple[Path, ...] = ()
    channel_table: Path | None = None

    def companion_name(self, companion: Path) -> str:
        """What a file that says something about this EDF is called, from the EDF's folder on."""
        if companion.parent == self.path.parent:
            return companion.name
        return Path(os.path.relpath(companion, self.path.parent)).as_posix()

    @property
    def companions(self) -> tuple[Path, ...]:
        """Every file that says something about this EDF."""
        table = () if self.channel_table is None else (self.channel_table,)
        return self.annotations + table


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

    @abstractmethod
    def describe(self, path: Path) -> RecordingFile | None:
        """What the place of an EDF says about it; None where it is no recording."""

    @abstractmethod
    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Read the annotations of a recording whose signal lasts ``signal_s`` (None: unknown)."""

    def annotates(self, _folder: PurePath, _name: str, _recordings: Collection[str]) -> bool | None:
        """Whether a file of ``folder`` is the annotation of one of its ``recordings``.

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
        folder = Path(listing.folder)
        below = folder.relative_to(self.root)
        is_named_in_text = not below.parts or is_partition_key(below.as_posix())
        names = [entry.name for entry in listing.files]
        for name in filter(is_edf, names):
            path = folder / name
            file = None
            if name.startswith("."):
                self._skip("hidden_edf", path)
            elif not is_named_in_text or not is_text(name):
                self._skip("no_text", path)
            elif (file := self.describe(path)) is None:
                self._skip("not_of_layout", path)
            if file is not None:
                yield file
        for kind, name in beside(names, partial(self.annotates, below)):
            self._skip(kind, folder / name)

    def _skip(self, kind: str, path: str | Path) -> None:
        # A string names a folder by the slash at its end, which a path does not keep.
        end = "/" if isinstance(path, str) and path.endswith("/") else ""
        self.skipped.append(Skipped.at(kind, Path(path).relative_to(self.root), end))

    def key(self, path: Path) -> str:
        """The partition key of an EDF: its path below the root without the suffix."""
        return path.relative_to(self.root).with_suffix("").as_posix()


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


def _is_present(path: Path) -> bool:
    try:
        return path.is_file() or path.is_symlink()
    except OSError:
        # In a folder that may not be looked into, for one.
        return True
