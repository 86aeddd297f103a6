"""``brainbrr pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import Json
from brainbrr_core.cli.printing import ignore, print_json
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.export.use import Use
    from brainbrr_core.runs.run import Run

_DATA = (
    "Simulated scalp EEG alone (`brainbrr synth --simulator {ranges} --unseen {unseen} "
    "--hours {hours:g} --seed {seed}`), no recording of a person."
)

_LICENSE = "apache-2.0"
#: The file in the folder whose lock a process holds from the corpus to the model.
_LOCK = "pretrain.lock"


def pretrain(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Folder for the corpus, its cache, the run and the model."
        ),
    ],
    hours: Annotated[float, typer.Option(help="Hours of EEG to simulate.")] = 100.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    ranges: Annotated[
        str,
        typer.Option(
            "--simulator",
            metavar="RANGES",
            help="What is simulated for train: `varied`, or a YAML file.",
        ),
    ] = "varied",
    unseen: Annotated[
        str,
        typer.Option(
            metavar="RANGES",
            help="What is simulated for dev, on which the threshold is tuned, and eval: `unseen`, "
            "or a YAML file.",
        ),
    ] = "unseen",
    config: Annotated[
        str,
        typer.Option(
            help="Names of bundled configurations and paths of files, joined by colons: "
            "a100:pretrained trains on a GPU, cpu:pretrained:mine.yaml with other settings."
        ),
    ] = "cpu:pretrained",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that simulate and build (default: as cores and memory allow)."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Train a detector on simulated EEG only, from random weights, and export it.

    The same command goes on with what was interrupted. Its scores are those on simulated patients
    of other recorders and artifacts, and say little of real ones: measure those with `brainbrr
    excerpts` or `brainbrr evaluate RUN --cache-root OTHER`.
    """
    from brainbrr_core.cache.complete_build import build_completely
    from brainbrr_core.cache.manifest_file import update_manifest
    from brainbrr_core.cache.plan import plan_corpus, plan_profile
    from brainbrr_core.cli.evaluate import print_scores
    from brainbrr_core.cli.train import train_with_bar
    from brainbrr_core.configuration import Overrides, load
    from brainbrr_core.evaluation.evaluate import evaluate
    from brainbrr_core.export.use import Use
    from brainbrr_core.files.one_process import one_process
    from brainbrr_core.simulation import load_ranges, write_simulated_corpus

    settings = load(
        Overrides(
            config=config,
            data_dir=str(out / "corpus"),
            cache_root=str(out / "cache"),
            runs_dir=str(out / "runs"),
        )
    )
    drawn, drawn_unseen = load_ranges(ranges), load_ranges(unseen)
    if out.is_file():
        raise BrainbrrError(f"{out} is a file: name a folder, which is created where it is missing")
    refusal = f"another process pretrains in {out}: wait for it, or give another folder"
    with one_process(out / _LOCK, refusal):
        write_simulated_corpus(
            out / "corpus",
            hours=hours,
            seed=seed,
            ranges=drawn,
            unseen=drawn_unseen,
            workers=workers,
        )
        plan = plan_corpus(settings, ignore)
        build_completely(plan, settings.preprocessing, workers)
        update_manifest(plan_profile(settings), settings.manifest_settings)
        run = train_with_bar(settings, shown=not json)
        evaluation = evaluate(settings, log=ignore)
        said = _DATA.format(ranges=ranges, unseen=unseen, hours=hours, seed=seed)
        use = Use(settings.preprocessing, settings.detection, settings.hardware.precision)
        model = _export(run, use, out / "model", said)
    if json:
        print_json({"run": str(run.directory), "model": str(model)})
        return 0
    print_scores(evaluation)
    print(f"model: {model}\nuse it: brainbrr predict my.edf --run {model}")
    return 0


def _export(run: Run, use: Use, out: Path, data: str) -> Path:
    """The model folder of a run; one that is there and has the run's weights is left as it is."""
    from brainbrr_core.export.card import Statements
    from brainbrr_core.export.folder import export_run
    from brainbrr_core.runs.model_folder import read_model_config
    from brainbrr_core.runs.record import CONFIG

    if (out / CONFIG).exists():
        if read_model_config(out).run.model_blake3 == run.record.model_blake3:
            return out
        raise BrainbrrError(
            f"{out} has the model of another run: move it elsewhere, and run the same command again"
        )
    return export_run(run, use, out, statements=Statements(data, _LICENSE)).directory
