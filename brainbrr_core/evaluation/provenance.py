"""The provenance of a report's figures: code, data, weights, settings and hardware."""

from __future__ import annotations

import json
import math
import platform
import subprocess
from importlib.metadata import version as library_version
from pathlib import Path

from brainbrr_core.detection.scorer import windows_at_once
from brainbrr_core.evaluation.facts import SplitFacts, TrainingFacts, ValidationPoint
from brainbrr_core.evaluation.method import compilation_words
from brainbrr_core.evaluation.results import EVALUATION
from brainbrr_core.files.canonical import digest
from brainbrr_core.files.state import content_hash
from brainbrr_core.model.device import check_device, describe_device
from brainbrr_core.runs.identity import EVALUATION_VERSION, ReportSettings
from brainbrr_core.runs.record import MODEL, FitRecord, RunRecord
from brainbrr_core.runs.run import Run

_LIBRARIES = ("brainbrr", "timescoring", "torch", "numpy", "scipy")


def provenance(
    run: Run, settings: ReportSettings, profile: str, version: str, source: str
) -> dict[str, str]:
    """Code, data, weights, settings and hardware by name, in the order of the report.

    ``profile`` is the profile of the scored recordings, ``version`` their preprocessing version,
    and ``source`` the hash of recordings, annotations and settings in their manifest.
    """
    record, facts = run.record, training_facts(run.record)
    identity = record.identity
    hardware = settings.hardware
    device = check_device(hardware)
    scored = describe_device(device).record()
    return {
        "run": run.name,
        "trained at": record.finished_at,
        "profile": profile,
        "git commit": git_commit(),
        "preprocessing version": version,
        "manifest (hash of recordings, annotations and settings)": source[:12],
        "weights (BLAKE3)": content_hash(run.directory / MODEL),
        "settings of detection and evaluation (hash)": digest(
            {
                "detection": settings.detection.model_dump(mode="json"),
                "evaluation": settings.evaluation.model_dump(mode="json"),
            }
        )[:12],
        "model": f"{identity.model.settings.name}, {record.parameters:,} parameters",
        "ssm backend of the training": run.trained_with,
        "ssm backend of this report": hardware.ssm_backend,
        "precision of the training": identity.precision,
        "precision of this report": hardware.precision,
        "network of this report": compilation_words(hardware.compile),
        "windows scored at once": str(windows_at_once(hardware, device)),
        "seed of the training": str(identity.training.seed),
        "optimizer steps": f"{facts.steps:,} of {facts.planned_steps:,}{skipped_note(record.fit)}",
        "step of the weights": f"{facts.kept_step:,}",
        "training took": f"{record.seconds:.0f} s",
        "hardware of the training": json.dumps(record.hardware, sort_keys=True),
        "hardware of the scoring": json.dumps(scored, sort_keys=True),
        EVALUATION: str(EVALUATION_VERSION),
        "version of python": platform.python_version(),
        **{f"version of {name}": library_version(name) for name in _LIBRARIES},
    }


def skipped_note(fit: FitRecord) -> str:
    """The number of skipped steps, to append to the number of steps; empty without any."""
    skipped = len(fit.skipped_steps)
    return f", {skipped:,} of them skipped (loss or gradient not finite)" if skipped else ""


def weights_chosen_on(record: RunRecord) -> str | None:
    """The split on which the network's weights were chosen; None without validations."""
    return None if record.fit.best_step is None else "dev"


def training_facts(record: RunRecord) -> TrainingFacts:
    """The facts about a training that a report shows."""
    fit, training = record.fit, record.identity.training
    return TrainingFacts(
        seed=training.seed,
        planned_steps=training.steps,
        steps=fit.steps,
        kept_step=fit.steps if fit.best_step is None else fit.best_step,
        rule=fit.validations[-1].rule if fit.validations else "",
        stopped=fit.stopped,
        data=tuple(
            SplitFacts(
                split,
                of.recordings,
                of.patients,
                of.hours,
                of.seizures,
                of.ictal_hours,
                of.unknown_seconds,
            )
            for split, of in record.data.items()
            if split in ("train", "dev")
        ),
        validations=tuple(
            ValidationPoint(
                point.step,
                *(_measure(value) for value in (point.score, point.f1, point.auroc, point.auprc)),
            )
            for point in fit.validations
        ),
    )


def _measure(value: float | None) -> float:
    return math.nan if value is None else value


def git_commit() -> str:
    """The commit of the running code, and whether files have changed; or why it is unknown."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "none: the code does not run from a git checkout"
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown: git is not installed or failed"
    return f"{commit} with uncommitted changes" if changed else commit


def _git(root: Path, *words: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()
