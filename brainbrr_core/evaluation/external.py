"""A frozen run on a corpus that it was not trained on: external validation.

Nothing is tuned on that corpus: the threshold is the one tuned on the run's own dev, unless the
user asks for one tuned on dev of the other corpus, which every output then states. Recordings and
patients that the run knows from its own corpus are not scored.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from brainbrr_core.cache.manifest import ManifestRecording, source_digest
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import fresh_plan
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.data_root import (
    corpus_name,
    data_roots,
    is_data_root,
    safe_name,
)
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.corpus.summary import explain, none_usable
from brainbrr_core.display import counts
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.age_groups import age_groups
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained
from brainbrr_core.evaluation.facts import ExternalCorpus
from brainbrr_core.evaluation.operating_threshold import choice_of, log_other_precision, tune
from brainbrr_core.evaluation.own_corpus import OwnCorpus
from brainbrr_core.evaluation.provenance import weights_chosen_on
from brainbrr_core.evaluation.report_folder import (
    REPORT,
    shaping_of_report,
    stored_results,
    write_evaluation,
)
from brainbrr_core.evaluation.results import UnscoredRecording
from brainbrr_core.evaluation.score import evaluation_set
from brainbrr_core.evaluation.split_scores import compute_scores
from brainbrr_core.evaluation.starting_weights import StartingWeights
from brainbrr_core.evaluation.unscored import log_unscored, unscored_recordings
from brainbrr_core.files.canonical import digest
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.eval_ledger import count_external_scoring
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.known_patients import KnownPatients
from brainbrr_core.runs.own_settings import check_version
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.threshold import read_threshold

#: The split that stands for a whole corpus, which is scored by default.
ALL = "all"
#: The splits of another corpus that can be scored.
EXTERNAL_SPLITS = (*SPLITS, ALL)
#: How a report names dev of the corpus that the run was trained on.
OWN_DEV = "own dev"
_ADAPTED_ON = "the threshold was adapted on dev of this corpus"

Adapt = Literal["threshold"]
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OnAnotherCorpus:
    """How to score a run on a corpus that it was not trained on.

    Attributes
    ----------
    name : str, optional
        Name of the corpus in the report; by default that of its folder.
    adapt : {"threshold"}, optional
        What is tuned on dev of that corpus; by default nothing.
    other_people : bool
        Whether patients with the same name as one of the run's own corpus are other people.
    """

    name: str | None = None
    adapt: Adapt | None = None
    other_people: bool = False


@dataclass(frozen=True)
class _Chosen:
    """The recordings to score, those that the threshold is adapted on, and all others."""

    scored: list[ManifestRecording]
    adapted_on: list[ManifestRecording]
    unscored: list[UnscoredRecording]
    left_out: Counter[str]
    left_out_patients: int
    same_names: int


def corpus_plan(cache: ProfileCache, run: Run, data_dir: str | None = None) -> Plan:
    """The plan of a corpus to score a run on; all of its shards are fresh.

    If ``data_dir`` is given, the cache must be that of the corpus there. Raises
    :class:`BrainbrrError` or :class:`WorkRemains` otherwise, with the command that indexes or
    builds the corpus.
    """
    check_version(run, cache.store.version, cache.preprocessing)
    root, options = cache.store.root, cache.settings.options
    if not index_path(root).is_file():
        folder = "FOLDER" if data_dir is None else shlex.quote(data_dir)
        raise BrainbrrError(
            f"no corpus is indexed in {root}: run `brainbrr cache build{options} --data-dir "
            f"{folder}`, with a separate cache root for this corpus"
        )
    index = read_index(root)
    roots = list(data_roots(index).values())
    if data_dir is not None and not is_data_root(index, data_dir):
        raise BrainbrrError(
            f"the cache root {root} is that of {' and '.join(roots)}, not of {data_dir}: run "
            f"`brainbrr cache build --data-dir {shlex.quote(data_dir)} --cache-root FOLDER`, and "
            "give the same --cache-root here"
        )
    # Several corpora are named in a configuration, not by an option.
    folder = "" if index.corpora else f" --data-dir {shlex.quote(roots[0])}"
    return fresh_plan(cache, f"{options}{folder}")


def evaluate_run(
    own: OwnCorpus,
    cache: ProfileCache,
    settings: ReportSettings,
    split: str | None = None,
    asked: OnAnotherCorpus | None = None,
    *,
    data_dir: str | None = None,
    log: Log = print,
) -> Evaluation:
    """Score a run on a corpus in a cache, its own or another one.

    ``own`` is the run with the corpus that it was trained on. On that one this is
    :func:`evaluate_trained`. On another corpus ``split`` is one of its splits or "all" (the
    default), the settings of detection are those that the run's threshold was tuned with, and the
    report has its own folder in the run's. Every scoring of another corpus is recorded in the runs
    folder.

    Raises :class:`WorkRemains` and :class:`BrainbrrError` where the corpus is not indexed or built
    for the run's preprocessing version, the split has nothing to score, or the run has no
    threshold and its own dev is not here.
    """
    run, asked = own.run, asked or OnAnotherCorpus()
    with cache.hold("evaluate"):
        plan = corpus_plan(cache, run, data_dir)
        if not run.was_trained_on(cache.training_source(plan)):
            return _evaluate_external(own, cache, plan, settings, split or ALL, asked, log)
        if asked.adapt is not None or asked.other_people or split in ("train", ALL):
            raise BrainbrrError(
                f"run {run.name} was trained on the corpus in {cache.store.root}: its own "
                "corpus is scored with --split dev or eval, without --adapt and --other-people; "
                "for another corpus, give its --cache-root"
            )
        return evaluate_trained(run, cache, settings, split or settings.evaluation.split, log=log)


def external_folder(run: Run, name: str, split: str, scored: str, adapt: Adapt | None) -> Path:
    """The folder of a report on another corpus; ``scored`` is the hash of its recordings."""
    adapted = "" if adapt is None else f"-adapted-{adapt}"
    return run.directory / f"report-on-{name}-{split}{adapted}-{scored[:8]}"


def _evaluate_external(
    corpus: OwnCorpus,
    cache: ProfileCache,
    plan: Plan,
    settings: ReportSettings,
    split: str,
    asked: OnAnotherCorpus,
    log: Log,
) -> Evaluation:
    _check_split(split, asked)
    name = corpus_name(plan.index) if asked.name is None else safe_name(asked.name)
    labels = cache.settings.seizure_labels
    run, own = corpus.run, corpus.recordings()
    known_patients = KnownPatients.of(plan.index, own, other_people=asked.other_people)
    chosen = _choose(plan, labels, split, asked, known_patients)
    label = _label(name, split, asked.adapt)
    for reason, count in sorted(chosen.left_out.items()):
        log(f"left out: {counts.count(count, 'recording')} of {name}: {reason}")
    if not chosen.scored:
        raise BrainbrrError(_nothing_to_score(run, plan, name, split, chosen, known_patients))
    frozen = read_threshold(run.directory)
    if frozen is None and asked.adapt is None:
        frozen = corpus.frozen_threshold(log)
    if frozen is not None and frozen.detection != settings.detection:
        log("the settings of detection are those that the run's threshold was tuned with")
        settings = replace(settings, detection=frozen.detection)
    scored = evaluation_set(chosen.scored)
    folder = external_folder(run, name, split, scored, asked.adapt)
    start = StartingWeights.of(run, plan.index, {row.patient for row in chosen.scored})
    groups = age_groups(plan, chosen.scored)
    identity = digest(
        {
            **shaping_of_report(run, settings, split, start, groups),
            "name": name,
            "scored": scored,
            "unscored": [asdict(row) for row in chosen.unscored],
            "known": [list(entry) for entry in own.recordings],
            "adapted_on": evaluation_set(chosen.adapted_on) if asked.adapt else None,
            "threshold": None if asked.adapt or frozen is None else frozen.model_dump(mode="json"),
        }
    )
    stored = stored_results(folder, identity)
    if stored is not None:
        log(f"the report of run {run.name} on {label} is current: nothing to score")
        return Evaluation(folder / REPORT, stored, run, identity, reused=True, start=start)
    log_unscored(_unscored(plan, labels, split), name, log)
    predictor = Predictor.load(
        run, plan.store.version, cache.preprocessing, settings.detection, settings.hardware
    )
    if asked.adapt is None and frozen is not None:
        choice = choice_of(frozen, OWN_DEV)
        log_other_precision(frozen, predictor, log)
    else:
        adapted, _ = tune(predictor, plan.store, chosen.adapted_on)
        choice = choice_of(adapted, f"{name}/dev")
    looks = count_external_scoring(run.directory.parent, run.name, scored)
    results = write_evaluation(
        folder,
        run,
        predictor,
        plan,
        chosen.scored,
        compute_scores(predictor, plan.store, chosen.scored, label),
        profile=cache.profile,
        split=label,
        settings=settings,
        choice=choice,
        source=source_digest(plan, cache.settings),
        identity=identity,
        weights_chosen_on=None if weights_chosen_on(run.record) is None else OWN_DEV,
        unscored=chosen.unscored,
        external=ExternalCorpus(
            name=name,
            layout=plan.index.layout,
            split=split,
            recordings=len(plan.index),
            selected=len(plan.items),
            own_name=own.name,
            known_recordings=len(own.recordings),
            known_patients=len({entry.patient for entry in own.recordings}),
            left_out=dict(sorted(chosen.left_out.items())),
            left_out_patients=chosen.left_out_patients,
            same_names=chosen.same_names,
            adapted=asked.adapt,
            scorings=looks.scorings,
            scoring_runs=looks.runs,
        ),
        start=start,
        age_groups=groups,
    )
    return Evaluation(folder / REPORT, results, run, identity, reused=False, start=start)


def _unscored(plan: Plan, labels: tuple[str, ...], split: str) -> list[UnscoredRecording]:
    """The recordings of a split, or of all splits, that cannot be scored with any run."""
    return [row for name in _splits(split) for row in unscored_recordings(plan, labels, name)]


def _choose(
    plan: Plan,
    labels: tuple[str, ...],
    split: str,
    asked: OnAnotherCorpus,
    known_patients: KnownPatients,
) -> _Chosen:
    """Choose the recordings of a corpus to score, with the reason why each other one is not."""
    usable = [row for name in _splits(split) for row in scorable(plan, labels, name)]
    adapted_on = []
    if asked.adapt is not None:
        adapted_on = [
            row
            for row in scorable(plan, labels, "dev")
            if known_patients.reason(row.patient) is None
        ]
        if not any(row.seizures for row in adapted_on):
            raise BrainbrrError(
                f"there is no seizure to adapt the threshold on in dev of {plan.store.root}: leave "
                "--adapt out, or choose a larger --profile"
            )
    recordings = {item.recording.partition_key: item.recording for item in plan.items}
    adapting = {row.partition_key for row in adapted_on}
    scored, unscored, left_out = [], _unscored(plan, labels, split), Counter[str]()
    patients: set[str] = set()
    for row in usable:
        reason = known_patients.reason(row.patient)
        if reason is not None:
            left_out[reason] += 1
            patients.add(row.patient)
        elif row.partition_key in adapting:
            reason = _ADAPTED_ON
        else:
            scored.append(row)
            continue
        recording = recordings[row.partition_key]
        seizures = len(recording.seizures(labels))
        unscored.append(
            UnscoredRecording(row.partition_key, reason, recording.duration_s, seizures)
        )
    same_names = len(known_patients.namesakes & {row.patient for row in scored})
    return _Chosen(scored, adapted_on, unscored, left_out, len(patients), same_names)


def _check_split(split: str, asked: OnAnotherCorpus) -> None:
    if split not in EXTERNAL_SPLITS:
        raise BrainbrrError(
            f"there is no split {split!r} of a corpus: --split is {', '.join(EXTERNAL_SPLITS)}"
        )
    if asked.adapt is not None and split == "dev":
        raise BrainbrrError(
            f"--adapt {asked.adapt} tunes on dev of the other corpus, so --split dev cannot be "
            "scored: leave --split out, or choose train or eval"
        )


def _label(name: str, split: str, adapt: Adapt | None) -> str:
    """Name of what is scored, which never equals the name of a split of the run's own corpus."""
    if adapt is None:
        return f"{name}/{split}"
    scored_splits = "all but dev" if split == ALL else split
    return f"{name}/{scored_splits}, {adapt} adapted on its dev"


