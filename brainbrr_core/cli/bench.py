"""``brainbrr bench``: measures the cache, builds that are killed, the network, and scoring."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import BackendName, GpuSection, PresetName
from brainbrr_core.cli.options import Config, Json, configuration
from brainbrr_core.cli.printing import log, print_json
from brainbrr_core.cli.program import Program
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from brainbrr_core.benchmark.result import Report

app = typer.Typer(
    cls=Program,
    help="Measure the cache (without a subcommand), the network, and what it learns.",
)

#: Recordings of the corpus on which the cache is measured by default.
_RECORDINGS = 24


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="A corpus to measure on (default: a synthetic one).")
    ] = None,
    recordings: Annotated[
        int | None,
        typer.Option(
            min=1, help="Recordings of the corpus (default: 24), or of the cache of --index."
        ),
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of the synthetic corpus.")] = 5.3,
    index: Annotated[
        bool, typer.Option("--index", help="Measure the index and hashing instead.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> int:
    """Compare the cache with that of brain-go-brr v2 and with the limits of the machine."""
    if context.invoked_subcommand is not None:
        return 0
    if index:
        return _index(recordings, json=json)
    from brainbrr_core.benchmark.cache_speed import run
    from brainbrr_core.synthesis import write_corpus

    whole = configuration(config, uses_cache=False)
    count = recordings or _RECORDINGS
    with tempfile.TemporaryDirectory(prefix="brainbrr-corpus-") as folder:
        if data is None:
            data = Path(folder) / "tusz"
            write_corpus(data, recordings=count, hours=hours, seed=0)
        return _print(run(whole, data, count, log), json=json)


def _index(recordings: int | None, *, json: bool) -> int:
    from brainbrr_core.benchmark.indexing import run
    from brainbrr_core.benchmark.many_recordings import TUSZ_RECORDINGS

    return _print(run(TUSZ_RECORDINGS, recordings or TUSZ_RECORDINGS, log), json=json)


@app.command()
def model(
    preset: Annotated[
        list[PresetName] | None,
        typer.Option(help="Size of the network; may be repeated (default: tiny and small)."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Another network, as model.network names it; may be repeated."
        ),
    ] = None,
    backend: Annotated[
        list[BackendName] | None,
        typer.Option(
            help="What computes its state-space layers; may be repeated (default: as configured)."
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Windows of a batch; may be repeated (default: 1 and the configured size)."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds for each figure.")] = 8.0,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="Measure the cost of 1 to 32 minutes of EEG instead.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> int:
    """Measure networks: windows per second, memory, and the share of the device's peak speed."""
    from brainbrr_core.benchmark.network_rates import backends_of, growth, run
    from brainbrr_core.cli.networks import parse_networks
    from brainbrr_core.configuration import Model

    whole = configuration(config, uses_cache=False)
    presets = preset or ([] if network else [PresetName.TINY, PresetName.SMALL])
    models = [Model.model_validate({"preset": name}) for name in presets]
    if network:
        models += parse_networks(",".join(network), whole.model, "--network").values()
    if lengths:
        return _print(growth(models, whole.hardware), json=json)
    rates = run(
        whole.hardware,
        whole.windows.length_s,
        models=models,
        backends=backends_of(backend or [whole.hardware.ssm_backend]),
        batches=batch or [1, whole.hardware.batch_size],
        budget_s=seconds,
        log=log,
    )
    return _print(rates, json=json)


