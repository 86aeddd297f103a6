"""The runs of a folder with their corpora and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.results import (
    EVALUATION,
    UNNAMED_EVALUATION,
    Estimate,
    read_results,
    report_folder,
)
from brainbrr_core.runs.record import finished_runs
from brainbrr_core.runs.run_corpus import read_run_corpus
from brainbrr_core.runs.run_folder import RunFolder, RunState, read_run_folders

#: The splits of its own corpus that a run is scored on.
SCORED_SPLITS = ("dev", "eval")
#: The figures that a list of runs shows.
LISTED_FIGURES = ("szcore_event.f1", "szcore_event.sensitivity", "szcore_event.false_per_day")


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run in the list of a folder.

    Attributes
    ----------
    folder : RunFolder
        The state and settings of the run, as its folder has them.
    latest : bool
        Whether it is the one that finished last, which `brainbrr predict` uses.
    corpus : str
        Name of the corpus that it was trained on; empty where that is not recorded.
    scores : mapping of str to mapping of str to Estimate
        The figures of its report on each split, by split and name.
    evaluations : mapping of str to str
        The version of the evaluation that each of these reports is of, by split: figures of two
        versions do not compare.
    remarks : tuple of str
        What is damaged, and what to do about it.
    """

    folder: RunFolder
    latest: bool
    corpus: str
    scores: Mapping[str, Mapping[str, Estimate]]
    evaluations: Mapping[str, str]
    remarks: tuple[str, ...]


def list_runs(runs_dir: Path) -> list[ListedRun]:
    """All runs of a folder, those with the latest times first.

    Parameters
    ----------
    runs_dir : Path
        The folder of the runs, which need not exist.

    Returns
    -------
    list of ListedRun
        Finished, unfinished and damaged runs.
    """
    finished = finished_runs(runs_dir)
    latest = finished[-1] if finished else None
    return [_listed(run, run.directory == latest) for run in read_run_folders(runs_dir)]


def _listed(run: RunFolder, latest: bool) -> ListedRun:
    remarks = [run.remark] if run.remark else []
    corpus = ""
    scores: dict[str, dict[str, Estimate]] = {}
    evaluations: dict[str, str] = {}
    if run.state is RunState.FINISHED:
        try:
            own = read_run_corpus(run.directory)
            corpus = "" if own is None else own.name
        except BrainbrrError as error:
            remarks.append(str(error))
        for split in SCORED_SPLITS:
            try:
                results = read_results(report_folder(run.directory, split))
            except WorkRemains:
                # Not scored yet.
                continue
            except BrainbrrError as error:
                remarks.append(str(error))
                continue
            estimates = results.estimates
            scores[split] = {name: estimates[name] for name in LISTED_FIGURES if name in estimates}
            evaluations[split] = results.provenance.get(EVALUATION, UNNAMED_EVALUATION)
    return ListedRun(run, latest, corpus, scores, evaluations, tuple(remarks))
