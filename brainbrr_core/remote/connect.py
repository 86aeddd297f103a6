"""The remote location of an address. Nothing above this module knows which kind it talks to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from brainbrr_core.remote.address import normalize_address
from brainbrr_core.remote.any_fsspec import FsspecRemote
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.remote.interface import (
    Remote,
)


def open_remote(url: str) -> Remote:
    """The remote place at ``url``: ``s3://``, a folder (a path or ``file://``), or any of fsspec's.

    Raises :class:`BrainbrrError` for an address that cannot be used.
    """
    address = normalize_address(url)
    scheme = urlsplit(address).scheme if "://" in address else "file"
    if scheme == "file":
        return FolderRemote(address)
    if scheme in ("s3", "s3a"):
        from brainbrr_core.remote.s3 import S3Remote

        return S3Remote(address)
    return FsspecRemote(address)


def put_bytes(remote: Remote, name: str, content: bytes) -> None:
    """Make bytes an object, replacing one of the same name."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        remote.put(name, Path(file.name))
