"""A run's folder in whatever state it is: finished, not finished, or damaged. Nothing heavy loads.

Opening a finished run to use its network belongs to ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.configuration.differences import SettingDifference, setting_differences
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.checkpoint_header import CheckpointHeader, read_checkpoint_header
from brainbrr_core.runs.record import MODEL, RunRecord, read_record
from brainbrr_core.runs.used_versions import CHECKPOINTS, RUN, STARTED, version_of

#: Values of an identity that a configuration has elsewhere, and where.
_IN_HARDWARE = ("batch_size", "precision")


class RunState(StrEnum):
    """How far a run has come."""

    FINISHED = "finished"
    UNFINISHED = "not finished"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What a run's folder says of it.

    Attributes
    ----------
    directory : Path
        The folder.
    state : RunState
        How far the run has come.
    at : str
        When it finished, or when its newest file was written (ISO 8601, UTC).
    profile : str
        Name of its profile; empty where that is not recorded.
    version : str
        The preprocessing version that it is trained on; empty where that cannot be read.
    steps, planned_steps : int or None
        Optimizer steps done and planned; None where that is not recorded.
    configuration : mapping
        The whole configuration of the training; empty where it is not recorded.
    record : RunRecord or None
        The content of ``run.json`` of a finished run.
    remark : str
        What is wrong with a damaged run and what to do; of an unfinished one, what it lacks.
    """

    directory: Path
    state: RunState
    at: str
    profile: str = ""
    version: str = ""
    steps: int | None = None
    planned_steps: int | None = None
    configuration: Mapping[str, JsonValue] | None = None
    record: RunRecord | None = None
    remark: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    def settings(self, *, recorded: bool) -> dict[str, JsonValue]:
        """Nested settings: the ``recorded`` configuration, or those in the run's identity."""
        if recorded or self.record is None:
            return dict(self.configuration or {})
        identity = self.record.identity.as_written()
        hardware = {name: identity[name] for name in _IN_HARDWARE if name in identity}
        sections = {name: value for name, value in identity.items() if isinstance(value, dict)}
        return {**sections, "hardware": hardware}


def read_run_folders(runs_dir: Path) -> list[RunFolder]:
    """Every run below a folder, the one with the latest time first. Other folders are left out."""
    folders = sorted(runs_dir.iterdir()) if runs_dir.is_dir() else []
    runs = [run for folder in folders if (run := read_run_folder(folder)) is not None]
    return sorted(runs, key=lambda run: run.at, reverse=True)


def read_run_folder(directory: Path) -> RunFolder | None:
    """The run in a folder, None where the folder has no file of a run."""
    files = [
        path
        for path in (directory / RUN, directory / STARTED, *directory.glob(CHECKPOINTS))
        if path.is_file()
    ]
    if not files:
        return None
    newest = max(path.stat().st_mtime for path in files)
    at = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
    if (directory / RUN).is_file():
        return _with_record(directory, at)
    return _without_record(directory, at)


def _with_record(directory: Path, at: str) -> RunFolder:
    try:
        record = read_record(directory)
    except BrainbrrError as error:
        return RunFolder(directory, RunState.DAMAGED, at, remark=str(error))
    remark = ""
    if not (directory / MODEL).is_file():
        remark = f"{directory / MODEL} is missing: copy it again, or remove {directory}"
    return RunFolder(
        directory,
        RunState.DAMAGED if remark else RunState.FINISHED,
        record.finished_at,
        _text(record.configuration.get("profile")),
        record.identity.preprocessing_version,
        record.fit.steps,
        record.identity.training.steps,
        record.configuration,
        record,
        remark,
    )


def _without_record(directory: Path, at: str) -> RunFolder:
    headers: list[CheckpointHeader] = []
    damaged: list[Path] = []
    for path in sorted(directory.glob(CHECKPOINTS)):
        try:
            headers.append(read_checkpoint_header(path))
        except (ValueError, KeyError, TypeError):
            damaged.append(path)
    if not headers:
        try:
            version = version_of(directory) or ""
        except BrainbrrError as error:
            return RunFolder(directory, RunState.DAMAGED, at, remark=str(error))
        if damaged:
            names = ", ".join(path.name for path in damaged)
            remark = (
                f"no checkpoint of {directory} can be read ({names}): copy one of them again, or "
                "remove them to train from the first step"
            )
            return RunFolder(directory, RunState.DAMAGED, at, version=version, remark=remark)
        return RunFolder(
            *(directory, RunState.UNFINISHED, at),
            version=version,
            steps=0,
            remark="it has no checkpoint yet, so it begins at the first step",
        )
    newest = max(headers, key=lambda header: header.step)
    training = newest.provenance.configuration.get("training")
    planned = training.get("steps") if isinstance(training, dict) else None
    return RunFolder(
        directory,
        RunState.UNFINISHED,
        at,
        newest.provenance.profile,
        newest.provenance.preprocessing_version,
        newest.step,
        planned if isinstance(planned, int) else None,
        newest.provenance.configuration,
        remark="`brainbrr train` with its configuration resumes it",
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def run_differences(a: RunFolder, b: RunFolder) -> list[SettingDifference]:
    """What differs between two runs, by key.

    First the settings. Then what no setting shows: the version of the signal chain's or of the
    training's program (``signal_chain_version``, ``training_version``) and the hash of the
    recordings, annotations and settings that the windows follow from (``manifest``), where
    neither a setting nor the version explains it.
    """
    recorded = bool(a.configuration and b.configuration)
    differences = setting_differences(a.settings(recorded=recorded), b.settings(recorded=recorded))
    chain = [_chain_version(run.version) for run in (a, b)]
    if chain[0] != chain[1]:
        differences.append(SettingDifference("signal_chain_version", chain[0], chain[1]))
    if a.record is None or b.record is None:
        return differences
    trained = [run.record.identity.training_version for run in (a, b) if run.record is not None]
    if trained[0] != trained[1]:
        differences.append(SettingDifference("training_version", trained[0], trained[1]))
    manifests = [run.record.identity.manifest for run in (a, b) if run.record is not None]
    if manifests[0] != manifests[1] and not _explains_manifest(differences):
        shown = [manifest[:12] for manifest in manifests]
        differences.append(
            SettingDifference("manifest (recordings and annotations)", shown[0], shown[1])
        )
    return differences


def _chain_version(version: str) -> str:
    """The first part of a version's name, such as ``v2``."""
    return version.partition("_")[0]


#: Sections whose settings decide what a manifest contains.
_OF_THE_MANIFEST = {
    *("profile", "data_dir", "version", "corpus", "preprocessing", "labels", "windows"),
    *("selection", "sampling", "signal_chain_version"),
}


def _explains_manifest(differences: list[SettingDifference]) -> bool:
    return any(each.key.partition(".")[0] in _OF_THE_MANIFEST for each in differences)
