"""A run's scores on a split: the threshold from dev, events on whole recordings, the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.lease import holding
from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.scorable import is_scorable, scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Detection
from brainbrr_core.constants import RATE
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, found_by
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.method import another_precision, computing_sentence, method
from brainbrr_core.evaluation.provenance import provenance, training_facts
from brainbrr_core.evaluation.report.highlights import (
    Highlight,
    typical_hits,
    worst_false_alarms,
    worst_misses,
)
from brainbrr_core.evaluation.report.page import write_report
from brainbrr_core.evaluation.report.pictures import Strip
from brainbrr_core.evaluation.results import (
    RESULTS,
    EvaluationResults,
    ExternalCorpus,
    ScoredRecording,
    ThresholdChoice,
    UnscoredRecording,
    read_results,
)
from brainbrr_core.evaluation.score import evaluation_set, score
from brainbrr_core.evaluation.statistics import points_at_limits
from brainbrr_core.evaluation.tables import STATISTICS, write_tables
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.progress import progress
from brainbrr_core.runs.eval_ledger import EvalLooks, count_scoring, read_ledger
from brainbrr_core.runs.identity import report_settings
from brainbrr_core.runs.run import Run, current_run
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus
from brainbrr_core.runs.threshold import (
    OperatingThreshold,
    read_threshold,
    write_threshold,
)
from brainbrr_core.scoring import (
    OperatingPoint,
    Sweep,
    SweepRow,
    sweep_at,
    sweep_thresholds,
    tune_threshold,
)

REPORT = "report.html"
#: Where a report's provenance says what it was made of.
IDENTITY = "evaluation identity"
#: Points of a curve that are kept for drawing.
_DRAWN_ROWS = 300
_NO_FRAMES = np.zeros(0, dtype=np.float32)

Frames = dict[str, NDArray[np.float32]]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """Where a report lies and what it says."""

    report: Path
    results: EvaluationResults
    run: Run
    identity: str
    reused: bool


@holding("evaluate")
def evaluate(
    configuration: Configuration,
    split: str | None = None,
    *,
    run: Run | None = None,
    log: Log = print,
) -> Evaluation:
    """Score a run on a split of its own corpus (the configuration's by default), with a report.

    The run is the configuration's current one, or ``run``, which was trained on the cache and the
    settings of this configuration. The operating threshold is tuned on dev, once, and kept with
    the run: from then on it is frozen for these settings of detection. A report made of the same
    run, cache, settings and split is returned as it is. Eval is scored only where
    ``evaluation.allow_eval`` says so, and every time is put on record in the runs folder.

    Parameters
    ----------
    configuration : Configuration
        The cache, the runs and the settings of detection and evaluation.
    split : {"dev", "eval"}, optional
        What is scored; by default what the configuration says.
    run : Run, optional
        By default the configuration's own.
    log : callable
        Takes each remark, a line of text.

    Returns
    -------
    Evaluation
        The folder of the report and everything that it shows.

    Raises
    ------
    WorkRemains
        Where there is no current run, or the cache is not fresh.
    BrainbrrError
        For eval without leave, and for a split without recordings.
    """
    split = split or configuration.evaluation.split
    _check_leave(configuration, split)
    if run is None:
        run, preflight = current_run(configuration)
    else:
        preflight = check(configuration)
    plan = preflight.plan
    if read_run_corpus(run.directory) is None and os.access(run.directory, os.W_OK):
        # A run of an earlier version of the program: it was trained on this plan.
        RunCorpus.of(plan).write(run.directory)
    identity = _identity(configuration, run, split)
    folder = report_folder(run.directory, split)
    known = known_results(folder, identity)
    if known is not None:
        log(f"the report of run {run.name} on {split} is current: nothing to score")
        return Evaluation(folder / REPORT, known, run, identity, reused=True)
    recordings = scorable(plan, configuration.labels.seizure, split)
    if not recordings:
        raise BrainbrrError(
            f"split {split} has no recording that can be scored in profile "
            f"{configuration.profile}: choose a larger --profile or another --split"
        )
    unscored = not_scored(plan, configuration, split)
    log_not_scored(unscored, split, log)
    predictor = Predictor.of(run, configuration)
    tuning = scorable(plan, configuration.labels.seizure, "dev")
    choice, on_dev = threshold_of_run(
        configuration.detection, predictor, plan.store, tuning, run, log
    )
    looks = None
    if split == "eval":
        runs_dir = run.directory.parent
        looks = count_scoring(runs_dir, run.name, set_of(recordings))
        log(f"eval is scored: {looks.scorings} times so far from {runs_dir}")
    results = write_scored(
        folder,
        run,
        predictor,
        plan.store,
        recordings,
        on_dev if split == "dev" else None,
        split=split,
        choice=choice,
        provenance=provenance(configuration, run, plan.store.version, preflight.manifest.source)
        | {IDENTITY: identity},
        weights_chosen_on=weights_chosen_on(run),
        unscored=unscored,
        eval_looks=looks,
    )
    return Evaluation(folder / REPORT, results, run, identity, reused=False)


def write_scored(
    folder: Path,
    run: Run,
    predictor: Predictor,
    store: Store,
    recordings: Sequence[ManifestRecording],
    worked_out: tuple[Frames, Sweep] | None = None,
    *,
    split: str,
    choice: ThresholdChoice,
    provenance: Mapping[str, str],
    weights_chosen_on: str | None,
    unscored: Sequence[UnscoredRecording],
    eval_looks: EvalLooks | None = None,
    external: ExternalCorpus | None = None,
) -> EvaluationResults:
    """Score recordings at a chosen threshold, and write tables, report and results to a folder.

    ``worked_out`` are the frames of these recordings and their sweep, where they are known
    already. Settings are those of the predictor's configuration.
    """
    configuration = predictor.configuration
    if worked_out is None:
        frames = _scores(predictor, store, recordings, f"score {split}")
        sweep = _sweep(_open(recordings, frames), configuration.detection, f"sweep {split}")
    else:
        frames, sweep = worked_out
    points = [point for point in (choice.at_limits or {}).values() if point is not None]
    scoring = score(
        _detected(recordings, frames, configuration.detection, choice.point),
        split=split,
        profile=configuration.profile,
        threshold=choice,
        provenance=provenance,
        weights_chosen_on=weights_chosen_on,
        sweep=sweep,
        applied=sweep_at(_open(recordings, frames), found_by(configuration.detection), points)
        if points
        else None,
        unscored=unscored,
        eval_looks=eval_looks,
        training=training_facts(run.record),
        method=(
            *method(
                configuration.preprocessing,
                configuration.detection,
                configuration.windows.length_s,
                configuration.version,
            ),
            computing_sentence(configuration.hardware, choice.precision),
        ),
        bootstrap_samples=configuration.evaluation.bootstrap_samples,
        bootstrap_seed=configuration.evaluation.bootstrap_seed,
    )
    # The tables keep the whole curve; what is drawn needs no more points than a screen has.
    results = replace(scoring.results, operating_curve=_drawn(sweep.rows()), external=external)
    by_key = {recording.partition_key: recording for recording in recordings}
    strips = [
        _strip(store, by_key[highlight.partition_key], highlight, frames)
        for highlight in (
            *typical_hits(results),
            *worst_misses(results),
            *worst_false_alarms(results),
        )
    ]
    write_tables(folder, results, scoring.statistics)
    write_report(folder / REPORT, results, strips)
    # Last: where the results lie, everything else does.
    with replacing(folder / RESULTS) as temporary:
        temporary.write_text(results.to_json(), encoding="utf-8")
    return results


def report_folder(run_directory: Path, split: str) -> Path:
    """Where the report of a run on a split lies."""
    return run_directory / f"report-{split}"


def not_scored(plan: Plan, configuration: Configuration, split: str) -> list[UnscoredRecording]:
    """The other recordings of a split, each with its reason."""
    return [
        UnscoredRecording(
            item.recording.partition_key,
            _reason(item.recording.reason or item.reason),
            item.recording.duration_s,
            len(item.recording.seizures(configuration.labels.seizure)),
        )
        for item in plan.items
        if item.recording.split == split and not is_scorable(item)
    ]


def _check_leave(configuration: Configuration, split: str) -> None:
    if split == "eval" and not configuration.evaluation.allow_eval:
        known = len(read_ledger(configuration.runs_dir))
        raise BrainbrrError(
            "the eval split is scored only on purpose: add --allow-eval (evaluation.allow_eval "
            f"in a configuration), and each time is counted ({known} so far); or take --split dev"
        )


def set_of(recordings: Sequence[ManifestRecording]) -> str:
    """Hash of recordings and references, the same as the results of their scoring have."""
    return evaluation_set(_open(recordings))


def weights_chosen_on(run: Run) -> str | None:
    """The split whose validations picked the network's weights, None where none did."""
    return None if run.record.fit.best_step is None else "dev"


def _identity(configuration: Configuration, run: Run, split: str) -> str:
    return digest(
        {
            **report_settings(
                configuration.detection,
                configuration.evaluation,
                configuration.hardware.precision,
                split,
            ),
            "run": run.record.identity.as_written(),
            "ssm_backend": configuration.hardware.ssm_backend,
            "finished_at": run.record.finished_at,
        }
    )


def known_results(folder: Path, identity: str) -> EvaluationResults | None:
    """A report's results, None where there is no whole and readable report of this identity."""
    if not all((folder / name).is_file() for name in (REPORT, STATISTICS)):
        return None
    try:
        results = read_results(folder)
    except BrainbrrError:
        # None yet, damaged, or of another version of the program: scored anew.
        return None
    return results if results.provenance.get(IDENTITY) == identity else None


def log_not_scored(unscored: Sequence[UnscoredRecording], split: str, log: Log) -> None:
    """Say how many recordings of a split are not scored, by reason."""
    for reason, count, hours in _by_reason(unscored):
        log(f"not scored: {count} recordings ({hours:.2f} h) of {split}: {reason}")


def _reason(name: str) -> str:
    return (SIGNAL_REASONS | LABEL_REASONS).get(name, name)


def _by_reason(unscored: Sequence[UnscoredRecording]) -> list[tuple[str, int, float]]:
    reasons = sorted({row.reason for row in unscored})
    parts = {reason: [row for row in unscored if row.reason == reason] for reason in reasons}
    return [
        (reason, len(rows), sum(row.duration_s for row in rows) / 3600)
        for reason, rows in parts.items()
    ]


def threshold_of_run(
    settings: Detection,
    predictor: Predictor,
    store: Store,
    dev: Sequence[ManifestRecording],
    run: Run,
    log: Log,
) -> tuple[ThresholdChoice, tuple[Frames, Sweep] | None]:
    """The run's frozen threshold, or the best on dev, which is then frozen.

    With it the frames of dev and their sweep, where they had to be worked out.
    """
    tuned_on = set_of(dev)
    kept = read_threshold(run.directory)
    worked_out = None
    if kept is None or kept.detection != settings or kept.tuned_on != tuned_on:
        if kept is not None:
            log("the run's threshold is of other settings or recordings: tuned anew on dev")
        kept, worked_out = tuned_threshold(settings, predictor, store, dev)
        write_threshold(run.directory, kept)
    used = predictor.configuration.hardware.precision
    if kept.precision != used:
        log(another_precision(kept.precision, used))
    return choice_of(kept, "dev"), worked_out


def tuned_threshold(
    settings: Detection, predictor: Predictor, store: Store, dev: Sequence[ManifestRecording]
) -> tuple[OperatingThreshold, tuple[Frames, Sweep]]:
    """The best threshold on some recordings, and what it was chosen by."""
    frames = _scores(predictor, store, dev, "score dev")
    sweep = _sweep(_open(dev, frames), settings, "sweep dev")
    tuned = tune_threshold(sweep)
    threshold = OperatingThreshold(
        format=2,
        point=tuned.point,
        dev_f1=tuned.f1,
        detection=settings,
        tuned_on=set_of(dev),
        at_limits=points_at_limits(sweep),
        rows=_drawn(sweep.rows()),
        precision=predictor.configuration.hardware.precision,
    )
    return threshold, (frames, sweep)


def choice_of(threshold: OperatingThreshold, split: str) -> ThresholdChoice:
    """What a report says of a threshold; ``split`` names what it was tuned on."""
    return ThresholdChoice(
        threshold.point,
        split,
        threshold.dev_f1,
        threshold.rows,
        threshold.at_limits,
        threshold.precision,
    )


def _scores(
    predictor: Predictor, store: Store, recordings: Sequence[ManifestRecording], title: str
) -> Frames:
    """Frames of recordings, by partition key."""
    frames = {}
    hours = sum(r.samples for r in recordings) / RATE / 3600
    with progress(title, hours, "hours") as bar:
        signals = ((recording, RecordingReader(store, recording)) for recording in recordings)
        for recording, scores in predictor.frames(signals):
            frames[recording.partition_key] = scores
            bar.advance(recording.samples / RATE / 3600)
    return frames


def _sweep(recordings: Sequence[ScoredRecording], settings: Detection, title: str) -> Sweep:
    hours = sum(recording.duration_s for recording in recordings) / 3600
    with progress(title, hours, "hours") as bar:
        return sweep_thresholds(
            recordings,
            found_by(settings),
            settings.off_ratio,
            lambda seconds: bar.advance(seconds / 3600),
        )


def _open(
    recordings: Sequence[ManifestRecording], frames: Frames | None = None
) -> list[ScoredRecording]:
    """Recordings without a hypothesis yet."""
    return [
        ScoredRecording(
            recording.partition_key,
            recording.patient,
            recording.montage,
            recording.samples / RATE,
            recording.reference,
            (),
            frames[recording.partition_key] if frames is not None else _NO_FRAMES,
            recording.unknown,
        )
        for recording in recordings
    ]


def _detected(
    recordings: Sequence[ManifestRecording],
    frames: Frames,
    settings: Detection,
    point: OperatingPoint,
) -> list[ScoredRecording]:
    return [
        replace(part, hypothesis=tuple(detect(part.scores_8hz, part.duration_s, settings, point)))
        for part in _open(recordings, frames)
    ]


def _drawn(rows: Sequence[SweepRow]) -> tuple[SweepRow, ...]:
    """Rows spread evenly over those that differ from the one before, both ends among them."""
    distinct = [
        row
        for number, row in enumerate(rows)
        if number in (0, len(rows) - 1) or _figures(row) != _figures(rows[number - 1])
    ]
    if len(distinct) <= _DRAWN_ROWS:
        return tuple(distinct)
    chosen = np.unique(np.linspace(0, len(distinct) - 1, _DRAWN_ROWS).round().astype(int))
    return tuple(distinct[number] for number in chosen)


def _figures(row: SweepRow) -> str:
    # As text, two undefined figures are the same.
    return repr(replace(row, threshold=0.0, off_threshold=0.0))


def _strip(
    store: Store, recording: ManifestRecording, highlight: Highlight, frames: Frames
) -> Strip:
    """The EEG of a highlight."""
    reader = RecordingReader(store, recording)
    start, stop = round(highlight.start_s * RATE), round(highlight.stop_s * RATE)
    signal = reader.read(start, min(stop, reader.samples))
    return Strip(highlight, signal, frames[recording.partition_key])
