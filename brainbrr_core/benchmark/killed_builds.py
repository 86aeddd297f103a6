"""``brainbrr bench faults``: builds that are killed again and again, and what becomes of the store.

Real processes are killed at random moments of their work, and every shard is compared with that of
a build that nothing disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainbrr_core.cache.build import build
from brainbrr_core.cache.lease import holders
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.progress import progress
from brainbrr_core.synthesis import write_corpus

#: Every second one is a kill that nobody can hear.
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
#: What a build that was ended by a signal has for its status.
_STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
_BUILD = (sys.executable, "-c", "from brainbrr_core.cli.app import main; main()", "cache", "build")
#: How often to look at processes and files, and how long to wait for them, in seconds.
_LOOK_S, _HANGS_S = 0.002, 120.0
#: Builds that may end before their signal, for each that does not.
_MISSES = 3


@dataclass
class Comparison:
    """Shards of a store against those of a clean build, with what was whole at the last look.

    ``lost`` are bytes of shards that were whole and are not there any more, ``wrong`` those that
    differ in the shards that are there, where any reader takes them for whole.
    """

    clean: Mapping[str, bytes]
    whole: set[str] = field(default_factory=set)
    shards: int = 0
    bytes: int = 0
    lost: int = 0
    wrong: int = 0

    def look(self, store: Store) -> bool:
        """Compare every byte of every shard; whether nothing was lost or wrong."""
        before = self.lost, self.wrong
        keys = store.shard_keys()
        self.lost += sum(len(self.clean[key]) for key in self.whole - keys)
        self.whole = set()
        for key in sorted(keys):
            content = store.shard_path(key).read_bytes()
            differing = differing_bytes(content, self.clean.get(key, b""))
            self.shards += 1
            self.bytes += len(content)
            self.wrong += differing
            if not differing:
                self.whole.add(key)
        return before == (self.lost, self.wrong)


def differing_bytes(first: bytes, second: bytes) -> int:
    """In how many bytes two contents differ; what one has beyond the other differs."""
    if first == second:
        return 0
    common = min(len(first), len(second))
    unequal = np.frombuffer(first[:common], np.uint8) != np.frombuffer(second[:common], np.uint8)
    return int(unequal.sum()) + max(len(first), len(second)) - common


def run(
    kills: int,
    *,
    recordings: int = 24,
    hours: float = 3.0,
    workers: int = 2,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Kill ``kills`` builds at random moments of their work, one after the other on one root.

    Each goes on from what the last one left; when all is built, the root is emptied. A kill counts
    when the build was alive and ended by it. Everything is written below a temporary folder and
    removed again. Raises :class:`BrainbrrError` where builds are too fast to be killed.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder:
        root = Path(folder)
        log(f"writing {recordings} recordings")
        write_corpus(root / "tusz", recordings=recordings, hours=hours, seed=seed)
        clean = _clean(root, workers)
        comparison = Comparison(clean)
        counts, survived, seconds, misses = _kill(
            root, comparison, kills, workers, random.Random(seed)
        )
        # Whatever was left behind, the next build makes the store whole.
        ended = _started(root, workers).wait()
        comparison.look(_store(root, "cache"))
        whole = ended == 0 and comparison.whole == clean.keys()
        return {
            "kills": sum(counts.values()),
            "kills_by_signal": dict(counts),
            "kills_survived": survived,
            "ended_before_the_signal": misses,
            "shards_compared": comparison.shards,
            "bytes_compared": comparison.bytes,
            "bytes_lost": comparison.lost,
            "wrong_bytes": comparison.wrong,
            "whole_at_the_end": whole,
            "stop_s": {
                "median": round(statistics.median(seconds), 3),
                "longest": round(max(seconds), 3),
            },
        }


def _configuration(root: Path, cache: str) -> Configuration:
    overrides = Overrides(profile="full", data_dir=str(root / "tusz"), cache_root=str(root / cache))
    return load(overrides, environment={})


def _store(root: Path, cache: str) -> Store:
    return Store.of(_configuration(root, cache))


def _clean(root: Path, workers: int) -> dict[str, bytes]:
    """The shards that an undisturbed build makes, by partition key."""
    settings = _configuration(root, "clean")
    plan = plan_corpus(settings, lambda _line: None)
    failed = build(plan, settings.preprocessing, workers=workers).failed
    if failed:
        raise BrainbrrError(f"{failed[0].partition_key} could not be built: {failed[0].error}")
    store = plan.store
    return {key: store.shard_path(key).read_bytes() for key in store.shard_keys()}


def _kill(
    root: Path, comparison: Comparison, kills: int, workers: int, rng: random.Random
) -> tuple[Counter[str], int, list[float], int]:
    """Kill builds; how many by which signal, how many were survived, and seconds to stop.

    The last value is how many builds were done before their signal.
    """
    store = _store(root, "cache")
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    survived = misses = 0
    working = _seconds_of_work(root, store, workers)
    _empty(store)
    with progress("kill", kills, "builds") as bar:
        while (number := sum(counts.values())) < kills:
            sent = _SIGNALS[number % len(_SIGNALS)]
            process = _started(root, workers)
            _begun(process, store)
            time.sleep(rng.uniform(0, working))
            took = _stopped(process, sent)
            unharmed = comparison.look(store)
            if process.returncode == _STATUS[sent]:
                counts[sent.name] += 1
                seconds.append(took)
                survived += unharmed
                bar.advance()
            else:
                misses += 1
                if misses > _MISSES * kills:
                    raise BrainbrrError(
                        f"{misses} builds ended before they could be killed: give more --hours"
                    )
            if comparison.whole == comparison.clean.keys():
                _empty(store)
                comparison.whole = set()
    return counts, survived, seconds, misses


def _started(root: Path, workers: int) -> subprocess.Popen[bytes]:
    """A build in a session of its own, as a terminal starts it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRAINBRR_", "DAGSTER_"))
    }
    words = ["--profile", "full", "--workers", str(workers)]
    places = ["--data-dir", str(root / "tusz"), "--cache-root", str(root / "cache")]
    # What a process ignores, its children do: a shell has what runs behind it ignore Ctrl+C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [*_BUILD, *words, *places],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _begun(process: subprocess.Popen[bytes], store: Store) -> None:
    """Wait until a build is at work on the version, or has ended."""
    _until(lambda: bool(holders(store.folder)) or process.poll() is not None)


