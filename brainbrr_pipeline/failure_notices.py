"""Notices of failed runs: a sensor that calls a function of the user.

``orchestration.on_failure`` names that function. ``python -m brainbrr_pipeline.failure_notices``
calls it with an example, so that mail or chat can be tested before a run fails.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg

from brainbrr_core.configuration import load
from brainbrr_core.configuration.settings import Orchestration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.serving.announcement import announcement_of
from brainbrr_pipeline.dagster_internals import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    WILL_RETRY_TAG,
)
from brainbrr_pipeline.jobs import BUILD_OP
from brainbrr_pipeline.records.partitions import NAME
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures

#: Default address of `dagster dev`.
_DEFAULT_UI = "http://127.0.0.1:3000"
SENSOR = "notify_of_failures"
#: The most partitions that the text of a notice names.
_NAMED_PARTITIONS = 3


@dataclass(frozen=True)
class RunFailure:
    """A failed run, as a notice describes it.

    Attributes
    ----------
    job : str
        Name of the job, or names of the assets if the run materialized assets without a job.
    run_id : str
        Dagster's identifier of the run.
    link : str
        Address of the run in Dagster's UI.
    error : str
        First line of what went wrong.
    partitions : tuple of str
        Partition keys of the run; empty for a run without partitions, such as an index or a
        training.
    will_retry : bool
        Whether Dagster retries the run.
    """

    job: str
    run_id: str
    link: str
    error: str
    partitions: tuple[str, ...] = ()
    will_retry: bool = False

    def title(self) -> str:
        """One line, such as the subject of a mail."""
        return f"brainbrr: {self.job} failed"

    def text(self) -> str:
        """A few lines: the error, the partitions, and the link."""
        lines = [self.error]
        if self.partitions:
            named = ", ".join(self.partitions[:_NAMED_PARTITIONS])
            more = len(self.partitions) - _NAMED_PARTITIONS
            lines.append(f"partitions: {named}" + (f" and {more} more" if more > 0 else ""))
        if self.will_retry:
            lines.append("Dagster retries the run.")
        return "\n".join([*lines, self.link])


#: The type of the function that ``orchestration.on_failure`` names.
Hook = Callable[[RunFailure], object]


def notify_of_failures(settings: Orchestration) -> dg.SensorDefinition:
    """The sensor that passes each failed run to the function that the configuration names."""
    recipient = (
        f"It calls {settings.on_failure}."
        if settings.on_failure
        else "No function is set: see orchestration.on_failure."
    )

    @dg.run_failure_sensor(
        name=SENSOR,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description="Reports each run that fails from now on (job, error, partitions and link) to "
        f"the function that orchestration.on_failure names. {recipient}",
    )
    def _notify(context: dg.RunFailureSensorContext, workspace: Workspace) -> None:
        with user_errors_as_failures():
            configuration = workspace.load()
            hook = load_hook(configuration.orchestration.on_failure)
            failure = describe(
                context, ui_address(configuration.orchestration, configuration.dagster_home)
            )
        hook(failure)

    return _notify


def load_hook(name: str | None) -> Hook:
    """The function that ``package.module:function`` names.

    Raises :class:`BrainbrrError` if none is named, or if it cannot be imported.
    """
    if name is None:
        raise BrainbrrError(
            "orchestration.on_failure is not set: name the function that reports failed runs, such "
            "as notices:send"
        )
    module, _, function = name.partition(":")
    try:
        hook: object = pkgutil.resolve_name(name)
    except ImportError as error:
        raise BrainbrrError(
            f"orchestration.on_failure is {name}, which cannot be imported ({error}): put the "
            f"folder of {module.partition('.')[0]} on PYTHONPATH"
        ) from None
    except AttributeError:
        hook = None
    if not callable(hook):
        raise BrainbrrError(
            f"orchestration.on_failure is {name}, and {module} has no function {function}"
        )
    return hook


def ui_address(orchestration: Orchestration, dagster_home: Path) -> str:
    """The address of Dagster's UI, without a slash at its end."""
    if orchestration.ui_url is not None:
        return orchestration.ui_url.rstrip("/")
    running = announcement_of(dagster_home)
    return _DEFAULT_UI if running is None else running.ui


def describe(context: dg.RunFailureSensorContext, ui: str) -> RunFailure:
    """The failed run that a tick of the sensor is about; ``ui`` is the address of the UI."""
    run = context.dagster_run
    return RunFailure(
        job=_job(run),
        run_id=run.run_id,
        link=f"{ui}/runs/{quote(run.run_id)}",
        error=_first_line(_messages(context)),
        partitions=_partitions(context),
        will_retry=run.tags.get(WILL_RETRY_TAG) == "true",
    )


def _job(run: dg.DagsterRun) -> str:
    """The job, or the assets of a run that materialized assets without a job."""
    if not run.job_name.startswith("__") or not run.asset_selection:
        return run.job_name
    return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))


def _messages(context: dg.RunFailureSensorContext) -> Iterable[str | None]:
    """Messages on the failure, the most specific first: of a step, of its error, of the run."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None:
            yield data.user_failure_data.description
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            yield error.message
    yield context.failure_event.message


def _first_line(messages: Iterable[str | None]) -> str:
    lines = (line.strip() for text in messages for line in (text or "").splitlines())
    return next(filter(None, lines), "the run failed without a message")


def _partitions(context: dg.RunFailureSensorContext) -> tuple[str, ...]:
    """The partition keys of a run: one, a range in Dagster's order, or a configured list."""
    run = context.dagster_run
    if context.partition_key is not None:
        return (context.partition_key,)
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if first is not None and last is not None:
        keys = list(context.instance.get_dynamic_partitions(NAME))
        if first in keys and last in keys:
            return tuple(keys[keys.index(first) : keys.index(last) + 1])
        # The partitions have been dropped in the meantime.
        return (first, last)
    listed: object = run.run_config
    for name in ("ops", BUILD_OP, "config", "keys"):
        listed = listed.get(name) if isinstance(listed, Mapping) else None
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def main() -> int:
    """Call the configured function with an example, and return the exit status."""
    try:
        configuration = load()
        hook = load_hook(configuration.orchestration.on_failure)
    except BrainbrrError as error:
        print(f"brainbrr: {error}", file=sys.stderr)
        return error.exit_status
    hook(
        RunFailure(
            "build_cache",
            "00000000-0000-0000-0000-000000000000",
            f"{ui_address(configuration.orchestration, configuration.dagster_home)}/runs",
            "this is a test: no run has failed",
        )
    )
    print(f"{configuration.orchestration.on_failure} was called with an example of a failed run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
