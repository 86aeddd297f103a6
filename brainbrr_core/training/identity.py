"""The settings that shape a model, known without loading what trains it."""

from __future__ import annotations

from typing import Any

from brainbrr_core.configuration import Configuration

#: Bumped when the network or the training changes though its settings do not.
TRAINING_VERSION = 4
#: Settings that change no weight of a run.
WEIGHTLESS = {"checkpoint_every", "keep_checkpoints", "wandb"}
#: Settings of detection that no validation looks at: it tries every threshold.
_UNVALIDATED = {"on_threshold", "confidence"}


def settings_identity(configuration: Configuration) -> dict[str, Any]:
    """The settings among what shapes the model.

    Device and backend are not among them: they compute the same network, to rounding, and a run
    is used on other machines than the one that trained it.
    """
    hardware = configuration.hardware
    return {
        "training_version": TRAINING_VERSION,
        "model": configuration.model.model_dump(mode="json"),
        "training": configuration.training.model_dump(mode="json", exclude=WEIGHTLESS),
        "windows": configuration.windows.model_dump(mode="json"),
        # Validations choose the weights that are kept, by the events of these settings.
        "detection": configuration.detection.model_dump(mode="json", exclude=_UNVALIDATED),
        "sampling": configuration.sampling.model_dump(mode="json"),
        "batch_size": hardware.batch_size,
        "precision": hardware.precision,
    }
