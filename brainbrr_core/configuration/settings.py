"""The settings, as pydantic models. Units stand in the names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from brainbrr_core.constants import BLOCK_S, RATE


class Section(BaseModel):
    """Base of all sections: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's yes, no, on and off are truth values, which would count as 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        allowed = field.annotation is bool or any(
            choice is value for choice in get_args(field.annotation)
        )
        if isinstance(value, bool) and not allowed:
            raise ValueError("yes, no, true and false are not a value of this setting")
        return value


class Preprocessing(Section):
    """The signal chain's parameters. Every one of them is part of the preprocessing version.

    ``scale`` says what a z-score is counted in: the recording's standard deviation, or its
    interquartile range, which a seizure or an artifact does not set (``signal.statistics``).
    ``zscore_minutes`` says over what: by default over the whole recording; with a number, for
    each 10 s over the minutes that end with them, as far as there are so many
    (``signal.trailing``).
    """

    #: Samples per second of the store.
    rate_hz: Literal[256] = RATE
    #: The 19 electrodes of the 10-20 system, against a common reference.
    montage: Literal["10-20"] = "10-20"
    #: Edges of the band-pass (Butterworth), in Hz.
    bandpass_hz: tuple[float, float] = (0.5, 120.0)
    #: Order of the band-pass.
    bandpass_order: Annotated[int, Field(ge=1, le=8)] = 3
    #: Frequency of the mains, in Hz, which is filtered out.
    notch_hz: Literal[50, 60] = 60
    #: Quality of the notch: its frequency over its width.
    notch_q: Annotated[float, Field(gt=0)] = 30.0
    #: Where z-scored samples are clipped, in the unit of ``scale``.
    clip_sd: Annotated[float, Field(gt=0, le=10)] = 10.0
    #: What a z-score is counted in: the recording's standard deviation, or its interquartile range,
    #: which neither a seizure nor an artifact decides.
    scale: Literal["recording_sd", "robust"] = "recording_sd"
    #: Minutes that end with a block of 10 s and say its z-score; null: the whole recording does.
    zscore_minutes: Annotated[int, Field(ge=1, le=60)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Preprocessing:
        low, high = self.bandpass_hz
        if not 0 < low < high < self.rate_hz / 2:
            raise ValueError(f"bandpass_hz must satisfy 0 < low < high < {self.rate_hz / 2:g}")
        return self


SeizureLabel = Literal[
    "seiz",
    "gnsz",
    "fnsz",
    "spsz",
    "cpsz",
    "absz",
    "tnsz",
    "cnsz",
    "tcsz",
    "atsz",
    "mysz",
    "nesz",
]
#: TUSZ 2.0's seizure labels (v2.0.x documentation, ``DOCS/``).
SEIZURE_LABELS: tuple[SeizureLabel, ...] = get_args(SeizureLabel)


class Labels(Section):
    """Which TUSZ labels count as seizure, for the types of a per-channel ``csv``.

    An event of any other label is unknown, never background: its seconds have no part in the
    loss, in the choice of windows or in a score.
    """

    #: Labels of TUSZ that count as seizure; an event of any other label is unknown.
    seizure: tuple[SeizureLabel, ...] = SEIZURE_LABELS


LayoutName = Literal["tusz", "bids", "folder"]


class Split(Section):
    """The split by patient that a corpus gets which has none of its own; the rest is train."""

    #: Seed of the draw of patients.
    seed: int = 0
    #: Share of the patients that is dev.
    dev: Annotated[float, Field(ge=0, lt=1)] = 0.15
    #: Share of the patients that is eval.
    eval: Annotated[float, Field(ge=0, lt=1)] = 0.15

    @model_validator(mode="after")
    def _leaves_some(self) -> Split:
        if self.dev + self.eval >= 1:
            raise ValueError("dev and eval must leave patients for train")
        return self


#: How a text names a seizure, with its number if it has one: ``Seizure #8``, ``sz_2``.
_SEIZURE = r"(?:sz|seiz|seizure)s?[\s_#.:\d-]*"
#: What may follow, such as the initials of who wrote it.
_REMARK = r"(?:\s*[-#(].*)?"


class AnnotationTexts(Section):
    """Which free texts of annotations speak of seizures, as regular expressions.

    One must match a whole text, in upper or lower case; the lists are tried in this order. They
    are for ``events.tsv`` and EDF+ annotations: TUSZ's files have a fixed vocabulary.
    """

    #: Say nothing, though they speak of seizures: what programs detected, and that there was none.
    ignored: tuple[str, ...] = (r"@?(?:\w+ )?seizuredetect.*", r"no (?:\w+ )?(?:sz|seizure)s?")
    #: A seizure ends here.
    end: tuple[str, ...] = (
        "offset",
        rf"{_SEIZURE}(?:offset|ends?|ended|stops?|stopped){_REMARK}",
        rf"(?:offset|end) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: A seizure starts here; where it ends, another annotation says.
    onset: tuple[str, ...] = (
        "onset",
        rf"{_SEIZURE}(?:onset|starts?|started|begins?|began){_REMARK}",
        rf"(?:onset|start|beginning) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: Nobody can say what this interval is.
    unknown: tuple[str, ...] = ("unknown", "unkn")
    #: A seizure for as long as the annotation lasts.
    seizure: tuple[str, ...] = (_SEIZURE,)

    @field_validator("*")
    @classmethod
    def _expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return patterns


class ChannelRules(Section):
    """Which recordings a signal of the 19 electrodes is made of, as far as channels decide it.

    A change of these shows in the next index: no version of the store depends on them, and each
    shard carries which of its electrodes are interpolated.
    """

    #: Whether the electrodes must be against one reference, as far as their labels say. With
    #: ``any``, a recording in which they are not is used, with a finding.
    references: Literal["common", "any"] = "any"
    #: Missing or bad electrodes that are made from the others at most; with more the recording is
    #: excluded.
    interpolate_at_most: Annotated[int, Field(ge=0, le=9)] = 3

    @property
    def channel_rules(self) -> str:
        """These settings alone as one text, the same for the same settings."""
        values = self.model_dump(mode="json", include=set(ChannelRules.model_fields))
        return json.dumps(values, sort_keys=True)


class Corpus(ChannelRules):
    """How the corpus lies on disk, and what of it is used; a layout of None is the one found."""

    #: How the folders and annotations lie; null: what they look like.
    layout: LayoutName | None = None
    #: A regular expression whose one group is the patient in a partition key (the path of an EDF
    #: below the corpus, without its ending); None leaves it to the layout.
    patient_pattern: str | None = None
    #: The split by patient of a corpus that has none of its own.
    split: Split = Split()
    #: Which free texts of annotations speak of seizures.
    annotation_texts: AnnotationTexts = AnnotationTexts()

    @field_validator("patient_pattern")
    @classmethod
    def _names_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression ({error})") from None
        if groups != 1:
            raise ValueError(
                f"'{pattern}' has {groups} groups, and one must say what the patient is, such as "
                "'^([^-]+)-'; (?:...) is no group"
            )
        return pattern


class Windows(Section):
    """How windows are sliced from the store, at read time."""

    #: Seconds of a window.
    length_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 60
    #: Seconds from one window of a training to the next.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 10


class Selection(Section):
    """Which recordings of the corpus a profile uses; None is all of them."""

    #: How many recordings are used, of every split and with seizures first; null: all.
    recordings: Annotated[int, Field(gt=0)] | None = None
    #: Seed of the order in which recordings are taken.
    seed: int = 0


class Sampling(Section):
    """The balanced training set, as multiples of the number of partly-seizure windows.

    Where those are fewer than half the windows that are wholly seizure, half of these count.
    ``balance`` says what is drawn equally often: each window of a kind, or each patient who has
    windows of it.
    """

    #: Share of seizure among a window's known samples from which on it is wholly seizure.
    full_threshold: Annotated[float, Field(gt=0, le=1)] = 0.99
    #: Wholly ictal windows in an epoch, for each partly ictal one.
    full_ratio: Annotated[float, Field(ge=0)] = 0.3
    #: Background windows in an epoch, for each partly ictal one.
    background_ratio: Annotated[float, Field(ge=0)] = 2.5
    #: What is drawn equally often: the windows of a kind, or the patients who have some.
    balance: Literal["windows", "patients"] = "windows"


class Model(Section):
    """The network: a preset of ``brainbrr_core.model``."""

    #: The size of the network, from two CPU cores to a large GPU.
    preset: Literal["tiny", "small", "base"] = "base"


class Augmentation(Section):
    """Changes made to windows before the network trains on them; all off by default.

    Every probability is for one window, and what is drawn follows from seed, step and row.
    """

    #: Probability of each channel to be silent.
    channel_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: The whole window is multiplied by a factor up to ``1 + amplitude``, or divided by it.
    amplitude: Annotated[float, Field(ge=0, le=1)] = 0.0
    #: Signals and labels are moved by up to this many seconds; the edge is filled by reflection.
    time_shift_s: Annotated[float, Field(ge=0, le=BLOCK_S)] = 0.0
    #: Standard deviation of white noise, of a channel's own.
    noise_sd: Annotated[float, Field(ge=0, le=1)] = 0.0
    #: Probability that left and right electrodes change places.
    left_right_flip: Annotated[float, Field(ge=0, le=1)] = 0.0


class Training(Section):
    """The optimizer's settings and the length of a run, in optimizer steps."""

    #: Seed of the first weights, the order of the windows and the augmentation.
    seed: int = 0
    #: Optimizer steps.
    steps: Annotated[int, Field(gt=0)] = 20_000
    #: Highest learning rate, which is reached after the warm-up.
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    #: Steps in which the learning rate rises from 0.
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    #: Weight decay of AdamW.
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    #: Norm to which gradients are clipped.
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    #: Cross-entropy with both classes of equal weight, or the focal loss with that weight.
    loss: Literal["weighted_bce", "focal"] = "weighted_bce"
    #: Exponent of the focal loss (Lin et al. 2017); the other loss has none.
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    #: What weighs the same in the loss: each second of seizure, or each seizure as a whole.
    seizure_weight: Literal["seconds", "events"] = "seconds"
    #: Part of a label that is spread over both answers: 0.1 makes 1 and 0 into 0.95 and 0.05.
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Steps whose loss or gradient is not finite that are skipped in all; one more ends the
    #: training. None: 20 in bfloat16, and none in float32, where it is hardly chance.
    skipped_steps_limit: Annotated[int, Field(ge=0)] | None = None
    #: Steps between two checkpoints.
    checkpoint_every: Annotated[int, Field(gt=0)] = 500
    #: Periodic checkpoints that are kept beside the last and the best one.
    keep_checkpoints: Annotated[int, Field(ge=0)] = 2
    #: Steps between two validations on dev; the last step is always validated.
    validate_every: Annotated[int, Field(gt=0)] = 1000
    #: Validations without a better score after which the training ends; 0 never ends it.
    patience: Annotated[int, Field(ge=0)] = 0
    #: Changes made to windows before the network trains on them.
    augmentation: Augmentation = Augmentation()
    #: A project of Weights & Biases to log to, beside TensorBoard.
    wandb: str | None = None


class Detection(Section):
    """From scores (logits) to events, in the order of the steps.

    Overlapping windows are stitched; frames are smoothed by a moving median; an event begins at
    one threshold and ends at a lower one. The tuned thresholds are those of two numbers of frames
    of the tuning split: ``off_ratio`` is how many frames reach the first for one that reaches the
    second. ``on_threshold`` counts until they are tuned, and is a probability, as is ``predict
    --threshold``; events then end below ``off_ratio`` times that probability. Opening drops
    intervals shorter than ``opening_s`` and closing fills gaps shorter than ``closing_s``; gaps of
    at most ``merge_gap_s`` are joined; events shorter than ``min_duration_s`` are dropped and those
    longer than ``max_duration_s`` are cut into equal parts.
    """

    #: Seconds from one window of a recording to the next.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 30
    #: How the logits of overlapping windows become one: their mean, their mean weighted by a
    #: triangle that is highest in a window's middle, or the highest of them.
    stitching: Literal["average", "triangular", "max"] = "triangular"
    #: Seconds of the moving median over the frames.
    smooth_s: Annotated[float, Field(ge=0)] = 2.0
    #: Probability at which an event begins, until a threshold is tuned on dev.
    on_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.86
    #: Where an event ends: below this times the threshold at which it begins, or at the score that
    #: 1 / this times as many frames reach, where the threshold is tuned.
    off_ratio: Annotated[float, Field(gt=0, le=1)] = 0.78 / 0.86
    #: Intervals shorter than this are dropped, before gaps are filled.
    opening_s: Annotated[float, Field(ge=0)] = 0.0
    #: Gaps shorter than this are filled.
    closing_s: Annotated[float, Field(ge=0)] = 0.0
    #: Gaps of at most this are joined.
    merge_gap_s: Annotated[float, Field(ge=0)] = 2.0
    #: Events shorter than this are dropped.
    min_duration_s: Annotated[float, Field(ge=0)] = 3.0
    #: Events longer than this are cut into equal parts; null: none is.
    max_duration_s: Annotated[float, Field(gt=0)] | None = None
    #: What the confidence of an event is of its frames' probabilities.
    confidence: Literal["mean", "max"] = "mean"

    @model_validator(mode="after")
    def _durations_in_order(self) -> Detection:
        # Equal parts of an event that is too long are longer than half of the longest duration.
        if self.max_duration_s is not None and self.max_duration_s < 2 * self.min_duration_s:
            raise ValueError("max_duration_s must be at least twice min_duration_s")
        return self


class Evaluation(Section):
    """What is scored. The threshold is always tuned on dev.

    The eval split is scored only where ``allow_eval`` says so; every time is counted.
    """

    #: The split that is scored.
    split: Literal["dev", "eval"] = "dev"
    #: Whether the split eval may be scored.
    allow_eval: bool = False
    #: Resamples of the patients behind every confidence interval.
    bootstrap_samples: Annotated[int, Field(ge=100)] = 1000
    #: Seed of those resamples.
    bootstrap_seed: int = 0


Precision = Literal["float32", "bfloat16"]
#: How the network is run: operation by operation, compiled, or compiled and recorded, to be
#: started as a whole (a CUDA graph).
Compilation = Literal[False, True, "cuda_graphs"]


class Hardware(Section):
    """The device a training is bound to, and what it can carry."""

    #: What the device is called in what is printed.
    name: str = "cpu"
    #: Where the network is trained and run.
    device: Literal["cpu", "cuda"] = "cpu"
    #: Any of these must occur in the card's name as CUDA reports it.
    card: tuple[str, ...] = ()
    #: Memory that the GPU must have, in GB.
    memory_gb: Annotated[float, Field(ge=0)] = 0.0
    #: Compute capability that the GPU must have at least; null: any.
    compute_capability: tuple[int, int] | None = None
    #: Windows of one optimizer step, over all processes.
    batch_size: Annotated[int, Field(gt=0)] = 16
    #: Parts in which a process works through its share of a batch, to need less memory.
    accumulate: Annotated[int, Field(gt=0)] = 1
    #: Windows at once in validation, evaluation and prediction; by default 1 on a CPU (8 in
    #: validation), and on a GPU as many as a process works through at once in training, but 32 at
    #: least.
    inference_batch_size: Annotated[int, Field(gt=0)] | None = None
    #: Whether a training keeps only what passes between the parts of the network and computes the
    #: rest once more for the gradient: the same training in less memory, and a third slower.
    recompute_activations: bool = False
    #: Of the network's products, in training and in use; its weights are float32.
    precision: Precision = "float32"
    #: Whether the network is compiled by torch, for training and for use; with ``cuda_graphs``, on
    #: one GPU, a step is also started as a whole, which helps where a GPU waits for the next
    #: operation (small networks).
    compile: Compilation = False
    #: The same bits each time on one GPU and its software, for some speed. A CPU always gives them.
    deterministic: bool = False
    #: Optimizer steps between two looks at their figures, for which a GPU is waited; they are
    #: written down at every step all the same. None: 20 on a GPU, 1 on a CPU.
    report_every: Annotated[int, Field(gt=0)] | None = None
    #: What computes the state-space layers: plain torch, or the fused kernels of mamba-ssm.
    ssm_backend: Literal["torch", "mamba_ssm"] = "torch"

    @model_validator(mode="after")
    def _graphs_of_cuda(self) -> Hardware:
        if self.compile == "cuda_graphs" and self.device != "cuda":
            raise ValueError("compile: cuda_graphs needs device: cuda; use compile: true")
        return self


class Orchestration(Section):
    """How the graph is kept up to date where its sensor and its schedule are turned on."""

    #: Recordings that one run is asked to build at most; None: one run for all of them.
    recordings_per_run: Annotated[int, Field(gt=0)] | None = None
    #: When the schedule trains and evaluates, in cron's five fields.
    training_cron: str = "0 20 * * 5"


@dataclass(frozen=True, slots=True)
class Origin:
    """How a configuration was chosen: what commands repeat and say of it."""

    #: The command-line options that chose it, each after a space.
    options: str = ""
    #: Names and absolute paths of its files, later ones winning.
    layers: tuple[str, ...] = ()
    #: The profile that wins over that of the files; None where the files say.
    profile: str | None = None
    #: Why the cache root is where it is, where nobody set it; None where it was set.
    cache_root: str | None = None


class Configuration(Section):
    """Everything that can be set for a run."""

    #: Name of the profile: which recordings, and how long a training.
    profile: str = "full"
    #: Folder or URL of the corpus; null: none is here.
    data_dir: str | None = None
    #: Folder of the store.
    cache_root: Path
    #: Folder of the training runs.
    runs_dir: Path
    #: Folder of Dagster's own storage.
    dagster_home: Path
    #: An imported version of the store, by its name; otherwise the version is derived.
    version: str | None = None
    corpus: Corpus = Corpus()
    preprocessing: Preprocessing = Preprocessing()
    labels: Labels = Labels()
    windows: Windows = Windows()
    selection: Selection = Selection()
    sampling: Sampling = Sampling()
    model: Model = Model()
    training: Training = Training()
    detection: Detection = Detection()
    evaluation: Evaluation = Evaluation()
    hardware: Hardware = Hardware()
    orchestration: Orchestration = Orchestration()

    _origin: Origin = PrivateAttr(Origin())

    @property
    def origin(self) -> Origin:
        """How these settings were chosen."""
        return self._origin

    @property
    def options(self) -> str:
        """The command-line options that chose these settings, for a command that mends."""
        return self._origin.options

    def chosen_by(self, origin: Origin) -> Configuration:
        """The same settings, which remember how they were chosen."""
        chosen = self.model_copy()
        chosen._origin = origin
        return chosen
