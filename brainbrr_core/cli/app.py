"""The commands, put together, and what becomes of an error."""

from __future__ import annotations

import io
import os
import sys

import typer

from brainbrr_core.cli import (
    bench,
    cache,
    compare,
    dagster,
    demo,
    doctor,
    evaluate,
    index,
    inspect,
    manifest,
    predict,
    synth,
    train,
    transfer,
)
from brainbrr_core.cli.interruption import end, interruption, listening
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.threads import share_processors


def _exit(status: int, **_options: object) -> None:
    """What a command returns is its exit status."""
    raise typer.Exit(status)


app = typer.Typer(
    name="brainbrr",
    result_callback=_exit,
    help="From a folder of clinical EEG recordings to a trained and honestly scored seizure "
    "detector.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(dagster.ui)
app.command()(dagster.env)
app.command()(synth.synth)
app.command()(index.index)
app.command()(inspect.inspect)
cache.app.command()(transfer.push)
cache.app.command()(transfer.pull)
cache.app.command()(transfer.export)
cache.app.command(name="import")(transfer.import_)
app.add_typer(cache.app, name="cache")
app.command()(manifest.manifest)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(compare.compare)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line: one line for a user's mistake, no traceback, exit status 1 or 2.

    A command that a signal ends says so in one line, too; its status is 130 after Ctrl+C and 143
    after SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may hold what no text can: it is shown by its escapes, as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    # No library that has threads is loaded yet.
    share_processors(os.environ)
    with listening():
        try:
            _run()
        except BaseException as error:
            stopped = interruption(error)
            if stopped is None:
                raise
            end(stopped)


def _run() -> None:
    try:
        app()
    except BrainbrrError as error:
        print(f"brainbrr: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:
        print(f"brainbrr: {error}", file=sys.stderr)
        sys.exit(2)
