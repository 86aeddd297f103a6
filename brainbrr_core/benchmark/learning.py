"""``brainbrr bench learn``: does the network learn what a plain detector cannot find?

The network is trained, and its threshold is chosen, on a synthetic corpus of ten patients. It is
scored on unseen patients: the two of that corpus's eval split, and those of a second corpus whose
recordings have at most one seizure, so that marking everything as seizure scores badly. It is
compared with the same network untrained and with the field's simplest baseline, a threshold on the
line length (Esteller et al., "Line length: an efficient feature for seizure onset detection",
2001). The scores are SzCORE's event scores on whole recordings. Their intervals are over patients,
for this one training: the scores of another seed may lie outside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import Field

from brainbrr_core.benchmark.detectors import (
    DetectorFrames,
    DetectorScore,
    Floats,
    Interval,
    Stored,
    line_length,
    network_detector,
)
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import (
    Configuration,
    Hardware,
    Model,
    Overrides,
    Training,
    apply_assignments,
    load,
)
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.constants import RATE, SPLITS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build
from brainbrr_core.model.device import describe_device
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.progress import Progress, progress
from brainbrr_core.scoring.bootstrap import interval, resamples
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.run import train


@dataclass(frozen=True, slots=True)
class CorpusSize:
    """A synthetic corpus: see :func:`brainbrr_core.synthesis.write_corpus`."""

    recordings: int
    hours: float
    further_every_s: float | None


#: Thirty recordings of half an hour are six patients to train on, two to tune the threshold and two
#: to score.
TEN_PATIENTS = CorpusSize(30, 15.0, 1400.0)
#: Fifteen patients that are scored only, in recordings of half an hour.
MORE_PATIENTS = CorpusSize(48, 24.0, None)
CORPUS = "tusz"
#: Added to the seed for the second corpus, so that the two have no patient in common.
MORE_SEED = 1_000_000
#: Larger networks need smaller steps.
LEARNING_RATE = {"tiny": 2e-3, "small": 1.5e-3, "base": 3e-4}
#: The profile whose augmentation is used. Six patients have seizures in few locations: without
#: augmentation, and on half the hours, a network trained on three foci on the right found nothing
#: on the left.
AUGMENTED_AS = "full"
#: A small batch, so that few windows give many steps.
BATCH = 8
_RESAMPLES = 2000
#: Settings that ``--set`` may not change.
_FIXED = (
    "profile",
    "data_dir",
    "cache_root",
    "runs_dir",
    "dagster_home",
    "version",
    "selection",
    "model.preset",
    "training.steps",
    "training.seed",
)


class Subjects(Figures):
    """A figure of the training patients, the dev patients and the unseen ones."""

    train: float
    dev: float
    unseen: float


class PatientCounts(Figures):
    """How many patients each group has."""

    train: int
    dev: int
    unseen: int


class Difference(Figures):
    """By how much one score exceeds another."""

    difference: float
    interval: Interval


class Learning(Report):
    """A training, and the scores of its network and of plain detectors on unseen patients."""

    seed: int
    assignments: tuple[str, ...] = Field(validation_alias="set", serialization_alias="set")
    preset: str
    steps: int
    best_step: int | None
    patients: PatientCounts
    hours: Subjects
    seizures_scored: int
    corpus_s: float
    training_s: float
    scoring_s: float
    windows_per_s: float
    data_wait_share: float
    hardware: dict[str, str]
    detectors: dict[str, DetectorScore]
    #: Only with baselines.
    f1_above_line_length: Difference | None = None

    def tables(self) -> list[Table]:
        """One row for each detector."""
        title = (
            f"{self.preset}, seed {self.seed}, {self.steps} steps in {self.training_s:.0f} s; "
            f"{self.seizures_scored} seizures of {self.patients.unseen} unseen patients in "
            f"{self.hours.unseen:.1f} h (SzCORE events; intervals of 95 % over patients)"
        )
        columns = [
            "detector",
            "F1",
            "interval",
            "sensitivity",
            "false",
            "false per 24 h",
            "threshold",
            "average precision",
        ]
        rows = [
            [
                name,
                f"{score.f1:.3f}",
                _between(score.f1_interval),
                f"{score.sensitivity:.3f}",
                f"{score.false:g}",
                f"{score.false_per_day:.1f}",
                f"{score.threshold:.3f}",
                f"{score.average_precision:.3f}",
            ]
            for name, score in self.detectors.items()
        ]
        return [Table(title, columns, rows)]

    def remarks(self) -> list[str]:
        """How the trained network compares with the line length."""
        above = self.f1_above_line_length
        if above is None:
            return []
        interval_text = _between(above.interval)
        return [f"trained above line length: {above.difference:+.3f} ({interval_text})"]


def _between(ends: Interval) -> str:
    return " to ".join("undefined" if end is None else f"{end:.2f}" for end in ends)


def run(
    configuration: Configuration,
    folder: Path,
    *,
    preset: str,
    steps: int,
    seed: int,
    assignments: Sequence[str] = (),
    baselines: bool = True,
    on_step: Callable[[StepReport], None] | None = None,
    log: Callable[[str], None] = print,
) -> Learning:
    """Write the corpora below ``folder``, train on the first and score the detectors.

    The corpora, the initial weights and the order of the windows follow from ``seed``. What an
    earlier call left in the folder is reused. ``assignments`` change settings (see
    :func:`brainbrr_core.configuration.apply_assignments`). Without ``baselines`` only the trained
    network is scored.

    Raises :class:`BrainbrrError` where an assignment changes what the measurement itself sets:
    folders, selection, preset, steps and seed.
    """
    _refuse_fixed(assignments)
    measured = _measured(configuration.hardware, preset, steps, seed)
    base = apply_assignments(configuration.model_copy(update=measured), assignments)
    clock = time.perf_counter()
    first = base.model_copy(update=_folders(folder / "ten"))
    recordings = _prepare(
        partial(plan_corpus, first),
        ProfileCache.of(first),
        folder / "ten" / CORPUS,
        TEN_PATIENTS,
        seed,
        "",
    )
    second = base.model_copy(update=_folders(folder / "more"))
    others = _prepare(
        partial(plan_corpus, second),
        ProfileCache.of(second),
        folder / "more" / CORPUS,
        MORE_PATIENTS,
        seed + MORE_SEED,
        "more/",
    )
    corpus_s = time.perf_counter() - clock
    by_split = {
        split: [one for one in recordings if one.recording.split == split] for split in SPLITS
    }
    dev, unseen = by_split["dev"], by_split["eval"] + others
    log(f"{len(recordings)} recordings of ten patients and {len(others)} more, in {corpus_s:.0f} s")
    clock = time.perf_counter()
    trained = train(first, on_step=on_step, log=log)
    training_s = time.perf_counter() - clock
    predictor = Predictor.of(trained, first)
    detection = first.detection
    log("scoring")
    clock = time.perf_counter()
    by_network = DetectorFrames(dev, unseen, network_detector(predictor))
    point = by_network.tune(detection)
    scores = {"trained": by_network.score(detection, point)}
    if baselines:
        untrained = replace(predictor, network=build(preset, seed=seed).eval().to(predictor.device))
        by_length = DetectorFrames(dev, unseen, line_length)
        by_chance = DetectorFrames(dev, unseen, network_detector(untrained))
        scores |= {
            "line length": by_length.score(detection, by_length.tune(detection)),
            "untrained": by_chance.score(detection, point),
            "untrained, threshold of its own": by_chance.score(
                detection, by_chance.tune(detection)
            ),
        }
    drawn = resamples(len(scores["trained"].patients), _RESAMPLES, seed)
    f1 = {name: score.resampled_f1(drawn) for name, score in scores.items()}
    patients = drawn.shape[1]
    groups = {"train": by_split["train"], "dev": dev, "unseen": unseen}
    result = Learning(
        seed=seed,
        assignments=tuple(assignments),
        preset=preset,
        steps=trained.record.fit.steps,
        best_step=trained.record.fit.best_step,
        patients=PatientCounts(**{name: _patients(group) for name, group in groups.items()}),
        hours=Subjects(**{name: _hours(group) for name, group in groups.items()}),
        seizures_scored=sum(len(one.recording.seizures) for one in unseen),
        corpus_s=round(corpus_s, 1),
        training_s=round(training_s, 1),
        scoring_s=round(time.perf_counter() - clock, 1),
        windows_per_s=round(trained.record.fit.windows_per_s, 2),
        data_wait_share=round(trained.record.fit.data_wait_share, 5),
        hardware=describe_device(predictor.device).record(),
        detectors={
            name: score.figures(_rounded(f1[name], patients)) for name, score in scores.items()
        },
    )
    if not baselines:
        return result
    difference = scores["trained"].pooled.f1 - scores["line length"].pooled.f1
    above = Difference(
        difference=round(difference, 3),
        interval=_rounded(f1["trained"] - f1["line length"], patients),
    )
    return result.model_copy(update={"f1_above_line_length": above})


@contextmanager
def training_progress(steps: int) -> Iterator[Callable[[StepReport], None]]:
    """Show the progress of a training of so many steps; give the function that it reports to."""
    bar: Progress | None = None
    with ExitStack() as shown:

        def show(report: StepReport) -> None:
            nonlocal bar
            # The bar opens with the first step, so that its rate does not include the corpora.
            if bar is None:
                bar = shown.enter_context(progress("train", steps, "steps"))
                bar.resume_from(report.resumed_from)
            bar.advance(note=report.note())
            if report.step == steps:
                shown.close()

        yield show


def _prepare(
    make_plan: Callable[[], Plan],
    cache: ProfileCache,
    corpus: Path,
    size: CorpusSize,
    seed: int,
    prefix: str,
) -> list[Stored]:
    """Write and build a corpus; return its recordings that can be scored.

    ``make_plan`` indexes the corpus and plans its ``cache``.
    """
    write_corpus(
        corpus,
        recordings=size.recordings,
        hours=size.hours,
        seed=seed,
        further_every_s=size.further_every_s,
    )
    build_shards(make_plan(), cache.preprocessing)
    plan = make_plan()
    manifest = update_manifest(plan, cache.settings).manifest
    return [Stored(plan.store, r, prefix + r.patient) for r in manifest.recordings]


def _patients(recordings: Sequence[Stored]) -> int:
    return len({one.patient for one in recordings})


def _hours(recordings: Sequence[Stored]) -> float:
    return round(sum(one.recording.samples for one in recordings) / RATE / 3600, 2)


def _rounded(figures: Floats, patients: int) -> Interval:
    """The interval of a resampled figure, with None for NaN, which JSON lacks."""
    low, high = (None if math.isnan(end) else round(end, 3) for end in interval(figures, patients))
    return low, high


def _refuse_fixed(assignments: Sequence[str]) -> None:
    """Raise :class:`BrainbrrError` where an assignment changes what the measurement sets."""
    refused = [text for text in assignments if _is_fixed(text.partition("=")[0].strip())]
    if refused:
        raise BrainbrrError(
            f"--set {refused[0]}: the measurement sets that itself; preset, steps and seed have "
            "options of their own"
        )


def _measured(hardware: Hardware, preset: str, steps: int, seed: int) -> dict[str, object]:
    """The settings of the training that the measurement sets, other than its folders."""
    training = Training(
        seed=seed,
        steps=steps,
        warmup_steps=min(30, steps // 4),
        learning_rate=LEARNING_RATE[preset],
        validate_every=max(1, steps // 4),
        checkpoint_every=max(1, steps // 4),
        keep_checkpoints=0,
        augmentation=load(Overrides(config=f"{AUGMENTED_AS}:cpu"), {}).training.augmentation,
    )
    return {
        "profile": "learn",
        "version": None,
        "selection": Selection(),
        "model": Model.model_validate({"preset": preset}),
        "training": training,
        "hardware": hardware.model_copy(update={"batch_size": BATCH}),
    }


def _folders(folder: Path) -> dict[str, str | Path]:
    """The settings of a corpus, a cache and runs below a folder."""
    return {
        "data_dir": str(folder / CORPUS),
        "cache_root": folder / "cache",
        "runs_dir": folder / "runs",
    }


def _is_fixed(key: str) -> bool:
    """Whether a setting, or one below it, is set by the measurement alone."""
    return any(key == fixed or fixed.startswith(f"{key}.") for fixed in _FIXED) or (
        key.partition(".")[0] == "selection"
    )
