"""Several networks trained on one profile: what each costs and what it scores, in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained
from brainbrr_core.evaluation.key_figures import key_figures
from brainbrr_core.evaluation.report.page import report_environment
from brainbrr_core.evaluation.report_folder import REPORT
from brainbrr_core.evaluation.results import MARKS, Estimate
from brainbrr_core.evaluation.statistics import unit_of
from brainbrr_core.evaluation.tables import write_table
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

#: The figures of the table, with their titles and decimals.
FIGURES = (
    ("szcore_event.f1", "F1", 3),
    ("szcore_event.sensitivity", "sensitivity", 3),
    ("szcore_event.false_per_day", "false alarms per 24 h", 1),
)


@dataclass(frozen=True)
class NetworkRow:
    """A network's run and its evaluation.

    Attributes
    ----------
    name : str
        The network as it was named.
    evaluation : Evaluation
        The scores of its run.
    """

    name: str
    evaluation: Evaluation

    @property
    def run(self) -> Run:
        """The run, whose record says what the training took."""
        return self.evaluation.run

    @property
    def figures(self) -> dict[str, Estimate]:
        """The figures of the table, by name, with their intervals over patients."""
        figures = key_figures(self.evaluation.results)
        return {name: figures[name] for name, _, _ in FIGURES}


@dataclass(frozen=True)
class NetworksReport:
    """Where the table of some networks lies, and its rows in the order asked for."""

    report: Path
    split: str
    rows: tuple[NetworkRow, ...]

    @property
    def sentences(self) -> list[str]:
        """What the table says, and what it does not."""
        first = self.rows[0].evaluation.results
        sentences = [
            "Each network was trained once, on the same recordings, with the same settings but "
            "its own, and has a threshold of its own, tuned on dev. Settings that suit one network "
            "need not suit another.",
            "In brackets are 95% intervals over patients, of each network by itself. Whether two "
            "differ beyond chance is what `brainbrr compare RUN_A RUN_B` says; how much another "
            "training of the same network would differ, `brainbrr evaluate --seeds`.",
            "Seconds and windows per second are those of the machine, and of its load, when a "
            "network was trained.",
        ]
        if self.split == first.threshold.split:
            sentences.append(
                f"The split “{self.split}” was used to choose the thresholds: its figures flatter "
                "the detectors."
            )
        looks = self.rows[-1].evaluation.results.eval_looks
        if looks is not None:
            sentences.append(
                f"“eval” has been scored {count(looks.scorings, 'time')} from this runs folder, "
                f"with {count(looks.runs, 'run')}: a network that is chosen by this table has been "
                "chosen on eval."
            )
        return sentences


def evaluate_networks(
    runs: Mapping[str, Run],
    cache: ProfileCache,
    settings: ReportSettings,
    split: str,
    *,
    log: Callable[[str], None] = print,
) -> NetworksReport:
    """Score the run of each network on a split of the cache it was trained on; write the table.

    Each scoring of eval is put on record. Raises what :func:`evaluate_trained` raises.
    """
    rows = []
    for name, run in runs.items():
        log(f"{name}: run {run.name}")
        rows.append(NetworkRow(name, evaluate_trained(run, cache, settings, split, log=log)))
    results = [row.evaluation.results for row in rows]
    if len({scored.evaluation_set for scored in results}) > 1:
        raise BrainbrrError(
            "the cache changed while the networks were scored, each on other recordings: give the "
            "same command again"
        )
    named = digest(sorted(run.name for run in runs.values()))[:12]
    runs_dir = next(iter(runs.values())).directory.parent
    folder = runs_dir / f"{cache.profile}-networks-{named}" / f"report-{results[0].split}"
    report = NetworksReport(folder / REPORT, results[0].split, tuple(rows))
    _write(report)
    return report


def _write(report: NetworksReport) -> None:
    folder = report.report.parent
    write_table(
        folder / "networks",
        (
            *("network", "run", "parameters", "windows_per_s", "seconds"),
            *("figure", "unit", "value", "low", "high", "interval", "few_patients"),
        ),
        [
            (
                *(row.name, row.run.name, row.run.record.parameters),
                *(row.run.record.fit.windows_per_s, row.run.record.seconds),
                *(name, str(unit_of(name)), value.value, value.low, value.high),
                *(value.method, value.few_patients),
            )
            for row in report.rows
            for name, value in row.figures.items()
        ],
    )
    text = (
        report_environment()
        .get_template("networks.html.j2")
        .render(
            report=report,
            first=report.rows[0].evaluation.results,
            figures=FIGURES,
            marks=MARKS,
            links=[
                os.path.relpath(row.evaluation.report, folder).replace(os.sep, "/")
                for row in report.rows
            ],
        )
    )
    with replacing(report.report) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
