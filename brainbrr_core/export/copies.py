"""Copies of a model folder at other addresses: every byte that arrives is compared with its hash.

``hf://owner/name`` is a repository of a model hub; any other address is what ``remote`` opens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.export.card import CARD
from brainbrr_core.export.folder import new_folder
from brainbrr_core.export.hub import SCHEME, Repository
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.runs.model_folder import (
    ModelConfig,
    StoredFile,
    parse_model_config,
    read_model_config,
)
from brainbrr_core.runs.record import CONFIG

#: Bytes of one request.
_PIECE_BYTES = 8 << 20


class _Location(Protocol):
    """Where the files of one model are."""

    @property
    def address(self) -> str:
        """Its address, for messages."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a small file; None where there is none."""

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file to ``target``; False where there is none."""

    def upload(self, directory: Path, names: Sequence[str]) -> None:
        """Store files of a folder, the last of them last."""


class _Remote:
    """A folder, a bucket, or what else fsspec opens."""

    def __init__(self, address: str) -> None:
        self._remote = open_remote(address)
        self.address = self._remote.address

    def read(self, name: str) -> bytes | None:
        document = self._remote.document(name)
        return None if document is None else document.content

    def fetch(self, name: str, target: Path) -> bool:
        state = self._remote.states(name).get(name)
        if state is None:
            return False
        with target.open("wb") as file:
            for start in range(0, state.size, _PIECE_BYTES):
                stop = min(start + _PIECE_BYTES, state.size)
                file.write(self._remote.read(name, start, stop))
        return True

    def upload(self, directory: Path, names: Sequence[str]) -> None:
        for name in names:
            self._remote.put(name, directory / name)


def _location(address: str) -> _Location:
    return Repository.of(address) if address.startswith(SCHEME) else _Remote(address)


def _download(location: _Location, name: str, target: Path) -> None:
    if not location.fetch(name, target):
        raise WorkRemains(f"{location.address}/{name} is missing: push the model again")


def check_files(directory: Path) -> ModelConfig:
    """The ``config.json`` of a model folder whose files all are as they were written.

    Raises :class:`BrainbrrError` where one is missing or damaged.
    """
    config = read_model_config(directory)
    for name, expected in config.files.items():
        path = directory / name
        if not path.is_file():
            raise BrainbrrError(f"{path} is missing: copy the model again")
        if StoredFile.of(path) != expected:
            raise BrainbrrError(f"{path} is damaged (its checksum is another): copy it again")
    return config


def push_model(directory: Path, address: str, *, force: bool = False) -> tuple[str, ...]:
    """Copy a model folder to an address, and read back what arrived.

    Parameters
    ----------
    directory : Path
        A folder that ``brainbrr model export`` wrote.
    address : str
        A folder, a URL that fsspec opens, or ``hf://owner/name``.
    force : bool
        Whether another model, and any other file of these names, is replaced at the address.

    Returns
    -------
    tuple of str
        The files of the folder; ``config.json`` is written last.

    Raises
    ------
    BrainbrrError
        Where the folder is damaged, the address cannot be used, or has another model or file.
    WorkRemains
        Where the address fails, or has other bytes than were sent.
    """
    config = check_files(directory)
    card = (CARD,) if (directory / CARD).is_file() else ()
    names = (*config.files, *card, CONFIG)
    location = _location(address)
    there = location.read(CONFIG)
    if there not in (None, (directory / CONFIG).read_bytes()) and not force:
        raise BrainbrrError(
            f"{location.address} has another model: give another address, or replace it with "
            "--force"
        )
    with tempfile.TemporaryDirectory() as folder:
        arrived = Path(folder, "file")
        for name in () if force else names:
            # A card may have been edited there, or somebody's own file have its name.
            if location.fetch(name, arrived) and not _is_same(arrived, directory / name):
                raise BrainbrrError(
                    f"{location.address}/{name} is there and is another file: give another "
                    "address, or replace it with --force"
                )
        location.upload(directory, names)
        for name in names:
            _download(location, name, arrived)
            if not _is_same(arrived, directory / name):
                raise WorkRemains(
                    f"{location.address}/{name} has other bytes than were sent: run the same "
                    "command again, with --force"
                )
    return names


def _is_same(one: Path, other: Path) -> bool:
    return StoredFile.of(one) == StoredFile.of(other)


def pull_model(address: str, out: Path) -> None:
    """Copy a model from an address to a folder that does not exist yet, verified.

    Parameters
    ----------
    address : str
        As in :func:`push_model`.
    out : Path
        The folder. It appears whole or not at all.

    Raises
    ------
    BrainbrrError
        Where the address has no model of this program, or ``out`` is in use.
    WorkRemains
        Where the address fails, or a file is not the one that ``config.json`` names.
    """
    location = _location(address)
    content = location.read(CONFIG)
    if content is None:
        raise BrainbrrError(
            f"no model at {location.address}: give the address that `brainbrr model push` was given"
        )
    config = parse_model_config(content, f"{location.address}/{CONFIG}")
    with new_folder(out) as folder:
        for name, expected in config.files.items():
            _download(location, name, folder / name)
            if StoredFile.of(folder / name) != expected:
                raise WorkRemains(
                    f"{location.address}/{name} is not the file that its {CONFIG} names: nothing "
                    f"was written to {out}; push the model again"
                )
        card = location.read(CARD)
        if card is not None:
            (folder / CARD).write_bytes(card)
        (folder / CONFIG).write_bytes(content)
