"""The process of its own in which a training runs; it tells Dagster how it goes, by Pipes."""

from __future__ import annotations

import sys

from dagster_pipes import PipesContext, open_dagster_pipes

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.training.loop import StepReport
from brainbrr_core.training.run import Run, train

#: Seconds between two lines about the training in Dagster's log.
_INTERVAL_S = 10.0


def main() -> int:
    """Train as the configuration says; one line and its exit status for a user's mistake."""
    with open_dagster_pipes() as pipes:
        try:
            run = _train(pipes)
        except BrainbrrError as error:
            pipes.log.error(str(error))
            print(f"brainbrr: {error}", file=sys.stderr)
            return error.exit_status
        fit = run.values["fit"]
        pipes.report_asset_materialization(
            data_version=run.name,
            metadata={
                "run": str(run.directory),
                "reused": run.reused,
                "preprocessing version": run.values["identity"]["preprocessing_version"],
                "preset": run.values["identity"]["model"]["preset"],
                "ssm backend": run.values["identity"]["ssm_backend"],
                "parameters": run.values["parameters"],
                "steps": fit["steps"],
                "last loss": fit["last_loss"],
                "windows per second": round(fit["windows_per_s"], 1),
                "share of time waiting for data": round(fit["data_wait_share"], 4),
                "seconds": run.values["seconds"],
                "hardware": {"raw_value": run.values["hardware"], "type": "json"},
            },
        )
    return 0


def _train(pipes: PipesContext) -> Run:
    shown = 0.0

    def on_step(step: StepReport) -> None:
        nonlocal shown
        if step.elapsed_s - shown >= _INTERVAL_S or step.step in (1, step.steps):
            shown = step.elapsed_s
            left = step.elapsed_s / step.step * (step.steps - step.step)
            pipes.log.info(
                f"step {step.step} of {step.steps}: loss {step.loss:.3f}, "
                f"{step.windows_per_s:.1f} windows/s, {step.data_wait_share:.1%} waiting for "
                f"data, {left:.0f} s left"
            )

    settings = Configuration.model_validate_json(pipes.get_extra("settings"))
    return train(settings, on_step=on_step, log=pipes.log.info)


if __name__ == "__main__":
    sys.exit(main())
