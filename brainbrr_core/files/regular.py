"""Reading what a user's folder has under a name, which may be something else than a file."""

from __future__ import annotations

import codecs
import errno
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """Raise ``OSError`` where a path is no file: a pipe would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file", str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises ``OSError`` where it cannot be read, or is no file."""
    check_regular(path)
    return path.read_bytes()


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, as spreadsheets export it.

    Without the mark. Bytes that are no text are replaced. Raises as :func:`read_bytes` does.
    """
    content = read_bytes(path)
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
