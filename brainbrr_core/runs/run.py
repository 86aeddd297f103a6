"""A finished run: a folder whose name follows from all that shapes the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.readiness import Preflight, check
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.model import SeizureNetwork, build
from brainbrr_core.model.backend import Backend
from brainbrr_core.runs.identity import TRAINING_VERSION, settings_identity
from brainbrr_core.runs.used_versions import RUN
from brainbrr_core.runs.weights import load_model

MODEL = "model.safetensors"


#: What a run of before each training version was made without.
_CHANGED_WITH = {
    # Their thresholds were probabilities, and settings of detection not part of a run's name: the
    # weights that were kept may be of another step.
    4: "validations choose weights in another way",
    # Noise is drawn where the network is, by another generator, and the optimizer is one kernel,
    # which rounds where several did before.
    5: "augmentation draws other noise and steps are rounded in another way",
}


class _Model(BaseModel):
    preset: str


class _Windows(BaseModel):
    length_s: int


class _Training(BaseModel):
    seed: int
    steps: int


class _Identity(BaseModel):
    model: _Model
    windows: _Windows
    training: _Training
    preprocessing_version: str
    manifest: str


class _RunFile(BaseModel):
    """What every reader of a ``run.json`` relies on; a file without it is damaged."""

    identity: _Identity
    finished_at: str
    seconds: float
    parameters: int
    hardware: dict[str, str]
    ssm_backend: str
    model_blake3: str


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and what ``run.json`` says of it."""

    directory: Path
    values: dict[str, Any]
    reused: bool = False

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    @property
    def trained_with(self) -> str:
        """The backend of the state-space layers that the training used."""
        return str(self.values["ssm_backend"])

    def load_network(self, ssm_backend: Backend) -> SeizureNetwork:
        """The trained network on a backend of choice, in evaluation mode, on the CPU.

        The weights fit both backends. Raises :class:`BrainbrrError` when the backend cannot be
        had, or when the weights are damaged or not the ones that the run recorded.
        """
        network = build(self.values["identity"]["model"]["preset"], ssm_backend)
        path = self.directory / MODEL
        state, _ = load_model(path, self.values["model_blake3"])
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise BrainbrrError(
                f"{path} does not hold the network that {self.directory / RUN} names: remove the "
                "folder and train again"
            ) from None
        return network.eval()


def identity(configuration: Configuration, manifest: Manifest) -> dict[str, Any]:
    """All that shapes the model; two runs with the same identity give the same model."""
    return {
        **settings_identity(configuration),
        "preprocessing_version": manifest.version,
        "manifest": manifest.source,
    }


def run_directory(configuration: Configuration, manifest: Manifest) -> Path:
    """The folder of the run that a configuration and a manifest name."""
    name = digest(identity(configuration, manifest))[:12]
    return configuration.runs_dir / f"{configuration.profile}-{name}"


def open_run(directory: Path) -> Run:
    """A finished run. Raises :class:`WorkRemains` when there is none in ``directory``."""
    try:
        text = (directory / RUN).read_text(encoding="utf-8")
        _RunFile.model_validate_json(text)
    except FileNotFoundError:
        raise WorkRemains(f"no finished run in {directory}: run `brainbrr train`") from None
    except NotADirectoryError:
        raise BrainbrrError(
            f"{directory} is a file: name the run's folder, which holds {RUN} and {MODEL}"
        ) from None
    except ValueError:
        raise BrainbrrError(f"{directory / RUN} is damaged: remove it and train again") from None
    return Run(directory, json.loads(text))


def latest_run(runs_dir: Path) -> Run:
    """The run that finished last. Raises :class:`WorkRemains` when there is none."""
    finished = sorted(
        runs_dir.glob(f"*/{RUN}"), key=lambda path: (path.stat().st_mtime_ns, str(path))
    )
    if not finished:
        raise WorkRemains(f"no finished run in {runs_dir}: run `brainbrr train`")
    return open_run(finished[-1].parent)


def current_run(configuration: Configuration) -> tuple[Run, Preflight]:
    """The finished run of the configuration as it is now, and the cache it was trained on.

    Raises :class:`WorkRemains` where there is none, which names a run of an earlier version.
    """
    preflight = check(configuration)
    directory = run_directory(configuration, preflight.manifest)
    if not (directory / RUN).exists():
        earlier = earlier_runs(configuration, preflight.manifest)
        if earlier:
            raise WorkRemains(f"{'; '.join(earlier)}: run `brainbrr train`")
    return open_run(directory), preflight


def earlier_runs(configuration: Configuration, manifest: Manifest) -> list[str]:
    """What to say of finished runs that differ from the configured one in their version alone.

    Each is said to lack what changed with the versions since, whether its settings use that or not.
    """
    wanted = identity(configuration, manifest)
    lines = []
    for path in sorted(configuration.runs_dir.glob(f"*/{RUN}")):
        try:
            known = open_run(path.parent).values["identity"]
        except BrainbrrError:
            # Named where it is used.
            continue
        version = known.get("training_version", 0)
        rest = {key: value for key, value in known.items() if key != "training_version"}
        if version < TRAINING_VERSION and all(wanted.get(key) == rest[key] for key in rest):
            since = [text for number, text in _CHANGED_WITH.items() if version < number]
            lines.append(
                f"run {path.parent.name} has these settings but is of training version {version}, "
                f"not {TRAINING_VERSION}: since then {' and '.join(since)} (it stays, and "
                f"`brainbrr evaluate {path.parent.name}` scores it)"
            )
    return lines


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        temporary.write_text(text, encoding="utf-8")
