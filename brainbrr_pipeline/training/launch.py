"""Starting a training in a process of its own, and what is said when it ends before its time."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.threads import share_processors

MODULE = "brainbrr_pipeline.training.process"


def launch(
    context: dg.AssetExecutionContext,
    client: dg.PipesSubprocessClient,
    configuration: Configuration,
) -> tuple[Path, bool]:
    """Train as a configuration says; the run's folder, and whether it was finished already.

    Raises :class:`BrainbrrError` with the last output of a process that failed, and the checkpoint
    that the next run goes on from.
    """
    environment = dict(os.environ)
    share_processors(environment)
    with tempfile.TemporaryDirectory(prefix="brainbrr-training-") as folder:
        last_words = Path(folder) / "last_words.txt"
        try:
            invocation = client.run(
                context=context,
                command=[sys.executable, "-m", MODULE],
                env=environment,
                extras={
                    "settings": configuration.model_dump_json(),
                    "last_words": str(last_words),
                },
            )
        except DagsterPipesExecutionError as error:
            said = last_words.read_text(encoding="utf-8") if last_words.is_file() else ""
            raise BrainbrrError(
                f"the training ended early: {_first_line(said) or _signal(str(error))}"
                f"{_to_resume_from(configuration)}"
            ) from None
    message = invocation.get_custom_messages()[-1]
    return Path(message["run"]), bool(message["reused"])


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def _signal(message: str) -> str:
    """What an exit status below zero means."""
    code = message.rsplit("code ", 1)[-1].strip(" .")
    try:
        name = signal.Signals(-int(code)).name
    except ValueError:
        return message
    hint = " (the machine's memory was full?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _to_resume_from(configuration: Configuration) -> str:
    """The checkpoint that the next run takes up, in words; nothing where there is none."""
    # Heavy, and only of use after a failure.
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.runs.run import run_directory
    from brainbrr_core.training.checkpoint import CHECKPOINT_NAME

    try:
        directory = run_directory(configuration, check(configuration).manifest)
    except BrainbrrError:
        return ""
    path = directory / CHECKPOINT_NAME
    if not path.is_file():
        return ""
    return f"; materialize trained_model again: it goes on from {path}"
