"""The code versions that Dagster loaded, compared with those of the current configuration.

A running code server keeps the code versions that it loaded. If the configuration has changed
since, a run would build another version than the UI shows, so the run fails with an instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

import brainbrr_core
import brainbrr_pipeline
from brainbrr_core.cache.manifest import settings_digest
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import ReportSettings, TrainingSettings
from brainbrr_pipeline.records.event_writer import Context

#: Tag of an op: the code version of its asset when the definitions were loaded.
_TAG = "brainbrr/code_version"
RELOAD = (
    "reload the definitions (in the UI: Deployment, Reload definitions; or restart `dagster dev`), "
    "then run again"
)


@dataclass(frozen=True)
class CodeVersions:
    """The code version of each asset: a version or a short hash of the settings that shape it."""

    windowed_cache: str
    cache_manifest: str
    fold_recordings: str
    trained_model: str
    eval_report: str

    @classmethod
    def of(cls, configuration: Configuration) -> CodeVersions:
        """The code versions under a configuration."""
        report = ReportSettings.of(configuration).shaping(configuration.evaluation.split)
        training, split = TrainingSettings.of(configuration).shaping(), configuration.corpus.split
        # With other folds, a partition is another training.
        folds = split.model_dump(include={"scheme", "folds", "seed", "dev"})
        if split.has_folds:
            training["folds"] = folds
        return cls(
            windowed_cache=preprocessing_version(configuration.preprocessing),
            cache_manifest=settings_digest(configuration.manifest_settings)[:12],
            fold_recordings=digest(folds)[:12] if split.has_folds else "",
            trained_model=digest(training)[:12],
            eval_report=digest(report)[:12],
        )


@dataclass(frozen=True)
class SourceFiles:
    """Modification times of all source files, since a process keeps running imported code."""

    times: frozenset[tuple[str, int]]

    @classmethod
    def now(cls) -> SourceFiles:
        """The source files as they are on disk now."""
        packages = [Path(brainbrr_core.__file__).parent, Path(brainbrr_pipeline.__file__).parent]
        return cls(
            frozenset(
                (str(path), path.stat().st_mtime_ns)
                for package in packages
                for path in package.rglob("*.py")
            )
        )


def op_tags(code_version: str) -> dict[str, str]:
    """Tags of an op that tell :func:`check_loaded` which code version was loaded."""
    return {_TAG: code_version}


def check_loaded(context: Context, code_version: str) -> None:
    """Fail the run if its definitions were loaded with another code version.

    The run's own process has loaded the definitions again. The version that the UI shows is in the
    job snapshot of the request.
    """
    loaded = _requested_version(context)
    if loaded is not None and loaded != code_version:
        raise dg.Failure(
            f"Dagster has loaded {context.op_def.name} with code version {loaded}, "
            f"and the configuration now gives {code_version}: {RELOAD}",
            allow_retries=False,
        )


def _requested_version(context: Context) -> str | None:
    snapshot_id = context.run.job_snapshot_id
    if snapshot_id is None:
        return None
    ops = context.instance.get_job_snapshot(snapshot_id).node_defs_snapshot.op_def_snaps
    return next((op.tags.get(_TAG) for op in ops if op.name == context.op_def.name), None)
