"""What a layout of a corpus must tell; a new kind of corpus is one subclass."""

from __future__ import annotations

import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from brainbrr_core.annotation import (
    UNKNOWN,
    Event,
    Finding,
    ParsedAnnotation,
    seizure_seconds,
)
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.errors import BrainbrrError, check_exhausted

SPLITS = ("train", "dev", "eval")
#: Seconds of seizure or background that a recording has at least, or nothing is known of it.
_LEAST_KNOWN_S = 0.01


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One EDF of a corpus and what its place says about it.

    ``split`` is None where the corpus has no splits of its own. ``channel_table`` marks channels
    as bad, and so shapes the signal; ``annotations`` only shape the labels.
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

    def __init__(self, root: Path, texts: Texts = DEFAULT_TEXTS) -> None:
        self.root = root
        #: Understands annotations of free text.
        self.texts = texts
        #: EDFs that are no recordings of this layout, below the root, and folders (with a slash at
        #: the end) that were not looked into; known after ``recordings``.
        self.skipped: list[str] = []

    @classmethod
    @abstractmethod
    def find(cls, data_dir: Path) -> Path | None:
        """The folder from which keys count, or None where the corpus is laid out otherwise."""

    def folders(self) -> list[Path]:
        """Folders in which recordings lie."""
        return [self.root]

    @abstractmethod
    def describe(self, path: Path) -> RecordingFile | None:
        """What the place of an EDF says about it; None where it is no recording."""

    @abstractmethod
    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Read the annotations of a recording whose signal lasts ``signal_s`` (None: unknown)."""

    def recordings(self) -> Iterator[RecordingFile]:
        """Every recording below the root.

        Raises :class:`BrainbrrError` for a folder that cannot be read: nobody could say what is
        missing.
        """
        self.skipped = []
        folders = self.folders()
        # A link from one of these folders to another, or to one above, must not be followed: its
        # recordings would be in two splits.
        tops = (*folders, self.root, *self.root.resolve().parents)
        identities = {identity for top in tops if (identity := _identity(top)) is not None}
        walk = _Walk(self.root, identities, self.skipped)
        for folder in folders:
            for path in walk.edf_files(folder):
                file = self.describe(path)
                if file is None:
                    self.skipped.append(path.relative_to(self.root).as_posix())
                else:
                    yield file

    def key(self, path: Path) -> str:
        """The partition key of an EDF: its path below the root without the suffix."""
        return path.relative_to(self.root).with_suffix("").as_posix()


def is_hidden(path: Path) -> bool:
    """Whether a part of a path below a corpus is hidden.

    ``._x.edf`` is what macOS puts beside ``x.edf`` on another system's disk: no recording.
    """
    return any(part.startswith(".") for part in path.parts)


def is_partition_key(key: str) -> bool:
    """Whether a path can be a partition key: no part of it is hidden, and it is plain text."""
    if not key or key.startswith((".", "/")) or key.endswith("/") or "/." in key or "//" in key:
        return False
    # What can be printed is plain text: of nearly every key, no character need be looked at.
    return key.isprintable() or not any(
        unicodedata.category(character) in _NO_TEXT for character in key
    )


#: Control characters, what no text has, halves of characters, ends of lines and paragraphs.
_NO_TEXT = ("Cc", "Cn", "Cs", "Zl", "Zp")


def present(*paths: Path) -> tuple[Path, ...]:
    """Those of the paths at which there is a file, or something that cannot be seen."""
    return tuple(path for path in paths if _is_present(path))


def _is_present(path: Path) -> bool:
    try:
        return path.is_file() or path.is_symlink()
    except OSError:
        # In a folder that may not be looked into, for one.
        return True


@dataclass
class _Walk:
    """One walk through the folders of a corpus, each of which is looked into once."""

    root: Path
    entered: set[tuple[int, int]]
    skipped: list[str]

    def edf_files(self, folder: Path) -> Iterator[Path]:
        """EDFs below a folder that may be recordings."""
        for parent, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
            folders[:] = [name for name in sorted(folders) if self._enters(Path(parent, name))]
            for name in sorted(files):
                if name.lower().endswith(".edf"):
                    path = Path(parent, name)
                    if is_partition_key(path.relative_to(self.root).as_posix()):
                        yield path
                    else:
                        self._skip(path)

    def _enters(self, folder: Path) -> bool:
        """Whether to look into a folder: not if it is hidden, or a link to one looked into."""
        if not is_partition_key(folder.name):
            self._skip(folder, "/")
            return False
        identity = _identity(folder)
        if identity in self.entered:
            self._skip(folder, "/")
            return False
        if identity is not None:
            self.entered.add(identity)
        return True

    def _skip(self, path: Path, end: str = "") -> None:
        self.skipped.append(printable(path.relative_to(self.root).as_posix()) + end)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another, by whatever name; None where it cannot be seen."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def printable(text: str) -> str:
    """A path or a label as it can be printed and stored, whatever its bytes are."""
    return "".join(
        character
        if character == " " or character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _unreadable(error: OSError) -> None:
    raise BrainbrrError(
        f"the folder {error.filename} cannot be read ({error.strerror}), so nobody knows which "
        "recordings are in it: mend its permissions or move it out of the corpus"
    )
