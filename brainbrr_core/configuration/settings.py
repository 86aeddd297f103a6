"""The settings, as pydantic models. The name of a setting ends with its unit."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from brainbrr_core.constants import BLOCK_S, MONTAGES, RATE, MontageName


class Section(BaseModel):
    """Base class of all sections: unknown keys are refused, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads yes, no, on and off as booleans, which would otherwise count as 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        allowed = field.annotation is bool or any(
            choice is value for choice in get_args(field.annotation)
        )
        if isinstance(value, bool) and not allowed:
            raise ValueError("yes, no, true and false are not a value of this setting")
        return value


class Preprocessing(Section):
    """Parameters of the signal chain.

    Each of them is part of the preprocessing version: a change of one builds the whole cache again,
    as another version.
    """

    #: Sampling rate of the stored signal, in Hz. Every recording is resampled to it.
    rate_hz: Literal[256] = RATE
    #: Stored channels: the 19 electrodes of the 10-20 system, or the 18 bipolar derivations of the
    #: double banana. Derivations are computed from the electrodes, or taken from a bipolar
    #: recording, which ``10-20`` cannot use.
    montage: MontageName = "10-20"
    #: Lower and upper cutoff frequency of the Butterworth band-pass, in Hz. The default is that of
    #: brain-go-brr v2, so that models and results can be compared.
    bandpass_hz: tuple[float, float] = (0.5, 120.0)
    #: Order of the Butterworth band-pass.
    bandpass_order: Annotated[int, Field(ge=1, le=8)] = 3
    #: Power-line frequency that the notch filter removes, in Hz: 60 in North America, 50 in most
    #: other regions.
    notch_hz: Literal[50, 60] = 60
    #: Quality factor of the notch filter: its center frequency divided by its bandwidth.
    notch_q: Annotated[float, Field(gt=0)] = 30.0
    #: Absolute value at which z-scored samples are clipped, in units of ``scale``. At most 10, the
    #: range of the stored 16-bit samples.
    clip_sd: Annotated[float, Field(gt=0, le=10)] = 10.0
    #: Unit of the z-score of each channel: the standard deviation, or (``robust``) the
    #: interquartile range, which depends little on seizures and artifacts.
    scale: Literal["recording_sd", "robust"] = "recording_sd"
    #: Minutes of signal from which the z-score of each 10 s block is computed; they end with that
    #: block. With ``null``, one z-score is computed from the whole recording. A number makes stored
    #: recordings and a live signal alike.
    zscore_minutes: Annotated[int, Field(ge=1, le=60)] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The stored channels, in order."""
        return MONTAGES[self.montage]

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
    """Which seizure types of TUSZ count as seizure."""

    #: Labels of TUSZ's per-channel annotations that count as seizure. An event with another seizure
    #: label is unknown, never background: its seconds count neither in the loss nor in a score.
    seizure: tuple[SeizureLabel, ...] = SEIZURE_LABELS


LayoutName = Literal["tusz", "bids", "chbmit", "siena", "seizeit1", "folder"]


#: How patients are assigned to splits.
SplitScheme = Literal["fixed", "hash", "kfold", "leave_one_patient_out"]
#: Those with several trainings, each of which holds out other patients.
SCHEMES_WITH_FOLDS = ("kfold", "leave_one_patient_out")


class Split(Section):
    """How patients are assigned to the splits train, dev and eval.

    ``dev`` and ``eval`` are either fractions, by which the patients of a corpus without splits are
    assigned at random, or lists of patients. Patients that no list names have the split that the
    corpus gives them, or are train.

    With one of the schemes ``kfold`` and ``leave_one_patient_out`` there are several trainings, the
    folds. Each holds out other patients as its eval, and each patient is held out in one of them.
    """

    #: What assigns the patients. ``fixed``: lists, a table, the corpus itself, or else a hash of
    #: their names. ``hash``: the hash, whatever the corpus says. ``kfold``: ``folds`` folds.
    #: ``leave_one_patient_out``: a fold for each patient.
    scheme: SplitScheme = "fixed"
    #: Number of folds of the scheme ``kfold``.
    folds: Annotated[int, Field(ge=2)] = 5
    #: The fold that is trained or evaluated, from 1 on. It is usually chosen by ``--fold``.
    fold: Annotated[int, Field(ge=1)] | None = None
    #: Seed of the random assignment of patients to splits.
    seed: int = 0
    #: The split dev: a fraction of the patients, or a list of their names. In a fold, it is a
    #: fraction of the patients who are not held out.
    dev: float | tuple[str, ...] = 0.15
    #: The split eval: a fraction of the patients, or a list of their names. Folds do not use it.
    eval: float | tuple[str, ...] = 0.15
    #: Names of the patients of the split train. With ``null`` every other patient is in it; with a
    #: list, each patient must be in one of the three lists.
    train: tuple[str, ...] | None = None
    #: Path of a table with the columns ``participant_id`` and ``split`` that assigns every patient.
    #: With ``null`` it is the file ``split.tsv`` in the folder of the corpus, if there is one.
    table: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists_alone(cls, values: object) -> object:
        """A split that is not given beside lists is an empty list."""
        if not isinstance(values, Mapping):
            return values
        if not any(isinstance(values.get(name), list | tuple) for name in ("dev", "eval", "train")):
            return values
        return {"dev": (), "eval": ()} | dict(values)

    @field_validator("dev", "eval", "train", mode="before")
    @classmethod
    def _fraction_or_patients(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, list | tuple):
            for name in value:
                if not isinstance(name, str):
                    raise ValueError(f"the patient {name!r} is not text: write it in quotes")
            return tuple(value)
        if value is None and info.field_name == "train":
            return value
        if info.field_name == "train":
            raise ValueError("give a list of patients; train is what dev and eval leave")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError("give a fraction of the patients, such as 0.15, or a list of patients")
        return float(value)

    @model_validator(mode="after")
    def _leaves_some(self) -> Split:
        if self.lists is None:
            if isinstance(self.dev, tuple) or isinstance(self.eval, tuple):
                raise ValueError("give dev and eval both as lists of patients or both as fractions")
            if self.dev + self.eval >= 1:
                raise ValueError("dev and eval must leave patients for train")
        elif self.table is not None:
            raise ValueError("give either lists of patients or a table")
        return self

    @model_validator(mode="after")
    def _of_the_scheme(self) -> Split:
        if self.scheme != "fixed" and (self.lists is not None or self.table is not None):
            raise ValueError(
                f"the scheme {self.scheme} assigns all patients itself: leave out lists and table, "
                "or use scheme: fixed"
            )
        if self.has_folds and self.dev == 0:
            raise ValueError(
                "weights and threshold of each fold are chosen on its dev: give dev a fraction "
                "above 0"
            )
        if self.fold is None:
            return self
        if not self.has_folds:
            raise ValueError(
                f"the scheme {self.scheme} has no folds, and fold is {self.fold}: set scheme to "
                "kfold or leave_one_patient_out"
            )
        if self.scheme == "kfold" and self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
        return self

    @property
    def has_folds(self) -> bool:
        """Whether the scheme has folds, each of which holds out other patients."""
        return self.scheme in SCHEMES_WITH_FOLDS

    @property
    def lists(self) -> dict[str, tuple[str, ...]] | None:
        """The patients of each split as listed; None where the splits are fractions."""
        if not isinstance(self.dev, tuple) or not isinstance(self.eval, tuple):
            return None
        return {"train": self.train or (), "dev": self.dev, "eval": self.eval}

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of the patients in each split; empty where the splits are lists."""
        if isinstance(self.dev, tuple) or isinstance(self.eval, tuple):
            return {}
        return {"train": 1 - self.dev - self.eval, "dev": self.dev, "eval": self.eval}


