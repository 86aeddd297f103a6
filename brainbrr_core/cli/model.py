"""``brainbrr model export``, ``push`` and ``pull``: a trained network outside its run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.choices import ModelFormat
from brainbrr_core.cli.options import (
    RUN_HELP,
    Config,
    Json,
    RunsDir,
    configuration,
    next_command,
    run_folder,
)
from brainbrr_core.cli.printing import count, print_json
from brainbrr_core.cli.program import Program

app = typer.Typer(
    cls=Program, no_args_is_help=True, help="Export a trained network, and copy exported ones."
)

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A folder that `brainbrr model export` wrote.")
]
Address = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="A folder, a URL such as s3://bucket/detector, or hf://owner/name (with the extra "
        "hub).",
    ),
]


@app.command()
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP}.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty.")
    ],
    format: Annotated[
        list[ModelFormat] | None,
        typer.Option(
            "--format",
            help="A graph to write beside the weights: onnx with the signal chain as numbers and "
            "a program that needs no brainbrr (with the extra onnx), or torch-export. May be "
            "repeated (default: safetensors, the weights alone).",
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What the network was trained on, for the model card."),
    ] = "",
    license: Annotated[
        str, typer.Option(metavar="NAME", help="License of the model, for the model card.")
    ] = "",
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """Write the network of a run to a folder with its settings, threshold and model card.

    The folder has no path and no name of a patient. `brainbrr predict --run` takes it as it takes
    the run, and finds the same events.
    """
    from brainbrr_core.export.card import Statements
    from brainbrr_core.export.folder import export_run
    from brainbrr_core.export.use import Use
    from brainbrr_core.runs.own_settings import with_network_settings
    from brainbrr_core.runs.run import open_run

    settings = configuration(config, runs_dir=runs_dir, uses_cache=False)
    opened = open_run(run_folder(run, settings.runs_dir))
    own = with_network_settings(settings, opened).configuration
    exported = export_run(
        opened,
        Use(own.preprocessing, own.detection, own.hardware.precision),
        out,
        format or [ModelFormat.SAFETENSORS],
        Statements(data, license),
    )
    if json:
        print_json({"model": str(exported.directory), "files": exported.files})
        return 0
    for name, size in exported.files.items():
        print(f"{exported.directory / name}  {size / 1e6:,.2f} MB")
    next_command(f"predict RECORDING OUT --run {shlex.quote(str(exported.directory))}", "")
    return 0


@app.command()
def push(
    folder: Folder,
    address: Address,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another model, or other files, at the address.")
    ] = False,
    json: Json = False,
) -> int:
    """Copy a model to a folder, a bucket or a hub, and read back what arrived."""
    from brainbrr_core.export.copies import push_model

    names = push_model(folder, address, force=force)
    if json:
        print_json({"model": str(folder), "address": address, "files": names})
        return 0
    print(f"pushed {count(len(names), 'file')} to {address}, verified")
    return 0


@app.command()
def pull(
    address: Address,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="A folder that does not exist yet, or is empty (default: the last name of "
            "ADDRESS, in this folder).",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Copy a model from a folder, a bucket or a hub; verified."""
    from brainbrr_core.export.copies import pull_model

    # A revision may have slashes, and a folder an @.
    named = address.partition("@")[0] if address.startswith("hf://") else address
    target = out or Path(named.rstrip("/").rpartition("/")[2])
    pull_model(address, target)
    if json:
        print_json({"model": str(target), "address": address})
        return 0
    print(f"pulled, verified: {target}")
    return 0
