"""``brainbrr compare --networks``: several networks trained on one profile, in one table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from brainbrr_core.cli.choices import ScoredSplit
from brainbrr_core.cli.printing import estimate_text, log, print_json
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.configuration import Model
    from brainbrr_core.evaluation.networks import NetworkRow, NetworksReport
    from brainbrr_core.runs.identity import ReportSettings
    from brainbrr_core.runs.run import Run


def compare_networks(
    models: Mapping[str, Model],
    train_one: Callable[[Model], Run],
    cache: ProfileCache,
    settings: ReportSettings,
    split: ScoredSplit | None,
    *,
    json: bool,
) -> int:
    """Train each network, which a finished run is spared, score all of them, print one table."""
    from brainbrr_core.evaluation.networks import evaluate_networks
    from brainbrr_core.runs.network_source import network_identity

    # A name whose class is not there ends the command before the first training.
    for model in models.values():
        network_identity(model)
    runs = {}
    for number, (name, model) in enumerate(models.items(), start=1):
        log(f"{name} ({number} of {len(models)})")
        runs[name] = train_one(model)
    report = evaluate_networks(runs, cache, settings, split or settings.evaluation.split, log=log)
    if json:
        print_json(
            {
                "report": str(report.report),
                "split": report.split,
                "networks": [
                    {
                        "network": row.name,
                        "run": row.run.name,
                        "parameters": row.run.record.parameters,
                        "windows_per_s": row.run.record.fit.windows_per_s,
                        "seconds": row.run.record.seconds,
                        "figures": {name: asdict(each) for name, each in row.figures.items()},
                    }
                    for row in report.rows
                ],
            }
        )
    else:
        _print_networks(report)
    return 0


def parse_networks(text: str, configured: Model, option: str = "--networks") -> dict[str, Model]:
    """The networks of a text such as ``bimamba2,eegnet``, by name.

    The configuration's own network has its options, the default one its preset, and all others
    have the defaults of their options. Raises :class:`BrainbrrError` for a name that is none, or
    that is given twice.
    """
    from pydantic import ValidationError

    from brainbrr_core.configuration import Model
    from brainbrr_core.errors import BrainbrrError

    models: dict[str, Model] = {}
    for word in text.split(","):
        name = word.strip()
        if name in models:
            raise BrainbrrError(f"{option} has {name} twice: name each network once")
        if name == configured.network:
            models[name] = configured
            continue
        try:
            models[name] = Model(network=name, preset=configured.preset)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BrainbrrError(f"{option} has {name!r}: {reason}") from None
    return models


def _print_networks(report: NetworksReport) -> None:
    from brainbrr_core.evaluation.networks import FIGURES
    from brainbrr_core.evaluation.results import MARKS

    # Two tables: with its intervals, all of it in one would not fit a terminal.
    print_table(
        "what each network costs",
        ["network", "parameters", "windows/s", "seconds"],
        [[row.name, *_costs(row)] for row in report.rows],
    )
    print_table(
        f"SzCORE events on {report.split} (in brackets 95% intervals over patients)",
        ["network", *(title.replace("false alarms per", "false /") for _, title, _ in FIGURES)],
        [
            [row.name, *(estimate_text(row.figures[name], digits) for name, _, digits in FIGURES)]
            for row in report.rows
        ],
    )
    print(MARKS)
    for sentence in report.sentences:
        print(sentence)
    print(f"report: {report.report}")


def _costs(row: NetworkRow) -> list[str]:
    record = row.run.record
    return [f"{record.parameters:,}", f"{record.fit.windows_per_s:.1f}", f"{record.seconds:.0f}"]
