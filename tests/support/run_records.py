"""The content of a run's file, for tests that need a run and not its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainbrr_core.runs.record import RunRecord
from brainbrr_core.runs.run import Run


def run_values(**values: Any) -> dict[str, Any]:
    """What ``run.json`` of a tiny run holds, with some ``values`` changed or added."""
    return {
        "identity": {
            "model": {"preset": "tiny"},
            "windows": {"length_s": 60},
            "training": {"seed": 0, "steps": 1},
            "preprocessing_version": "v1_256hz_10-20_000000000000",
            "manifest": "0" * 64,
        },
        "finished_at": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "parameters": 1,
        "hardware": {"device": "cpu"},
        "ssm_backend": "torch",
        "model_blake3": "0" * 64,
        "fit": fit_values(),
        **values,
    }


def fit_values(**values: Any) -> dict[str, Any]:
    """The part of :func:`run_values` about the training, with some ``values`` changed or added."""
    return {
        "steps": 1,
        "resumed_from": 0,
        "last_loss": 0.5,
        "windows": 4,
        "windows_per_s": 2.0,
        "data_wait_share": 0.0,
        "elapsed_s": 2.0,
        **values,
    }


def recorded_run(directory: Path, **values: Any) -> Run:
    """A run whose file would hold :func:`run_values`; nothing is written."""
    return Run(directory, RunRecord.model_validate(run_values(**values)))
