"""The files that describe a recording, next to it or above: the inheritance principle of BIDS.

``sub-01_task-rest_channels.tsv`` describes every recording of that subject and task that lies in
its folder or below it, unless there is a table nearer to the recording, or one that names more of
its entities. (BIDS specification 1.10, "The inheritance principle".) A recording whose name does
not begin with a subject is not BIDS: only a file with the same name describes it. Of a
``*_eeg.json``, each folder may have one, and what a nearer one says goes before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from brainbrr_core.corpus.layouts.base import present
from brainbrr_core.errors import BrainbrrError, check_exhausted

_ENTITY = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+")
_SUBJECT = "sub-"


def dataset_root(edf: Path) -> Path:
    """The folder above that of an EDF's subject; without a subject, the folder of the EDF."""
    subject = next((folder for folder in edf.parents if folder.name.startswith(_SUBJECT)), None)
    return edf.parent if subject is None else subject.parent


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a dataset at ``root``; folders above are not searched.

    Each folder is listed once and the result is stored, so use one object for one walk.
    """

    root: Path
    _names: dict[Path, dict[str, frozenset[str]]] = field(default_factory=dict)

    def find(self, edf: Path, suffix: str) -> str | None:
        """The ``*_<suffix>.tsv`` that describes an EDF, relative to its folder; None without one.

        Raises :class:`BrainbrrError` for a folder that cannot be listed.
        """
        stem = edf.stem.removesuffix("_eeg")
        own = edf.with_name(f"{stem}_{suffix}.tsv")
        if present(own):
            return own.name
        if not stem.startswith(_SUBJECT):
            return None
        for above, folder in enumerate(self._folders(edf)):
            name = self._most_specific(folder, stem, suffix, ".tsv")
            if name is not None:
                return "../" * above + name
        return None

    def find_jsons(self, edf: Path) -> tuple[str, ...]:
        """Each ``*_eeg.json`` that describes an EDF, relative to its folder, the nearest first.

        Raises :class:`BrainbrrError` for a folder that cannot be listed.
        """
        stem = edf.stem.removesuffix("_eeg")
        if not stem.startswith(_SUBJECT):
            own = edf.with_name(f"{stem}_eeg.json")
            return (own.name,) if present(own) else ()
        named = (
            (above, self._most_specific(folder, stem, "eeg", ".json"))
            for above, folder in enumerate(self._folders(edf))
        )
        return tuple("../" * above + name for above, name in named if name is not None)

    def _most_specific(self, folder: Path, stem: str, suffix: str, ending: str) -> str | None:
        """The file of a kind in a folder that has only entities of a name, and most of them.

        Of several, it is the first in alphabetical order; None where there is none.
        """
        names = self._files(folder, ending)
        # A subject may have thousands of files, and most recordings have their own.
        own = f"{stem}_{suffix}{ending}"
        if own in names:
            return own
        entities = set(stem.split("_"))
        candidates = [
            (-len(named), name)
            for name in names
            if (named := _entities(name, suffix, ending)) is not None and named <= entities
        ]
        return min(candidates)[1] if candidates else None

    def _folders(self, edf: Path) -> Iterator[Path]:
        """The folder of an EDF and those above it, up to the root of its dataset."""
        top = dataset_root(edf)
        for folder in edf.parents:
            yield folder
            if folder in (self.root, top):
                return

    def _files(self, folder: Path, ending: str) -> frozenset[str]:
        """Names of the files of a folder that end so, ``.tsv`` or ``.json``."""
        names = self._names.get(folder)
        if names is None:
            try:
                listed = [path.name for path in folder.iterdir()]
            except OSError as error:
                check_exhausted(str(folder), error)
                raise BrainbrrError(
                    f"the folder {folder} cannot be read ({error.strerror}), so its tables of "
                    "channels and events are unknown: fix its permissions"
                ) from None
            names = {
                ending: frozenset(name for name in listed if name.endswith(ending))
                for ending in (".tsv", ".json")
            }
            self._names[folder] = names
        return names[ending]


def is_inherited(name: str, recording: str) -> bool:
    """Whether a file with this name describes a recording in its folder or below it.

    ``recording`` is the name of the recording without a suffix.
    """
    stem, _, ending = name.rpartition(".")
    entities = _entities(name, stem.rpartition("_")[2], f".{ending}")
    return entities is not None and entities <= set(recording.removesuffix("_eeg").split("_"))


def _entities(name: str, suffix: str, ending: str) -> set[str] | None:
    """The entities in the name of a file; None for a file of another kind."""
    if not name.endswith(ending):
        return None
    *entities, last = name.removesuffix(ending).split("_")
    if last != suffix or not entities or not all(map(_ENTITY.fullmatch, entities)):
        return None
    return set(entities)
