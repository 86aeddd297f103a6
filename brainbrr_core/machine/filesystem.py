"""Which file system a path is on, according to ``/proc/self/mounts``."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
#: Types of mount that present a bucket as a folder (each is named after its FUSE program).
_BUCKETS = (
    "fuse.s3fs",
    "fuse.mountpoint-s3",
    "fuse.goofys",
    "fuse.geesefs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.blobfuse2",
    "fuse.blobfuse",
)
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "lustre",
    "ceph",
    "fuse.ceph",
    "fuse.glusterfs",
    "beegfs",
    "gpfs",
    "afs",
)
#: File systems whose inode numbers may change at any time: FAT has none, and a server need not
#: send its own. The same is true of nearly all FUSE file systems (``fuse.*``).
_NO_INODES = ("vfat", "msdos", "exfat", "cifs", "smb3", "smbfs", "9p", "drvfs")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Kind(StrEnum):
    """Kinds of file system, as far as they matter for a cache."""

    LOCAL = "local"
    #: A bucket mounted as a folder: every read is a request.
    BUCKET = "bucket"
    NETWORK = "network"
    #: A Windows drive seen from WSL2, or a 9p or virtiofs share: every open is a round trip.
    SHARED = "shared"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The mount that a path is on; ``name`` is the kernel's name for its type, such as ext4."""

    point: str
    name: str
    kind: Kind

    @property
    def keeps_inodes(self) -> bool:
        """Whether a file keeps its inode number for as long as it exists."""
        return self.name not in _NO_INODES and not self.name.startswith("fuse.")

    @property
    def is_shared(self) -> bool:
        """Whether other machines may change or remove files while this one uses them."""
        return self.kind in (Kind.NETWORK, Kind.SHARED)


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest


def free_bytes(path: Path) -> int:
    """Free bytes on the file system that holds, or will hold, a path."""
    return shutil.disk_usage(existing_parent(path)).free


def file_system(path: Path, mounts: Path = MOUNTS) -> FileSystem | None:
    """The file system of a path, or of the nearest folder above it that exists.

    None where the kernel does not list its mounts (systems other than Linux).
    """
    real = os.path.realpath(existing_parent(path))
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    nearest: FileSystem | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), fields[1])
        inside = point == "/" or real == point or real.startswith(point.rstrip("/") + "/")
        # A later mount on the same point hides the earlier one.
        if inside and (nearest is None or len(point) >= len(nearest.point)):
            nearest = FileSystem(point, fields[2], _kind(fields[2]))
    return nearest


def _kind(name: str) -> Kind:
    if name in _BUCKETS:
        return Kind.BUCKET
    if name in _NETWORK:
        return Kind.NETWORK
    if name in ("9p", "drvfs", "virtiofs"):
        return Kind.SHARED
    return Kind.MEMORY if name in ("tmpfs", "ramfs") else Kind.LOCAL


def is_wsl(release: Path = Path("/proc/sys/kernel/osrelease")) -> bool:
    """Whether this is the Windows Subsystem for Linux."""
    try:
        return "microsoft" in release.read_text(encoding="utf-8").lower()
    except OSError:
        return False


def real_path(path: Path) -> Path:
    """The absolute path without links; that of a link in a circle, or to nothing, has it.

    ``Path.resolve`` raises ``RuntimeError`` for a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))
