"""What every remote location can do, and how it fails."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from brainbrr_core.errors import WorkRemains

#: Bytes of the largest document that is read; TUSZ's catalog has 2 MB, its index 3 MB.
DOCUMENT_LIMIT = 256 * 2**20


class RemoteUnavailable(WorkRemains):
    """A remote location still failed after every retry."""


class Stopped(WorkRemains):
    """A request was canceled by another thread of this process."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"a request to {where} was canceled; everything transferred so far is kept: run the "
            "same command again"
        )


@dataclass(frozen=True, slots=True)
class ObjectState:
    """Cheap evidence of whether an object changed: its bytes, and its ETag or a substitute for it.

    ``tells_content`` is false if objects with different content may have the same tag, for
    example where the tag is a time.
    """

    size: int
    tag: str
    tells_content: bool = True


@dataclass(frozen=True)
class Document:
    """A small file that is always replaced as a whole; ``token`` identifies this state of it."""

    content: bytes
    token: str


class Remote(Protocol):
    """A remote location, whose object names are relative to its address.

    Every method may be called from several threads at once. Every method raises
    :class:`RemoteUnavailable` if the location still fails after all retries, and
    :class:`BrainbrrError` if it refuses a request.
    """

    address: str
    #: Whether :meth:`replace` is safe when two machines do it at once; see
    #: :meth:`try_conditional_writes`.
    has_conditional_writes: bool

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Read bytes ``start`` to ``stop`` of an object. Raises ``FileNotFoundError``."""

    def states(self, prefix: str) -> dict[str, ObjectState]:
        """The state of every object below a prefix, or of the object of that name, by name."""

    def put(self, name: str, path: Path) -> None:
        """Store a file as an object, replacing an object of the same name."""

    def document(self, name: str) -> Document | None:
        """Read a small file; None if it does not exist."""

    def remove(self, name: str) -> None:
        """Remove an object; it need not exist."""

    def replace(self, name: str, content: bytes, expected: Document | None) -> bool:
        """Replace a document if it is still ``expected``; False if another writer was faster."""

    def try_conditional_writes(self, name: str) -> None:
        """Set ``has_conditional_writes`` by trying to overwrite the existing object ``name``."""

    def stopping(self) -> AbstractContextManager[None]:
        """Cancel the requests of other threads, with :class:`Stopped`, until the block ends."""


def document_of(content: bytes) -> Document:
    """A document whose token is the SHA-256 of its content."""
    return Document(content, sha256(content).hexdigest())
