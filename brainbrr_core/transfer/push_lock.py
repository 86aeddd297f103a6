"""One push at a time, for remote locations without conditional writes.

A push writes a lock object of its own and lists all lock objects. If it sees another one, it
removes its own and tries again after a pause; if it sees none, it has the lock. Of two pushes, the
one that wrote its object later sees the other's, so never do both believe that they are alone. The
holder rewrites its object every few seconds. An object that does not change for a minute, by the
clock of whoever waits, belongs to a push that died, and is removed. Only the catalog is written
under the lock, which takes seconds.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import Remote

FOLDER = "pushing"
#: Seconds between two renewals of a lock, and without a renewal until it expires.
RENEWAL_S, STALE_S = 10.0, 60.0
#: Seconds before the second attempt; the pause doubles each time up to a limit.
PAUSE_S, PAUSE_LIMIT_S = 0.2, 5.0


class _Lock(BaseModel):
    """The content of a lock object: who holds it, and a text that each renewal changes."""

    model_config = ConfigDict(populate_by_name=True)

    host: str
    process: int
    renewal: str = Field("", validation_alias="sign of life", serialization_alias="sign of life")


@contextmanager
def exclusive_push(
    remote: Remote, version: str, log: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Wait for the lock of a version, and hold it until the block ends.

    Yields a function that tells whether the lock is still held: it is lost if this process could
    not renew it for ``STALE_S`` seconds.
    """
    name = f"{version}/{FOLDER}/{secrets.token_hex(16)}"
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(remote, name, ended), daemon=True)
    try:
        _acquire(remote, name, log)
        renewing.start()
        yield lambda: remote.document(name) is not None
    finally:
        ended.set()
        if renewing.ident is not None:
            # A late renewal would create the lock again.
            renewing.join()
        remote.remove(name)


def _acquire(remote: Remote, name: str, log: Callable[[str], None]) -> None:
    folder = name.rpartition("/")[0]
    #: For each other lock, its latest content, and when this process first saw that content.
    observed: dict[str, tuple[bytes, float]] = {}
    pause = PAUSE_S
    for number in itertools.count():
        # Different each time, so that the lock of a waiting push does not expire.
        _write(remote, name, f"try {number}")
        others = {}
        for other in sorted(remote.states(folder).keys() - {name}):
            document = remote.document(other)
            if document is not None:
                others[other] = document.content
        if not others:
            return
        remote.remove(name)
        now = time.monotonic()
        for other, content in others.items():
            if other not in observed:
                log(f"waiting for another push to {remote.address}, by {_holder(content)}")
            if other not in observed or observed[other][0] != content:
                observed[other] = (content, now)
            elif now - observed[other][1] >= STALE_S:
                log(
                    f"the push to {remote.address} by {_holder(content)} has not renewed its lock "
                    f"for {STALE_S:.0f} s: it is presumed dead, and its lock is removed"
                )
                remote.remove(other)
        # Partly random, so that two that met do not meet again.
        time.sleep(pause * random.uniform(0.2, 1.0))
        pause = min(2 * pause, PAUSE_LIMIT_S)


def _renew(remote: Remote, name: str, ended: threading.Event) -> None:
    for number in itertools.count():
        if ended.wait(RENEWAL_S):
            return
        try:
            # A lock that another push removed is not created again.
            if remote.document(name) is None:
                return
            _write(remote, name, f"beat {number}")
        except BrainbrrError:
            # The push itself meets the same failure and reports it. Without renewals it loses
            # the lock.
            continue


def _write(remote: Remote, name: str, renewal: str) -> None:
    lock = _Lock(host=socket.gethostname(), process=os.getpid(), renewal=renewal)
    put_bytes(remote, name, lock.model_dump_json(by_alias=True).encode())


def _holder(content: bytes) -> str:
    """The process that a lock object names, for messages."""
    try:
        lock = _Lock.model_validate_json(content)
    except ValidationError:
        return "another program"
    return f"process {lock.process} on {lock.host[:100]!r}"
