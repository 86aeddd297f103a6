"""What the simulator may draw: the ranges of ``varied.yaml``, and of files that change some.

A pair of numbers is a range from which a value is drawn, evenly, or evenly on a logarithmic scale
where both are positive and the upper end is more than three times the lower one. A mapping from
names to numbers has weights.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from brainbrr_core.configuration.settings import SeizureLabel
from brainbrr_core.configuration.yaml_file import read_mapping
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest
from brainbrr_core.simulation.artifacts import ARTIFACTS
from brainbrr_core.simulation.head import REGIONS

#: The names of the ranges that come with the package: all that is drawn for training, what differs
#: in recorders and artifacts that no training has, and a hospital that is in neither.
VARIED, UNSEEN, ELSEWHERE = "varied", "unseen", "elsewhere"
_PACKAGED = Path(__file__).with_name("varied.yaml")
Name = TypeVar("Name")
#: A range whose ends differ by more than this factor is drawn from on a logarithmic scale.
_WIDE = 3.0


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"the lower end {ends[0]:g} is above the upper end {ends[1]:g}")
    return ends


def _not_negative(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] < 0:
        raise ValueError("give a range of numbers that are not negative")
    return ends


def _share(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[1] > 1:
        raise ValueError("give shares between 0 and 1")
    return ends


def _positive(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] <= 0:
        raise ValueError("give a range of numbers above 0")
    return ends


def _check_weights(weights: Collection[float]) -> None:
    if any(weight < 0 for weight in weights) or not sum(weights) > 0:
        raise ValueError("give weights of at least 0, of which one is above 0")


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    _check_weights(weights.values())
    return weights


def _regions(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in REGIONS:
            raise ValueError(f"unknown region {name}: the nearest one is {nearest(name, REGIONS)}")
    return names


Range = Annotated[tuple[float, float], AfterValidator(_ordered), AfterValidator(_not_negative)]
Positive = Annotated[tuple[float, float], AfterValidator(_ordered), AfterValidator(_positive)]
Shares = Annotated[Range, AfterValidator(_share)]
Share = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[dict[str, float], AfterValidator(_some_weight)]
Regions = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_regions)]
Shape = Literal["sine", "arch", "sharp", "spike and wave", "triphasic", "spindle"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RecordingKind(_Section):
    """Recordings of one length: their weight, and their content as weights of scenes."""

    weight: Annotated[float, Field(ge=0)]
    seconds: Positive
    scenes: dict[
        Literal["background", "whole", "onset", "offset", "inside", "pattern", "free"], float
    ]

    @model_validator(mode="after")
    def _has_scenes(self) -> RecordingKind:
        _check_weights(self.scenes.values())
        if self.seconds[0] < 10 or self.seconds[1] > 7200:
            raise ValueError("a recording lasts 10 to 7200 s")
        return self


class Patients(_Section):
    """What differs from patient to patient."""

    recordings: Annotated[tuple[int, int], AfterValidator(_ordered)]
    ages: dict[str, Positive]
    age_weights: Weights
    condition_weights: Weights
    amplitude: Positive
    skull: Positive
    displacement: Range
    seizure_types: Weights
    epilepsy: Share

    @model_validator(mode="after")
    def _has_ages(self) -> Patients:
        if self.recordings[0] < 1:
            raise ValueError("a patient has at least one recording")
        if self.ages.keys() != self.age_weights.keys():
            raise ValueError("ages and age_weights must have the same names")
        if unknown := self.condition_weights.keys() - {"outpatient", "monitoring", "critical"}:
            raise ValueError(f"unknown condition {min(unknown)}")
        return self


class State(_Section):
    """A state of vigilance: levels of its components relative to a patient's, and its length."""

    minutes: Positive
    weights: dict[str, float]
    aperiodic: Range
    alpha: Range = (0.0, 0.0)
    theta: Range = (0.0, 0.0)
    delta: Range = (0.0, 0.0)
    beta: Range = (0.0, 0.0)
    muscle: Range = (0.0, 0.0)
    eyes: Range = (0.0, 0.0)
    suppression: Share = 0.0


class Background(_Section):
    """Continuous activity, in µV and exponents of the spectrum."""

    level_uv: Positive
    exponent: Positive
    fast_share: Shares
    patches: Annotated[tuple[int, int], AfterValidator(_ordered)]
    alpha_uv: Range
    alpha_hz: dict[str, Positive]
    alpha_width_hz: Positive
    theta_uv: Range
    delta_uv: Range
    beta_uv: Range
    drug_beta: Share
    drug_beta_uv: Range
    muscle_uv: Range
    slowing: dict[str, Share]
    slowing_uv: Range
    focal_slowing: Share
    focal_slowing_uv: Range
    breach: Share
    burst_s: Positive
    suppression_s: Positive
    noise_uv: Range


class Transient(_Section):
    """Brief activity that recurs: where, when, how often and of which form.

    ``share`` is the share of patients who have it. Without ``hertz`` it is a single wave.
    """

    regions: Regions
    sides: Literal["one", "both", "either"] = "one"
    shape: Shape
    hertz: Positive
    seconds: Positive
    uv: Positive
    per_hour: Positive
    share: Share
    states: tuple[str, ...]
    ages: tuple[str, ...] = ()


class Seizures(_Section):
    """Seizures of one type; the label is TUSZ's.

    ``uv`` is the amplitude of the discharge at its largest, ``start_hz`` and ``end_hz`` the
    frequencies of its beginning and its end.
    """

    label: SeizureLabel
    seconds: Positive
    uv: Positive
    start_hz: Positive
    end_hz: Positive
    regions: Regions = ("temporal",)


