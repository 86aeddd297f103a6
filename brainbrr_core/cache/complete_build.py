"""A build for what needs every recording of a corpus."""

from __future__ import annotations

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import Plan
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.display.counts import count
from brainbrr_core.errors import WorkRemains


def build_completely(plan: Plan, preprocessing: Preprocessing, workers: int | None = None) -> None:
    """Build every shard that ``plan`` lacks, as :func:`brainbrr_core.cache.build.build` does.

    Raises
    ------
    WorkRemains
        Where a recording could not be built; the others are.
    """
    failed = build(plan, preprocessing, workers=workers).failed
    if failed:
        raise WorkRemains(
            f"{count(len(failed), 'recording')} of the corpus could not be built, such as "
            f"{failed[0].partition_key} ({failed[0].error}): run the same command again"
        )
