"""Whether what Dagster loaded is what the configuration says now.

A running code server keeps the versions it loaded. What it shows and asks for is then of another
version than what a run would build, so such a run stops and says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

import brainbrr_core
import brainbrr_pipeline
from brainbrr_pipeline.records.event_writer import Context

#: Tag of an op: the code version of its asset when the definitions were loaded.
_TAG = "brainbrr/code_version"
RELOAD = (
    "reload the definitions (in the UI: Deployment, Reload definitions; or start `dagster dev` "
    "anew), then run again"
)


@dataclass(frozen=True)
class SourceFiles:
    """Time of each source file of the program: a process goes on with those it imported."""

    times: frozenset[tuple[str, int]]

    @classmethod
    def now(cls) -> SourceFiles:
        """As they are on the disk."""
        packages = [Path(brainbrr_core.__file__).parent, Path(brainbrr_pipeline.__file__).parent]
        return cls(
            frozenset(
                (str(path), path.stat().st_mtime_ns)
                for package in packages
                for path in package.rglob("*.py")
            )
        )


def op_tags(code_version: str) -> dict[str, str]:
    """Tags that let :func:`check_loaded` know what a run was asked for with."""
    return {_TAG: code_version}


def check_loaded(context: Context, code_version: str) -> None:
    """Fail the run when its definitions were loaded with another code version.

    The run's own process loads them anew, so the versions are taken from the snapshot that came
    with the request.
    """
    loaded = _requested_version(context)
    if loaded is not None and loaded != code_version:
        raise dg.Failure(
            f"Dagster has loaded {context.op_def.name} with code version {loaded}, "
            f"and the configuration says {code_version} now: {RELOAD}",
            allow_retries=False,
        )


def _requested_version(context: Context) -> str | None:
    snapshot_id = context.run.job_snapshot_id
    if snapshot_id is None:
        return None
    ops = context.instance.get_job_snapshot(snapshot_id).node_defs_snapshot.op_def_snaps
    return next((op.tags.get(_TAG) for op in ops if op.name == context.op_def.name), None)
