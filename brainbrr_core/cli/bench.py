"""``brainbrr bench``: the store (and under faults), the network, what it learns, its scoring."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from brainbrr_core.cli.options import Config, Json, configuration
from brainbrr_core.cli.printing import log, print_json, print_table

app = typer.Typer(help="Measure the store (by itself), the network, and what it learns.")

#: Of the corpus on which the store is measured by default.
_RECORDINGS = 24


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="A corpus to measure on; a synthetic one by default.")
    ] = None,
    recordings: Annotated[
        int | None,
        typer.Option(min=1, help="How many of its recordings (24), or of the cache of --index."),
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of the synthetic corpus.")] = 5.3,
    index: Annotated[
        bool, typer.Option("--index", help="Measure the index and hashing instead.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> int:
    """Measure this store against the way it replaces and the floor of the machine."""
    if context.invoked_subcommand is not None:
        return 0
    if index:
        return _bench_index(recordings, json=json)
    from brainbrr_core.benchmark.store import run
    from brainbrr_core.synthesis import write_corpus

    settings = configuration(config, uses_cache=False)
    count = recordings or _RECORDINGS
    with tempfile.TemporaryDirectory(prefix="brainbrr-corpus-") as folder:
        if data is None:
            data = Path(folder) / "tusz"
            write_corpus(data, recordings=count, hours=hours, seed=0)
        values = run(settings, data, count, log)
    if json:
        print_json(values)
        return 0
    build, size = values["build"], values["bytes"]
    window, loader, opened = values["window_ms"], values["loader"], values["open_s"]
    print_table(
        f"{values['recordings']} recordings, {values['hours']} h, one core",
        ["", "predecessor", "this", "floor", "ratio"],
        [
            [
                "build, s per hour of EEG",
                f"{build['predecessor_s_per_h']:.2f}",
                f"{build['this_s_per_h']:.3f}",
                f"{build['read_and_hash_s_per_h']:.3f} (read, hash)",
                f"{build['ratio']:.0f}",
            ],
            [
                "MB per hour of EEG",
                f"{size['predecessor_mb_per_h']:.0f}",
                f"{size['this_mb_per_h']:.1f}",
                "",
                f"{size['ratio']:.1f}",
            ],
            [
                "random window, ms (median)",
                f"{window['predecessor_p50']:.1f}",
                f"{window['this_p50']:.3f}",
                f"{window['memcpy_p50']:.3f} (memcpy)",
                f"{window['ratio']:,}",
            ],
            ["random window, ms (99 %)", "", f"{window['this_p99']:.3f}", "", ""],
            [
                "loader at batch 32, windows/s",
                f"{loader['predecessor_windows_per_s']:.1f}",
                f"{loader['this_windows_per_s']:,}",
                "",
                f"{loader['ratio']:,}",
            ],
            [
                "augmented window, ms: host, device (CPU)",
                "",
                f"{loader['host_ms']:.3f}, {loader['device_ms']:.3f}",
                "",
                "",
            ],
            ["opening, s", f"{opened['predecessor']:.2f}", f"{opened['this']:.4f}", "", ""],
            ["plan of 7,364 recordings, s", "", f"{values['plan_s']:.2f}", "", ""],
            ["peak memory of a build, MB", "", f"{values['peak_rss_mb']}", "", ""],
        ],
    )
    return 0


def _bench_index(recordings: int | None, *, json: bool) -> int:
    """An index of the size of TUSZ's, from cold and again, the speed of hashing, and what commands
    take with nothing to do in a cache of as many recordings, or of ``recordings``.
    """
    from brainbrr_core.benchmark import commands
    from brainbrr_core.benchmark.index import run
    from brainbrr_core.benchmark.wide import TUSZ_RECORDINGS

    wide = recordings or TUSZ_RECORDINGS
    values = run(TUSZ_RECORDINGS, log)
    values["cache"] = {"recordings": wide, "commands": commands.run(wide, log)}
    if json:
        print_json(values)
        return 0
    hashing = values["hashing"]
    print_table(
        f"{values['recordings']:,} small recordings",
        ["", "figure"],
        [
            ["index from cold, s", f"{values['cold_s']:.1f}"],
            ["index when nothing changed, s", f"{values['unchanged_s']:.2f}"],
            ["reading from the disk, GB/s", f"{hashing['read_disk_gb_per_s']:.2f}"],
            ["hashing from the disk, GB/s", f"{hashing['hash_disk_gb_per_s']:.2f}"],
            ["reading from the page cache, GB/s", f"{hashing['read_cache_gb_per_s']:.2f}"],
            ["hashing from the page cache, GB/s", f"{hashing['hash_cache_gb_per_s']:.2f}"],
        ],
    )
    print_table(
        f"nothing to do in a cache of {wide:,} recordings",
        ["", "CPU, s", "peak, MB"],
        [
            [name, f"{figures['cpu_s']:.2f}", f"{figures['peak_mb']:,}"]
            for name, figures in values["cache"]["commands"].items()
        ],
    )
    return 0


@app.command()
def model(
    preset: Annotated[
        list[str] | None, typer.Option(help="tiny, small or base; tiny and small by default.")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="torch or mamba_ssm; the configured one by default.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Windows at a time.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Time for each figure.")] = 8.0,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="The cost of 1 to 32 minutes of EEG instead.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> int:
    """Measure the network: windows a second, memory, and the share of the device's peak."""
    from brainbrr_core.benchmark.model import backends_of, check_presets, growth, run

    settings = configuration(config, uses_cache=False)
    presets = preset or ["tiny", "small"]
    check_presets(presets)
    if lengths:
        grown = {name: growth(name, settings.hardware) for name in presets}
        if json:
            print_json(grown)
        else:
            _print_growth(grown)
        return 0
    values = run(
        settings,
        presets=presets,
        backends=backends_of(backend or [settings.hardware.ssm_backend]),
        batches=batch or [1, settings.hardware.batch_size],
        budget_s=seconds,
        log=log,
    )
    if json:
        print_json(values)
    else:
        _print_rates(values)
    return 0


