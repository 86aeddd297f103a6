"""Definitions without partitions, for ``dagster asset materialize --select windowed_cache``.

That command refuses a partitioned asset without ``--partition``. These definitions have the same
asset keys and record the same partitions, so the UI shows what they built. ``brainbrr env`` sets
the variable by which that command and ``dagster asset list``, and no other, load this module.
"""

import atexit
import gc
import sys
from types import TracebackType

import dagster as dg

from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.resources import user_errors


def _print_user_errors() -> None:
    """Repeat as the last lines what a user can fix: it stands above Dagster's stack traces."""
    for line in dict.fromkeys(user_errors):
        print(f"brainbrr: {line}", file=sys.stderr)


def _print_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print a mistake in a configuration or a selection in one line; a traceback otherwise."""
    if isinstance(error, BrainbrrError):
        print(f"brainbrr: {error}", file=sys.stderr)
    elif isinstance(error, dg.DagsterInvalidConfigError):
        wrong = "; ".join(" ".join(one.message.split()) for one in error.errors)
        print(f"brainbrr: the run configuration is wrong: {wrong}", file=sys.stderr)
    elif isinstance(error, dg.DagsterInvalidSubsetError):
        print(f"brainbrr: {' '.join(str(error).split())}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


atexit.register(_print_user_errors)
sys.excepthook = _print_in_one_line

defs = build_defs(partitioned=False)

# The command ends soon and keeps most of its objects. With the default thresholds, garbage
# collection takes a fifth of the time of a run that has nothing to build.
gc.set_threshold(200_000, 50, 50)
