"""The folder of a report: its page, tables and results, which are written once and reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import channels_of, is_imported
from brainbrr_core.constants import RATE
from brainbrr_core.corpus.data_root import license_notes
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.facts import ExternalCorpus, ThresholdChoice
from brainbrr_core.evaluation.method import computing_sentence, method
from brainbrr_core.evaluation.provenance import provenance, training_facts
from brainbrr_core.evaluation.report.highlights import (
    typical_hits,
    worst_false_alarms,
    worst_misses,
)
from brainbrr_core.evaluation.report.page import write_report
from brainbrr_core.evaluation.report.pictures import Strip
from brainbrr_core.evaluation.results import (
    RESULTS,
    EvaluationResults,
    UnscoredRecording,
    read_results,
)
from brainbrr_core.evaluation.score import score
from brainbrr_core.evaluation.split_scores import SplitScores
from brainbrr_core.evaluation.starting_weights import StartingWeights
from brainbrr_core.evaluation.statistics import PatientStatistics
from brainbrr_core.evaluation.tables import OPTIONAL_FILES, STATISTICS, write_tables
from brainbrr_core.files.atomic import replacing_together
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

REPORT = "report.html"
#: The entry of a report's provenance with the hash of everything that shaped the report.
IDENTITY = "evaluation identity"


def shaping_of_report(
    run: Run,
    settings: ReportSettings,
    split: str,
    start: StartingWeights | None,
    age_groups: Mapping[str, str],
) -> dict[str, JsonValue]:
    """Everything but the recordings that a report of a run depends on, for its identity.

    ``age_groups`` has the group of each recording, and is empty unless there are several.
    """
    return {
        **settings.shaping(split),
        "run": run.record.identity.as_written(),
        "finished_at": run.record.finished_at,
        "ssm_backend": settings.hardware.ssm_backend,
        **({} if start is None else {"start": start.shaping()}),
        **({"ages": dict(sorted(age_groups.items()))} if age_groups else {}),
    }


def stored_results(folder: Path, identity: str) -> EvaluationResults | None:
    """The results in a report's folder; None unless they are complete and of this identity."""
    if not all((folder / name).is_file() for name in (REPORT, STATISTICS)):
        return None
    try:
        results = read_results(folder)
    except BrainbrrError:
        # Missing, damaged, or written by another version of the program: it is scored again.
        return None
    return results if results.provenance.get(IDENTITY) == identity else None


def write_evaluation(
    folder: Path,
    run: Run,
    predictor: Predictor,
    plan: Plan,
    recordings: Sequence[ManifestRecording],
    scores: SplitScores,
    *,
    profile: str,
    split: str,
    settings: ReportSettings,
    choice: ThresholdChoice,
    source: str,
    identity: str,
    weights_chosen_on: str | None,
    unscored: Sequence[UnscoredRecording],
    eval_looks: EvalLooks | None = None,
    external: ExternalCorpus | None = None,
    start: StartingWeights | None = None,
    age_groups: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> EvaluationResults:
    """Score recordings at the chosen threshold, and write tables, page and results to a folder.

    ``scores`` are the scores of ``recordings``, which ``profile`` selects from ``plan``.
    ``settings`` are those that the predictor was loaded with. ``source`` is the hash of recordings,
    annotations and settings in their manifest, ``identity`` that of everything that shapes the
    report. ``age_groups`` has the group of each recording, if there are several. ``notes`` are
    added to the provenance.
    """
    points = [point for point in (choice.at_limits or {}).values() if point is not None]
    scoring = score(
        scores.detect(choice.point),
        split=split,
        profile=profile,
        threshold=choice,
        provenance={
            **provenance(run, settings, profile, plan.store.version, source),
            **license_notes(plan.index),
            **(notes or {}),
            IDENTITY: identity,
        },
        weights_chosen_on=weights_chosen_on,
        sweep=scores.sweep,
        applied=scores.count_at(points),
        unscored=unscored,
        eval_looks=eval_looks,
        training=training_facts(run.record),
        method=(
            *method(
                predictor.preprocessing,
                predictor.detection,
                predictor.window_s,
                predictor.version if is_imported(predictor.version) else None,
            ),
            computing_sentence(predictor.hardware, choice.precision),
            *(() if start is None else (start.sentence(),)),
        ),
        age_groups=age_groups,
        bootstrap_samples=settings.evaluation.bootstrap_samples,
        bootstrap_seed=settings.evaluation.bootstrap_seed,
    )
    # The tables have the whole curve; a drawing needs fewer points.
    results = replace(scoring.results, operating_curve=scores.curve(), external=external)
    strips = _strips(results, plan.store, recordings, scores)
    write_folder(folder, results, scoring.statistics, strips)
    return results


def write_folder(
    folder: Path,
    results: EvaluationResults,
    statistics: PatientStatistics,
    strips: Sequence[Strip] = (),
) -> None:
    """Write tables, page and results. A folder that has results is complete."""
    with replacing_together(folder, last=RESULTS, outdated=OPTIONAL_FILES) as temporary:
        write_tables(temporary, results, statistics)
        write_report(temporary / REPORT, results, strips)
        (temporary / RESULTS).write_text(results.to_json(), encoding="utf-8")


def _strips(
    results: EvaluationResults,
    store: Store,
    recordings: Sequence[ManifestRecording],
    scores: SplitScores,
) -> list[Strip]:
    """The EEG of the events that the report shows."""
    stored = {recording.partition_key: recording for recording in recordings}
    scored = {recording.partition_key: recording for recording in scores.recordings}
    strips = []
    names = channels_of(store.version)
    for highlight in (
        *typical_hits(results),
        *worst_misses(results),
        *worst_false_alarms(results),
    ):
        reader = RecordingReader(store, stored[highlight.partition_key])
        start, stop = round(highlight.start_s * RATE), round(highlight.stop_s * RATE)
        signal = reader.read(start, min(stop, reader.samples))
        scores_8hz = scored[highlight.partition_key].scores_8hz
        strips.append(Strip(highlight, signal, scores_8hz, channel_names=names))
    return strips
