"""What every remote location can do."""

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
    """The remote place failed again and again."""


class Stopped(WorkRemains):
    """A request was ended from another thread."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"a request to {where} was ended: what was moved stays; run the same command again"
        )


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What tells cheaply whether an object changed: bytes, and the ETag or what stands for it.

    ``tells_content`` is false where objects of other content may have the same tag, such as a
    time.
    """

    size: int
    tag: str
    tells_content: bool = True


@dataclass(frozen=True)
class Document:
    """A small file that is replaced whole; ``token`` names this state of it."""

    content: bytes
    token: str


class Remote(Protocol):
    """A remote place. Names are relative to its address; every method may be called at once.

    All raise :class:`RemoteUnavailable` when the place fails in spite of repetition, and
    :class:`BrainbrrError` when it refuses.
    """

    address: str
    #: Whether :meth:`replace` is safe when two do it at once; see :meth:`try_conditional_writes`.
    has_conditional_writes: bool

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object. Raises ``FileNotFoundError``."""

    def states(self, prefix: str) -> dict[str, ObjectState]:
        """The objects below a prefix, or the one of that name, by name."""

    def put(self, name: str, path: Path) -> None:
        """Make a file an object, replacing one of the same name."""

    def document(self, name: str) -> Document | None:
        """A small file, or None."""

    def remove(self, name: str) -> None:
        """Remove an object, which may be gone already."""

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        """Replace a document that is still ``known``; False when another was faster."""

    def try_conditional_writes(self, name: str) -> None:
        """Set ``has_conditional_writes`` by trying to overwrite the existing object ``name``."""

    def stopping(self) -> AbstractContextManager[None]:
        """Until the block ends, requests of other threads end soon and raise :class:`Stopped`."""


def document_of(content: bytes) -> Document:
    """A document whose token is the SHA-256 of its content."""
    return Document(content, sha256(content).hexdigest())
