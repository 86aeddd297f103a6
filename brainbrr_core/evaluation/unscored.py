"""The recordings of a split that cannot be scored, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.scorable import is_scorable
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS
from brainbrr_core.display import counts
from brainbrr_core.evaluation.results import UnscoredRecording


def unscored_recordings(
    plan: Plan, seizure_labels: tuple[str, ...], split: str
) -> list[UnscoredRecording]:
    """The recordings of a split without a usable signal or annotation."""
    return [
        UnscoredRecording(
            item.recording.partition_key,
            _describe(item.recording.reason or item.reason),
            item.recording.duration_s,
            len(item.recording.seizures(seizure_labels)),
        )
        for item in plan.items
        if item.recording.split == split and not is_scorable(item)
    ]


def log_unscored(
    unscored: Sequence[UnscoredRecording], split: str, log: Callable[[str], None]
) -> None:
    """Log how many recordings of a split are not scored, by reason."""
    for reason in sorted({row.reason for row in unscored}):
        rows = [row for row in unscored if row.reason == reason]
        hours = sum(row.duration_s for row in rows) / 3600
        recordings = counts.count(len(rows), "recording")
        log(f"not scored: {recordings} ({hours:.2f} h) of {split}: {reason}")


def _describe(reason: str) -> str:
    return (SIGNAL_REASONS | LABEL_REASONS).get(reason, reason)
