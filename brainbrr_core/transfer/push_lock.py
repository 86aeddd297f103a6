"""One push at a time, where a remote place heeds no condition of a write.

A push puts a lock object of its own and lists what locks there are. Where it sees another, it
takes its own away and tries again after a pause; alone, it holds the lock. Of two, the one that
put its object later sees the other, so both are never alone. The holder writes its object anew
every few seconds; one that stands still for a minute by the clock of whoever waits is of a push
that died, and is removed. Only the catalog is written under the lock: it is held for seconds.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import Remote

FOLDER = "pushing"
#: Seconds between two signs of life of the holder, and without one until it is taken for dead.
BEAT_S, STALE_S = 10.0, 60.0
#: Seconds before the second try; they double each time, up to a limit.
PAUSE_S, PAUSE_LIMIT_S = 0.2, 5.0


@contextmanager
def pushing_alone(
    remote: Remote, version: str, log: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Wait until no other push holds the lock of a version, and hold it until the block ends.

    Gives a function that says whether it is held still: a process that was asleep for longer than
    ``STALE_S`` has lost it.
    """
    name = f"{version}/{FOLDER}/{secrets.token_hex(16)}"
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(remote, name, ended), daemon=True)
    try:
        _wait_until_alone(remote, name, log)
        beating.start()
        yield lambda: remote.document(name) is not None
    finally:
        ended.set()
        if beating.ident is not None:
            # A late sign of life would make the lock again.
            beating.join()
        remote.remove(name)


def _wait_until_alone(remote: Remote, name: str, log: Callable[[str], None]) -> None:
    folder = name.rpartition("/")[0]
    #: What each other lock held when it was first seen so, and when that was.
    seen: dict[str, tuple[bytes, float]] = {}
    pause = PAUSE_S
    for number in itertools.count():
        # Never the same twice, so that nobody takes who waits for dead.
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
            if other not in seen:
                log(f"waiting for another push to {remote.address}, by {_holder(content)}")
            if other not in seen or seen[other][0] != content:
                seen[other] = (content, now)
            elif now - seen[other][1] >= STALE_S:
                log(
                    f"the push to {remote.address} by {_holder(content)} gave no sign of life for "
                    f"{STALE_S:.0f} s: it is taken for dead, and its lock removed"
                )
                remote.remove(other)
        # Partly random, so that two that met do not meet again.
        time.sleep(pause * random.uniform(0.2, 1.0))
        pause = min(2 * pause, PAUSE_LIMIT_S)


def _beat(remote: Remote, name: str, ended: threading.Event) -> None:
    for beat in itertools.count():
        if ended.wait(BEAT_S):
            return
        try:
            # Never made again where another push removed it.
            if remote.document(name) is None:
                return
            _write(remote, name, f"beat {beat}")
        except BrainbrrError:
            # The holder meets the same failure, and tells of it; without a sign of life it
            # loses the lock.
            continue


def _write(remote: Remote, name: str, sign: str) -> None:
    holder = {"host": socket.gethostname(), "process": os.getpid(), "sign of life": sign}
    put_bytes(remote, name, json.dumps(holder).encode())


def _holder(content: bytes) -> str:
    """Who a lock says it is of."""
    try:
        holder = json.loads(content)
        return f"process {int(holder['process'])} on {str(holder['host'])[:100]!r}"
    except (ValueError, TypeError, KeyError):
        return "another program"
