"""Tags of runs, by which the UI and the command line find the runs of a profile or a version."""

from __future__ import annotations

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration

PROFILE, VERSION = "brainbrr/profile", "brainbrr/version"


def run_tags(configuration: Configuration) -> dict[str, str]:
    """Tags of every run under a configuration: its profile and its version of the cache.

    Raises :class:`BrainbrrError` for a version that is neither derived nor imported.
    """
    return {PROFILE: configuration.profile, VERSION: Store.of(configuration).version}


def training_tags(configuration: Configuration) -> dict[str, str]:
    """Tags of a run that trains: the settings that a user varies from one training to the next."""
    return {
        "brainbrr/preset": configuration.model.preset,
        "brainbrr/steps": str(configuration.training.steps),
        "brainbrr/learning_rate": f"{configuration.training.learning_rate:g}",
        "brainbrr/seed": str(configuration.training.seed),
    }
