"""The settings that shape a model and a report, without the packages that train and score."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import JsonValue

from brainbrr_core.configuration import (
    Configuration,
    Detection,
    Evaluation,
    Hardware,
    Model,
    Sampling,
    Training,
    Windows,
)
from brainbrr_core.runs.network_source import network_identity
from brainbrr_core.runs.starting_point import StartingPoint, find_starting_point

#: Bumped when the network or the training changes though its settings do not.
TRAINING_VERSION = 7
#: Bumped when scoring, detection or the report changes though its settings do not.
EVALUATION_VERSION = 7
#: Training settings that change no weight of a run.
WEIGHTLESS = {"checkpoint_every", "keep_checkpoints", "skipped_steps_limit", "wandb", "mlflow"}
#: Training settings that name projects and folders of a user: what leaves the machine lacks them.
OF_THE_USER = frozenset({"wandb", "mlflow", "start_from"})
#: Those that a run's identity has in another form: of a path, the checksum of the weights there.
_IN_ANOTHER_FORM = {"start_from"}
#: Settings of detection that no validation uses: it tries every threshold.
_UNVALIDATED = {"on_threshold", "confidence"}
#: Settings newer than the training version, each with the value at which a training is the same as
#: before the setting existed. At that value they are left out, so that runs from before keep their
#: names.
LATER_TRAINING: dict[str, JsonValue] = {
    "seizure_weight": "seconds",
    "label_smoothing": 0.0,
    "freeze": None,
}
_LATER_SAMPLING: dict[str, JsonValue] = {"balance": "windows", "corpus_weights": {}}


def training_values(settings: Training) -> dict[str, JsonValue]:
    """The training settings that shape weights."""
    left_out = WEIGHTLESS | _IN_ANOTHER_FORM
    return _without(settings.model_dump(mode="json", exclude=left_out), LATER_TRAINING)


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


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The settings of a training, other than which recordings it uses.

    Attributes
    ----------
    model : Model
        The network.
    training : Training
        Optimizer, loss, length, seed and checkpoints.
    windows : Windows
        Length and stride of the training windows.
    sampling : Sampling
        How the windows of an epoch are drawn.
    detection : Detection
        How validations turn scores into events.
    hardware : Hardware
        The device, and the batch that fits it.
    start : StartingPoint, optional
        Whose weights the training begins with, where they are not random.
    """

    model: Model
    training: Training
    windows: Windows
    sampling: Sampling
    detection: Detection
    hardware: Hardware
    start: StartingPoint | None = None

    @classmethod
    def of(cls, configuration: Configuration) -> TrainingSettings:
        """The settings of the training that a configuration asks for.

        Raises :class:`BrainbrrError` where the run or model that it starts from is not there.
        """
        return cls(
            configuration.model,
            configuration.training,
            configuration.windows,
            configuration.sampling,
            configuration.detection,
            configuration.hardware,
            find_starting_point(configuration.training.start_from, configuration.runs_dir),
        )

    def with_seed(self, seed: int) -> TrainingSettings:
        """The same settings with another seed of the training."""
        return replace(self, training=self.training.model_copy(update={"seed": seed}))

    def shaping(self) -> dict[str, JsonValue]:
        """The settings that shape a model.

        Device and backend are not among them: they compute the same network up to rounding, and a
        run is used on other machines than the one that trained it. Raises
        :class:`BrainbrrError` where the source of a network's class cannot be found.
        """
        return {
            "training_version": TRAINING_VERSION,
            "model": network_identity(self.model),
            "training": training_values(self.training),
            "windows": self.windows.model_dump(mode="json"),
            # Validations choose the weights by the events that these settings give.
            "detection": self.detection.model_dump(mode="json", exclude=_UNVALIDATED),
            "sampling": sampling_values(self.sampling),
            "batch_size": self.hardware.batch_size,
            "precision": self.hardware.precision,
            **({} if self.start is None else {"start": {"weights": self.start.checksum}}),
        }


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """The settings of a report, other than which run and which recordings are scored.

    Attributes
    ----------
    detection : Detection
        How scores become events.
    evaluation : Evaluation
        The split, whether eval may be scored, and the bootstrap.
    hardware : Hardware
        The device that scores are computed on, and how.
    """

    detection: Detection
    evaluation: Evaluation
    hardware: Hardware

    @classmethod
    def of(cls, configuration: Configuration) -> ReportSettings:
        """The settings of the report that a configuration asks for."""
        return cls(configuration.detection, configuration.evaluation, configuration.hardware)

    def shaping(self, split: str) -> dict[str, JsonValue]:
        """The settings that shape the report of a run on a split."""
        values: dict[str, JsonValue] = {
            "evaluation_version": EVALUATION_VERSION,
            "detection": self.detection.model_dump(mode="json"),
            "bootstrap": [self.evaluation.bootstrap_samples, self.evaluation.bootstrap_seed],
            "split": split,
        }
        if self.hardware.precision != "float32":
            # Reports from before this setting existed were all computed in float32.
            values["precision"] = self.hardware.precision
        return values
