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
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """Difference of every figure of two runs (B less A), and where they disagree.

    Intervals are by a paired bootstrap over patients. Both runs must have been evaluated on the
    same recordings.
    """
    from brainbrr_core.evaluation.compare import compare as compare_runs

    if split is not None and split not in ("dev", "eval"):
        raise typer.BadParameter("--split is dev or eval")
    settings = configuration(config, runs_dir=runs_dir, uses_cache=False)
    found = compare_runs(
        run_folder(run_a, settings.runs_dir),
        run_folder(run_b, settings.runs_dir),
        split or settings.evaluation.split,
    )
    if json:
        print_json(asdict(found))
    else:
        _print(found)
    return 0


def _print(found: Comparison) -> None:
    print_table(
        f"A {found.run_a}, B {found.run_b} on {found.split}: {found.patients} patients, "
        f"{found.bootstrap_samples} paired resamples; * leaves out 0",
        ["figure", "A", "B", "B - A", "95% interval", ""],
        [_row(part) for part in found.differences if not _of_background(part.figure)],
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


def _of_background(figure: str) -> bool:
    return "_bckg." in figure or figure.startswith("reliability.")


def _row(part: Difference) -> list[str]:
    interval = "-" if math.isnan(part.low) else f"[{part.low:+.3f}, {part.high:+.3f}]"
    values = (_shown(part.a), _shown(part.b), _shown(part.difference, "+"))
    return [
        part.figure.replace("_", " ").replace(".", " ", 1),
        *values,
        interval,
        "*" if part.beyond_chance else "",
    ]


def _shown(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
