"""``brainbrr compare``: two runs against each other, on the recordings both were scored on."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import ScoredSplit
from brainbrr_core.cli.options import (
    RUN_HELP,
    CacheRoot,
    CacheVersion,
    Config,
    Json,
    Profile,
    RunsDir,
    configuration,
    run_folder,
)
from brainbrr_core.cli.printing import count, print_json
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.configuration.differences import SettingDifference
    from brainbrr_core.evaluation.compare import Comparison, Difference

_SHOWN_EVENTS = 20
#: What separates the words of a figure's name; the point of a limit such as 2.5 is none.
_SEPARATOR = re.compile(r"_|\.(?!\d)|(?<!\d)\.")


def compare(
    run_a: Annotated[
        str | None, typer.Argument(metavar="RUN_A", help=f"{RUN_HELP}.", show_default=False)
    ] = None,
    run_b: Annotated[
        str | None, typer.Argument(metavar="RUN_B", help=f"{RUN_HELP}.", show_default=False)
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Instead of two runs: train each of these networks, such as bimamba2,eegnet,tcn, "
            "on the profile unless that is done, score them, and write one table.",
        ),
    ] = None,
    split: Annotated[
        ScoredSplit | None,
        typer.Option(help="The split whose reports are compared (default: evaluation.split)."),
    ] = None,
    allow_eval: Annotated[
        bool,
        typer.Option(
            "--allow-eval",
            help="With --networks: allow scoring the eval split; every time is counted.",
        ),
    ] = False,
    primary: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help="The one figure that decides, chosen before the results are known (default: "
            "szcore_event.f1).",
        ),
    ] = None,
    all: Annotated[
        bool, typer.Option("--all", help="Show every figure, not only those that differ.")
    ] = False,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Compare two runs: which is better, their settings, and figures and events that differ.

    Both runs must have been evaluated on the same recordings. Differences are B less A, and their
    intervals come from a paired bootstrap over patients. Only the primary figure is judged by its
    interval; all others are exploratory.
    """
    if networks is not None:
        if run_a is not None or primary is not None or all:
            raise BrainbrrError(
                "--networks trains and scores networks by itself: give it without runs, --primary "
                "and --all"
            )
        from brainbrr_core.cache.profile_cache import ProfileCache
        from brainbrr_core.cli.networks import compare_networks, parse_networks
        from brainbrr_core.cli.train import train_with_bar
        from brainbrr_core.evaluation.evaluate import check_permission
        from brainbrr_core.runs.identity import ReportSettings

        whole = configuration(
            config, profile, cache_root=cache_root, runs_dir=runs_dir, cache_version=cache_version
        )
        if allow_eval:
            allowed = whole.evaluation.model_copy(update={"allow_eval": True})
            whole = whole.model_copy(update={"evaluation": allowed})
        models = parse_networks(networks, whole.model)
        # Before the first training, not after the last one.
        check_permission(whole.evaluation, whole.runs_dir, split or whole.evaluation.split)
        return compare_networks(
            models,
            lambda model: train_with_bar(whole.model_copy(update={"model": model}), shown=True),
            ProfileCache.of(whole),
            ReportSettings.of(whole),
            split,
            json=json,
        )
    if profile or cache_root or cache_version or allow_eval:
        raise BrainbrrError(
            "two runs are compared by their reports alone: --profile, --cache-root, "
            "--cache-version and --allow-eval are for --networks"
        )
    if run_a is None or run_b is None:
        lacking = "RUN_A" if run_a is None else "RUN_B"
        raise BrainbrrError(f"missing argument '{lacking}': see `brainbrr compare --help`")
    from brainbrr_core.evaluation.compare import PRIMARY
    from brainbrr_core.evaluation.compare import compare as compare_runs

    settings = configuration(config, runs_dir=runs_dir, uses_cache=False)
    comparison = compare_runs(
        run_folder(run_a, settings.runs_dir),
        run_folder(run_b, settings.runs_dir),
        split or settings.evaluation.split,
        primary or PRIMARY,
    )
    if json:
        print_json({**asdict(comparison), "better": comparison.better})
    else:
        print_comparison(comparison, every_figure=all)
    return 0


