"""One run on several corpora: a report with a row for each, compared with its own dev."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.corpus.data_root import corpus_name, safe_name
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.corpus_row import CorpusRow
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained
from brainbrr_core.evaluation.external import OnAnotherCorpus, corpus_plan, evaluate_run
from brainbrr_core.evaluation.facts import ExternalCorpus
from brainbrr_core.evaluation.key_figures import (
    LIMIT_FIGURES,
    OPERATING_FIGURES,
    by_unit,
)
from brainbrr_core.evaluation.own_corpus import OwnCorpus
from brainbrr_core.evaluation.report_folder import REPORT
from brainbrr_core.evaluation.results import Estimate, read_results, report_folder
from brainbrr_core.evaluation.several_runs import writing_page
from brainbrr_core.evaluation.tables import Row, write_table
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

#: The figure whose change from own dev the sentences describe.
_F1 = "szcore_event.f1"
#: The most characters of a folder's name that names of corpora take up.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class OtherCorpus:
    """A corpus to score a run on.

    Attributes
    ----------
    name : str or None
        Its name in the report; None for that of its folder.
    cache : ProfileCache
        Its shards and windows.
    settings : ReportSettings
        Detection, bootstrap and device.
    """

    name: str | None
    cache: ProfileCache
    settings: ReportSettings


@dataclass(frozen=True)
class AcrossReport:
    """The report of a run on several corpora.

    Attributes
    ----------
    report : Path
        The HTML page. Its folder has the tables.
    run : Run
        The run that was scored.
    rows : tuple of CorpusRow
        One for each corpus, the run's own first.
    """

    report: Path
    run: Run
    rows: tuple[CorpusRow, ...]

    @property
    def sentences(self) -> list[str]:
        """How the event F1 on each other corpus differs from that on own dev."""
        own = self.rows[0].figures[_F1].value
        sentences = []
        for row in self.rows:
            if row.own:
                continue
            results, f1 = row.evaluation.results, row.figures[_F1]
            if math.isnan(f1.value) or math.isnan(own):
                sentences.append(f"On “{results.split}” the event F1 is undefined: see its report.")
                continue
            change = f1.value - own
            verb = "falls" if change < 0 else "rises" if change > 0 else "stays"
            sentences.append(
                f"On “{results.split}” the event F1 {verb} from {own:.3f} on own dev to "
                f"{f1.value:.3f} ({change:+.3f})."
            )
        return sentences


def evaluate_across(
    own: OwnCorpus,
    corpora: Sequence[OtherCorpus],
    split: str | None = None,
    asked: OnAnotherCorpus | None = None,
    *,
    log: Callable[[str], None] = print,
) -> AcrossReport:
    """Score a run on several other corpora as :func:`evaluate_run` does, and write one report.

    ``own`` is the run with the corpus that it was trained on. The report's rows begin with dev of
    that corpus, on which the threshold was tuned, and with its eval if that was scored at this
    threshold before. All corpora are checked, to be indexed and built, before the first is scored.
    Raises as :func:`evaluate_run` does, and :class:`BrainbrrError` for a corpus that is the run's
    own and for two corpora of the same name.
    """
    run, named = own.run, _name_corpora(own.run, corpora)
    rows = _own_rows(own, log)
    for corpus in named:
        log(f"corpus {corpus.name}")
        request = replace(asked or OnAnotherCorpus(), name=corpus.name)
        evaluation = evaluate_run(own, corpus.cache, corpus.settings, split, request, log=log)
        rows.append(CorpusRow(str(corpus.name), False, evaluation))
    names = "-".join(str(corpus.name) for corpus in named)[:_LONGEST_NAME]
    key = digest(sorted(str(row.evaluation.report.parent.name) for row in rows))[:8]
    folder = run.directory / f"report-across-{names}-{key}"
    report = AcrossReport(folder / REPORT, run, tuple(rows))
    _write(report)
    return report


def _name_corpora(run: Run, corpora: Sequence[OtherCorpus]) -> list[OtherCorpus]:
    """Give each corpus a name. Raises if one cannot be scored or two have the same name."""
    named = []
    for corpus in corpora:
        plan = corpus_plan(corpus.cache, run)
        if run.was_trained_on(corpus.cache.training_source(plan)):
            raise BrainbrrError(
                f"run {run.name} was trained on the corpus in {corpus.cache.store.root}, "
                "whose dev is in the report anyway: leave it out of --across"
            )
        name = corpus_name(plan.index) if corpus.name is None else safe_name(corpus.name)
        named.append(replace(corpus, name=name))
    counts = Counter(corpus.name for corpus in named)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise BrainbrrError(
            f"two corpora of --across are called {repeated[0]}: name them, as in "
            "--across first=PATH,second=PATH"
        )
    return named


def _own_rows(corpus: OwnCorpus, log: Callable[[str], None]) -> list[CorpusRow]:
    """The run on dev of its own corpus, and on eval if that was scored at the same threshold."""
    run, threshold = corpus.run, corpus.frozen_threshold(log)
    try:
        own, _ = corpus.locate()
    except WorkRemains:
        dev = _stored_report(run, "dev")
        if dev is None:
            raise
        log("the run's own corpus is not here: its row shows the report on dev as it was written")
    else:
        settings = replace(corpus.settings, detection=threshold.detection)
        dev = evaluate_trained(run, own, settings, "dev", log=log)
    rows = [CorpusRow("own dev", True, dev)]
    evaluated = _stored_report(run, "eval")
    if evaluated is not None and evaluated.results.threshold.point == threshold.point:
        rows.append(CorpusRow("own eval", True, evaluated))
    return rows


def _stored_report(run: Run, split: str) -> Evaluation | None:
    """The existing report of a run on a split of its own corpus; None without one."""
    folder = report_folder(run.directory, split)
    try:
        results = read_results(folder)
    except BrainbrrError:
        # Missing, damaged, or written by another version of the program.
        return None
    return Evaluation(folder / REPORT, results, run, "", reused=True)


def _write(report: AcrossReport) -> None:
    # Drawing needs matplotlib, which takes a second to import.
    from brainbrr_core.evaluation.across_picture import across_picture

    names = [figure.name for figure in (*OPERATING_FIGURES, *LIMIT_FIGURES)]
    with writing_page(
        report.report,
        "across.html.j2",
        [row.evaluation for row in report.rows],
        report=report,
        head=_head(report),
        picture=across_picture(report.rows),
        figures=OPERATING_FIGURES,
        limits=by_unit(LIMIT_FIGURES),
        own=report.rows[0].figures,
    ) as folder:
        write_table(
            folder / "corpora",
            (
                *("corpus", "scored", "own", "adapted", "threshold_from", "patients", "recordings"),
                *("hours", "seizures", "left_out_recordings"),
                *(f"{name}{suffix}" for name in names for suffix in ("", "_low", "_high")),
            ),
            [_table_row(row, names) for row in report.rows],
        )


def _table_row(row: CorpusRow, names: Sequence[str]) -> Row:
    results, figures = row.evaluation.results, row.figures
    external = results.external
    undefined = Estimate(math.nan)
    return (
        *(row.name, results.split, row.own, None if external is None else external.adapted),
        *(results.threshold.split, len(results.patients), len(results.recordings)),
        *(results.hours, results.seizures),
        0 if external is None else sum(external.left_out.values()),
        *(
            value
            for name in names
            for estimate in [figures.get(name, undefined)]
            for value in (estimate.value, estimate.low, estimate.high)
        ),
    )


def _head(report: AcrossReport) -> list[str]:
    """The paragraphs above the table, which say what its rows mean."""
    externals = [
        row.evaluation.results.external
        for row in report.rows
        if row.evaluation.results.external is not None
    ]
    adapted = any(external.adapted for external in externals)
    own = externals[0].own_name
    return [
        f"Run {report.run.name} was trained on “{own}”. Each other row is a corpus that it was not "
        "trained on. "
        + (
            "ADAPTED: its threshold was tuned on dev of each of these corpora, so these rows are "
            "not an external validation."
            if adapted
            else "Nothing was tuned on these corpora: neither weights nor threshold nor "
            "normalization. Every row uses the same threshold, tuned on dev of the run's own "
            "corpus."
        ),
        "“Own dev” was used to choose the threshold and perhaps the weights, so its figures "
        "flatter the detector, which explains part of the drop to other corpora. Brackets contain "
        "95 % confidence intervals from a bootstrap over patients; with few patients they are too "
        "narrow.",
        _left_out(externals),
        "Corpora differ in more than their patients: who is recorded and for how long, how "
        "seizures are annotated, electrodes and amplifiers. A rate of false alarms depends on all "
        "of these.",
    ]


def _left_out(corpora: Sequence[ExternalCorpus]) -> str:
    """A sentence on the recordings that are left out because the run knows them."""
    recordings = sum(sum(corpus.left_out.values()) for corpus in corpora)
    sentence = "The run knows no recording or patient of these corpora from its own."
    if recordings:
        sentence = (
            f"Left out: {count(recordings, 'recording')} of these corpora, whose patient or "
            "content the run knows from its own corpus; each corpus's report says why."
        )
    namesakes = sum(corpus.same_names for corpus in corpora)
    if namesakes:
        sentence += (
            f" {namesakes:,} scored patients have the same name as one that the run knows. The "
            "user declared that they are other people, and they have no content in common."
        )
    return sentence
