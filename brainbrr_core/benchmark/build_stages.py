"""Where the time of a build goes: milliseconds of a processor for each stage and sampling rate.

The functions of each stage are timed while shards are built as always. What a function calls counts
for the stage of the called one.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.cache import shard, shard_build
from brainbrr_core.cache.plan import Item, Plan
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.edf import channels, reader
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import content_hash
from brainbrr_core.signal import chain, moments, recurrence
from brainbrr_core.signal.chain import Quantizer
from brainbrr_core.signal.resampling import BlockResampler, InterpolatingResampler

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: Builds of each rate, after one that warms up; the median is given.
_BUILDS = 5
#: The functions of each stage, by the module or class that has them.
_FUNCTIONS: tuple[tuple[str, object, str], ...] = (
    ("read", reader, "read_records"),
    ("decode", channels, "to_microvolts"),
    ("decode", channels, "add_up"),
    ("decode", chain, "read_reflected"),
    ("resample", BlockResampler, "apply"),
    ("resample", InterpolatingResampler, "apply"),
    ("filter", recurrence, "filter_in_place"),
    ("statistics", moments, "add_moments"),
    ("quantize", Quantizer, "apply"),
    ("checksum", shard, "batch_checksum"),
    ("write", shard_build, "write_shard"),
    ("flush", shard, "begin_flush"),
    ("flush", os, "fsync"),
)


class StageTimes(Figures):
    """Milliseconds of a processor for an hour of EEG at one sampling rate, by stage.

    ``hash`` is reading and hashing the EDF, ``decode`` making float32 in µV, ``write`` the Arrow
    file, ``flush`` what the system does to bring it to the disk, ``rest`` opening, locks and
    records. ``all`` is their sum, ``elapsed`` the time by the clock, waiting for the disk included.
    """

    rate_hz: float
    hash: float
    read: float
    decode: float
    resample: float
    filter: float
    statistics: float
    quantize: float
    checksum: float
    write: float
    flush: float
    rest: float
    all: float
    elapsed: float


def stage_times(plan: Plan, preprocessing: Preprocessing) -> list[StageTimes]:
    """Hash and build the recordings of a plan, rate by rate, in this process."""
    by_rate: dict[float, list[Item]] = defaultdict(list)
    for item in plan.items:
        by_rate[float(item.recording.rate)].append(item)
    times = []
    for rate, items in sorted(by_rate.items()):
        runs = [_times(plan, preprocessing, items, rate) for _ in range(_BUILDS + 1)][1:]
        times.append(sorted(runs, key=lambda run: run.all)[_BUILDS // 2])
    return times


def stage_table(times: Sequence[StageTimes]) -> Table:
    """One column for each sampling rate."""
    rows = [
        [name, *(f"{getattr(run, name):.0f}" for run in times)]
        for name in StageTimes.model_fields
        if name != "rate_hz"
    ]
    title = "a build by stages, milliseconds of a processor for an hour of EEG"
    return Table(title, ["stage", *(f"{run.rate_hz:g} Hz" for run in times)], rows)


def _times(
    plan: Plan, preprocessing: Preprocessing, items: Sequence[Item], rate: float
) -> StageTimes:
    hours = sum(item.recording.duration_s for item in items) / 3600
    clock = _StageClock()
    for item in items:
        plan.store.shard_path(item.recording.partition_key).unlink(missing_ok=True)
    elapsed = time.perf_counter()
    with clock.timing():
        for item in items:
            clock.timed("hash", content_hash)(Path(item.recording.path))
            build = clock.timed("rest", shard_build.build_one)
            done = build(plan.store, preprocessing, item.recording, item.fingerprint)
            if done.error:
                raise BrainbrrError(f"{done.partition_key}: {done.error}")
    elapsed = time.perf_counter() - elapsed
    seconds = clock.seconds | {"all": sum(clock.seconds.values()), "elapsed": elapsed}
    per_hour = {
        name: round(seconds.get(name, 0.0) / hours * 1e3, 1)
        for name in StageTimes.model_fields
        if name != "rate_hz"
    }
    return StageTimes.model_validate({"rate_hz": rate, **per_hour})


class _StageClock:
    """Seconds of a processor that stages take, without those that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        #: Seconds of stages within each function that is running.
        self._within: list[float] = []

    def timed(
        self, stage: str, function: Callable[Arguments, Result]
    ) -> Callable[Arguments, Result]:
        """A function whose time counts for a stage."""

        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            begin = time.process_time()
            self._within.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.process_time() - begin
                self.seconds[stage] += taken - self._within.pop()
                if self._within:
                    self._within[-1] += taken

        return call

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time the functions of all stages in the block."""
        with ExitStack() as stack:
            for stage, owner, name in _FUNCTIONS:
                function = getattr(owner, name)
                stack.callback(setattr, owner, name, function)
                setattr(owner, name, self.timed(stage, function))
            yield
