"""The text of an annotation file."""

from __future__ import annotations

import codecs
import errno
import stat
from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, as spreadsheets export it.

    Bytes that are no text are replaced. Raises ``OSError`` where the file cannot be read, or is no
    file: a pipe would be waited for.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file", str(path))
    content = path.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf16 else "utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
