"""The copy of one version of a cache at a remote location: its objects and its catalog."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import ObjectState, Remote
from brainbrr_core.transfer.catalog import NAME, Blob, Catalog, parse_catalog

#: Bytes of one request: what a transfer has in memory, and what a broken connection loses.
PIECE_BYTES = 8 * 2**20


@dataclass(frozen=True)
class RemoteCopy:
    """The objects of one version at a remote location."""

    remote: Remote
    version: str

    @property
    def catalog_name(self) -> str:
        """The name of the catalog, relative to the address of the remote location."""
        return f"{self.version}/{NAME}"

    def catalog(self) -> Catalog | None:
        """Read the catalog; None if nothing of this version was pushed.

        Raises :class:`BrainbrrError` if it is damaged.
        """
        document = self.remote.document(self.catalog_name)
        return None if document is None else self.parse_catalog(document.content)

    def parse_catalog(self, content: bytes) -> Catalog:
        """Parse the bytes of the catalog. Raises :class:`BrainbrrError` if they are damaged."""
        where = f"{self.remote.address}/{self.catalog_name}"
        return parse_catalog(content, self.version, where)

    def name(self, blob: Blob) -> str:
        """The name of an object, relative to the address of the remote location."""
        return f"{self.version}/{blob.name}"

    def address(self, blob: Blob) -> str:
        """The address of an object, for messages."""
        return f"{self.remote.address}/{self.name(blob)}"

    def pieces(self, blob: Blob) -> Iterator[bytes]:
        """Read an object in pieces of bounded size; stop after a piece that is too short.

        Raises ``FileNotFoundError`` if the object does not exist.
        """
        for start in range(0, blob.size, PIECE_BYTES):
            stop = min(start + PIECE_BYTES, blob.size)
            piece = self.remote.read(self.name(blob), start, stop)
            yield piece
            if len(piece) != stop - start:
                return

    def is_whole(self, blob: Blob) -> bool:
        """Read an object to see whether it exists and has the bytes that its hash promises."""
        hasher = blake3()
        try:
            for piece in self.pieces(blob):
                hasher.update(piece)
        except FileNotFoundError:
            return False
        return hasher.hexdigest() == blob.hash

    def put(self, blob: Blob, path: Path) -> None:
        """Store the file at ``path`` as the object of ``blob``."""
        self.remote.put(self.name(blob), path)

    def put_bytes(self, blob: Blob, content: bytes) -> None:
        """Store bytes as the object of ``blob``."""
        put_bytes(self.remote, self.name(blob), content)

    def sizes(self) -> dict[str, int]:
        """List the objects: the bytes of each, by the name that :meth:`name` gives."""
        states: dict[str, ObjectState] = self.remote.states(f"{self.version}/objects")
        return {name: state.size for name, state in states.items()}
