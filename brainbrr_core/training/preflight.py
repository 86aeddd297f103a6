"""What must hold before the first batch, checked in seconds, each failure with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

from brainbrr_core.cache.manifest import Manifest, is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains


@dataclass(frozen=True)
class Preflight:
    """A cache that is fit for training, and what was found about it."""

    plan: Plan
    manifest: Manifest

    def lines(self) -> list[str]:
        """Root, version, hits and misses, for the log."""
        plan = self.plan
        lines = [
            f"cache root {plan.store.root}",
            f"version {plan.store.version}",
            f"profile {self.manifest.profile}: {plan.count(State.FRESH)} of {len(plan.items)} "
            f"recordings fresh, {plan.count(State.EXCLUDED)} excluded, 0 to build",
            f"manifest {len(self.manifest)} windows of {len(self.manifest.recordings)} recordings",
        ]
        if plan.sources_unseen:
            lines.append(f"the EDFs of {plan.sources_unseen} recordings are not on this machine")
        return lines


def check(configuration: Configuration) -> Preflight:
    """Check cache, manifest and splits.

    Raises :class:`WorkRemains` naming the command that mends a cache or manifest that is not
    fresh, and :class:`BrainbrrError` for splits that cannot be trained on.
    """
    plan = plan_profile(configuration)
    profile = configuration.profile
    if plan.to_build:
        raise WorkRemains(
            f"{len(plan.to_build)} of {len(plan.items)} recordings of profile {profile} are not "
            f"fresh in {plan.store.root} ({_reasons(plan)}): run `brainbrr cache build"
            f"{configuration.options}`"
        )
    manifest = read_manifest(manifest_path(plan.store, configuration))
    if not is_current(manifest, plan, configuration):
        raise WorkRemains(
            f"the manifest of profile {profile} is stale: run `brainbrr manifest"
            f"{configuration.options}`"
        )
    _check_splits(manifest)
    return Preflight(plan, manifest)


def _reasons(plan: Plan) -> str:
    return ", ".join(
        f"{count} {reason}"
        for reason, count in plan.reasons().items()
        if not reason.startswith(State.EXCLUDED)
    )


def _check_splits(manifest: Manifest) -> None:
    patients: dict[str, set[str]] = {}
    for recording in manifest.recordings:
        patients.setdefault(recording.patient, set()).add(recording.split)
    shared = sorted(patient for patient, splits in patients.items() if len(splits) > 1)
    if shared:
        raise BrainbrrError(f"patients in more than one split: {', '.join(shared[:5])}")
    for split in ("train", "dev"):
        rows = manifest.rows_of(split)
        if not (manifest.category[rows] > 0).any():
            raise BrainbrrError(
                f"split {split} has no window with a seizure in profile {manifest.profile}: "
                "choose a larger --profile"
            )
