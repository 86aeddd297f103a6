"""Building the shard of one recording: its EDF through the signal chain to a file of the store."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from brainbrr_core.cache.clipping import clipped_blocks
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.shard import Chunk, ShardHeader, write_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.unfinished import commit_shard, exclusive_partial
from brainbrr_core.cache.version import FORMAT_VERSION, chain_parameters
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.edf.channels import aliases_of
from brainbrr_core.edf.formats import reader_of
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.state import file_state
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.signal.chain import Chain

_LIBRARIES = ("brainbrr", "edfio", "numpy", "pyarrow", "scipy")
#: Errors that a bad recording may raise; any other error is a defect of the program.
_RECORDING_ERRORS = (
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    MemoryError,
    BrainbrrError,
    UnusableEdf,
    pa.ArrowException,
)


@dataclass(frozen=True, slots=True)
class Built:
    """Outcome of building the shard of one recording.

    Attributes
    ----------
    partition_key : str
        Key of the recording.
    fingerprint : str
        Fingerprint of the shard.
    source_hash : str
        Hash of the EDF.
    seconds : float
        Time that building took.
    bytes : int
        Size of the shard.
    clipped : int
        Stored samples at the limit of their range, over all channels.
    clipped_blocks : tuple of (int, int), optional
        The blocks with clipped samples and their number in each; None if it is not known.
    duration_s : float
        Length of the recording in seconds.
    interpolated : tuple of str
        Electrodes that were interpolated.
    error : str
        Why there is no shard. Empty if the shard is fresh.
    by_another : bool
        Whether another process had built the shard since the plan was made.
    """

    partition_key: str
    fingerprint: str
    source_hash: str
    seconds: float = 0.0
    bytes: int = 0
    clipped: int = 0
    clipped_blocks: tuple[tuple[int, int], ...] | None = None
    duration_s: float = 0.0
    interpolated: tuple[str, ...] = ()
    error: str = ""
    by_another: bool = False


def build_one(
    store: Store, settings: Preprocessing, recording: Recording, fingerprint: str
) -> Built:
    """Build one shard, unless another process has just finished it."""
    keep_freed_memory()
    started = time.monotonic()
    outcome = Built(
        recording.partition_key,
        fingerprint,
        recording.content_hash,
        duration_s=recording.duration_s,
        interpolated=recording.missing,
    )
    target = store.shard_path(recording.partition_key)
    try:
        with exclusive_partial(target) as file:
            if store.has_whole_shard(recording.partition_key, fingerprint):
                size = file_state(target).size
                outcome = replace(outcome, bytes=size, by_another=True)
            else:
                header, chunks = _process(settings, recording, fingerprint)
                size, clipped = write_shard(file, header, chunks)
                _check_unchanged(recording)
                commit_shard(target)
                outcome = replace(
                    outcome,
                    bytes=size,
                    clipped=int(clipped.sum()),
                    clipped_blocks=clipped_blocks(clipped),
                    seconds=time.monotonic() - started,
                )
                store.append_record(build_record(store, outcome))
    except _RECORDING_ERRORS as error:
        outcome = replace(outcome, error=error_line(error, recording))
    return outcome


def _process(
    settings: Preprocessing, recording: Recording, fingerprint: str
) -> tuple[ShardHeader, Iterator[Chunk]]:
    _check_unchanged(recording)
    # The index has decided whether the file is accepted.
    accepted = ChannelRules(references="any", interpolate_at_most=len(recording.missing))
    source = open_edf(
        Path(recording.path),
        recording.missing,
        accepted,
        settings.montage,
        aliases_of(recording.matched),
    )
    chain = Chain(source, settings)
    header = ShardHeader(
        format_version=FORMAT_VERSION,
        partition_key=recording.partition_key,
        fingerprint=fingerprint,
        parameters=chain_parameters(settings),
        source_hash=recording.content_hash,
        source_size=recording.state.size,
        channels=settings.channels,
        rate=settings.rate_hz,
        samples=chain.samples,
        mean=tuple(chain.statistics.mean.tolist()),
        deviation=tuple(chain.statistics.deviation.tolist()),
        interpolated=source.interpolated,
        libraries=_libraries() | ({"reader": recording.reader} if recording.reader else {}),
    )
    return header, chain.quantized()


@cache
def _libraries() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def _check_unchanged(recording: Recording) -> None:
    """Raise an error unless the EDF has the indexed hash before and after it is read."""
    if any(not state.is_of_same_file(file_state(path)) for path, state in recording.file_states):
        raise WorkRemains("the EDF changed since it was indexed: run `brainbrr index` and build")
    if recording.reader and recording.reader != (reader := reader_of(recording.path)):
        raise WorkRemains(
            f"indexed with {recording.reader}, and {reader} is installed: run `brainbrr index` and "
            "build"
        )


def build_record(store: Store, outcome: Built) -> BuildRecord:
    """The record of a shard that was just built, with the time of day and the state of its file."""
    return BuildRecord(
        partition_key=outcome.partition_key,
        fingerprint=outcome.fingerprint,
        source_hash=outcome.source_hash,
        state=file_state(store.shard_path(outcome.partition_key)),
        built_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(outcome.seconds, 3),
        program=_libraries()["brainbrr"],
        clipped=outcome.clipped_blocks,
    )


def error_line(error: BaseException, recording: Recording) -> str:
    """Why a recording has no shard, in one line that names its EDF."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: make room and build again"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} [{Path(recording.path).name}]"