def _print_rates(values: dict[str, Any]) -> None:
    device = ", ".join(f"{name} {value}" for name, value in values["device"].items())
    print_table(
        f"windows of {values['window_s']} s, {values['precision']}, {device}; peak of a matrix "
        f"product {values['peak_gflop_per_s']:,.0f} GFLOP/s",
        ["network", "batch", "pass", "windows/s", "MB", "GFLOP", "of peak", "busy"],
        [
            [
                f"{row['preset']}, {row['backend']}",
                str(row["batch"]),
                kind,
                f"{row[kind]['windows_per_s']:.1f}",
                f"{row[kind]['memory_mb']:.0f}",
                f"{row[kind]['gflop_per_window']:.2f}",
                f"{row[kind]['share_of_peak']:.1%}",
                "" if row[kind]["busy"] is None else f"{row[kind]['busy']:.0%}",
            ]
            for row in values["rows"]
            for kind in ("forward", "training")
        ],
    )
    timed = [row for row in values["rows"] if "time" in row["forward"]]
    if timed:
        kinds = list(timed[0]["forward"]["time"])
        print_table(
            "where the time goes, and how near the projections come to the peak",
            ["network", "batch", "pass", *kinds, "projections of peak"],
            [
                [
                    f"{row['preset']}, {row['backend']}",
                    str(row["batch"]),
                    kind,
                    *(f"{row[kind]['time'][name]:.0%}" for name in kinds),
                    f"{row[kind]['projections_of_peak']:.0%}",
                ]
                for row in timed
                for kind in ("forward", "training")
            ],
        )
    scan = values["scan"]
    if scan is not None:
        print_table(
            f"one layer of base, {scan['length']} steps, forward and backward",
            ["", "ms"],
            [[name, f"{ms:.1f}"] for name, ms in scan["ms"].items()],
        )
        print(f"naive scan / chunked ssd: {scan['naive_over_chunked']:.1f}")
        if "transformers_over_ours" in scan:
            print(
                f"transformers' layer / ours: {scan['transformers_over_ours']:.2f} (outputs "
                f"differ by {scan['transformers_largest_difference']:.1e} at most)"
            )


def _print_growth(grown: dict[str, list[dict[str, float]]]) -> None:
    columns = {
        "minutes": "minutes",
        "forward GFLOP": "forward_gflop",
        "training GFLOP": "training_gflop",
        "kept MB": "kept_mb",
        "peak MB": "peak_mb",
        "GFLOP per minute": "forward_gflop_per_minute",
        "MB per minute": "kept_mb_per_minute",
    }
    for name, rows in grown.items():
        print_table(
            f"{name}, one window: operations and kept memory counted, the peak measured",
            list(columns),
            [[f"{row[key]:,}" for key in columns.values()] for row in rows],
        )


