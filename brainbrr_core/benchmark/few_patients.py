"""``brainbrr bench transfer``: what does a start from a model help with few patients?

A corpus of a hospital is simulated that no simulated training has had: other recorders, artifacts
and seizures. For each number of patients and each seed, the network is trained on as many of them,
once from the model and once from random weights, with the same settings. Its threshold is tuned on
all patients of dev, and its events are scored on all patients of eval by SzCORE's rule. The model
as it is, with a threshold of its own, is the row of no patient.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.cache.complete_build import build_completely
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus, plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import Preflight, check
from brainbrr_core.configuration import Configuration, Overrides, apply_assignments, load
from brainbrr_core.display import counts
from brainbrr_core.evaluation.split_scores import compute_scores
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.run import open_model
from brainbrr_core.scoring import auprc, per_second, rank, total, tune_threshold
from brainbrr_core.scoring.szcore import score_recording
from brainbrr_core.simulation import write_simulated_corpus
from brainbrr_core.simulation.ranges import Ranges
from brainbrr_core.training.run import train

#: Below the peak of the learning rate with which a network is trained from random weights on many
#: hours: one for both starts.
LEARNING_RATE = 1e-3
#: The names of the two starts.
MODEL, RANDOM = "model", "random"


class Trained(Figures):
    """A training and its scores on the patients of eval."""

    start: str
    patients: int
    seed: int
    seconds: float
    f1: float
    sensitivity: float
    false_per_day: float
    average_precision: float


class Transfer(Report):
    """Every training on few patients, and the model as it is."""

    model: str
    steps: int
    hours: float
    seizures: int
    eval_patients: int
    trainings: tuple[Trained, ...]

    def tables(self) -> list[Table]:
        """One row for each number of patients and each start, with means and ranges over seeds."""
        rows = []
        for patients, start in dict.fromkeys((one.patients, one.start) for one in self.trainings):
            group = [
                one for one in self.trainings if (one.patients, one.start) == (patients, start)
            ]
            f1 = [one.f1 for one in group]
            rows.append(
                [
                    str(patients),
                    start,
                    str(len(group)),
                    f"{fmean(f1):.3f}",
                    f"{min(f1):.2f}–{max(f1):.2f}",
                    f"{fmean(one.sensitivity for one in group):.3f}",
                    f"{fmean(one.false_per_day for one in group):.1f}",
                    f"{fmean(one.average_precision for one in group):.3f}",
                ]
            )
        title = (
            f"{self.steps} steps from {self.model} or random weights; {self.seizures} seizures of "
            f"{self.eval_patients} patients in {self.hours:.1f} h (SzCORE events; means over seeds)"
        )
        columns = [
            *("patients", "start", "seeds", "F1", "range", "sensitivity"),
            *("false per 24 h", "AP"),
        ]
        return [Table(title, columns, rows)]


def run(
    overrides: Overrides,
    model: Path,
    *,
    patients: Sequence[int],
    seeds: int,
    steps: int,
    hours: float,
    ranges: Ranges,
    log: Callable[[str], None] = print,
) -> Transfer:
    """Write the corpus where ``overrides`` have one, and train and score every network.

    What an earlier call left there is reused, finished trainings included. Network, windows and
    signal are those of ``overrides``, which must be those of the model.

    Raises
    ------
    BrainbrrError
        Where ``model`` has no model, or one that cannot be a start on this montage or network.
    WorkRemains
        Where a recording of the corpus could not be built.
    """
    base = _settings(overrides, steps, None, 0, None)
    write_simulated_corpus(Path(str(base.data_dir)), hours=hours, seed=0, ranges=ranges)
    build_completely(plan_corpus(base), base.preprocessing)
    start, cache = open_model(model), ProfileCache.of(base)
    update_manifest(plan_profile(base), cache.settings)
    preflight = check(cache)
    trainings = [_scored(preflight, Predictor.of(start, base), MODEL, 0, 0, 0.0)]
    for count in patients:
        for seed in range(seeds):
            for name, start_from in ((MODEL, str(model)), (RANDOM, None)):
                settings = _settings(overrides, steps, count, seed, start_from)
                update_manifest(plan_profile(settings), settings.manifest_settings)
                trained = train(settings, log=lambda _: None)
                predictor, seconds = Predictor.of(trained, settings), trained.record.seconds
                trainings.append(_scored(preflight, predictor, name, count, seed, seconds))
                log(
                    f"{counts.count(count, 'patient')}, seed {seed}, from {name}: "
                    f"F1 {trainings[-1].f1:.3f}, "
                    f"{seconds:.0f} s of training"
                )
    scored = preflight.scorable("eval")
    return Transfer(
        model=start.name,
        steps=steps,
        hours=round(sum(one.duration_s for one in scored) / 3600, 2),
        seizures=sum(len(one.seizures) for one in scored),
        eval_patients=len({one.patient for one in scored}),
        trainings=tuple(trainings),
    )


def _settings(
    overrides: Overrides, steps: int, patients: int | None, seed: int, start_from: str | None
) -> Configuration:
    """The settings of one training, which is validated at its end."""
    values: dict[str, str | float | None] = {
        "training.steps": steps,
        "training.warmup_steps": steps // 5,
        "training.learning_rate": LEARNING_RATE,
        "training.validate_every": steps,
        "training.seed": seed,
        "training.start_from": start_from,
        "selection.train_patients": patients,
        "selection.seed": seed,
    }
    given = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return apply_assignments(load(overrides), given)


def _scored(
    preflight: Preflight,
    predictor: Predictor,
    start: str,
    patients: int,
    seed: int,
    seconds: float,
) -> Trained:
    """Tune a network's threshold on dev, and score its events on eval."""
    store = preflight.plan.store
    dev = compute_scores(predictor, store, preflight.scorable("dev"), "dev")
    scores = compute_scores(predictor, store, preflight.scorable("eval"), "eval")
    detected = scores.detect(tune_threshold(dev.sweep).point)
    events = total([score_recording(one.events).event for one in detected])
    by_second = [per_second(one.scores_8hz, one.reference, one.unknown) for one in detected]
    values, labels = zip(*by_second, strict=True)
    return Trained(
        start=start,
        patients=patients,
        seed=seed,
        seconds=round(seconds, 1),
        f1=round(events.f1, 4),
        sensitivity=round(events.sensitivity, 4),
        false_per_day=round(events.false_per_day, 2),
        average_precision=round(auprc(rank(np.concatenate(values), np.concatenate(labels))), 4),
    )
