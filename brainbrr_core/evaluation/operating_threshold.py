"""The threshold that a run is scored at: tuned on dev once, then frozen and stored with the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.method import another_precision
from brainbrr_core.evaluation.score import evaluation_set
from brainbrr_core.evaluation.split_scores import SplitScores, compute_scores
from brainbrr_core.evaluation.statistics import points_at_limits
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.threshold import OperatingThreshold, read_threshold, write_threshold
from brainbrr_core.scoring import tune_threshold


def threshold_of_run(
    run: Run,
    predictor: Predictor,
    store: Store,
    dev: Sequence[ManifestRecording],
    log: Callable[[str], None],
) -> tuple[ThresholdChoice, SplitScores | None]:
    """The run's frozen threshold; if it has none, the best one on dev is tuned and frozen.

    Also returns the scores on dev if they had to be computed.
    """
    detection = predictor.detection
    frozen, on_dev = read_threshold(run.directory), None
    if frozen is None or frozen.detection != detection or frozen.tuned_on != evaluation_set(dev):
        if frozen is not None:
            log(
                "the run's threshold was tuned with other settings or recordings: it is tuned "
                "again on dev"
            )
        frozen, on_dev = tune(predictor, store, dev)
        write_threshold(run.directory, frozen)
    log_other_precision(frozen, predictor, log)
    return choice_of(frozen, "dev"), on_dev


def tune(
    predictor: Predictor, store: Store, dev: Sequence[ManifestRecording]
) -> tuple[OperatingThreshold, SplitScores]:
    """The threshold with the highest event F1 on some recordings, and the scores behind it."""
    scores = compute_scores(predictor, store, dev, "dev")
    tuned = tune_threshold(scores.sweep)
    threshold = OperatingThreshold(
        format=2,
        point=tuned.point,
        dev_f1=tuned.f1,
        detection=scores.detection,
        tuned_on=evaluation_set(dev),
        at_limits=points_at_limits(scores.sweep),
        rows=scores.curve(),
        precision=predictor.hardware.precision,
    )
    return threshold, scores


def choice_of(threshold: OperatingThreshold, split: str) -> ThresholdChoice:
    """The entry of a report for a threshold; ``split`` names the split that it was tuned on."""
    return ThresholdChoice(
        threshold.point,
        split,
        threshold.dev_f1,
        threshold.rows,
        threshold.at_limits,
        threshold.precision,
    )


def log_other_precision(
    threshold: OperatingThreshold, predictor: Predictor, log: Callable[[str], None]
) -> None:
    """Log a note if a threshold was tuned in another precision than it is used in."""
    used = predictor.hardware.precision
    if threshold.precision != used:
        log(another_precision(threshold.precision, used))
