"""Tags of runs, for finding the runs of a profile or a version."""

from __future__ import annotations

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Model, Training
from brainbrr_core.configuration.settings import DEFAULT_NETWORK

PROFILE, VERSION = "brainbrr/profile", "brainbrr/version"


def run_tags(cache: ProfileCache) -> dict[str, str]:
    """Tags of every run that uses a cache: profile and preprocessing version."""
    return {PROFILE: cache.profile, VERSION: cache.store.version}


def training_tags(model: Model, training: Training) -> dict[str, str]:
    """Tags of a run that trains: settings that users often vary between trainings."""
    return {
        f"brainbrr/{'preset' if model.network == DEFAULT_NETWORK else 'network'}": model.name,
        "brainbrr/steps": str(training.steps),
        "brainbrr/learning_rate": f"{training.learning_rate:g}",
        "brainbrr/seed": str(training.seed),
    }