def _splits(split: str) -> tuple[str, ...]:
    return SPLITS if split == ALL else (split,)


def _nothing_to_score(
    run: Run, plan: Plan, name: str, split: str, chosen: _Chosen, known_patients: KnownPatients
) -> str:
    """The message if no recording is left to score: why, and what to do."""
    if chosen.left_out:
        left_out = counts.count(sum(chosen.left_out.values()), "recording")
        remedy = "score its own corpus with the configuration of its training"
        if known_patients.by_name_alone:
            remedy = (
                "where patients of the same name are other people, as in two corpora that begin "
                "with sub-01, add --other-people"
            )
        return (
            f"run {run.name} knows every patient of {split} of {name} ({left_out}) from its own "
            f"corpus, so nothing is left to score: {remedy}"
        )
    if unusable := none_usable(plan.montage_index):
        [(reason, _)] = Counter(str(r.reason) for r in plan.montage_index).most_common(1)
        return f"no recording of {name} can be scored: {unusable} ({explain(reason)})"
    scorable = Counter(item.recording.split for item in plan.items if item.recording.reason is None)
    has = ", ".join(
        f"{split_name} ({scorable[split_name]})" for split_name in SPLITS if scorable[split_name]
    )
    return (
        f"{name} has no recording in {split} that can be scored: it has {has or 'none at all'}; "
        "choose another --split, or a larger --profile"
    )
