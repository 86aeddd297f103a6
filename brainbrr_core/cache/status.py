"""Counts, sizes and users of a cache root, for ``cache status``."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import Any

from brainbrr_core.cache.clipping import clipping_summary
from brainbrr_core.cache.lease import holders
from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.store import folder_bytes
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.constants import SPLITS


def status(plan: Plan, settings: ManifestSettings) -> dict[str, Any]:
    """Counts, bytes, hours and windows of a plan's selection, as ``cache status --json`` gives."""
    fresh = [item.recording for item in plan.items if item.state is State.FRESH]
    seconds = [recording.duration_s for recording in fresh]
    windows = [
        window_count(recording, settings.windows, settings.seizure_labels) for recording in fresh
    ]
    selected = Counter(item.recording.split for item in plan.items)
    splits = {}
    for split in SPLITS:
        if selected[split]:
            of_split = [recording.split == split for recording in fresh]
            splits[split] = {
                "selected": selected[split],
                "fresh": sum(of_split),
                "hours": round(sum(compress(seconds, of_split)) / 3600, 4),
                "windows": sum(compress(windows, of_split)),
            }
    states = Counter(item.state for item in plan.items)
    return {
        "root": str(plan.store.root),
        "version": plan.store.version,
        "profile": settings.profile,
        "selected": len(plan.items),
        **{state.value: states[state] for state in State},
        "orphaned": len(plan.orphans),
        "bytes": sum(item.bytes for item in plan.items),
        "hours": round(sum(seconds) / 3600, 4),
        "windows": sum(windows),
        "splits": splits,
        "reasons": plan.reasons(),
        "clipping": clipping_summary(plan, settings.seizure_labels),
        "sources_unseen": plan.sources_unseen,
        "other_versions": {
            other.version: folder_bytes(other.folder) for other in plan.store.other_versions()
        },
        "holders": {
            store.version: [str(holder) for holder in holders(store.folder)]
            for store in [plan.store, *plan.store.other_versions()]
        },
        "foreign": [str(path) for path in plan.store.foreign()],
    }
