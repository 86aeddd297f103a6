"""Counts, sizes and users of a cache root, for ``cache status``."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import compress
from typing import TYPE_CHECKING

from brainbrr_core.cache.clipping import ClippingSummary, clipping_summary
from brainbrr_core.cache.lease import holders
from brainbrr_core.cache.manifest import window_count
from brainbrr_core.cache.manifest_file import ManifestState, manifest_state
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.store import folder_bytes
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.constants import SPLITS

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True)
class SplitStatus:
    """How many recordings of a split are selected and fresh, and what the fresh ones have."""

    selected: int
    fresh: int
    hours: float
    windows: int


@dataclass(frozen=True)
class CacheStatus:
    """What is stored of a profile in one version of a cache root, and what else is in the root.

    Attributes
    ----------
    root, version, profile : str
        The cache root, the preprocessing version, and the name of the profile.
    selected : int
        Recordings of the profile.
    states : dict of State to int
        How many of them are in each state.
    orphaned : int
        Shards of recordings that are not in the index.
    bytes : int
        Size of the profile's shards.
    hours, windows
        Of the fresh recordings.
    splits : dict of str to SplitStatus
        The same by split, without splits that have no recording.
    reasons : dict of str to int
        Recordings that are not fresh, by ``state: reason``.
    clipping : ClippingSummary
        How much of the stored signal was clipped.
    sources_unseen : int
        Recordings whose EDFs are not on this machine.
    other_versions : dict of str to int
        Bytes of each other version in the root.
    holders : dict of str to list of str
        The processes that use each version.
    foreign : list of str
        Paths in the root that the program did not write.
    manifest : str
        Whether the manifest of the profile is ``current``, ``stale`` or ``missing``, which one that
        cannot be read is, too.
    """

    root: str
    version: str
    profile: str
    selected: int
    states: dict[State, int]
    orphaned: int
    bytes: int
    hours: float
    windows: int
    splits: dict[str, SplitStatus]
    reasons: dict[str, int]
    clipping: ClippingSummary
    sources_unseen: int
    other_versions: dict[str, int]
    holders: dict[str, list[str]]
    foreign: list[str]
    manifest: ManifestState

    def values(self) -> dict[str, JsonValue]:
        """Everything as ``cache status --json`` prints it: the states among the other numbers."""
        values: dict[str, JsonValue] = {}
        for name, value in asdict(self).items():
            if name == "states":
                values |= {state.value: number for state, number in self.states.items()}
            else:
                values[name] = value
        return values


def status(plan: Plan, settings: ManifestSettings) -> CacheStatus:
    """Counts, bytes, hours and windows of a plan's selection, and users of its version."""
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
            splits[split] = SplitStatus(
                selected=selected[split],
                fresh=sum(of_split),
                hours=round(math.fsum(compress(seconds, of_split)) / 3600, 4),
                windows=sum(compress(windows, of_split)),
            )
    states = Counter(item.state for item in plan.items)
    return CacheStatus(
        root=str(plan.store.root),
        version=plan.store.version,
        profile=settings.profile,
        selected=len(plan.items),
        states={state: states[state] for state in State},
        orphaned=len(plan.orphans),
        bytes=sum(item.bytes for item in plan.items),
        hours=round(math.fsum(seconds) / 3600, 4),
        windows=sum(windows),
        splits=splits,
        reasons=plan.reasons(),
        clipping=clipping_summary(plan, settings.seizure_labels),
        sources_unseen=plan.sources_unseen,
        other_versions={
            other.version: folder_bytes(other.folder) for other in plan.store.other_versions()
        },
        holders={
            store.version: [str(holder) for holder in holders(store.folder)]
            for store in [plan.store, *plan.store.other_versions()]
        },
        foreign=[str(path) for path in plan.store.foreign()],
        manifest=manifest_state(plan, settings),
    )
