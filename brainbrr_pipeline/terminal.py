"""The output of Dagster's commands after an error: a user's mistake is the last line.

Dagster prints a stack trace for each failed step and for the run. For a step that failed because of
a user's mistake, it would contain lines of Dagster only.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Mapping
from types import TracebackType

import dagster as dg
from dagster import DagsterEventType

from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.dagster_internals import CheckError, DagsterAssetCheckFailedError

#: Messages on mistakes that users can fix, each once and in order.
_mistakes: dict[str, None] = {}
#: Steps that failed for other reasons, whose stack traces are shown.
_crashed: set[str] = set()
#: Messages of failed checks, until the step that they belong to ends.
_failed_checks: list[str] = []


def print_mistakes_last() -> None:
    """Make this process print mistakes as its last lines, without stack traces.

    This is for processes of Dagster's command line, which creates a logger of the class that is set
    here for each run.
    """
    if sys.excepthook is _print_in_one_line:
        return
    logging.setLoggerClass(ConsoleLogger)
    sys.excepthook = _print_in_one_line
    atexit.register(_print_mistakes)


class ConsoleLogger(logging.Logger):
    """A logger that omits the stack trace of an event that reports a user's mistake."""

    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: bool
        | tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None]
        | BaseException
        | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Log a message; Dagster passes the event that it belongs to in ``extra``."""
        event = None if extra is None else extra.get("dagster_event")
        if isinstance(event, dg.DagsterEvent) and _is_of_a_mistake(event):
            msg = str(msg).partition("\n")[0]
        super().log(
            level,
            msg,
            *args,
            exc_info=exc_info,
            stack_info=stack_info,
            stacklevel=stacklevel + 1,
            extra=extra,
        )


def _is_of_a_mistake(event: dg.DagsterEvent) -> bool:
    """Whether an event reports a failure that a user can fix, which is kept for the last lines."""
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        is_error = check.severity is dg.AssetCheckSeverity.ERROR
        if check.blocking and is_error and not check.passed:
            name = f"{check.check_name} of {check.asset_key.to_user_string()}"
            _failed_checks.append(f"the check {name} failed: {check.description}")
        return False
    if event.event_type is DagsterEventType.RUN_FAILURE:
        return bool(_mistakes) and not _crashed
    if event.event_type is not DagsterEventType.STEP_FAILURE:
        return False
    failure = event.step_failure_data
    if failure.user_failure_data is not None:
        _mistakes[str(failure.user_failure_data.description)] = None
        return True
    error = failure.error
    if error is not None and error.cls_name == DagsterAssetCheckFailedError.__name__:
        _mistakes.update(dict.fromkeys(_failed_checks))
        _failed_checks.clear()
        return True
    _crashed.add(str(event.step_key))
    return False


def _print_mistakes() -> None:
    for line in _mistakes:
        print(f"brainbrr: {line}", file=sys.stderr)


def _print_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print a mistake in a configuration or a selection in one line; a traceback otherwise."""
    if isinstance(error, BrainbrrError):
        print(f"brainbrr: {error}", file=sys.stderr)
    elif isinstance(error, dg.DagsterInvalidConfigError):
        problems = "; ".join(" ".join(each.message.split()) for each in error.errors)
        print(f"brainbrr: the run configuration is wrong: {problems}", file=sys.stderr)
    elif isinstance(error, (dg.DagsterInvalidSubsetError, CheckError)):
        message = " ".join(str(error).split()).removeprefix("Failure condition: ")
        if "none of the assets are partitioned" in message:
            message += ": add -m brainbrr_pipeline.definitions, where windowed_cache has partitions"
        print(f"brainbrr: {message}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
