"""Share of the stored samples that were clipped, in all and during seizures.

Clipped samples are recorded in blocks of 10 s; every block that a seizure touches counts as
seizure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.shard import BLOCK_SAMPLES
from brainbrr_core.cache.version import channels_of
from brainbrr_core.constants import BLOCK_S, CHANNELS
from brainbrr_core.display import counts

#: Recordings that are named: those with the largest part of their seizures clipped, then the
#: largest part of all samples.
_NAMED = 5


def clipped_blocks(counts: NDArray[np.int32] | None) -> tuple[tuple[int, int], ...] | None:
    """Counts (blocks, channels) of clipped samples as a record has them; None if not recorded."""
    if counts is None:
        return None
    totals = counts.sum(axis=1)
    return tuple((int(block), int(totals[block])) for block in np.flatnonzero(totals))


@dataclass(frozen=True, slots=True)
class Clipping:
    """Clipped samples of one recording, over all channels, and those of its seizures' blocks."""

    partition_key: str
    clipped: int
    samples: int
    clipped_in_seizures: int
    samples_in_seizures: int

    @property
    def part(self) -> float:
        """Share of all samples that is clipped."""
        return self.clipped / max(self.samples, 1)

    @property
    def part_in_seizures(self) -> float:
        """Share of clipped samples in the blocks with a seizure."""
        return self.clipped_in_seizures / max(self.samples_in_seizures, 1)

    @classmethod
    def of(
        cls,
        partition_key: str,
        blocks: Sequence[tuple[int, int]],
        samples: int,
        seizures: Iterable[Event],
        channels: int = len(CHANNELS),
    ) -> Clipping:
        """Clipping of a recording of ``samples`` per channel, from a build record's blocks."""
        touched = {
            block
            for event in seizures
            for block in range(int(event.start // BLOCK_S), -int(-event.stop // BLOCK_S))
            if block * BLOCK_SAMPLES < samples
        }
        # The last block may be padded.
        in_seizures = sum(min(BLOCK_SAMPLES, samples - block * BLOCK_SAMPLES) for block in touched)
        return cls(
            partition_key,
            sum(count for _, count in blocks),
            samples * channels,
            sum(count for block, count in blocks if block in touched),
            in_seizures * channels,
        )


def clipping(plan: Plan, labels: tuple[str, ...]) -> tuple[list[Clipping], int]:
    """Clipping of the plan's fresh recordings, and the number of those without a record of it.

    ``labels`` count as seizure. Read from the build records: no shard is opened.
    """
    records = plan.store.read_records()
    result, unknown = [], 0
    channels = len(channels_of(plan.store.version))
    for item in plan.items:
        if item.state is not State.FRESH:
            continue
        recording = item.recording
        key = recording.partition_key
        blocks = records.clipped(key, item.fingerprint)
        if blocks is None:
            unknown += 1
            continue
        seizures = recording.seizures(labels)
        result.append(Clipping.of(key, blocks, item.samples, seizures, channels))
    return result, unknown


@dataclass(frozen=True, slots=True)
class ClippedRecording:
    """Shares of the clipped samples of one recording; None during seizures without any."""

    partition_key: str
    clipped: float
    clipped_in_seizures: float | None


@dataclass(frozen=True, slots=True)
class ClippingSummary:
    """Clipped samples of the fresh recordings of a plan.

    Attributes
    ----------
    clipped : float or None
        Share of all samples; None without samples.
    clipped_in_seizures : float or None
        Share of the samples in blocks with a seizure; None without seizures.
    recordings : int
        Recordings with clipped samples.
    not_known : int
        Recordings whose shards have no record of it (format version 1).
    most : tuple of ClippedRecording
        Those with the most clipping, most in seizures first.
    """

    clipped: float | None
    clipped_in_seizures: float | None
    recordings: int
    not_known: int
    most: tuple[ClippedRecording, ...]


def clipping_summary(plan: Plan, labels: tuple[str, ...]) -> ClippingSummary:
    """Clipped shares of all samples and of seizure blocks; recordings with most clipping.

    ``labels`` count as seizure.
    """
    measured, unknown = clipping(plan, labels)
    worst = sorted(
        (one for one in measured if one.clipped),
        key=lambda one: (-one.part_in_seizures, -one.part, one.partition_key),
    )
    return ClippingSummary(
        clipped=_part(sum(c.clipped for c in measured), sum(c.samples for c in measured)),
        clipped_in_seizures=_part(
            sum(c.clipped_in_seizures for c in measured),
            sum(c.samples_in_seizures for c in measured),
        ),
        recordings=len(worst),
        not_known=unknown,
        most=tuple(
            ClippedRecording(
                one.partition_key,
                round(one.part, 8),
                _part(one.clipped_in_seizures, one.samples_in_seizures),
            )
            for one in worst[:_NAMED]
        ),
    )


def _part(count: int, samples: int) -> float | None:
    """A share of samples; None without samples."""
    return round(count / samples, 8) if samples else None


def clipping_lines(summary: ClippingSummary) -> list[str]:
    """The lines that a command prints for :func:`clipping_summary`."""
    if summary.clipped is None:
        lines = []
    else:
        lines = [
            f"clipped: {summary.clipped:.4%} of all samples"
            + _in_seizures(summary.clipped_in_seizures)
            + f", in {counts.count(summary.recordings, 'recording')}"
        ]
    lines += [
        f"  {one.partition_key}: {one.clipped:.4%}" + _in_seizures(one.clipped_in_seizures)
        for one in summary.most
    ]
    if summary.not_known:
        lines.append(f"clipped: not known of {counts.count(summary.not_known, 'recording')}")
    return lines


def _in_seizures(part: float | None) -> str:
    return "" if part is None else f", {part:.4%} of those in the 10 s blocks with a seizure"
