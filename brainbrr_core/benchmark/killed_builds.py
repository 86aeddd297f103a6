"""``brainbrr bench faults``: builds are killed, and the store is checked after each kill.

Real processes are killed at random moments of their work, and every shard is compared with that of
a build that ran undisturbed.
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

import numpy as np

from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.cache.build import build
from brainbrr_core.cache.lease import holders
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.progress import progress
from brainbrr_core.synthesis import write_corpus

#: Every second signal is one that no process can handle.
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
#: Exit status of a build that a signal ended.
_STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
_BUILD = (sys.executable, "-c", "from brainbrr_core.cli.app import main; main()", "cache", "build")
#: Seconds between two looks at processes and files, and after which a process counts as hanging.
_LOOK_S, _HANGS_S = 0.002, 120.0
#: How many builds may end before their signal, for each one that is killed.
_MISSES = 3


@dataclass
class Comparison:
    """Shards of a store compared with those of a clean build.

    ``whole`` are the shards that were right at the last look. ``lost`` counts the bytes of shards
    that were right and are gone, ``wrong`` the bytes that differ in the shards that are there,
    which every reader would trust.
    """

    clean: Mapping[str, bytes]
    whole: set[str] = field(default_factory=set)
    shards: int = 0
    bytes: int = 0
    lost: int = 0
    wrong: int = 0

    def look(self, store: Store) -> bool:
        """Compare every byte of every shard; return whether no more bytes were lost or wrong."""
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
    """In how many bytes two contents differ; the surplus of the longer one counts as different."""
    if first == second:
        return 0
    common = min(len(first), len(second))
    unequal = np.frombuffer(first[:common], np.uint8) != np.frombuffer(second[:common], np.uint8)
    return int(unequal.sum()) + max(len(first), len(second)) - common


class SecondsToStop(Figures):
    """From a signal to the end of a build's last process."""

    median: float
    longest: float


class KilledBuilds(Report):
    """What killed builds left behind."""

    kills: int
    kills_by_signal: dict[str, int]
    kills_survived: int
    ended_before_the_signal: int
    shards_compared: int
    bytes_compared: int
    bytes_lost: int
    wrong_bytes: int
    whole_at_the_end: bool
    stop_s: SecondsToStop

    @property
    def is_right(self) -> bool:
        """Whether no byte was lost or wrong, and another build completed the store."""
        return not self.bytes_lost and not self.wrong_bytes and self.whole_at_the_end

    def tables(self) -> list[Table]:
        """One row for each figure."""
        signals = ", ".join(f"{name} {count}" for name, count in self.kills_by_signal.items())
        rows = [
            ["kills survived", f"{self.kills_survived:,}"],
            ["bytes lost", f"{self.bytes_lost:,}"],
            ["wrong bytes believed", f"{self.wrong_bytes:,}"],
            ["seconds to stop, median", f"{self.stop_s.median:.2f}"],
            ["seconds to stop, longest", f"{self.stop_s.longest:.2f}"],
            ["shards compared", f"{self.shards_compared:,}"],
            ["GB compared", f"{self.bytes_compared / 1e9:,.1f}"],
            ["whole after another build", "yes" if self.whole_at_the_end else "no"],
        ]
        return [Table(f"{self.kills} builds killed at work ({signals})", ["", "figure"], rows)]


