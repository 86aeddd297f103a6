"""``brainbrr bench``: the store by itself; ``bench model`` and ``bench learn`` the network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import Config, Json, configuration, log, print_json, print_table

app = typer.Typer(help="Measure the store (by itself), the network, and what it learns.")


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="A corpus to measure on; a synthetic one by default.")
    ] = None,
    recordings: Annotated[int, typer.Option(min=1, help="How many of its recordings.")] = 24,
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
        return _bench_index(json=json)
    from brainbrr_core.benchmark.store import run
    from brainbrr_core.synthesis import write_corpus

    settings = configuration(config)
    with tempfile.TemporaryDirectory(prefix="brainbrr-corpus-") as folder:
        if data is None:
            data = Path(folder) / "tusz"
            write_corpus(data, recordings=recordings, hours=hours, seed=0)
        values = run(settings, data, recordings, log)
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
            ["opening, s", f"{opened['predecessor']:.2f}", f"{opened['this']:.4f}", "", ""],
            ["plan of 7,364 recordings, s", "", f"{values['plan_s']:.2f}", "", ""],
            ["peak memory of a build, MB", "", f"{values['peak_rss_mb']}", "", ""],
        ],
    )
    return 0


def _bench_index(*, json: bool) -> int:
    """An index of the size of TUSZ's, from cold and again, and the speed of hashing."""
    from brainbrr_core.benchmark.index import run
    from brainbrr_core.benchmark.store import TUSZ_RECORDINGS

    values = run(TUSZ_RECORDINGS, log)
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
    return 0


@app.command()
def learn(
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    steps: Annotated[int, typer.Option(min=4, help="Optimizer steps.")] = 450,
    seed: Annotated[int, typer.Option(min=0, help="Of the corpus and of the training.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the corpus and the run here; go on with what is.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Train on a synthetic corpus of ten patients and score unseen ones, beside plain detectors."""
    from brainbrr_core.benchmark.learn import run
    from brainbrr_core.progress import progress
    from brainbrr_core.training.loop import StepReport

    settings = configuration(config)
    with (
        tempfile.TemporaryDirectory(prefix="brainbrr-learn-") as temporary,
        progress("train", steps, "steps") as bar,
    ):
        done = 0

        def show(step: StepReport) -> None:
            nonlocal done
            bar.advance(step.step - done, step.note())
            done = step.step

        place = folder if folder is not None else Path(temporary)
        values = run(settings, place, preset=preset, steps=steps, seed=seed, on_step=show, log=log)
    if json:
        print_json(values)
        return 0
    print_table(
        f"{values['preset']}, seed {values['seed']}, {values['steps']} steps in "
        f"{values['training_s']:.0f} s; {values['seizures_scored']} seizures of "
        f"{len(values['patients']['eval'])} unseen patients (SzCORE events)",
        ["detector", "F1", "sensitivity", "false", "false per 24 h", "threshold"],
        [
            [
                name,
                f"{row['f1']:.3f}",
                f"{row['sensitivity']:.3f}",
                f"{row['false']:g}",
                f"{row['false_per_day']:.1f}",
                f"{row['threshold']:.3f}",
            ]
            for name, row in values["detectors"].items()
        ],
    )
    return 0