def _seconds_of_work(root: Path, store: Store, workers: int) -> float:
    """How long an undisturbed build is at work on the version, in seconds."""
    process = _started(root, workers)
    _begun(process, store)
    begun = time.monotonic()
    if process.wait(_HANGS_S) != 0:
        raise BrainbrrError(f"the build of {store.root} failed")
    return time.monotonic() - begun


def _stopped(process: subprocess.Popen[bytes], sent: signal.Signals) -> float:
    """Send a signal; seconds until the last process of the session has ended.

    Ctrl+C reaches all that a terminal started, the other signals the build alone.
    """
    start = time.monotonic()
    # One that has ended keeps its status: then this is no kill.
    if process.poll() is None:
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
    process.wait(_HANGS_S)
    _until(lambda: not _session(process.pid))
    return time.monotonic() - start


def _session(leader: int) -> list[int]:
    """Living processes of the session that this process began."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        # The name of the program, in parentheses, may hold spaces.
        state, _parent, _group, session = text.rpartition(")")[2].split()[:4]
        if int(session) == leader and state not in "ZX":
            alive.append(int(path.parent.name))
    return alive


def _until(event: Callable[[], bool]) -> None:
    limit = time.monotonic() + _HANGS_S
    while not event():
        if time.monotonic() > limit:
            raise BrainbrrError(f"a build neither began nor ended within {_HANGS_S:.0f} s")
        time.sleep(_LOOK_S)


def _empty(store: Store) -> None:
    """Remove the shards, so that there is something to build; what else was left stays."""
    for key in store.shard_keys():
        store.shard_path(key).unlink()
