"""``brainbrr compare``: two runs against each other, on the recordings both were scored on."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    RUN_HELP,
    Config,
    Json,
    RunsDir,
    configuration,
    print_json,
    print_table,
    run_folder,
)

if TYPE_CHECKING:
    from brainbrr_core.evaluation.compare import Comparison, Difference

_SHOWN_EVENTS = 20


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help=RUN_HELP)],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help=RUN_HELP)],
    split: Annotated[
        str | None, typer.Option(help="dev or eval; the configuration's by default.")
    ] = None,
    primary: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help="The one figure to judge, named beforehand; szcore_event.f1 by default.",
        ),
    ] = None,
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """Difference of every figure of two runs (B less A), and where they disagree.

    Intervals are by a paired bootstrap over patients. The primary figure is judged by its own;
    all others are exploratory. Both runs must have been evaluated on the same recordings.
    """
    from brainbrr_core.evaluation.compare import PRIMARY
    from brainbrr_core.evaluation.compare import compare as compare_runs

    if split is not None and split not in ("dev", "eval"):
        raise typer.BadParameter("--split is dev or eval")
    settings = configuration(config, runs_dir=runs_dir, uses_cache=False)
    found = compare_runs(
        run_folder(run_a, settings.runs_dir),
        run_folder(run_b, settings.runs_dir),
        split or settings.evaluation.split,
        primary or PRIMARY,
    )
    if json:
        print_json(asdict(found))
    else:
        print_comparison(found)
    return 0


def print_comparison(found: Comparison) -> None:
    """The comparison as tables, and what is judged in it."""
    from brainbrr_core.evaluation.compare import FALSE_DISCOVERY_RATE, is_part_of_another
    from brainbrr_core.evaluation.statistics import Unit

    print(
        f"A {found.run_a}, B {found.run_b} on {found.split}: {found.patients} patients, "
        f"{found.bootstrap_samples:,} paired resamples"
    )
    print(_verdict(next(part for part in found.differences if part.primary)))
    differences = [part for part in found.differences if not is_part_of_another(part.figure)]
    for unit in Unit:
        rows = [_row(part) for part in differences if part.unit is unit]
        if rows:
            columns = ["figure", "A", "B", "B - A", "95% interval", "patients", ""]
            print_table(unit.heading, columns, rows)
    print(
        "All but the primary figure are exploratory: "
        + (
            f"* marks those of {found.exploratory} that differ at a false discovery rate of "
            f"{FALSE_DISCOVERY_RATE:.0%} (Benjamini-Hochberg on bootstrap p-values)"
            if found.exploratory
            else "none is judged, for want of patients"
        )
        + "; † fewer than ten patients, not judged; - undefined."
    )
    print(f"{len(found.recordings)} recordings with other misses or false alarms")
    shown = found.events[:_SHOWN_EVENTS]
    if shown:
        print_table(
            f"{len(found.events)} events on which they disagree"
            + (f", the first {len(shown)}" if len(shown) < len(found.events) else ""),
            ["recording", "what", "only by", "from", "to"],
            [
                [
                    *(event.partition_key, event.kind, event.only.upper()),
                    *(f"{event.start_s:.1f}", f"{event.stop_s:.1f}"),
                ]
                for event in shown
            ],
        )
    else:
        print("they agree on every event")


def _verdict(primary: Difference) -> str:
    """One line on the primary figure."""
    name = _named(primary.figure)
    what = f"primary figure, {name}: B - A = {_shown(primary.difference, '+')}, {_between(primary)}"
    if math.isnan(primary.low):
        return f"{what}: not judged"
    if primary.few_patients:
        return f"{what}: not judged, {primary.patients} patients are too few"
    return f"{what}: {'beyond chance' if primary.beyond_chance else 'within chance'}"


def _row(part: Difference) -> list[str]:
    mark = "primary" if part.primary else "†" if part.few_patients else ""
    return [
        _named(part.figure),
        *(_shown(part.a), _shown(part.b), _shown(part.difference, "+")),
        "-" if math.isnan(part.low) else f"[{part.low:+.3f}, {part.high:+.3f}]",
        str(part.patients),
        "*" if part.beyond_chance and not part.primary else mark,
    ]


def _between(part: Difference) -> str:
    if math.isnan(part.low):
        return "no interval (fewer than two patients, or no resample differs)"
    return f"95% interval [{part.low:+.3f}, {part.high:+.3f}]"


def _named(figure: str) -> str:
    rule, _, name = figure.rpartition(".")
    return f"{rule} {name}".replace("_", " ")


def _shown(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
