"""The members of a tar archive, one after the other, in bounded memory whatever its headers say.

Only what :mod:`tarfile` writes for regular files is read: ustar headers, each possibly preceded by
the extended (pax) header of a long name or size. Any other member is refused by name. Python's own
reader loads an extended header of any size into memory, several times over.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: Bytes of the largest extended header that is read; the longest possible path needs fewer.
HEADER_LIMIT = 64 * 1024
_PIECE = 1 << 20
_KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link"}
#: Extended headers of sparse files, whose content differs from the bytes that follow.
_SPARSE = "GNU.sparse"
_LENGTH = re.compile(rb"(\d{1,6}) ")


class RefusedMember(Exception):
    """A member that is not a regular file, or whose header is too large."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name!r}: {why}")
        self.name, self.why = name, why


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive, and its size in bytes."""

    name: str
    size: int


class Members:
    """The members of a stream.

    ``read`` gives at most so many bytes of the stream as it is asked for, and none at its end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        #: Bytes of the current member that were not read yet, and of the zeros after it.
        self._remaining = self._padding = 0

    def next(self) -> Member | None:
        """Go to the next member; None at the end of the archive.

        Raises :class:`RefusedMember` for a member that is not a regular file, and
        :class:`tarfile.TarError` or ``EOFError`` if the stream is not an archive or ends early.
        """
        self._skip_rest()
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
            raise RefusedMember(name, f"it is {_KINDS.get(header.type, 'not a regular file')}")
        size = _parse_size(extended["size"]) if "size" in extended else header.size
        self._begin(size)
        return Member(name, size)

    def pieces(self) -> Iterator[bytes]:
        """Read what remains of the current member, in pieces. Raises ``EOFError``."""
        while self._remaining:
            piece = self._exactly(min(self._remaining, _PIECE))
            self._remaining -= len(piece)
            yield piece

    def _begin(self, size: int) -> None:
        if size < 0:
            raise tarfile.ReadError("a size below zero")
        self._remaining, self._padding = size, -size % tarfile.BLOCKSIZE

    def _skip_rest(self) -> None:
        """Go to the end of the current member and of the zeros after it."""
        for _ in self.pieces():
            pass
        self._exactly(self._padding)
        self._padding = 0

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
        self._begin(header.size)
        content = b"".join(self.pieces())
        self._skip_rest()
        return _parse_records(content)

    def _exactly(self, size: int) -> bytes:
        """Read exactly so many bytes. Raises ``EOFError`` if the stream ends before."""
        content = b""
        while len(content) < size:
            more = self._read(size - len(content))
            if not more:
                raise EOFError("it ends within a member")
            content += more
        return content


def _parse_records(content: bytes) -> dict[str, str]:
    """Parse an extended header: ``<bytes> <key>=<value>`` and a line break for each record."""
    records: dict[str, str] = {}
    while content.strip(b"\0"):
        match = _LENGTH.match(content)
        size = int(match[1]) if match else 0
        record = content[match.end() : size] if match else b""
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or size > len(content):
            raise tarfile.ReadError("an extended header is damaged")
        try:
            records[key.decode()] = value[:-1].decode()
        except UnicodeDecodeError:
            raise tarfile.ReadError("an extended header is not UTF-8") from None
        content = content[size:]
    return records


def _parse_size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise tarfile.ReadError("a size is not a number")
    return int(text)