#: A word for a seizure, with its number if it has one: ``Seizure #8``, ``sz_2``.
_SEIZURE = r"(?:sz|seiz|seizure)s?[\s_#.:\d-]*"
#: An optional remark after it, such as the initials of the annotator.
_REMARK = r"(?:\s*[-#(].*)?"


class AnnotationTexts(Section):
    """What free texts of annotations mean, as lists of regular expressions.

    An expression must match the whole text, in upper or lower case. The lists are tried in this
    order. They apply to ``events.tsv`` and EDF+ annotations; TUSZ's files have a fixed vocabulary.
    """

    #: Texts that mention seizures and mean none: detections by programs, and "no seizure".
    ignored: tuple[str, ...] = (r"@?(?:\w+ )?seizuredetect.*", r"no (?:\w+ )?(?:sz|seizure)s?")
    #: Texts that mark the end of a seizure.
    end: tuple[str, ...] = (
        "offset",
        rf"{_SEIZURE}(?:offset|ends?|ended|stops?|stopped){_REMARK}",
        rf"(?:offset|end) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: Texts that mark the start of a seizure whose end is marked by another annotation.
    onset: tuple[str, ...] = (
        "onset",
        rf"{_SEIZURE}(?:onset|starts?|started|begins?|began){_REMARK}",
        rf"(?:onset|start|beginning) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: Texts of intervals that are neither known to be seizure nor known to be background.
    unknown: tuple[str, ...] = ("unknown", "unkn")
    #: Texts of annotations whose whole duration is a seizure.
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
    """Which recordings are used, as far as that depends on their channels.

    A change takes effect with the next index. It does not change the preprocessing version: each
    shard records which of its electrodes are interpolated.
    """

    #: Whether the labels of the electrodes must name one common reference. With ``any``, a
    #: recording with several references is used, and the index notes it as a finding.
    references: Literal["common", "any"] = "any"
    #: Most missing or bad electrodes that are interpolated from the others. A recording with more
    #: of them is excluded.
    interpolate_at_most: Annotated[int, Field(ge=0, le=9)] = 3

    @property
    def channel_rules(self) -> str:
        """These settings alone as one text, the same for the same settings."""
        values = self.model_dump(mode="json", include=set(ChannelRules.model_fields))
        return json.dumps(values, sort_keys=True)


class CorpusReading(Section):
    """The layout of a corpus, and how its paths and annotations are read."""

    #: Layout of folders and annotations. With ``null`` it is recognized from the files.
    layout: LayoutName | None = None
    #: Regular expression whose one group is the patient's name within a partition key (the path of
    #: an EDF below the corpus, without its suffix). With ``null`` the layout decides.
    patient_pattern: str | None = None
    #: How patients are assigned to splits in a corpus without splits.
    split: Split = Split()
    #: What free texts of annotations mean.
    annotation_texts: AnnotationTexts = AnnotationTexts()
    #: A note on the license of the corpus, which reports repeat.
    license: str = ""

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


class Corpus(ChannelRules, CorpusReading):
    """The layout of the corpus, and how its paths, annotations and channels are read."""


class ListedCorpus(CorpusReading):
    """One of several corpora: its name, where it is, and how its paths and annotations are read."""

    #: Name of the corpus. With a slash it comes before the paths of its EDFs, and before the names
    #: of its patients.
    name: str
    #: Folder or URL of the corpus. With ``null``, on a machine without its EDFs, the index stands
    #: for it.
    data_dir: str | None = None
    #: Whether the name comes before partition keys and patients. With ``false``, which one corpus
    #: may have, they are those of a cache root with this corpus alone, and its shards are kept.
    prefix_keys: bool = True
    #: Patients of this corpus who are also in another one, each with the name of the patient there,
    #: such as ``{PN00: chbmit/chb05}``. Both count as one patient, in the split of the other
    #: corpus.
    same_patients: dict[str, str] = {}

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("use letters, digits, dots, hyphens and underscores, such as chbmit")
        return name

    @model_validator(mode="after")
    def _maps_into_another(self) -> ListedCorpus:
        if self.same_patients and not self.prefix_keys:
            raise ValueError(
                "same_patients of a corpus with prefix_keys: false would change its patients: list "
                "them in the entry of the other corpus"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The settings that are not the defaults: a list has no room for the others."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in whole(self).items()
            if getattr(self, name) != fields[name].get_default()
        }

    @property
    def prefix(self) -> str:
        """What comes before keys and patients in the index."""
        return f"{self.name}/" if self.prefix_keys else ""


class Windows(Section):
    """How windows are cut from stored recordings when they are read."""

    #: Length of a window in seconds, a multiple of the 10 s of a stored block.
    length_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 60
    #: Seconds from the start of one training window to the next, a multiple of 10.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 10


class Selection(Section):
    """Which recordings of the corpus a profile uses."""

    #: Number of recordings, taken from every split and with seizures first. With ``null`` all are
    #: used.
    recordings: Annotated[int, Field(gt=0)] | None = None
    #: Seed of the random order in which recordings are taken.
    seed: int = 0


class Sampling(Section):
    """How the training windows of an epoch are drawn.

    All partly ictal windows are in an epoch; the numbers of the others are multiples of theirs.
    Where there are fewer of them than half of the fully ictal windows, that half counts instead.
    """

    #: Fraction of seizure among the labeled samples of a window from which on the window counts as
    #: fully ictal.
    full_threshold: Annotated[float, Field(gt=0, le=1)] = 0.99
    #: Fully ictal windows in an epoch for each partly ictal one.
    full_ratio: Annotated[float, Field(ge=0)] = 0.3
    #: Background windows in an epoch for each partly ictal one.
    background_ratio: Annotated[float, Field(ge=0)] = 2.5
    #: Whether each window of a kind is drawn equally often, or each patient who has such windows.
    balance: Literal["windows", "patients"] = "windows"
    #: How much of each kind of window comes from each corpus of ``corpora``, as weights by name,
    #: such as ``{tusz: 1, chbmit: 1}``. Corpora that are not named have the weight 1. With an empty
    #: mapping, windows are drawn whatever their corpus is.
    corpus_weights: dict[str, Annotated[float, Field(ge=0)]] = {}


#: The default network, whose size is a preset.
DEFAULT_NETWORK = "bimamba2"
#: Every network that has a name.
NETWORKS = (
    DEFAULT_NETWORK,
    "eegnet",
    "line_length",
    "seizure_transformer",
    "tcn",
    "tcn_bimamba",
    "unet",
)
#: ``braindecode:NAME``, a network of that package.
BRAINDECODE = "braindecode"
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class Model(Section):
    """The network."""

    #: The network: ``bimamba2``, another one that the program has (see the page on networks),
    #: ``braindecode:NAME``, or a class of your own as ``package.module:Class``.
    network: str = DEFAULT_NETWORK
    #: Options of the network, by the names of the parameters of its class. ``bimamba2`` has none.
    options: dict[str, JsonValue] = {}
    #: Size of the network ``bimamba2``. ``tiny`` trains on two CPU cores, ``base`` is meant for a
    #: GPU. Other networks ignore it.
    preset: Literal["tiny", "small", "base"] = "base"

    @field_validator("network")
    @classmethod
    def _names_a_network(cls, name: str) -> str:
        if name in NETWORKS or _CLASS.fullmatch(name):
            return name
        near = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0.0)
        raise ValueError(
            f"there is no such network, the nearest is {near[0]}: use one of "
            f"{', '.join(NETWORKS)}, {BRAINDECODE}:NAME, or package.module:Class"
        )

    @model_validator(mode="after")
    def _options_of_the_default(self) -> Model:
        if self.network == DEFAULT_NETWORK and self.options:
            raise ValueError(
                f"{DEFAULT_NETWORK} has no options: its size is model.preset (tiny, small, base)"
            )
        return self

    @property
    def name(self) -> str:
        """The network in a word, for people: the preset of the default network, or its name."""
        return self.preset if self.network == DEFAULT_NETWORK else self.network

    def shaping(self) -> dict[str, JsonValue]:
        """What of these settings says which network it is.

        Returns
        -------
        dict
            The preset of the default network; the name and the options of any other.
        """
        if self.network == DEFAULT_NETWORK:
            return {"preset": self.preset}
        return {"network": self.network, "options": dict(self.options)}


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


class Detection(Section):
    """How the network's scores (logits) of 1/8 s frames become events.

    The settings are listed in the order of the steps: windows are stitched, frames are smoothed,
    an event begins at one threshold and ends at a lower one, and short intervals and gaps are
    removed. Both thresholds are tuned on dev after a training.
    """

    #: Seconds from the start of one scored window of a recording to the next, a multiple of 10.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 30
    #: How the logits of overlapping windows are combined: by their mean, by their mean weighted
    #: with a triangle that peaks in the middle of the window, or by their maximum.
    stitching: Literal["average", "triangular", "max"] = "triangular"
    #: Length in seconds of the moving median that smooths the frames; 0 turns it off.
    smooth_s: Annotated[float, Field(ge=0)] = 2.0
    #: Probability at which an event begins, used until a threshold is tuned on dev.
    on_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.86
    #: Ratio of the threshold at which an event ends to the one at which it begins. With a tuned
    #: threshold it is a ratio of frames instead: of the frames of dev that reach the threshold at
    #: which an event ends, this fraction reaches the one at which an event begins.
    off_ratio: Annotated[float, Field(gt=0, le=1)] = 0.78 / 0.86
    #: Intervals above the threshold that are shorter than this many seconds are dropped first.
    opening_s: Annotated[float, Field(ge=0)] = 0.0
    #: Gaps that are shorter than this many seconds are filled next.
    closing_s: Annotated[float, Field(ge=0)] = 0.0
    #: Events with a gap of at most this many seconds are merged.
    merge_gap_s: Annotated[float, Field(ge=0)] = 2.0
    #: Events that are shorter than this many seconds are dropped.
    min_duration_s: Annotated[float, Field(ge=0)] = 3.0
    #: Events that are longer than this many seconds are cut into equal parts. With ``null`` none
    #: are.
    max_duration_s: Annotated[float, Field(gt=0)] | None = None
    #: Whether the confidence of an event is the mean or the maximum of its frames' probabilities.
    confidence: Literal["mean", "max"] = "mean"

    @model_validator(mode="after")
    def _durations_in_order(self) -> Detection:
        # Equal parts of an event that is too long are longer than half of the longest duration.
        if self.max_duration_s is not None and self.max_duration_s < 2 * self.min_duration_s:
            raise ValueError("max_duration_s must be at least twice min_duration_s")
        return self


class Evaluation(Section):
    """What is scored. The threshold is always tuned on dev."""

    #: Split that is scored.
    split: Literal["dev", "eval"] = "dev"
    #: Whether the split eval may be scored. Each time that it is scored is counted and reported.
    allow_eval: bool = False
    #: Number of bootstrap resamples of the patients for confidence intervals.
    bootstrap_samples: Annotated[int, Field(ge=100)] = 1000
    #: Seed of the bootstrap resamples.
    bootstrap_seed: int = 0


Precision = Literal["float32", "bfloat16"]
#: How the network is run: operation by operation, compiled, or compiled and recorded as a CUDA
#: graph, which starts all operations of a step at once.
Compilation = Literal[False, True, "cuda_graphs"]


class Hardware(Section):
    """The device that a training runs on, and the batch that fits it."""

    #: Name of the device in what is printed.
    name: str = "cpu"
    #: Type of the device that trains and runs the network.
    device: Literal["cpu", "cuda"] = "cpu"
    #: Accepted GPUs: one of these must occur in the name that CUDA reports. Empty accepts any.
    card: tuple[str, ...] = ()
    #: Least memory of the GPU, in GB.
    memory_gb: Annotated[float, Field(ge=0)] = 0.0
    #: Least compute capability of the GPU. With ``null`` any is accepted.
    compute_capability: tuple[int, int] | None = None
    #: Windows of one optimizer step, the total over all processes.
    batch_size: Annotated[int, Field(gt=0)] = 16
    #: Number of parts in which each process computes its share of a batch, to need less memory.
    accumulate: Annotated[int, Field(gt=0)] = 1
    #: Windows of a batch in validation, evaluation and prediction. With ``null`` it is 1 on a CPU
    #: (8 in validation), and on a GPU as many as a process computes at once in training, at least
    #: 32.
    inference_batch_size: Annotated[int, Field(gt=0)] | None = None
    #: Whether a training stores only the activations between the blocks of the network and computes
    #: the others again for the gradient. The result is the same, with less memory and a third
    #: slower.
    recompute_activations: bool = False
    #: Precision of the network's computation; its weights are always float32.
    precision: Precision = "float32"
    #: Whether torch compiles the network. With ``cuda_graphs``, on one GPU, all operations of a
    #: step are also started at once, which helps small networks, whose GPU waits for the next
    #: operation.
    compile: Compilation = False
    #: Whether a training on a GPU gives the same bits each time, on the same GPU with the same
    #: software. It is slower. A training on a CPU always gives the same bits.
    deterministic: bool = False
    #: Steps after which the loss is read from the GPU, which waits for it. The figures of every
    #: step are recorded all the same. With ``null`` it is 20 on a GPU and 1 on a CPU.
    report_every: Annotated[int, Field(gt=0)] | None = None
    #: Implementation of the state-space layers: torch, or the fused kernels of mamba-ssm (GPU
    #: only).
    ssm_backend: Literal["torch", "mamba_ssm"] = "torch"

    @model_validator(mode="after")
    def _graphs_of_cuda(self) -> Hardware:
        if self.compile == "cuda_graphs" and self.device != "cuda":
            raise ValueError("compile: cuda_graphs needs device: cuda; use compile: true")
        return self


class Orchestration(Section):
    """What the sensors and the schedule of the Dagster graph do, where they are turned on."""

    #: Most recordings that one run builds. With ``null`` one run builds all of them.
    recordings_per_run: Annotated[int, Field(gt=0)] | None = None
    #: When the schedule trains and evaluates, as a cron expression of five fields. The default is
    #: Friday at 20:00, so that a training can run over the weekend.
    training_cron: str = "0 20 * * 5"
    #: Time zone of the cron expression, by its name in the IANA database, such as
    #: ``Europe/Berlin``.
    time_zone: str = "UTC"
    #: Function that the sensor ``notify_of_failures`` calls for each run that fails, as
    #: ``package.module:function``. With ``null`` there is none.
    on_failure: str | None = None
    #: Address of Dagster's UI for the links in notices of failed runs. With ``null`` it is that of
    #: the running ``brainbrr ui``, or otherwise ``http://127.0.0.1:3000``.
    ui_url: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        # Imported here because it reads the names of hundreds of files.
        from zoneinfo import available_timezones

        names = available_timezones()
        if name not in names:
            nearest = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.0)
            raise ValueError(f"there is no such time zone: the nearest is {nearest[0]}")
        return name

    @field_validator("on_failure")
    @classmethod
    def _names_a_function(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name):
            raise ValueError("write package.module:function, such as notices:send")
        return name

    @field_validator("ui_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/]+\S*", url):
            raise ValueError("write an address, such as http://127.0.0.1:3000")
        return url