class Pattern(_Section):
    """Rhythmic and periodic patterns that are no seizures; their frequency does not evolve."""

    weight: Annotated[float, Field(ge=0)]
    seconds: Positive
    uv: Positive
    hertz: Positive
    jitter: Range
    width_s: Positive
    regions: Regions


class Artifact(_Section):
    """An artifact: episodes for each hour of recording, their length and amplitude.

    ``hertz`` is the pace where it is rhythmic. ``share`` is the share of recordings that have it.
    """

    share: Share
    per_hour: Range
    seconds: Positive
    uv: Positive
    hertz: Positive = (1.0, 1.0)


class Recorders(_Section):
    """Electronics: sampling, filters, resolution, reference."""

    rates_hz: dict[int, float]
    highpass_hz: dict[float, float]
    lowpass_hz: dict[float, float]
    notch: Share
    mains_hz: dict[int, float]
    hum_uv: Positive
    strong_hum: Share
    strong_hum_uv: Positive
    references: Weights
    resolution_uv: Positive
    range_uv: dict[float, float]
    gain: Positive
    ear_electrodes: Share
    missing: Share

    @model_validator(mode="after")
    def _is_possible(self) -> Recorders:
        for table in (self.rates_hz, self.highpass_hz, self.lowpass_hz, self.mains_hz):
            _check_weights(table.values())
        if any(not 200 <= rate <= 512 for rate in self.rates_hz):
            raise ValueError("rates are 200 to 512 Hz")
        if unknown := self.references.keys() - set(REFERENCES):
            raise ValueError(f"unknown reference {min(unknown)}: choose among {REFERENCES}")
        return self


#: Types of seizures and patterns that can be made.
SEIZURE_KINDS = (
    *("temporal", "slow temporal", "frontal", "posterior", "accelerating", "absence"),
    *("tonic-clonic", "tonic", "myoclonic", "generalized status", "focal status"),
)
PATTERN_KINDS = ("LPD", "BIPD", "GPD", "LRDA", "GRDA")
REFERENCES = ("average", "linked ears", "left ear", "CPZ", "FCZ")


class Ranges(_Section):
    """All that the simulator may draw."""

    recordings: dict[str, RecordingKind]
    patients: Patients
    states: dict[str, State]
    background: Background
    transients: dict[str, Transient]
    seizures: dict[str, Seizures]
    seizure_uv_of_background: Positive
    seizures_per_hour: Positive
    patterns: dict[str, Pattern]
    pattern_share: dict[str, Share]
    artifact_rate: Positive
    artifacts: dict[str, Artifact]
    recorders: Recorders

    @model_validator(mode="after")
    def _agrees(self) -> Ranges:
        for section, names, valid in (
            ("seizures", self.seizures, SEIZURE_KINDS),
            ("patterns", self.patterns, PATTERN_KINDS),
            ("artifacts", self.artifacts, ARTIFACTS),
            ("patients.seizure_types", self.patients.seizure_types, self.seizures),
        ):
            for name in names:
                if name not in valid:
                    near = nearest(name, valid)
                    raise ValueError(f"{section}: unknown name {name}{_or_nearest(near)}")
        for name, transient in self.transients.items():
            if unknown := set(transient.states) - self.states.keys():
                raise ValueError(f"transients.{name}: unknown state {min(unknown)}")
        for section, weights in (
            ("recordings", [one.weight for one in self.recordings.values()]),
            ("patterns", [one.weight for one in self.patterns.values()]),
            *(
                (
                    f"states: {condition}",
                    [s.weights.get(condition, 0) for s in self.states.values()],
                )
                for condition in self.patients.condition_weights
            ),
        ):
            if not sum(weights) > 0:
                raise ValueError(f"{section}: one weight must be above 0")
        return self


def load_ranges(choice: str) -> Ranges:
    """The ranges that a choice names: ``varied``, ``unseen``, ``elsewhere``, or a YAML file's path.

    A file needs only what differs from ``varied``; a mapping in it changes the entries that it
    names.

    Raises
    ------
    BrainbrrError
        The file cannot be read, or has an unknown key or an impossible value.
    """
    values: dict[str, object] = read_mapping(_PACKAGED)
    where = choice
    if choice != VARIED:
        is_packaged = choice in (UNSEEN, ELSEWHERE)
        path = _PACKAGED.with_name(f"{choice}.yaml") if is_packaged else Path(choice)
        if not path.is_file():
            raise BrainbrrError(
                f"there are no ranges {choice}: give {VARIED}, {UNSEEN}, {ELSEWHERE} or the path "
                "of a YAML file"
            )
        values = _merged(values, read_mapping(path))
    try:
        return Ranges.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = _nearest(first["loc"])
            raise BrainbrrError(f"{where}: unknown key {key}{near}") from None
        message = first["msg"].removeprefix("Value error, ")
        raise BrainbrrError(f"{where}: {key}{': ' if key else ''}{message}") from None


def _nearest(location: tuple[int | str, ...]) -> str:
    """The valid key that is most like the last one of a location, as the end of a message."""
    packaged: object = read_mapping(_PACKAGED)
    for part in location[:-1]:
        packaged = packaged.get(str(part)) if isinstance(packaged, dict) else None
    keys = list(packaged) if isinstance(packaged, dict) else []
    return _or_nearest(nearest(str(location[-1]), keys))


def _or_nearest(near: str) -> str:
    return f": the nearest valid one is {near}" if near else ""


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            result[key] = _merged(under, value)
        else:
            result[key] = value
    return result


def draw(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """A value from a range; on a logarithmic scale where it is wide and has no zero."""
    low, high = ends
    if low > 0 and high > _WIDE * low:
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    return float(rng.uniform(low, high))


def pick(rng: np.random.Generator, weights: Mapping[Name, float]) -> Name:
    """One of the names, by weight."""
    names = list(weights)
    values = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=values / values.sum()))]
