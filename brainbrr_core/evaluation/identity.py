"""The settings that shape a report, known without loading what makes it."""

from __future__ import annotations

from typing import Any

from brainbrr_core.configuration import Configuration

#: Bumped when scoring, detection or the report change though their settings do not.
EVALUATION_VERSION = 5


def settings_identity(configuration: Configuration, split: str) -> dict[str, Any]:
    """The settings that shape a report."""
    precision = configuration.hardware.precision
    return {
        "evaluation_version": EVALUATION_VERSION,
        "detection": configuration.detection.model_dump(mode="json"),
        "bootstrap": [
            configuration.evaluation.bootstrap_samples,
            configuration.evaluation.bootstrap_seed,
        ],
        "split": split,
        # Scores were always computed in float32 before they followed the setting.
        **({} if precision == "float32" else {"precision": precision}),
    }
