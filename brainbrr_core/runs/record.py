"""What ``run.json`` says of a finished run: the identity of its model and how it was trained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator

from brainbrr_core.configuration.settings import DEFAULT_NETWORK, Model
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.nearest import nearest_names
from brainbrr_core.runs.used_versions import RUN

#: The weights of a finished run.
MODEL = "model.safetensors"
#: What a folder that `brainbrr model export` wrote has in place of a run's files of JSON.
CONFIG = "config.json"
_WEIGHTS = Path(__file__).parents[1] / "weights"
#: The models that come with the package, by their names: two of the montage 10-20, in two sizes,
#: and one of double-banana. Each folder has a card, ``README.md``.
PRETRAINED = {
    name: _WEIGHTS / name for name in ("pretrained", "pretrained-small", "pretrained-double-banana")
}
#: A sum over no recording is written as a whole number, and stays one.
Number = int | float


class _Section(BaseModel):
    """A part of the record. What another version of the program wrote in addition is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def as_written(self) -> dict[str, JsonValue]:
        """The values as they are in the file, those without a field here included."""
        return self.model_dump(mode="json", exclude_unset=True)


class ModelIdentity(_Section):
    """The network of a run: the preset of the default one, or the name and options of another.

    ``source`` is the hash of the source of a class that is not the program's own.
    """

    preset: str = ""
    network: str = DEFAULT_NETWORK
    options: dict[str, JsonValue] = {}
    source: str = ""

    @model_validator(mode="after")
    def _named(self) -> ModelIdentity:
        if self.network == DEFAULT_NETWORK and not self.preset:
            raise ValueError("neither a preset nor another network")
        return self

    @property
    def settings(self) -> Model:
        """The settings that lead to this network."""
        if self.network == DEFAULT_NETWORK:
            return Model.model_validate({"preset": self.preset})
        return Model(network=self.network, options=self.options)


class WindowsIdentity(_Section):
    """The windows that a run was trained on."""

    length_s: int


class TrainingIdentity(_Section):
    """The settings of a training; ``steps`` is how many were planned."""

    seed: int
    steps: int


class StartIdentity(_Section):
    """The weights that a training began with, by their BLAKE3."""

    weights: str


class RunIdentity(_Section):
    """Everything that shapes a model; two runs with the same identity have the same weights.

    ``manifest`` is the hash of recordings, annotations and settings of the training's manifest.
    ``start`` is None where the training began with random weights.
    """

    model: ModelIdentity
    windows: WindowsIdentity
    training: TrainingIdentity
    preprocessing_version: str
    manifest: str
    training_version: int = 0
    precision: str = "not recorded"
    start: StartIdentity | None = None


class ValidationRecord(_Section):
    """Figures of dev at one step of a training; one that is undefined is None.

    ``score`` is the figure that ``rule`` names, by which the weights are chosen.
    """

    step: int
    rule: str
    score: float | None
    f1: float | None
    auroc: float | None
    auprc: float | None


class FitRecord(_Section):
    """How a training went.

    ``windows_per_s`` and ``data_wait_share`` (the part of the time in which it waited for data)
    are of the process that finished it. ``stopped`` says why it ended before the planned steps, and
    is empty where it did not. ``best_step`` is the step of the weights that validations chose, None
    without validations.
    """

    steps: int
    last_loss: float | None
    windows_per_s: float
    data_wait_share: float
    resumed_from: int = 0
    stopped: str = ""
    best_step: int | None = None
    validations: tuple[ValidationRecord, ...] = ()
    skipped_steps: tuple[int, ...] = ()


class SplitRecord(_Section):
    """The recordings of one split that a training used."""

    recordings: int
    patients: int
    hours: Number
    seizures: int
    ictal_hours: Number
    unknown_seconds: Number


class RunRecord(_Section):
    """The content of ``run.json``; a file without these values is damaged.

    ``seconds`` is how long the training took, ``parameters`` the number of weights,
    ``model_blake3`` the checksum of the weights, ``configuration`` the whole configuration of the
    training, and ``data`` the splits that it used, by name.
    """

    identity: RunIdentity
    finished_at: str
    seconds: float
    parameters: int
    hardware: dict[str, str]
    ssm_backend: str
    model_blake3: str
    fit: FitRecord
    configuration: dict[str, JsonValue] = {}
    data: dict[str, SplitRecord] = {}


def read_record(directory: Path) -> RunRecord:
    """The content of ``run.json`` in a run's folder.

    Raises :class:`WorkRemains` where the folder has none, and :class:`BrainbrrError` where
    ``directory`` is a file or has an exported model, or ``run.json`` is damaged.
    """
    try:
        text = (directory / RUN).read_text(encoding="utf-8")
        return RunRecord.model_validate_json(text)
    except FileNotFoundError:
        if (directory / CONFIG).is_file():
            raise BrainbrrError(
                f"{directory} is a model and not the run that it was exported from: it can be "
                "used to predict and to train from"
            ) from None
        raise WorkRemains(f"no finished run in {directory}: run `brainbrr train`") from None
    except NotADirectoryError:
        raise BrainbrrError(
            f"{directory} is a file: name the run's folder, which contains {RUN} and {MODEL}"
        ) from None
    except ValueError:
        raise BrainbrrError(f"{directory / RUN} is damaged: remove it and train again") from None


def find_run_folder(run: str, runs_dir: Path) -> Path:
    """The folder of a run that is given by its folder, or by its name in the runs folder.

    The names of :data:`PRETRAINED` are the models that come with the package, where no folder has
    such a name. Raises :class:`BrainbrrError` where there is none of them; the message lists these
    models and says which name of a run or a model is nearest.
    """
    for folder in (Path(run), runs_dir / run):
        if folder.is_dir():
            return real_path(folder)
    if run in PRETRAINED:
        return PRETRAINED[run]
    names = [*PRETRAINED, *(folder.name for folder in finished_runs(runs_dir))]
    near = nearest_names(Path(run).name, names, only_alike=True)
    hint = f", the nearest is {' or '.join(near)}" if near else ""
    raise BrainbrrError(
        f"no run {run}{hint}: it is neither a folder, nor a run in {runs_dir} (see `brainbrr runs "
        f"--runs-dir {shlex.quote(str(runs_dir))}`), nor a model that comes with brainbrr "
        f"({', '.join(PRETRAINED)})"
    )


def finished_runs(runs_dir: Path) -> list[Path]:
    """The folders below ``runs_dir`` with a ``run.json``, ordered by when that was written."""
    finished = runs_dir.glob(f"*/{RUN}")
    written = sorted(finished, key=lambda path: (path.stat().st_mtime_ns, str(path)))
    return [path.parent for path in written]


def is_finished(directory: Path) -> bool:
    """Whether the folder of a run has its record and its weights."""
    return (directory / RUN).is_file() and (directory / MODEL).is_file()


def write_record(directory: Path, record: RunRecord) -> None:
    """Write ``run.json`` into a run's folder, whole or not at all."""
    text = json.dumps(record.as_written(), indent=1, sort_keys=True) + "\n"
    with replacing(directory / RUN) as temporary:
        temporary.write_text(text, encoding="utf-8")
