"""The program of the training process. It reports its progress to Dagster through Pipes.

Errors are written to a file that the asset reads, since a crashed process cannot report anything
through Pipes.
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

from dagster_pipes import PipesContext, open_dagster_pipes

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.progress import progress
from brainbrr_core.runs.run import Run
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.run import train

#: Seconds between two lines of progress in Dagster's log.
_INTERVAL_S = 10.0


def main() -> int:
    """Train, and return the exit status. An error that a user can fix is one line on stderr."""
    with open_dagster_pipes() as pipes:
        error_file = Path(pipes.get_extra("error_file"))
        with error_file.open("w", encoding="utf-8") as file:
            faulthandler.enable(file)
            try:
                run = _train(pipes)
            except BrainbrrError as error:
                file.write(str(error))
                print(f"brainbrr: {error}", file=sys.stderr)
                return error.exit_status
            except Exception as error:
                file.write(_describe(error))
                raise
            finally:
                faulthandler.disable()
        pipes.report_custom_message({"run": str(run.directory), "reused": run.reused})
    return 0


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"{text or 'out of memory'}: lower hardware.batch_size"
    return f"{type(error).__name__}: {text}"


def _train(pipes: PipesContext) -> Run:
    configuration = Configuration.model_validate_json(pipes.get_extra("settings"))
    reported_s = 0.0

    def on_step(step: StepReport) -> None:
        nonlocal reported_s
        if step.step == step.resumed_from + 1:
            bar.resume_from(step.resumed_from)
        bar.advance(note=step.note())
        if step.elapsed_s - reported_s >= _INTERVAL_S or step.step in (1, step.steps):
            reported_s = step.elapsed_s
            pipes.log.info(
                f"step {step.step} of {step.steps}: loss {step.loss:.3f}, "
                f"{step.windows_per_s:.1f} windows/s, {step.data_wait_share:.1%} waiting for "
                f"data, {step.left_s():.0f} s left"
            )

    with progress("train", configuration.training.steps, "steps") as bar:
        return train(configuration, on_step=on_step, log=pipes.log.info)


if __name__ == "__main__":
    sys.exit(main())
