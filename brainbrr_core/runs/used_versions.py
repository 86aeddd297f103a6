"""Which preprocessing versions the runs of a folder are trained on: finished or only started.

Nothing heavy is loaded: a checkpoint is asked by its header alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.runs.checkpoint_header import read_checkpoint_header

#: The record of a finished run, and that of a training that has begun.
RUN, STARTED = "run.json", "started.json"
CHECKPOINTS = "checkpoint*.safetensors"


def used_versions(runs_dir: Path) -> dict[str, list[str]]:
    """Names of the runs below a folder, by the version that they are trained on.

    A folder is a run that is finished, has begun, or has a checkpoint. Raises
    :class:`BrainbrrError` for one whose version cannot be read: what it needs is not known.
    """
    used: dict[str, list[str]] = {}
    for directory in sorted(runs_dir.iterdir()) if runs_dir.is_dir() else []:
        version = version_of(directory)
        if version is not None:
            used.setdefault(version, []).append(directory.name)
    return used


def write_started(directory: Path, version: str) -> None:
    """Note in a run's folder that a training on a version has begun."""
    text = json.dumps({"preprocessing_version": version}, indent=1) + "\n"
    with replacing(directory / STARTED) as temporary:
        temporary.write_text(text, encoding="utf-8")


def version_of(directory: Path) -> str | None:
    """The version that a run is trained on, None where there is no run."""
    damaged = None
    for path in (directory / RUN, directory / STARTED, *sorted(directory.glob(CHECKPOINTS))):
        if not path.is_file():
            continue
        try:
            return _named(path)
        except (ValueError, KeyError, TypeError, AttributeError):
            damaged = path
    if damaged is not None:
        raise BrainbrrError(
            f"{damaged} is damaged, so it is not known which version its run needs: remove the "
            "run's folder, or copy it again"
        )
    return None


def _named(path: Path) -> str:
    if path.suffix == ".safetensors":
        return read_checkpoint_header(path).provenance.preprocessing_version
    values = json.loads(path.read_text(encoding="utf-8"))
    return str(values.get("identity", values)["preprocessing_version"])
