"""The members of a tar archive, one after the other, in bounded memory whatever it says.

Only what :mod:`tarfile` writes for plain files is read: ustar headers, and before one of them the
extended header (pax) of a long name or size. Everything else is refused by its name. Python's own
reader takes an extended header of any size into memory, several times over.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: Bytes of the longest extended header: more than the longest path that a system takes.
HEADER_LIMIT = 64 * 1024
_PIECE = 1 << 20
_KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link"}
#: Extended headers whose sparse files would have other bytes than those that follow.
_SPARSE = "GNU.sparse"
_LENGTH = re.compile(rb"(\d{1,6}) ")


class RefusedMember(Exception):
    """A member that is no plain file, or whose header is larger than it may be."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name!r}: {why}")
        self.name, self.why = name, why


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file of so many bytes."""

    name: str
    size: int


class Members:
    """The members of a stream; ``read`` gives at most so many bytes of it, none at its end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        #: Bytes of the last member that were not read yet, and the zeros after them.
        self._left = self._padding = 0

    def next(self) -> Member | None:
        """The next member, None at the end of the archive.

        Raises :class:`RefusedMember` for what is no plain file, and :class:`tarfile.TarError` or
        ``EOFError`` for what is no archive or ends early.
        """
        for _ in self.pieces():
            pass
        self._exactly(self._padding)
        self._padding = 0
        extended: dict[str, str] = {}
        header = self._header()
        if header is not None and header.type == tarfile.XHDTYPE:
            extended = self._extended(header)
            header = self._header()
            if header is None:
                raise EOFError("an extended header is followed by nothing")
        if header is None:
            return None
        name = extended.get("path", header.name)
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or any(
            key.startswith(_SPARSE) for key in extended
        ):
            raise RefusedMember(name, f"it is {_KINDS.get(header.type, 'no plain file')}")
        member = Member(name, _size(extended["size"]) if "size" in extended else header.size)
        self._expect(member.size)
        return member

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the last member that were not read yet. Raises ``EOFError``."""
        while self._left:
            piece = self._exactly(min(self._left, _PIECE))
            self._left -= len(piece)
            yield piece

    def _expect(self, size: int) -> None:
        if size < 0:
            raise tarfile.ReadError("a size below zero")
        self._left, self._padding = size, -size % tarfile.BLOCKSIZE

    def _header(self) -> tarfile.TarInfo | None:
        block = self._read(tarfile.BLOCKSIZE)
        if not block:
            return None
        block += self._exactly(tarfile.BLOCKSIZE - len(block))
        if not any(block):
            return None
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")

    def _extended(self, header: tarfile.TarInfo) -> dict[str, str]:
        if not 0 <= header.size <= HEADER_LIMIT:
            raise RefusedMember(header.name, f"it has {header.size} bytes")
        self._expect(header.size)
        content = b"".join(self.pieces())
        self._exactly(self._padding)
        self._padding = 0
        return _records(content)

    def _exactly(self, size: int) -> bytes:
        """So many bytes, a piece at most. Raises ``EOFError`` where the stream ends before."""
        content = b""
        while len(content) < size:
            more = self._read(size - len(content))
            if not more:
                raise EOFError("it ends within a member")
            content += more
        return content


def _records(content: bytes) -> dict[str, str]:
    """The records of an extended header: ``<bytes> <key>=<value>`` and a line break each."""
    records: dict[str, str] = {}
    while content.strip(b"\0"):
        match = _LENGTH.match(content)
        size = int(match[1]) if match else 0
        record = content[match.end() : size] if match else b""
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or size > len(content):
            raise tarfile.ReadError("an extended header that is none")
        try:
            records[key.decode()] = value[:-1].decode()
        except UnicodeDecodeError:
            raise tarfile.ReadError("an extended header that is no UTF-8") from None
        content = content[size:]
    return records


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise tarfile.ReadError("a size that is no number")
    return int(text)
