"""Checks before training and scoring: a fresh cache, a current manifest, usable splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.manifest import Manifest, ManifestRecording, with_splits
from brainbrr_core.cache.manifest_file import is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.shard import UnreadableShard
from brainbrr_core.cache.smaller_profile import or_smaller_profile
from brainbrr_core.cache.stored_settings import stored_settings
from brainbrr_core.constants import SPLITS
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
        """Root, version, and how many shards are fresh, for the log."""
        plan = self.plan
        lines = [
            f"cache root {plan.store.root}",
            f"version {plan.store.version}",
            f"profile {self.manifest.profile}: {plan.count(State.FRESH)} fresh, "
            f"{len(plan.to_build)} to build, {plan.count(State.EXCLUDED)} excluded, of "
            f"{counts.count(len(plan.items), 'recording')}",
            f"manifest {counts.count(len(self.manifest), 'window')} of "
            f"{counts.count(len(self.manifest.recordings), 'recording')}",
        ]
        if self.cache.split.fold is not None:
            people = {
                split: counts.count(
                    len({i.recording.patient for i in plan.items if i.recording.split == split}),
                    "patient",
                )
                for split in SPLITS
            }
            lines.append(
                f"fold {self.cache.split.fold} of {self.cache.split.scheme}: "
                f"{people['train']} in train, {people['dev']} in dev, {people['eval']} held out"
            )
        if plan.sources_unseen:
            unseen = counts.count(plan.sources_unseen, "recording")
            lines.append(f"the EDFs of {unseen} are not on this machine")
        return lines


def check(cache: ProfileCache) -> Preflight:
    """Check cache root, shards, manifest and splits of a profile, or of one fold of it.

    Raises :class:`WorkRemains` naming the command that repairs a cache or manifest that is not
    fresh, and :class:`BrainbrrError` for splits that cannot be trained on, and where the scheme of
    the splits has folds and none is chosen.
    """
    if cache.split.has_folds and cache.split.fold is None:
        raise BrainbrrError(
            f"the splits have folds (corpus.split.scheme is {cache.split.scheme}): choose one, as "
            "with --fold 1, or all of them with --folds"
        )
    return _preflight(cache, *_current(cache))


def check_folds(cache: ProfileCache) -> dict[int, Preflight]:
    """Check a profile once, and the splits of each of its folds; the first fold is 1.

    Raises as :func:`check` does, and :class:`BrainbrrError` where the scheme of the splits has no
    folds.
    """
    if not cache.split.has_folds:
        raise BrainbrrError(
            f"the splits have no folds: corpus.split.scheme is {cache.split.scheme}; set it to "
            "kfold or leave_one_patient_out in a configuration file"
        )
    plan, manifest = _current(cache)
    numbers = range(1, len(cache.folds(plan)) + 1)
    return {fold: _preflight(cache.with_fold(fold), plan, manifest) for fold in numbers}


def _current(cache: ProfileCache) -> tuple[Plan, Manifest]:
    """The plan and the manifest, both current, with the splits of the index."""
    settings = cache.settings
    with no_collection():
        plan = _fresh(cache, settings.options)
        manifest = read_manifest(manifest_path(plan.store, settings), settings.options)
        current = is_current(manifest, plan, settings)
    if not current:
        raise WorkRemains(
            f"the manifest of profile {settings.profile} is stale: run `brainbrr manifest"
            f"{settings.options}`"
        )
    return plan, manifest


def _preflight(cache: ProfileCache, plan: Plan, manifest: Manifest) -> Preflight:
    """The pre-flight of a plan and its manifest, with the splits of the fold where there is one."""
    settings = cache.settings
    if cache.split.fold is not None:
        plan = cache.in_fold(plan)
        manifest = with_splits(manifest, plan, settings)
    _check_splits(manifest, plan, settings.seizure_labels, settings.options, cache.split.fold)
    return Preflight(cache, plan, manifest)


def fresh_plan(cache: ProfileCache, options: str) -> Plan:
    """The plan of a profile, if every recording of it with a usable signal is fresh in the cache.

    Its splits are those of the fold, where one is chosen. Raises :class:`WorkRemains` naming the
    command, with ``options``, that makes the cache fresh, and :class:`BrainbrrError` when there is
    no index.
    """
    return cache.in_fold(_fresh(cache, options))


def _fresh(cache: ProfileCache, options: str) -> Plan:
    """The plan of a profile whose cache is complete, with the splits of the index."""
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


def _check_splits(
    manifest: Manifest, plan: Plan, labels: tuple[str, ...], options: str, fold: int | None
) -> None:
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
        if fold is not None:
            raise BrainbrrError(
                f"fold {fold}: {lacks}: beside the patients whom a fold holds out, it needs two "
                "with seizures, for train and for dev, in recordings that are not shorter than "
                "windows.length_s; choose a larger --profile or another corpus.split.seed, or add "
                "recordings (`brainbrr index --list` says why others are not used)"
            )
        if split in splits_without_seizures(plan.montage_index, labels):
            raise BrainbrrError(f"{lacks}: {advice(plan.montage_index, labels)}")
        if len(plan.items) < len(plan.index):
            raise BrainbrrError(f"{lacks}: choose a larger --profile")
        raise BrainbrrError(
            f"{lacks}: its recordings with seizures are shorter than windows.length_s, or were "
            f"not built (see `brainbrr manifest{options}`): assign other patients to {split} with "
            "corpus.split in a configuration file"
        )
