"""Counts that explain an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_FINDINGS, SIGNAL_REASONS, Recording
from brainbrr_core.corpus.skipped import OF_EDFS, SKIPPED


def explain(code: str) -> str:
    """What a reason or the code of a finding means. Raises ``KeyError`` for one of neither list."""
    for known in (SIGNAL_REASONS, LABEL_REASONS, SIGNAL_FINDINGS):
        if code in known:
            return known[code]
    consequence, text = ANNOTATION_FINDINGS[code]
    return f"{text} ({consequence})"


def summarize(index: Index, seizure_labels: tuple[str, ...]) -> dict[str, Any]:
    """Counts that explain an index: found = usable + excluded, excluded = sum of the reasons.

    The same holds of each split, and the splits add up to the whole. ``findings`` counts
    recordings that have a finding of a code which does not exclude them. ``skipped`` are EDFs and
    folders that are not read, ``not_read`` everything that is not, by kind.
    """
    findings = Counter(
        code for r in index for code in {finding.code for finding in r.findings} - {r.reason}
    )
    return _counts(index.recordings, seizure_labels) | {
        "layout": index.layout,
        "splits": {
            split: _counts([r for r in index if r.split == split], seizure_labels)
            for split in SPLITS
            if any(r.split == split for r in index)
        },
        "findings": dict(sorted(findings.items())),
        "skipped": [item.path for item in index.skipped if item.kind in OF_EDFS],
        "not_read": {
            kind: {"count": len(paths), "why": SKIPPED[kind], "paths": paths}
            for kind, paths in _by_kind(index).items()
        },
        "unsettled": list(index.unsettled),
    }


def _by_kind(index: Index) -> dict[str, list[str]]:
    """Paths of what is not read."""
    paths: dict[str, list[str]] = {}
    for kind, path in sorted(index.skipped):
        paths.setdefault(kind, []).append(path)
    return paths


def _counts(recordings: Iterable[Recording], labels: tuple[str, ...]) -> dict[str, Any]:
    rows = list(recordings)
    usable = [row for row in rows if row.reason is None]
    reasons = Counter(row.reason for row in rows if row.reason is not None)
    unknown = set(reasons) - SIGNAL_REASONS.keys() - LABEL_REASONS.keys()
    if unknown:
        raise ValueError(f"reasons outside the closed list: {sorted(unknown)}")
    return {
        "found": len(rows),
        "usable": len(usable),
        "excluded": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items())),
        "patients": len({row.patient for row in rows}),
        "hours": round(sum(row.duration_s for row in rows) / 3600, 4),
        "seizures": sum(len(row.seizures(labels)) for row in rows),
        "usable_hours": round(sum(row.duration_s for row in usable) / 3600, 4),
        "usable_seizures": sum(len(row.seizures(labels)) for row in usable),
        "usable_seizure_hours": round(
            sum(row.counted_seizure_s(labels) for row in usable) / 3600, 4
        ),
        "usable_unknown_hours": round(sum(row.unknown_s(labels) for row in usable) / 3600, 4),
    }