@dataclass(frozen=True, slots=True)
class Origin:
    """How a configuration was chosen, for messages and for commands that they suggest."""

    #: The command-line options that chose it, each after a space.
    options: str = ""
    #: Names or absolute paths of its files; later ones win.
    layers: tuple[str, ...] = ()
    #: The profile that was chosen by option or variable; None where the files decide.
    profile: str | None = None
    #: Why the cache root is this folder, where the user set none; None where the user set it.
    cache_root: str | None = None
    #: What sets each setting, by its key such as ``training.steps``: an option (``--data-dir``), a
    #: variable, or the absolute path of a file. Those that have their default are left out.
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def data_dir(self) -> str:
        """How a message names what sets the data directory, such as ``BRAINBRR_DATA_DIR``."""
        source = self.sources.get("data_dir")
        if source is None:
            return "data_dir"
        return f"data_dir of {source}" if source.startswith("/") else source


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus of a configuration: where it is, and how it is read.

    Attributes
    ----------
    data_dir : str or None
        Folder or URL of the corpus; None on a machine without its EDFs.
    settings : Corpus
        How its paths, annotations and channels are read.
    named_by : str
        What sets ``data_dir``, for messages, such as ``BRAINBRR_DATA_DIR``.
    name : str
        Name of one of several corpora; empty for one alone.
    prefix : str
        What comes before its partition keys and patients in the index.
    same_patients : mapping of str to str
        Patients of this corpus who are also in another one: each name here, and the one there.
    """

    data_dir: str | None
    settings: Corpus
    named_by: str = "data_dir"
    name: str = ""
    prefix: str = ""
    same_patients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """The settings that decide what a manifest contains, and how it was chosen.

    Attributes
    ----------
    profile : str
        Name of the profile.
    selection : Selection
        Which recordings of the corpus the profile uses.
    windows : Windows
        Length and stride of the windows.
    seizure_labels : tuple of str
        Labels of events that count as seizures.
    full_threshold : float
        Ictal fraction, in (0, 1], from which a window has the category "full".
    options : str
        Command-line options that chose the configuration, for messages that name a command.
    """

    profile: str
    selection: Selection
    windows: Windows
    seizure_labels: tuple[str, ...]
    full_threshold: float
    options: str = ""


class Configuration(Section):
    """All settings of a run."""

    #: Name of the profile, which says which recordings are used and how long a training is.
    profile: str = "full"
    #: Folder or URL of the corpus. With ``null``, on a machine without the EDFs, the index stands
    #: for it.
    data_dir: str | None = None
    #: Folder of the cache, one for all profiles.
    cache_root: Path
    #: Folder of the runs that trainings leave behind.
    runs_dir: Path
    #: Folder of Dagster's storage.
    dagster_home: Path
    #: Name of an imported version of the cache. With ``null`` the version follows from the settings
    #: of the section preprocessing.
    version: str | None = None
    #: Several corpora on one cache root, instead of ``data_dir`` and the layout, patients and
    #: splits of ``corpus``, each with a name.
    corpora: tuple[ListedCorpus, ...] = ()
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

    @model_validator(mode="after")
    def _one_way_to_name_corpora(self) -> Configuration:
        if not self.corpora:
            return self
        names = [corpus.name.lower() for corpus in self.corpora]
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise ValueError(f"corpora has two entries named {twice}: give each its own name")
        if sum(not corpus.prefix_keys for corpus in self.corpora) > 1:
            raise ValueError("corpora has two entries with prefix_keys: false: leave one of them")
        if self.data_dir is not None:
            raise ValueError(
                "data_dir (BRAINBRR_DATA_DIR, --data-dir) names one corpus and corpora lists "
                "several: unset it, or leave corpora out"
            )
        if any(corpus.split.has_folds for corpus in self.corpora):
            raise ValueError(
                "folds are of all corpora together, and an entry of corpora has its own: set "
                "corpus.split.scheme instead"
            )
        for name, default in CorpusReading.model_fields.items():
            if name == "split" and self.corpus.split.has_folds:
                continue
            if getattr(self.corpus, name) != default.get_default():
                raise ValueError(
                    f"corpus.{name} is of one corpus and corpora lists several: move it into the "
                    "entry of its corpus"
                )
        return self

    @property
    def corpus_sources(self) -> tuple[CorpusSource, ...]:
        """The corpora: those of ``corpora``, or the one at ``data_dir``."""
        if not self.corpora:
            return (CorpusSource(self.data_dir, self.corpus, self._origin.data_dir),)
        of_all = {name: getattr(self.corpus, name) for name in ChannelRules.model_fields}
        return tuple(
            CorpusSource(
                listed.data_dir,
                Corpus(
                    **of_all, **{name: getattr(listed, name) for name in CorpusReading.model_fields}
                ),
                f"data_dir of {listed.name} in corpora",
                listed.name,
                listed.prefix,
                listed.same_patients,
            )
            for listed in self.corpora
        )

    @property
    def origin(self) -> Origin:
        """How this configuration was chosen."""
        return self._origin

    @property
    def options(self) -> str:
        """The command-line options that chose this configuration, each after a space."""
        return self._origin.options

    @property
    def manifest_settings(self) -> ManifestSettings:
        """The settings that decide what the manifest of the profile contains."""
        return ManifestSettings(
            self.profile,
            self.selection,
            self.windows,
            self.labels.seizure,
            self.sampling.full_threshold,
            self.options,
        )

    def with_origin(self, origin: Origin) -> Configuration:
        """A copy that remembers how it was chosen.

        Parameters
        ----------
        origin : Origin
            Options, files, profile and the reason of the cache root.

        Returns
        -------
        Configuration
            The same settings with another origin.
        """
        copy = self.model_copy()
        copy._origin = origin
        return copy
