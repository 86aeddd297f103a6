"""With which settings the shards of another version in the store were built."""

from __future__ import annotations

from collections.abc import Iterator

from brainbrr_core.cache.plan import VERSION_CHANGED, Plan
from brainbrr_core.cache.shard import DamagedShard, Shard, ShardHeader, UnreadableShard
from brainbrr_core.cache.version import chain_parameters
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.differences import SettingDifference, setting_differences


def stored_settings(plan: Plan, preprocessing: Preprocessing) -> list[SettingDifference]:
    """The settings of preprocessing with which stale shards of a plan were built, if others.

    Each difference has the value in the store and that of ``preprocessing``. A signal chain of
    another version of the program is named as ``signal_chain_version``. Empty where no shard is
    stale because its version changed.
    """
    for header in _headers_of_other_versions(plan):
        chain = header.parameters.get("chain")
        if not isinstance(chain, dict):
            continue
        differences = setting_differences(
            {"preprocessing": chain}, {"preprocessing": preprocessing.model_dump(mode="json")}
        )
        stored = header.parameters.get("algorithm")
        now = chain_parameters(preprocessing)["algorithm"]
        if stored != now:
            differences.append(SettingDifference("signal_chain_version", stored, now))
        return differences
    return []


def _headers_of_other_versions(plan: Plan) -> Iterator[ShardHeader]:
    """Headers of the first stale recording's shards, those of the newest version first."""
    stale = next((item for item in plan.items if item.reason == VERSION_CHANGED), None)
    if stale is None:
        return
    others = [other for other in plan.store.other_versions() if other.marker.is_file()]
    for other in sorted(others, key=lambda one: one.marker.stat().st_mtime, reverse=True):
        try:
            yield Shard(other.shard_path(stale.recording.partition_key)).header
        except (FileNotFoundError, DamagedShard, UnreadableShard):
            continue
