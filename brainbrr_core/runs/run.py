"""A finished run: a folder whose name is a hash of everything that shapes the model.

A model that was exported from a run is read as that run, for predicting.
"""

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
from brainbrr_core.runs.identity import TRAINING_VERSION, TrainingSettings
from brainbrr_core.runs.model_folder import ModelConfig, read_exported
from brainbrr_core.runs.network_source import check_source
from brainbrr_core.runs.record import CONFIG, MODEL, RunRecord, finished_runs, read_record
from brainbrr_core.runs.run_corpus import read_run_corpus
from brainbrr_core.runs.threshold import OperatingThreshold, read_threshold
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
    # On a CPU the recurrence has shorter chunks and convolutions keep channels last.
    6: "sums on a CPU are rounded in another way",
    # A CPU computes a batch in parts of four windows.
    7: "gradients on a CPU are sums of parts of a batch",
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
    exported : ModelConfig, optional
        The content of ``config.json``, where the folder is that of an exported model.
    """

    directory: Path
    record: RunRecord
    reused: bool = False
    exported: ModelConfig | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    @property
    def record_path(self) -> Path:
        """The file that the record is in."""
        return self.directory / (RUN if self.exported is None else CONFIG)

    @property
    def corpus_name(self) -> str | None:
        """The corpus that the run was trained on; None where that is not recorded.

        Raises :class:`BrainbrrError` where the file that says so is damaged.
        """
        if self.exported is not None:
            return self.exported.corpus
        corpus = read_run_corpus(self.directory)
        return None if corpus is None else corpus.name

    @property
    def threshold(self) -> OperatingThreshold | None:
        """The threshold that was tuned on dev; None without one.

        Raises :class:`BrainbrrError` where its file is damaged.
        """
        if self.exported is not None:
            return self.exported.threshold
        return read_threshold(self.directory)

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
        check_source(identity.model.network, identity.model.source, self.directory)
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
                f"the weights in {path} are not those of the network that {self.record_path} "
                "names: remove the folder and train again"
            ) from None
        return network.eval()


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


def open_model(directory: Path) -> Run:
    """Open a finished run, or a model that was exported from one, for predicting.

    Parameters
    ----------
    directory : Path
        The folder of a run, or one that ``brainbrr model export`` wrote.

    Returns
    -------
    Run
        The run; the weights are not read, and are verified when they are.

    Raises
    ------
    WorkRemains
        Where the folder has neither.
    BrainbrrError
        Where ``directory`` is a file, or its record is damaged or not of this program.
    """
    exported = read_exported(directory)
    if exported is None:
        return open_run(directory)
    return Run(directory, exported.run, exported=exported)


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


def current_run(
    runs_dir: Path, settings: TrainingSettings, manifest: Manifest, fold: int | None = None
) -> Run:
    """The finished run, in the folder of runs, that settings and a manifest lead to now.

    Raises :class:`WorkRemains` where there is none; the message names a run that differs only in
    its training version, if there is one, and the command that trains the one of this ``fold``.
    """
    directory = run_directory(runs_dir, settings, manifest)
    if not (directory / RUN).exists():
        earlier = earlier_runs(runs_dir, run_identity(settings, manifest))
        if earlier:
            raise WorkRemains(f"{'; '.join(earlier)}: run `brainbrr train`")
        if fold is not None:
            raise WorkRemains(
                f"no finished run of fold {fold} in {runs_dir}: run `brainbrr train --fold {fold}`"
            )
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
