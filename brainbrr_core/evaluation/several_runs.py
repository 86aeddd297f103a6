"""Code that reports over several runs share: scoring the runs, and writing the page.

A report compares seeds, networks, folds or corpora (:mod:`~brainbrr_core.evaluation.seeds`,
:mod:`~brainbrr_core.evaluation.networks`, :mod:`~brainbrr_core.evaluation.folds`,
:mod:`~brainbrr_core.evaluation.across`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained
from brainbrr_core.evaluation.report.page import report_environment
from brainbrr_core.evaluation.report_folder import REPORT
from brainbrr_core.evaluation.results import MARKS, Estimate
from brainbrr_core.evaluation.statistics import unit_of
from brainbrr_core.evaluation.tables import OPTIONAL_FILES, Row
from brainbrr_core.files.atomic import replacing_together
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

#: Columns of a table with one row for each figure; :func:`estimate_cells` are their values.
ESTIMATE_COLUMNS = ("figure", "unit", "value", "low", "high", "interval", "few_patients")


def evaluate_each(
    runs: Mapping[str, Run],
    cache: ProfileCache,
    settings: ReportSettings,
    split: str,
    kind: str,
    *,
    log: Callable[[str], None] = print,
) -> list[Evaluation]:
    """Score runs on a split of the cache that they were trained on; scorings of eval are recorded.

    ``kind`` is the plural of what differs between the runs, such as ``seeds``. Raises as
    :func:`evaluate_trained` does, and :class:`BrainbrrError` if the cache has changed in the
    meantime, so that the runs were scored on different recordings.
    """
    evaluations = []
    for name, run in runs.items():
        log(f"{name}: run {run.name}")
        evaluations.append(evaluate_trained(run, cache, settings, split, log=log))
    if len({each.results.evaluation_set for each in evaluations}) > 1:
        raise BrainbrrError(
            f"the cache changed while the {kind} were scored, so that their recordings differ: run "
            "the same command again"
        )
    return evaluations


def page_path(evaluations: Sequence[Evaluation], profile: str, kind: str) -> Path:
    """Path of the page about some runs, which does not depend on their order."""
    first = evaluations[0]
    name = digest(sorted(each.run.name for each in evaluations))[:12]
    folder = first.run.directory.parent / f"{profile}-{kind}-{name}"
    return folder / f"report-{first.results.split}" / REPORT


def caveats(evaluations: Sequence[Evaluation], detectors: str, ending: str) -> list[str]:
    """Sentences on earlier uses of the scored split; none if there were none.

    ``detectors`` is the noun for what was scored, and ``ending`` the end of the sentence on how
    often eval has been scored.
    """
    sentences = []
    results = evaluations[0].results
    if results.split == results.threshold.split:
        sentences.append(
            f"The split “{results.split}” was used to choose the thresholds: its figures flatter "
            f"the {detectors}."
        )
    looks = evaluations[-1].results.eval_looks
    if looks is not None:
        sentences.append(
            f"“eval” has been scored {count(looks.scorings, 'time')} from this runs folder, with "
            f"{count(looks.runs, 'run')}{ending}"
        )
    return sentences


def estimate_cells(name: str, estimate: Estimate) -> Row:
    """The values of :data:`ESTIMATE_COLUMNS` for one figure."""
    return (
        *(name, str(unit_of(name)), estimate.value, estimate.low, estimate.high),
        *(estimate.method, estimate.few_patients),
    )


@contextmanager
def writing_page(
    path: Path, template: str, evaluations: Sequence[Evaluation], **values: object
) -> Iterator[Path]:
    """Write a page about several runs, which links to the report of each, and its tables.

    Yields the folder to write the tables to, which replace those beside the page together with it.
    The template also gets ``links``, one for each evaluation, and ``marks``, the meaning of the
    marks beside figures.
    """
    links = [os.path.relpath(each.report, path.parent).replace(os.sep, "/") for each in evaluations]
    text = report_environment().get_template(template).render(links=links, marks=MARKS, **values)
    with replacing_together(path.parent, path.name, OPTIONAL_FILES) as folder:
        (folder / path.name).write_text(text, encoding="utf-8", newline="\n")
        yield folder
