"""Which ``brainbrr ui`` runs on a DAGSTER_HOME, and at which addresses.

It holds the lock of a file there, which the system releases when it ends for any reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.locking import locked

_FILE = "brainbrr-ui.json"


@dataclass(frozen=True)
class Announcement:
    """A running ``brainbrr ui``: its process, the address of Dagster's UI and of the runs folder.

    ``runs_dir`` is the folder that ``runs`` serves.
    """

    pid: int
    ui: str
    runs: str
    runs_dir: str

    def link(self, path: Path) -> str | None:
        """The address of a file; None where it is not below the folder that is served."""
        try:
            below = path.relative_to(self.runs_dir)
        except ValueError:
            return None
        return "/".join([self.runs, *(quote(os.fsencode(part)) for part in below.parts)])


@contextmanager
def announced(home: Path, announcement: Announcement) -> Iterator[None]:
    """Announce a ``brainbrr ui`` while the block runs.

    Raises :class:`BrainbrrError` where another one runs on the same DAGSTER_HOME.
    """
    path = home / _FILE
    with ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        stack.callback(os.close, descriptor)
        try:
            stack.enter_context(locked(descriptor, path, wait=False))
        except BlockingIOError:
            raise BrainbrrError(_already(home, _read(descriptor))) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(announcement)).encode(), 0)
        stack.callback(os.ftruncate, descriptor, 0)
        yield


def refuse_another(home: Path) -> None:
    """Raise :class:`BrainbrrError` where a ``brainbrr ui`` runs on a DAGSTER_HOME."""
    other = announcement_of(home)
    if other is not None:
        raise BrainbrrError(_already(home, other))


def _already(home: Path, other: Announcement | None) -> str:
    who = f"at {other.ui} (process {other.pid})" if other else "in another process"
    how = f"end it with `kill {other.pid}`" if other else "end it"
    return (
        f"brainbrr ui runs on DAGSTER_HOME {home} already, {who}: use that one, {how}, or set "
        "DAGSTER_HOME to another folder"
    )


def announcement_of(home: Path) -> Announcement | None:
    """The ``brainbrr ui`` that runs on a DAGSTER_HOME; None where there is none."""
    path = home / _FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with locked(descriptor, path, wait=False):
            # Nobody holds it: what it says is of one that was killed.
            return None
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Announcement | None:
    try:
        return Announcement(**json.loads(os.pread(descriptor, 65536, 0)))
    except (ValueError, TypeError):
        # It is being written, or of another version.
        return None