@app.command()
def gpu(
    section: Annotated[
        list[GpuSection] | None,
        typer.Option(help="Run only this section; may be repeated (default: all)."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Measure a little of everything, also on a CPU.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0, help="Minutes after which no more sections are started.")
    ] = 9.0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the synthetic corpus and the runs in this folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the results so far to this file (JSON).")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the tables to this file (Markdown).")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Check a GPU: kernels against torch, rates, memory, waiting, resuming, scoring."""
    from brainbrr_core.benchmark.gpu.extent import FULL, SMALL, Task
    from brainbrr_core.benchmark.gpu.measurement import run
    from brainbrr_core.errors import BrainbrrError

    whole = configuration(config, uses_cache=False)
    if whole.hardware.device != "cuda" and not small:
        raise BrainbrrError(
            f"hardware {whole.hardware.name} is no GPU: choose one, such as --config full:h100, "
            "or try the sections with --small"
        )
    with _folder(folder, "brainbrr-gpu-") as work:
        task = Task(whole, work, SMALL if small else FULL)
        measurement = run(task, sections=section or (), limit_s=60 * minutes, out=out, log=log)
    if page is not None:
        page.write_text(measurement.markdown(), encoding="utf-8")
    return _print(measurement, json=json)


@app.command()
def learn(
    preset: Annotated[PresetName, typer.Option(help="Size of the network.")] = PresetName.SMALL,
    steps: Annotated[int, typer.Option(min=4, help="Optimizer steps.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the corpora and the training.")] = 0,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, such as training.seed=1; may be repeated.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Score line length and the untrained network, too.")
    ] = True,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the corpora and the run in this folder, and reuse what it has."),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Train on a synthetic corpus of ten patients, and score the network on unseen patients."""
    from brainbrr_core.benchmark.learning import run, training_progress

    whole = configuration(config, uses_cache=False)
    with _folder(folder, "brainbrr-learn-") as work, training_progress(steps) as show:
        learning = run(
            whole,
            work,
            preset=preset,
            steps=steps,
            seed=seed,
            assignments=assignments or (),
            baselines=baselines,
            on_step=show,
            log=log,
        )
    return _print(learning, json=json)


@app.command()
def transfer(
    model: Annotated[
        str,
        typer.Argument(metavar="[MODEL]", help="A run, a model folder, or `pretrained`."),
    ] = "pretrained",
    patients: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Patients to train on; may be repeated (default: 1, 2, 4, 8)."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind.")] = 3,
    steps: Annotated[int, typer.Option(min=4, help="Optimizer steps of a training.")] = 100,
    hours: Annotated[float, typer.Option(help="Hours of the simulated corpus.")] = 24.0,
    ranges: Annotated[
        str,
        typer.Option(
            "--simulator",
            metavar="RANGES",
            help="What is simulated: `elsewhere`, a hospital that no simulated training has had, "
            "or as for `brainbrr synth`.",
        ),
    ] = "elsewhere",
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the corpus and the runs in this folder, and reuse what it has."),
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="NAMES", help="Configuration of network, windows and device.")
    ] = "cpu:pretrained",
    json: Json = False,
) -> int:
    """Compare trainings on few simulated patients from a model with those from random weights."""
    from brainbrr_core.benchmark.few_patients import run
    from brainbrr_core.cli.options import run_folder
    from brainbrr_core.configuration import Overrides
    from brainbrr_core.simulation import load_ranges

    with _folder(folder, "brainbrr-transfer-") as work:
        overrides = Overrides(
            config=config,
            data_dir=str(work / "corpus"),
            cache_root=str(work / "cache"),
            runs_dir=str(work / "runs"),
        )
        measured = run(
            overrides,
            run_folder(model, work / "runs"),
            patients=patients or (1, 2, 4, 8),
            seeds=seeds,
            steps=steps,
            hours=hours,
            ranges=load_ranges(ranges),
            log=log,
        )
    return _print(measured, json=json)


@app.command()
def faults(
    kills: Annotated[int, typer.Option(min=1, help="How many builds to kill.")] = 100,
    json: Json = False,
) -> int:
    """Kill builds of a synthetic corpus, and compare every shard with that of a clean build."""
    from brainbrr_core.benchmark.killed_builds import run

    return _print(run(kills, log=log), json=json)


@app.command()
def scoring(
    recordings: Annotated[
        int, typer.Option(min=20, help="Synthetic recordings; TUSZ's dev has 1,832.")
    ] = 1832,
    json: Json = False,
) -> int:
    """Score synthetic frames of as much EEG as TUSZ's dev at about 2,000 operating points."""
    from brainbrr_core.benchmark.threshold_search import run

    return _print(run(recordings, log=log), json=json)


@contextmanager
def _folder(folder: Path | None, prefix: str) -> Iterator[Path]:
    """The folder, to which no other process writes meanwhile, or a temporary one."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
            yield Path(temporary)
        return
    from brainbrr_core.files.one_process import only_writer

    refusal = f"another process measures in {folder}: wait for it, or give another --folder"
    with only_writer(folder, refusal):
        yield folder


def _print(report: Report, *, json: bool) -> int:
    """Print a report; return the exit status."""
    if json:
        print_json(report.as_json())
    else:
        for table in report.tables():
            print_table(table.title, table.columns, table.rows)
        for line in report.remarks():
            print(line)
    return 0 if report.is_right else 1
