"""Launching a training in a separate process, and explaining why it failed."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import dagster as dg

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.threads import share_processors
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_pipeline.dagster_internals import DagsterPipesExecutionError

MODULE = "brainbrr_pipeline.training.process"


def launch(
    context: dg.AssetExecutionContext,
    client: dg.PipesSubprocessClient,
    configuration: str,
    cache: ProfileCache,
    settings: TrainingSettings,
    runs_dir: Path,
) -> tuple[Path, bool]:
    """Train in a separate process, which gets the whole ``configuration`` as JSON.

    ``cache``, ``settings`` and ``runs_dir`` are those of the configuration, and are used in
    messages.

    Returns the run's folder, and whether a finished run was reused. If the process fails, raises
    :class:`BrainbrrError` with its error and the checkpoint from which the next run resumes.
    """
    environment = dict(os.environ)
    share_processors(environment)
    with tempfile.TemporaryDirectory(prefix="brainbrr-training-") as folder:
        error_file = Path(folder) / "error.txt"
        try:
            invocation = client.run(
                context=context,
                command=[sys.executable, "-m", MODULE],
                env=environment,
                extras={
                    "settings": configuration,
                    "error_file": str(error_file),
                },
            )
        except DagsterPipesExecutionError as error:
            output = error_file.read_text(encoding="utf-8") if error_file.is_file() else ""
            raise BrainbrrError(
                f"the training failed: {_first_line(output) or _exit_reason(str(error))}"
                f"{_resume_hint(runs_dir, settings, cache)}"
            ) from None
    message = invocation.get_custom_messages()[-1]
    return Path(message["run"]), bool(message["reused"])


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def _exit_reason(message: str) -> str:
    """The signal that ended the process, by the exit status in Dagster's message."""
    code = message.rsplit("code ", 1)[-1].strip(" .")
    try:
        name = signal.Signals(-int(code)).name
    except ValueError:
        return message
    hint = " (is the machine out of memory?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _resume_hint(runs_dir: Path, settings: TrainingSettings, cache: ProfileCache) -> str:
    """How to resume; empty without a checkpoint."""
    # Imported here because it imports torch, which is needed after a failure only.
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.runs.run import run_directory
    from brainbrr_core.training.checkpoint import CHECKPOINT_NAME

    try:
        directory = run_directory(runs_dir, settings, check(cache).manifest)
    except BrainbrrError:
        return ""
    path = directory / CHECKPOINT_NAME
    if not path.is_file():
        return ""
    return f"; materialize trained_model again to resume from {path}"
