"""Opening the remote location of an address; callers need not know which kind it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from brainbrr_core.remote.address import normalize_address
from brainbrr_core.remote.any_fsspec import FsspecRemote
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.remote.interface import Remote


def open_remote(url: str) -> Remote:
    """Open the location at ``url``: ``s3://``, a folder (a path or ``file://``), or any fsspec URL.

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
    """Store bytes as an object, replacing an object of the same name."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        remote.put(name, Path(file.name))
