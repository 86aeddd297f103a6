"""Settings of the section ``training``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.constants import BLOCK_S


class Augmentation(Section):
    """Random changes of training windows. All are off by default.

    Random numbers follow from the seed, the step and the window's position in the batch, so that a
    resumed training draws the same ones.
    """

    #: Probability that a channel is replaced by zeros, for each channel of each window.
    channel_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Each window is multiplied or divided by a random factor between 1 and ``1 + amplitude``.
    amplitude: Annotated[float, Field(ge=0, le=1)] = 0.0
    #: Most seconds by which signal and labels of a window are shifted together. The edge is filled
    #: by reflection.
    time_shift_s: Annotated[float, Field(ge=0, le=BLOCK_S)] = 0.0
    #: Standard deviation of the white noise that is added to each channel, in units of ``scale``.
    noise_sd: Annotated[float, Field(ge=0, le=1)] = 0.0
    #: Probability that the electrodes of a window are mirrored from left to right.
    left_right_flip: Annotated[float, Field(ge=0, le=1)] = 0.0


class Training(Section):
    """The optimizer and the length of a training, counted in optimizer steps."""

    #: Seed of the initial weights, the order of the windows and the augmentation.
    seed: int = 0
    #: Length of the training in optimizer steps.
    steps: Annotated[int, Field(gt=0)] = 20_000
    #: Highest learning rate, reached at the end of the warm-up.
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    #: Steps of the warm-up, in which the learning rate rises from 0.
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    #: Weight decay of AdamW.
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    #: Largest norm of the gradient; a larger one is scaled down to it.
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    #: Loss: binary cross-entropy, or the focal loss. Both weigh seizure and background equally.
    loss: Literal["weighted_bce", "focal"] = "weighted_bce"
    #: Exponent gamma of the focal loss (Lin et al. 2017). The other loss ignores it.
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    #: Whether each second of seizure has the same weight in the loss, or each seizure as a whole.
    seizure_weight: Literal["seconds", "events"] = "seconds"
    #: Label smoothing: 0.1 turns the labels 1 and 0 into 0.95 and 0.05.
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Steps with a loss or gradient that is not finite that a training skips; one more ends it.
    #: With ``null`` it is 20 in bfloat16 and 0 in float32, where such a step is hardly due to
    #: chance.
    skipped_steps_limit: Annotated[int, Field(ge=0)] | None = None
    #: Steps between two checkpoints, from which an interrupted training resumes.
    checkpoint_every: Annotated[int, Field(gt=0)] = 500
    #: Number of earlier checkpoints that are kept in addition to the last and the best one.
    keep_checkpoints: Annotated[int, Field(ge=0)] = 2
    #: Steps between two validations on dev. The last step is always validated.
    validate_every: Annotated[int, Field(gt=0)] = 1000
    #: Validations without a better score after which the training ends early; 0 turns that off.
    patience: Annotated[int, Field(ge=0)] = 0
    #: Random changes of training windows.
    augmentation: Augmentation = Augmentation()
    #: Run or exported model whose weights the training begins with, for fine-tuning: its folder, or
    #: a run's name in the folder of runs. Network and montage must be the same. With ``null`` the
    #: weights are random. The run's identity has the checksum of the weights, not this path.
    start_from: str | None = None
    #: Part of the network whose weights stay those of ``start_from``: its encoder, or none.
    freeze: Literal["encoder"] | None = None
    #: Project of Weights & Biases to log to, in addition to TensorBoard. With ``null`` none is
    #: used.
    wandb: str | None = None
    #: Experiment of MLflow to log to, in addition to TensorBoard. With ``null`` none is used.
    mlflow: str | None = None

    @model_validator(mode="after")
    def _freezes_what_is_trained(self) -> Training:
        if self.freeze is not None and self.start_from is None:
            raise ValueError("freeze keeps the weights of start_from, which is not set: set both")
        return self
