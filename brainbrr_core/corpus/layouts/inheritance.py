"""The table that describes a recording, next to it or above: the inheritance principle of BIDS.

``sub-01_task-rest_channels.tsv`` describes every recording of that subject and task that lies in
its folder or below it, unless there is a table nearer to the recording, or one that names more of
its entities. (BIDS specification 1.10, "The inheritance principle".) A recording whose name does
not begin with a subject is not BIDS: only a table with the same name describes it.
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
    _names: dict[Path, tuple[str, ...]] = field(default_factory=dict)

    def find(self, edf: Path, suffix: str) -> str | None:
        """The ``*_<suffix>.tsv`` that describes an EDF, relative to its folder; None without one.

        Raises :class:`BrainbrrError` for a folder that cannot be listed.
        """
        stem = edf.stem.removesuffix("_eeg")
        own = edf.with_name(f"{stem}_{suffix}.tsv")
        if present(own):
            return own.name
        entities = set(stem.split("_"))
        if not stem.startswith(_SUBJECT):
            return None
        for above, folder in enumerate(self._folders(edf)):
            candidates = [
                (len(named), name)
                for name in self._tables(folder)
                if (named := _entities(name, suffix)) is not None and named <= entities
            ]
            if candidates:
                # The one with most entities; of several, the first in alphabetical order.
                most = max(count for count, _ in candidates)
                return "../" * above + min(name for count, name in candidates if count == most)
        return None

    def _folders(self, edf: Path) -> Iterator[Path]:
        """The folder of an EDF and those above it, up to the root of its dataset."""
        top = dataset_root(edf)
        for folder in edf.parents:
            yield folder
            if folder in (self.root, top):
                return

    def _tables(self, folder: Path) -> tuple[str, ...]:
        names = self._names.get(folder)
        if names is None:
            try:
                names = tuple(path.name for path in folder.iterdir() if path.suffix == ".tsv")
            except OSError as error:
                check_exhausted(str(folder), error)
                raise BrainbrrError(
                    f"the folder {folder} cannot be read ({error.strerror}), so its tables of "
                    "channels and events are unknown: fix its permissions"
                ) from None
            self._names[folder] = names
        return names


def _entities(name: str, suffix: str) -> set[str] | None:
    """The entities in the name of a table; None for a table of another kind."""
    *entities, last = name.removesuffix(".tsv").split("_")
    if last != suffix or not entities or not all(map(_ENTITY.fullmatch, entities)):
        return None
    return set(entities)
