"""Which file system a path lies on, as the kernel says it in ``/proc/self/mounts``."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
#: File systems that show a bucket as a folder (each is a program of that name).
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
#: File systems whose inodes are numbers of the moment: FAT has none, and a server need not send
#: its own. So it is with nearly every program that shows something as a folder (``fuse.*``).
_NO_INODES = ("vfat", "msdos", "exfat", "cifs", "smb3", "smbfs", "9p", "drvfs")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Kind(StrEnum):
    """What a file system means for a cache."""

    LOCAL = "local"
    #: A bucket behind a folder: every read is a request.
    BUCKET = "bucket"
    NETWORK = "network"
    #: A Windows drive seen from WSL2, or any other 9p share: every open is a message.
    SHARED = "shared"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The mount that a path lies on; ``name`` is the kernel's name of its type."""

    point: str
    name: str
    kind: Kind

    @property
    def keeps_inodes(self) -> bool:
        """Whether a file's inode is the same at every look."""
        return self.name not in _NO_INODES and not self.name.startswith("fuse.")

    @property
    def is_shared(self) -> bool:
        """Whether other machines may change or remove files under this one's feet."""
        return self.kind in (Kind.NETWORK, Kind.SHARED)


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest


def free_bytes(path: Path) -> int:
    """Bytes that may still be written to the file system that a path lies on, or will lie on."""
    return shutil.disk_usage(existing_parent(path)).free


def file_system(path: Path, mounts: Path = MOUNTS) -> FileSystem | None:
    """The file system of a path, or of the nearest folder above it that is there.

    None where the kernel does not say (no Linux).
    """
    real = os.path.realpath(existing_parent(path))
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found: FileSystem | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), fields[1])
        inside = point == "/" or real == point or real.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point, the later one is seen.
        if inside and (found is None or len(point) >= len(found.point)):
            found = FileSystem(point, fields[2], _kind(fields[2]))
    return found


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
