"""The settings that shape a model, known without loading what trains it."""

from __future__ import annotations

from typing import Any

from brainbrr_core.configuration import Configuration, Sampling, Training

#: Bumped when the network or the training changes though its settings do not.
TRAINING_VERSION = 5
#: Settings that change no weight of a run.
WEIGHTLESS = {"checkpoint_every", "keep_checkpoints", "skipped_steps_limit", "wandb"}
#: Settings of detection that no validation looks at: it tries every threshold.
_UNVALIDATED = {"on_threshold", "confidence"}
#: Settings that are younger than the training's version, with the value that says what the version
#: did before. At that value they are left out: adding one makes no finished run another.
LATER_TRAINING = {"seizure_weight": "seconds", "label_smoothing": 0.0}
_LATER_SAMPLING = {"balance": "windows"}


def training_values(settings: Training) -> dict[str, Any]:
    """The training settings that shape weights."""
    return _without(settings.model_dump(mode="json", exclude=WEIGHTLESS), LATER_TRAINING)


def sampling_values(settings: Sampling) -> dict[str, Any]:
    """The settings of the training set."""
    return _without(settings.model_dump(mode="json"), _LATER_SAMPLING)


def _without(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Values without those that are later settings at their defaults."""
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name]
    }


def settings_identity(configuration: Configuration) -> dict[str, Any]:
    """The settings among what shapes the model.

    Device and backend are not among them: they compute the same network, to rounding, and a run
    is used on other machines than the one that trained it.
    """
    hardware = configuration.hardware
    return {
        "training_version": TRAINING_VERSION,
        "model": configuration.model.model_dump(mode="json"),
        "training": training_values(configuration.training),
        "windows": configuration.windows.model_dump(mode="json"),
        # Validations choose the weights that are kept, by the events of these settings.
        "detection": configuration.detection.model_dump(mode="json", exclude=_UNVALIDATED),
        "sampling": sampling_values(configuration.sampling),
        "batch_size": hardware.batch_size,
        "precision": hardware.precision,
    }
