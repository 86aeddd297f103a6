"""Comparison of several networks trained on one profile: cost and scores in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.key_figures import key_figures
from brainbrr_core.evaluation.results import Estimate
from brainbrr_core.evaluation.several_runs import (
    ESTIMATE_COLUMNS,
    caveats,
    estimate_cells,
    evaluate_each,
    page_path,
    writing_page,
)
from brainbrr_core.evaluation.tables import write_table
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
        The network, as the user named it.
    evaluation : Evaluation
        The scores of its run.
    """

    name: str
    evaluation: Evaluation

    @property
    def run(self) -> Run:
        """The run, whose record has the cost of the training."""
        return self.evaluation.run

    @property
    def figures(self) -> dict[str, Estimate]:
        """The figures of the table, by name, with their intervals over patients."""
        figures = key_figures(self.evaluation.results)
        return {name: figures[name] for name, _, _ in FIGURES}


@dataclass(frozen=True)
class NetworksReport:
    """The comparison of several networks.

    Attributes
    ----------
    report : Path
        The HTML page. Its folder has the table.
    split : str
        The scored split.
    rows : tuple of NetworkRow
        One for each network, in the order asked for.
    """

    report: Path
    split: str
    rows: tuple[NetworkRow, ...]

    @property
    def sentences(self) -> list[str]:
        """Sentences on how to read the table."""
        return [
            "Each network was trained once, on the same recordings and with the same settings "
            "except those of the network itself. Each has its own threshold, tuned on dev. "
            "Settings that suit one network need not suit another.",
            "Brackets contain 95 % intervals over patients for each network by itself. `brainbrr "
            "compare RUN_A RUN_B` shows whether two networks differ beyond chance, and `brainbrr "
            "evaluate --seeds` how much another training of the same network would vary.",
            "Seconds and windows per second depend on the machine, and on its load at the time of "
            "each training.",
            *caveats(
                [row.evaluation for row in self.rows],
                "detectors",
                ": a network chosen by this table is chosen on eval.",
            ),
        ]


def evaluate_networks(
    runs: Mapping[str, Run],
    cache: ProfileCache,
    settings: ReportSettings,
    split: str,
    *,
    log: Callable[[str], None] = print,
) -> NetworksReport:
    """Score the run of each network on a split of the cache it was trained on; write the table.

    Each scoring of eval is recorded. Raises as :func:`evaluate_each` does.
    """
    evaluations = evaluate_each(runs, cache, settings, split, "networks", log=log)
    report = NetworksReport(
        page_path(evaluations, cache.profile, "networks"),
        evaluations[0].results.split,
        tuple(NetworkRow(name, each) for name, each in zip(runs, evaluations, strict=True)),
    )
    _write(report)
    return report


def _write(report: NetworksReport) -> None:
    with writing_page(
        report.report,
        "networks.html.j2",
        [row.evaluation for row in report.rows],
        report=report,
        first=report.rows[0].evaluation.results,
        figures=FIGURES,
    ) as folder:
        write_table(
            folder / "networks",
            ("network", "run", "parameters", "windows_per_s", "seconds", *ESTIMATE_COLUMNS),
            [
                (
                    *(row.name, row.run.name, row.run.record.parameters),
                    *(row.run.record.fit.windows_per_s, row.run.record.seconds),
                    *estimate_cells(name, value),
                )
                for row in report.rows
                for name, value in row.figures.items()
            ],
        )
