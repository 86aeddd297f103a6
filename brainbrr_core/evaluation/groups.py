"""Figures of groups of recordings: of each patient, montage, corpus and age group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from brainbrr_core.evaluation.age_groups import ORDER
from brainbrr_core.evaluation.results import SECONDS_PER_HOUR, GroupRow, RecordingResult
from brainbrr_core.scoring import figures, total


def group_rows(
    rows: Iterable[RecordingResult], name: Callable[[RecordingResult], str]
) -> tuple[GroupRow, ...]:
    """The figures of each group of recordings with the same ``name``, ordered by it."""
    groups: dict[str, list[RecordingResult]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return tuple(
        GroupRow(
            group,
            len(members),
            math.fsum(row.duration_s for row in members) / SECONDS_PER_HOUR,
            round(sum(row.ovlp.reference for row in members)),
            figures(total(row.szcore for row in members)),
            total(row.ovlp for row in members),
        )
        for group, members in sorted(groups.items())
    )


def by_age(rows: Iterable[RecordingResult]) -> tuple[GroupRow, ...]:
    """The figures of each age group, the youngest first; none where recordings have no group."""
    groups = group_rows((row for row in rows if row.age_group), lambda row: row.age_group)
    return tuple(sorted(groups, key=lambda group: ORDER.index(group.name)))
