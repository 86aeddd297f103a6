"""The process of its own in which a training runs; it tells Dagster how it goes, by Pipes.

Its last output, when it ends before its time, are kept in a file that the asset reads: a process
that crashed can say nothing any more.
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
from brainbrr_core.training.loop import StepReport
from brainbrr_core.training.run import train

#: Seconds between two lines about the training in Dagster's log.
_INTERVAL_S = 10.0


def main() -> int:
    """Train as the configuration says; one line and its exit status for a user's mistake."""
    with open_dagster_pipes() as pipes:
        last_words = Path(pipes.get_extra("last_words"))
        with last_words.open("w", encoding="utf-8") as file:
            faulthandler.enable(file)
            try:
                run = _train(pipes)
            except BrainbrrError as error:
                file.write(str(error))
                print(f"brainbrr: {error}", file=sys.stderr)
                return error.exit_status
            except Exception as error:
                file.write(_described(error))
                raise
            finally:
                faulthandler.disable()
        pipes.report_custom_message({"run": str(run.directory), "reused": run.reused})
    return 0


def _described(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"{text or 'out of memory'}: lower hardware.batch_size"
    return f"{type(error).__name__}: {text}"


def _train(pipes: PipesContext) -> Run:
    settings = Configuration.model_validate_json(pipes.get_extra("settings"))
    shown = 0.0

    def on_step(step: StepReport) -> None:
        nonlocal shown
        if step.step == step.resumed_from + 1:
            bar.resume_from(step.resumed_from)
        bar.advance(note=step.note())
        if step.elapsed_s - shown >= _INTERVAL_S or step.step in (1, step.steps):
            shown = step.elapsed_s
            pipes.log.info(
                f"step {step.step} of {step.steps}: loss {step.loss:.3f}, "
                f"{step.windows_per_s:.1f} windows/s, {step.data_wait_share:.1%} waiting for "
                f"data, {step.left_s():.0f} s left"
            )

    with progress("train", settings.training.steps, "steps") as bar:
        return train(settings, on_step=on_step, log=pipes.log.info)


if __name__ == "__main__":
    sys.exit(main())