def run(
    kills: int,
    *,
    recordings: int = 24,
    hours: float = 3.0,
    workers: int = 2,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> KilledBuilds:
    """Kill ``kills`` builds at random moments of their work, one after another on one cache root.

    Each continues from what the last one left; when everything is built, the shards are deleted.
    A kill counts when the build was alive and ended by it. Everything is written below a temporary
    folder that is removed at the end. Raises :class:`BrainbrrError` when builds end too fast to be
    killed.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder:
        root = Path(folder)
        log(f"writing {recordings} recordings")
        write_corpus(root / "tusz", recordings=recordings, hours=hours, seed=seed)
        clean = _clean_build(root, workers)
        comparison = Comparison(clean)
        counts, survived, seconds, misses = _kill(
            root, comparison, kills, workers, random.Random(seed)
        )
        # Another build must complete what the killed ones left.
        ended = start_build(root, workers).wait()
        comparison.look(_store(root, "cache"))
        return KilledBuilds(
            kills=sum(counts.values()),
            kills_by_signal=dict(counts),
            kills_survived=survived,
            ended_before_the_signal=misses,
            shards_compared=comparison.shards,
            bytes_compared=comparison.bytes,
            bytes_lost=comparison.lost,
            wrong_bytes=comparison.wrong,
            whole_at_the_end=ended == 0 and comparison.whole == clean.keys(),
            stop_s=SecondsToStop(
                median=round(statistics.median(seconds), 3), longest=round(max(seconds), 3)
            ),
        )


def _configuration(root: Path, cache: str) -> Configuration:
    overrides = Overrides(profile="full", data_dir=str(root / "tusz"), cache_root=str(root / cache))
    return load(overrides, environment={})


def _store(root: Path, cache: str) -> Store:
    return Store.of(_configuration(root, cache))


def _clean_build(root: Path, workers: int) -> dict[str, bytes]:
    """The shards that an undisturbed build makes, by partition key."""
    configuration = _configuration(root, "clean")
    plan = plan_corpus(configuration, lambda _line: None)
    failed = build(plan, configuration.preprocessing, workers=workers).failed
    if failed:
        raise BrainbrrError(f"{failed[0].partition_key} could not be built: {failed[0].error}")
    store = plan.store
    return {key: store.shard_path(key).read_bytes() for key in store.shard_keys()}


def _kill(
    root: Path, comparison: Comparison, kills: int, workers: int, rng: random.Random
) -> tuple[Counter[str], int, list[float], int]:
    """Kill builds; return kills by signal, kills survived, and the seconds that each took to stop.

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
            process = start_build(root, workers)
            _wait_for_work(process, store)
            time.sleep(rng.uniform(0, working))
            took = stop(process, sent)
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


def start_build(root: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start a build in its own session, as a terminal does."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRAINBRR_", "DAGSTER_"))
    }
    options = ["--profile", "full", "--workers", str(workers)]
    folders = ["--data-dir", str(root / "tusz"), "--cache-root", str(root / "cache")]
    # A child ignores the signals that its parent ignores, and a shell starts background
    # commands that ignore Ctrl+C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [*_BUILD, *options, *folders],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_for_work(process: subprocess.Popen[bytes], store: Store) -> None:
    """Wait until a build holds the lease of the version, or has ended."""
    _until(lambda: bool(holders(store.folder)) or process.poll() is not None)


def _seconds_of_work(root: Path, store: Store, workers: int) -> float:
    """Seconds for which an undisturbed build works on the version."""
    process = start_build(root, workers)
    _wait_for_work(process, store)
    begun = time.monotonic()
    if process.wait(_HANGS_S) != 0:
        raise BrainbrrError(f"the build of {store.root} failed")
    return time.monotonic() - begun


def stop(process: subprocess.Popen[bytes], sent: signal.Signals) -> float:
    """Send a signal; return the seconds until the last process of the session has ended.

    Ctrl+C reaches every process of the terminal's session, other signals the build alone.
    """
    start = time.monotonic()
    # A build that has ended keeps its exit status, so that this does not count as a kill.
    if process.poll() is None:
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
    process.wait(_HANGS_S)
    _until(lambda: not processes_of(process.pid))
    return time.monotonic() - start


def processes_of(leader: int) -> list[int]:
    """Ids of the living processes of a session, given the id of the process that leads it."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        # The program's name, in parentheses, may contain spaces.
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
    """Remove the shards, so that there is something to build; leave everything else."""
    for key in store.shard_keys():
        store.shard_path(key).unlink()
