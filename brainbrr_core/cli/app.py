"""The command line: all commands in their panels, and how an error ends it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from brainbrr_core.cli import (
    bench,
    cache,
    compare,
    config,
    dagster,
    deidentify,
    demo,
    doctor,
    evaluate,
    excerpts,
    index,
    inspect,
    manifest,
    model,
    predict,
    pretrain,
    replay,
    runs,
    score,
    sweep,
    synth,
    train,
    transfer,
)
from brainbrr_core.cli.interruption import end, handle_signals, interruption
from brainbrr_core.cli.program import Program, with_one_command
from brainbrr_core.errors import BrainbrrError, cannot_use
from brainbrr_core.machine.threads import share_processors


def _exit(status: int, **_options: object) -> None:
    """What a command returns is its exit status."""
    raise typer.Exit(status)


app = typer.Typer(
    name="brainbrr",
    cls=Program,
    result_callback=_exit,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"brainbrr {version('brainbrr')}")
        raise typer.Exit


@app.callback()
def brainbrr(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version of brainbrr.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """From a folder of clinical EEG to a trained and honestly scored seizure detector."""


app.command(rich_help_panel="Start here")(demo.demo)
for corpus_command in (synth.synth, index.index, inspect.inspect, deidentify.deidentify):
    app.command(rich_help_panel="Corpus")(corpus_command)
app.command(rich_help_panel="Cache")(manifest.manifest)
for transfer_command in (transfer.push, transfer.pull, transfer.export):
    cache.app.command(rich_help_panel=cache.TRANSFER)(transfer_command)
cache.app.command(name="import", rich_help_panel=cache.TRANSFER)(transfer.import_)
app.add_typer(cache.app, name="cache", rich_help_panel="Cache")
for run_command in (
    train.train,
    pretrain.pretrain,
    sweep.sweep,
    evaluate.evaluate,
    runs.runs,
    compare.compare,
    score.score,
    excerpts.excerpts,
    replay.replay,
):
    app.command(rich_help_panel="Train and score")(run_command)
app.command(rich_help_panel="Predict")(predict.predict)
app.add_typer(model.app, name="model", rich_help_panel="Predict")
for dagster_command in (dagster.ui, dagster.env):
    app.command(rich_help_panel="Dagster")(dagster_command)
for machine_command in (doctor.doctor, config.config):
    app.command(rich_help_panel="Machine")(machine_command)
app.add_typer(bench.app, name="bench", rich_help_panel="Machine")


def main() -> None:
    """Run the command line: one line for a user's mistake, no traceback, exit status 1 or 2.

    A command that a signal ends also says so in one line; its status is 130 after Ctrl+C and 143
    after SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may have bytes that are no text: they are printed as escapes, as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    # No library that starts threads is loaded yet.
    share_processors(os.environ)
    with handle_signals() as signals:
        try:
            _run()
        except BaseException as error:
            stopped = interruption(error)
            if stopped is None and not isinstance(error, SystemExit):
                # A library has turned the signal into an error of its own.
                stopped = signals.stopped
            if stopped is None:
                raise
            end(stopped)


def _run() -> None:
    try:
        program_for(sys.argv[1:])()
    except (BrainbrrError, OSError) as error:
        from brainbrr_core.remote.address import redact

        mistake = error if isinstance(error, BrainbrrError) else cannot_use(error)
        print(f"brainbrr: {redact(str(mistake))}", file=sys.stderr)
        sys.exit(mistake.exit_status)


def program_for(words: Sequence[str]) -> typer.Typer:
    """The program that reads these words: the whole one where they name no command."""
    # A mistyped command needs all of them, to be told the nearest.
    return with_one_command(app, words) or app
