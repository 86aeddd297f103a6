"""The settings that shape a model and a report, without the packages that train and score."""

from __future__ import annotations

from pydantic import JsonValue

from brainbrr_core.configuration import Configuration, Detection, Evaluation, Sampling, Training
from brainbrr_core.configuration.settings import Precision

#: Bumped when the network or the training changes though its settings do not.
TRAINING_VERSION = 5
#: Bumped when scoring, detection or the report changes though its settings do not.
EVALUATION_VERSION = 5
#: Training settings that change no weight of a run.
WEIGHTLESS = {"checkpoint_every", "keep_checkpoints", "skipped_steps_limit", "wandb"}
#: Settings of detection that no validation uses: it tries every threshold.
_UNVALIDATED = {"on_threshold", "confidence"}
#: Settings newer than the training version, each with the value at which a training is the same as
#: before the setting existed. At that value they are left out, so that runs from before keep their
#: names.
LATER_TRAINING: dict[str, JsonValue] = {"seizure_weight": "seconds", "label_smoothing": 0.0}
_LATER_SAMPLING: dict[str, JsonValue] = {"balance": "windows"}


def training_values(settings: Training) -> dict[str, JsonValue]:
    """The training settings that shape weights."""
    return _without(settings.model_dump(mode="json", exclude=WEIGHTLESS), LATER_TRAINING)


def sampling_values(settings: Sampling) -> dict[str, JsonValue]:
    """The settings of the training set."""
    return _without(settings.model_dump(mode="json"), _LATER_SAMPLING)


def _without(values: dict[str, JsonValue], defaults: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The values other than later settings at their defaults."""
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name]
    }


def training_settings(configuration: Configuration) -> dict[str, JsonValue]:
    """The settings that shape a model.

    Device and backend are not among them: they compute the same network up to rounding, and a run
    is used on other machines than the one that trained it.
    """
    hardware = configuration.hardware
    return {
        "training_version": TRAINING_VERSION,
        "model": configuration.model.model_dump(mode="json"),
        "training": training_values(configuration.training),
        "windows": configuration.windows.model_dump(mode="json"),
        # Validations choose the weights by the events that these settings give.
        "detection": configuration.detection.model_dump(mode="json", exclude=_UNVALIDATED),
        "sampling": sampling_values(configuration.sampling),
        "batch_size": hardware.batch_size,
        "precision": hardware.precision,
    }


def report_settings(
    detection: Detection, evaluation: Evaluation, precision: Precision, split: str
) -> dict[str, JsonValue]:
    """The settings that shape the report of a run on a split; ``precision`` is that of scores."""
    settings: dict[str, JsonValue] = {
        "evaluation_version": EVALUATION_VERSION,
        "detection": detection.model_dump(mode="json"),
        "bootstrap": [evaluation.bootstrap_samples, evaluation.bootstrap_seed],
        "split": split,
    }
    if precision != "float32":
        # Reports from before this setting existed were all computed in float32.
        settings["precision"] = precision
    return settings