@app.command()
def gpu(
    section: Annotated[
        list[str] | None, typer.Option(help="Only this section; may be repeated.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="A little of everything, on a CPU, too.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0, help="When to stop starting sections.")] = 9.0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the synthetic corpus and the runs here.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write what is known, as JSON, after each section.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the tables, as Markdown, to this file.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Prove a GPU: kernels against torch, rates, memory, waiting, resuming, scoring."""
    from brainbrr_core.benchmark.gpu.run import is_right, run
    from brainbrr_core.benchmark.gpu.tables import markdown, tables
    from brainbrr_core.errors import BrainbrrError

    settings = configuration(config, uses_cache=False)
    if settings.hardware.device != "cuda" and not small:
        raise BrainbrrError(
            f"hardware {settings.hardware.name} is no GPU: choose one, such as --config full:h100, "
            "or try the sections with --small"
        )
    with tempfile.TemporaryDirectory(prefix="brainbrr-gpu-") as temporary:
        values = run(
            settings,
            folder if folder is not None else Path(temporary),
            sections=section or (),
            small=small,
            limit_s=60 * minutes,
            out=out,
            log=log,
        )
    if page is not None:
        page.write_text(markdown(values), encoding="utf-8")
    if json:
        print_json(values)
    else:
        for table in tables(values):
            print_table(table.title, table.columns, table.rows)
    return 0 if is_right(values) else 1


@app.command()
def learn(
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    steps: Annotated[int, typer.Option(min=4, help="Optimizer steps.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the corpora and of the training.")] = 0,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change a setting, such as training.label_smoothing=0.1; may be repeated.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Score line length and the untrained network, too.")
    ] = True,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the corpus and the run here; go on with what is.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Train on a synthetic corpus of ten patients and score unseen ones, beside plain detectors."""
    from brainbrr_core.benchmark.learn import run
    from brainbrr_core.benchmark.model import check_presets
    from brainbrr_core.progress import Progress, progress
    from brainbrr_core.training.loop import StepReport

    settings = configuration(config, uses_cache=False)
    check_presets([preset])
    with (
        tempfile.TemporaryDirectory(prefix="brainbrr-learn-") as temporary,
        ExitStack() as training,
    ):
        bar: Progress | None = None

        def show(step: StepReport) -> None:
            nonlocal bar
            # Opened by the first step, or the time left would count the corpus's.
            if bar is None:
                bar = training.enter_context(progress("train", steps, "steps"))
                bar.resume_from(step.resumed_from)
            bar.advance(note=step.note())
            if step.step == steps:
                training.close()

        place = folder if folder is not None else Path(temporary)
        values = run(
            settings,
            place,
            preset=preset,
            steps=steps,
            seed=seed,
            assignments=assignments or (),
            baselines=baselines,
            on_step=show,
            log=log,
        )
    if json:
        print_json(values)
        return 0
    print_table(
        f"{values['preset']}, seed {values['seed']}, {values['steps']} steps in "
        f"{values['training_s']:.0f} s; {values['seizures_scored']} seizures of "
        f"{values['patients']['unseen']} unseen patients in {values['hours']['unseen']:.1f} h "
        "(SzCORE events; intervals of 95 % over patients)",
        [
            "detector",
            "F1",
            "interval",
            "sensitivity",
            "false",
            "false per 24 h",
            "threshold",
            "average precision",
        ],
        [
            [
                name,
                f"{row['f1']:.3f}",
                _between(row["f1_interval"]),
                f"{row['sensitivity']:.3f}",
                f"{row['false']:g}",
                f"{row['false_per_day']:.1f}",
                f"{row['threshold']:.3f}",
                f"{row['average_precision']:.3f}",
            ]
            for name, row in values["detectors"].items()
        ],
    )
    above = values.get("f1_above_line_length")
    if above is not None:
        interval = _between(above["interval"])
        print(f"trained above line length: {above['difference']:+.3f} ({interval})")
    return 0


@app.command()
def faults(
    kills: Annotated[int, typer.Option(min=1, help="How many builds to kill.")] = 100,
    json: Json = False,
) -> int:
    """Kill builds of a synthetic corpus and compare what they leave with a clean build's bytes."""
    from brainbrr_core.benchmark.faults import run

    values = run(kills, log=log)
    whole = not values["bytes_lost"] and not values["wrong_bytes"] and values["whole_at_the_end"]
    if json:
        print_json(values)
        return 0 if whole else 1
    signals = ", ".join(f"{name} {count}" for name, count in values["kills_by_signal"].items())
    print_table(
        f"{values['kills']} builds killed at work ({signals})",
        ["", "figure"],
        [
            ["kills survived", f"{values['kills_survived']:,}"],
            ["bytes lost", f"{values['bytes_lost']:,}"],
            ["wrong bytes believed", f"{values['wrong_bytes']:,}"],
            ["seconds to stop, median", f"{values['stop_s']['median']:.2f}"],
            ["seconds to stop, longest", f"{values['stop_s']['longest']:.2f}"],
            ["shards compared", f"{values['shards_compared']:,}"],
            ["GB compared", f"{values['bytes_compared'] / 1e9:,.1f}"],
            ["whole after another build", "yes" if values["whole_at_the_end"] else "no"],
        ],
    )
    return 0 if whole else 1


@app.command()
def scoring(
    recordings: Annotated[
        int, typer.Option(min=20, help="Made-up recordings; 1,832 are as many as TUSZ's dev has.")
    ] = 1832,
    json: Json = False,
) -> int:
    """Score made-up frames of TUSZ's dev at about 2,000 operating points, on one process."""
    from brainbrr_core.benchmark.scoring import run

    values = run(recordings, log=log)
    if json:
        print_json(values)
        return 0
    print_table(
        f"{values['recordings']:,} recordings, {values['hours']} h",
        ["", "figure"],
        [
            ["operating points", f"{values['operating_points']:,}"],
            ["sweep, seconds", f"{values['wall_s']:.2f}"],
            ["sweep, seconds of processor", f"{values['cpu_s']:.2f}"],
            ["the first one, with compilation where none is kept", f"{values['first_s']:.2f}"],
            ["peak memory, MB", f"{values['peak_mb']:,}"],
        ],
    )
    return 0


def _between(interval: list[float | None]) -> str:
    return " to ".join("undefined" if end is None else f"{end:.2f}" for end in interval)
