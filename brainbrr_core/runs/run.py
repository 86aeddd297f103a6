"""A finished run: a folder whose name is a hash of everything that shapes the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.version import channels_of
from brainbrr_core.constants import RATE
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.canonical import digest
from brainbrr_core.files.state import content_hash
from brainbrr_core.runs.identity import TRAINING_VERSION, TrainingSettings
from brainbrr_core.runs.network_source import NETWORK_SOURCE, source_file
from brainbrr_core.runs.record import MODEL, RunRecord, finished_runs, read_record
from brainbrr_core.runs.used_versions import RUN

if TYPE_CHECKING:
    from brainbrr_core.model import AnyNetwork
    from brainbrr_core.model.backend import Backend

#: What changed with each training version, for messages about runs of an earlier one.
_CHANGED_WITH = {
    # Before, thresholds were probabilities and the settings of detection were not part of a run's
    # name, so the chosen weights may be of another step.
    4: "validations choose weights in another way",
    # Noise is drawn on the network's device by another generator, and the optimizer's step is one
    # fused kernel, which rounds differently from the several kernels before.
    5: "augmentation draws other noise and steps are rounded in another way",
}


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the content of its ``run.json``.

    Parameters
    ----------
    directory : Path
        The run's folder.
    record : RunRecord
        The identity of the model, and how it was trained.
    reused : bool
        Whether a training was asked for and this run was already there.
    """

    directory: Path
    record: RunRecord
    reused: bool = False

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    @property
    def trained_with(self) -> str:
        """The backend of the state-space layers that the training used."""
        return self.record.ssm_backend

    def was_trained_on(self, source: str) -> bool:
        """Whether the run's manifest has this hash of recordings, annotations and settings."""
        return self.record.identity.manifest == source

    def load_network(self, ssm_backend: Backend) -> AnyNetwork:
        """Load the trained network in evaluation mode on the CPU.

        Parameters
        ----------
        ssm_backend : {"torch", "mamba_ssm"}
            Backend of the state-space layers. The weights fit either.

        Returns
        -------
        SeizureNetwork or AdaptedNetwork
            The network with the weights of the run.

        Raises
        ------
        BrainbrrError
            Where the backend is not installed, where the class of the network cannot be imported
            or has changed since the training, and where the weights are damaged or are not those
            that the run recorded.
        """
        # Heavy: whoever only looks for a run needs no network.
        from brainbrr_core.model import build_network
        from brainbrr_core.runs.weights import load_model

        identity = self.record.identity
        channels = len(channels_of(identity.preprocessing_version))
        self._check_source()
        network = build_network(
            identity.model.settings,
            identity.windows.length_s * RATE,
            channels=channels,
            ssm_backend=ssm_backend,
        )
        path = self.directory / MODEL
        state, _ = load_model(path, self.record.model_blake3)
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise BrainbrrError(
                f"the weights in {path} are not those of the network that {self.directory / RUN} "
                "names: remove the folder and train again"
            ) from None
        return network.eval()

    def _check_source(self) -> None:
        """Raise :class:`BrainbrrError` where the class of the network is not the trained one."""
        model = self.record.identity.model
        kept = self.directory / NETWORK_SOURCE
        if not kept.is_file():
            return
        current = source_file(model.network)
        if content_hash(current) != model.source:
            raise BrainbrrError(
                f"{current} has changed since run {self.name} was trained with "
                f"{model.network}: restore it from {kept}, or train again"
            )


def run_identity(settings: TrainingSettings, manifest: Manifest) -> dict[str, JsonValue]:
    """Everything that shapes a model; two runs with the same identity have the same weights."""
    return {
        **settings.shaping(),
        "preprocessing_version": manifest.version,
        "manifest": manifest.source,
    }


def run_directory(runs_dir: Path, settings: TrainingSettings, manifest: Manifest) -> Path:
    """The folder, in the folder of runs, of the run that settings and a manifest lead to."""
    name = digest(run_identity(settings, manifest))[:12]
    return runs_dir / f"{manifest.profile}-{name}"


def open_run(directory: Path) -> Run:
    """Open a finished run.

    Parameters
    ----------
    directory : Path
        The run's folder.

    Returns
    -------
    Run
        The run as its ``run.json`` describes it; the weights are not read.

    Raises
    ------
    WorkRemains
        Where the folder has no finished run.
    BrainbrrError
        Where ``directory`` is a file, or ``run.json`` is damaged.
    """
    return Run(directory, read_record(directory))


def find_run_folder(run: str, runs_dir: Path) -> Path:
    """The folder of a run that is given by its folder, or by its name in the runs folder.

    Raises :class:`BrainbrrError` where there is neither.
    """
    for folder in (Path(run), runs_dir / run):
        if folder.is_dir():
            return folder.resolve()
    raise BrainbrrError(
        f"no run {run}: it is neither a folder nor a run in {runs_dir}: see `ls {runs_dir}`"
    )


def latest_run(runs_dir: Path) -> Run:
    """Open the run that finished last.

    Parameters
    ----------
    runs_dir : Path
        The folder of the runs.

    Returns
    -------
    Run
        The run whose ``run.json`` is the newest.

    Raises
    ------
    WorkRemains
        Where the folder has no finished run.
    BrainbrrError
        Where its ``run.json`` is damaged.
    """
    finished = finished_runs(runs_dir)
    if not finished:
        raise WorkRemains(f"no finished run in {runs_dir}: run `brainbrr train`")
    return open_run(finished[-1])


def current_run(runs_dir: Path, settings: TrainingSettings, manifest: Manifest) -> Run:
    """The finished run, in the folder of runs, that settings and a manifest lead to now.

    Raises :class:`WorkRemains` where there is none; the message names a run that differs only in
    its training version, if there is one.
    """
    directory = run_directory(runs_dir, settings, manifest)
    if not (directory / RUN).exists():
        earlier = earlier_runs(runs_dir, run_identity(settings, manifest))
        if earlier:
            raise WorkRemains(f"{'; '.join(earlier)}: run `brainbrr train`")
    return open_run(directory)


def earlier_runs(runs_dir: Path, wanted: dict[str, JsonValue]) -> list[str]:
    """Sentences about finished runs that differ from ``wanted`` only in the training version.

    ``wanted`` is an identity (:func:`run_identity`). Each sentence says what changed with the
    versions since, whether or not the run's settings use it.
    """
    lines = []
    for path in sorted(runs_dir.glob(f"*/{RUN}")):
        try:
            identity = open_run(path.parent).record.identity
        except BrainbrrError:
            # Reported by the command that uses that run.
            continue
        version = identity.training_version
        values = identity.as_written()
        values.pop("training_version", None)
        if version < TRAINING_VERSION and all(wanted.get(key) == values[key] for key in values):
            since = [text for number, text in _CHANGED_WITH.items() if version < number]
            lines.append(
                f"run {path.parent.name} has these settings but is of training version {version}, "
                f"not {TRAINING_VERSION}: since then {' and '.join(since)} (it stays, and "
                f"`brainbrr evaluate {path.parent.name}` scores it)"
            )
    return lines
