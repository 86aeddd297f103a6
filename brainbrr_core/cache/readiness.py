"""Checks before training and scoring: a fresh cache, a current manifest, usable splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.manifest_file import is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.shard import UnreadableShard
from brainbrr_core.cache.smaller_profile import or_smaller_profile
from brainbrr_core.cache.stored_settings import stored_settings
from brainbrr_core.corpus.split_report import advice, splits_without_seizures
from brainbrr_core.display import counts
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.machine.filesystem import Kind, file_system
from brainbrr_core.machine.memory import no_collection


@dataclass(frozen=True)
class Preflight:
    """A cache that passed the checks before training, with its plan and manifest."""

    cache: ProfileCache
    plan: Plan
    manifest: Manifest

    def scorable(self, split: str) -> list[ManifestRecording]:
        """The recordings of a split that detections are scored on."""
        return scorable(self.plan, self.cache.settings.seizure_labels, split)

    def lines(self) -> list[str]:
        """Root, version, hits and misses, for the log."""
        plan = self.plan
        lines = [
            f"cache root {plan.store.root}",
            f"version {plan.store.version}",
            f"profile {self.manifest.profile}: {plan.count(State.FRESH)} hits, "
            f"{len(plan.to_build)} misses, {plan.count(State.EXCLUDED)} excluded, of "
            f"{counts.count(len(plan.items), 'recording')}",
            f"manifest {counts.count(len(self.manifest), 'window')} of "
            f"{counts.count(len(self.manifest.recordings), 'recording')}",
        ]
        if plan.sources_unseen:
            unseen = counts.count(plan.sources_unseen, "recording")
            lines.append(f"the EDFs of {unseen} are not on this machine")
        return lines


def check(cache: ProfileCache) -> Preflight:
    """Check cache root, shards, manifest and splits of a profile.

    Raises :class:`WorkRemains` naming the command that repairs a cache or manifest that is not
    fresh, and :class:`BrainbrrError` for splits that cannot be trained on.
    """
    settings = cache.settings
    with no_collection():
        plan = fresh_plan(cache, settings.options)
        manifest = read_manifest(manifest_path(plan.store, settings), settings.options)
        current = is_current(manifest, plan, settings)
    if not current:
        raise WorkRemains(
            f"the manifest of profile {settings.profile} is stale: run `brainbrr manifest"
            f"{settings.options}`"
        )
    _check_splits(manifest, plan, settings.seizure_labels, settings.options)
    return Preflight(cache, plan, manifest)


def fresh_plan(cache: ProfileCache, options: str) -> Plan:
    """The plan of a profile, if every recording of it with a usable signal is fresh in the cache.

    Raises :class:`WorkRemains` naming the command, with ``options``, that makes it so, and
    :class:`BrainbrrError` when there is no index.
    """
    _check_is_local(cache.store.root)
    plan = cache.plan()
    for item in plan.unreadable:
        raise UnreadableShard(plan.store.shard_path(item.recording.partition_key), item.reason)
    if plan.to_build:
        # Without EDFs nothing can be built.
        elsewhere = plan.sources_unseen == len(plan.items)
        remedy = "pull s3://BUCKET/PREFIX" if elsewhere else "build"
        raise WorkRemains(
            f"{len(plan.to_build)} of {len(plan.items)} recordings of profile "
            f"{cache.profile} are not fresh in {plan.store.root} ({_reasons(plan)}"
            f"{_stored_with(plan, cache)}): run "
            f"`brainbrr cache {remedy}{options}`{or_smaller_profile(plan)}"
        )
    return plan


def _check_is_local(cache_root: Path) -> None:
    """Refuse a bucket that is mounted as a folder: every window would be a request."""
    system = file_system(cache_root)
    if system is not None and system.kind is Kind.BUCKET:
        raise BrainbrrError(
            f"the cache root {cache_root} is a bucket shown as a folder "
            f"({system.name}), and nothing is trained from a remote place: run `brainbrr cache "
            "pull s3://BUCKET/PREFIX --cache-root LOCAL_FOLDER` and train with that --cache-root"
        )


def _reasons(plan: Plan) -> str:
    return ", ".join(
        f"{count} {reason}"
        for reason, count in plan.reasons().items()
        if not reason.startswith(State.EXCLUDED)
    )


def _stored_with(plan: Plan, cache: ProfileCache) -> str:
    """The settings that the stored shards were built with, where these are others."""
    differences = stored_settings(plan, cache.preprocessing)
    return "".join(f"; stored with {each}" for each in differences)


def _check_splits(manifest: Manifest, plan: Plan, labels: tuple[str, ...], options: str) -> None:
    patients: dict[str, set[str]] = {}
    for recording in manifest.recordings:
        patients.setdefault(recording.patient, set()).add(recording.split)
    shared = sorted(patient for patient, splits in patients.items() if len(splits) > 1)
    if shared:
        raise BrainbrrError(f"patients in more than one split: {', '.join(shared[:5])}")
    for split in ("train", "dev"):
        rows = manifest.rows_of(split)
        if (manifest.category[rows] > 0).any():
            continue
        lacks = f"split {split} has no window with a seizure in profile {manifest.profile}"
        if split in splits_without_seizures(plan.montage_index, labels):
            raise BrainbrrError(f"{lacks}: {advice(plan.montage_index, labels)}")
        if len(plan.items) < len(plan.index):
            raise BrainbrrError(f"{lacks}: choose a larger --profile")
        raise BrainbrrError(
            f"{lacks}: its recordings with seizures are shorter than windows.length_s, or were "
            f"not built (see `brainbrr manifest{options}`): assign other patients to {split} with "
            "corpus.split in a configuration file"
        )