def print_comparison(comparison: Comparison, *, every_figure: bool = False) -> None:
    """Print which run is better, the settings that differ, and the figures as tables.

    Figures that are the same in both runs are left out unless ``every_figure`` is asked for.
    """
    from brainbrr_core.evaluation.compare import FALSE_DISCOVERY_RATE, is_part_of_another
    from brainbrr_core.evaluation.statistics import Unit

    print(_headline(comparison))
    print(
        f"A {comparison.run_a}, B {comparison.run_b} on {comparison.split}: "
        f"{count(comparison.patients, 'patient')}, "
        f"{comparison.bootstrap_samples:,} paired resamples"
    )
    _print_settings(comparison.settings)
    differences = [each for each in comparison.differences if not is_part_of_another(each.figure)]
    shown_differences = [each for each in differences if every_figure or _is_shown(each)]
    shown_differences.sort(key=lambda each: not each.primary)
    for unit in Unit:
        rows = [_row(each) for each in shown_differences if each.unit is unit]
        if rows:
            columns = ["figure", "A", "B", "B - A", "95% interval", "patients", ""]
            print_table(unit.heading, columns, rows)
    if len(shown_differences) < len(differences):
        same = len(differences) - len(shown_differences)
        print(f"{count(same, 'figure')} {_are(same)} the same in both (--all shows them)")
    print(
        "All figures but the primary one are exploratory: "
        + (
            f"* marks those of {comparison.exploratory} that differ at a false discovery rate of "
            f"{FALSE_DISCOVERY_RATE:.0%} (Benjamini-Hochberg on bootstrap p-values)"
            if comparison.exploratory
            else "none is judged, because there are too few patients"
        )
        + "; † fewer than ten patients, not judged; - undefined."
    )
    recordings = len(comparison.recordings)
    print(
        f"{count(recordings, 'recording')} {'has' if recordings == 1 else 'have'} other misses or "
        "false alarms in B than in A, by NEDC OVLP"
    )
    shown = comparison.events[:_SHOWN_EVENTS]
    if shown:
        print_table(
            f"The runs disagree on {count(len(comparison.events), 'event')}, by NEDC OVLP"
            + (f"; the first {len(shown)}" if len(shown) < len(comparison.events) else ""),
            ["recording", "kind", "only in", "from, s", "to, s"],
            [
                [
                    *(event.partition_key, event.kind, event.only.upper()),
                    *(f"{event.start_s:.1f}", f"{event.stop_s:.1f}"),
                ]
                for event in shown
            ],
        )
    else:
        print("The runs agree on every event, by NEDC OVLP")


def _headline(comparison: Comparison) -> str:
    """Which run is better by the primary figure, with the difference and its interval."""
    [primary] = [each for each in comparison.differences if each.primary]
    figures = (
        f"{_number(primary.a)} in A, {_number(primary.b)} in B, B - A = "
        f"{_number(primary.difference, '+')}, {_interval(primary)}"
    )
    name = _name(primary.figure)
    if comparison.better is not None:
        return f"{comparison.better} is better by the primary figure, {name}: {figures}"
    if math.isnan(primary.low):
        reason = ""  # The figures end with it.
    elif primary.few_patients:
        reason = f" ({count(primary.patients, 'patient')} {_are(primary.patients)} too few)"
    else:
        reason = " (the difference is within chance)"
    return f"A and B cannot be told apart by the primary figure, {name}{reason}: {figures}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _print_settings(settings: tuple[SettingDifference, ...] | None) -> None:
    """What differs between the runs, by key."""
    if settings is None:
        print("settings: not recorded by both runs")
    elif not settings:
        print("settings: the same in both runs")
    else:
        print("settings, A against B:")
        for each in settings:
            print(f"  {each}")


def _is_shown(difference: Difference) -> bool:
    """Whether a figure differs in what is printed of it; the primary one is always shown."""
    texts = _number(difference.a), _number(difference.b)
    return difference.primary or texts[0] != texts[1]


def _row(difference: Difference) -> list[str]:
    mark = "primary" if difference.primary else "†" if difference.few_patients else ""
    return [
        _name(difference.figure),
        *(_number(difference.a), _number(difference.b), _number(difference.difference, "+")),
        "-" if math.isnan(difference.low) else f"[{difference.low:+.3f}, {difference.high:+.3f}]",
        str(difference.patients),
        "*" if difference.beyond_chance and not difference.primary else mark,
    ]


def _interval(difference: Difference) -> str:
    if math.isnan(difference.low):
        return "no interval (fewer than two patients, or no resample differs)"
    return f"95% interval [{difference.low:+.3f}, {difference.high:+.3f}]"


def _name(figure: str) -> str:
    """The name of a figure in words: ``szcore_event.f1`` is "szcore event f1"."""
    return _SEPARATOR.sub(" ", figure)


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
