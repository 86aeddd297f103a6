"""Corpora with a folder for each patient, and perhaps one list of all recordings in it."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from brainbrr_core.corpus.layouts.base import Folder, Layout, RecordingFile, folders_named
from brainbrr_core.errors import check_exhausted
from brainbrr_core.files.regular import read_text


class PatientFolderLayout(Layout):
    """EDFs directly in the folders of patients, which are recognized by their names."""

    #: Names of the patients' folders.
    folder_name: ClassVar[re.Pattern[str]]

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` if it has folders of patients, and one of them annotations."""
        folders = folders_named(data_dir, cls.folder_name)
        return data_dir if any(map(cls.is_annotated, folders)) else None

    @classmethod
    @abstractmethod
    def is_annotated(cls, folder: Path) -> bool:
        """Whether the folder of a patient has annotations of this corpus."""

    def folders(self) -> list[Path]:
        """The folders of the patients."""
        return self.existing(folders_named(self.root, self.folder_name))

    def describe(self, folder: Folder, name: str) -> RecordingFile | None:
        """The patient is the name of the folder; an EDF elsewhere is not a recording."""
        if len(folder.below) != 1:
            return None
        (own,) = folder.below
        return RecordingFile(
            partition_key=self.key(folder, name),
            split=None,
            patient=self.patient(own),
            session="",
            montage="",
            location=folder.location(name),
            annotation_names=self.annotation_names(folder, name),
        )

    def patient(self, folder: str) -> str:
        """The patient whose recordings are in the folder with this name."""
        return folder

    @abstractmethod
    def annotation_names(self, folder: Folder, name: str) -> tuple[str, ...]:
        """Names of the files, relative to the folder of an EDF, that have its seizures."""


class ListedLayout(PatientFolderLayout):
    """Folders of patients in each of which a list has the seizures.

    Recordings that a list names and that are not there are reported as skipped.
    """

    #: Names of the files beside the folders of patients that are read, in whatever case.
    tables_beside: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def is_annotated(cls, folder: Path) -> bool:
        """Whether there is a list."""
        return bool(Folder(str(folder), ()).in_any_case(cls.list_name(folder.name)))

    @staticmethod
    @abstractmethod
    def list_name(folder: str) -> str:
        """The name of the list in the folder of a patient with this name, in whatever case."""

    def beside_folders(self, name: str) -> tuple[str, ...]:
        """The name, in whatever case, of a file beside the folders of patients, if it is there."""
        return Folder(str(self.root), ()).in_any_case(name)

    @abstractmethod
    def unlisted(self, text: str, edfs: Iterable[str]) -> list[str]:
        """Names in the text of a list that mean none of the EDFs with these file names."""

    def annotation_names(self, folder: Folder, _name: str) -> tuple[str, ...]:
        """The list of the patient."""
        return folder.in_any_case(self.list_name(folder.below[0]))

    def lists(self, folder: Folder) -> Mapping[str, tuple[str, ...]]:
        """The list of a patient, and the tables beside the folders of patients."""
        match folder.below:
            case ():
                names: tuple[str, ...] = self.tables_beside
            case (own,):
                names = (self.list_name(own),)
            case _:
                names = ()
        return {**super().lists(folder), **{name: folder.in_any_case(name) for name in names}}

    def absent(self, folder: Folder, edfs: Collection[str]) -> Iterable[str]:
        """Names of EDFs that the list in a folder has and the folder has not."""
        names = self.annotation_names(folder, "") if len(folder.below) == 1 else ()
        if not names:
            return ()
        path = Path(folder.location(names[0]))
        try:
            text = read_text(path)
        except OSError as error:
            # Each recording of the list has a finding about it.
            check_exhausted(str(path), error)
            return ()
        return self.unlisted(text, edfs)
