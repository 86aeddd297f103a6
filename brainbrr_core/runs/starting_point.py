"""The weights that a training begins with, where they are those of another run or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.version import montage_of
from brainbrr_core.configuration import Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.model_folder import read_exported
from brainbrr_core.runs.record import RunRecord, find_run_folder, read_record


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The folder of a finished run or an exported model, and its record."""

    directory: Path
    record: RunRecord

    @property
    def checksum(self) -> str:
        """BLAKE3 of the weights, which is what identifies them wherever they are."""
        return self.record.model_blake3

    def check(self, model: Model, version: str) -> None:
        """Raise :class:`BrainbrrError` unless network and montage are those of a training.

        ``version`` is the training's preprocessing version.
        """
        identity = self.record.identity
        theirs = identity.model.settings
        for what, written, wanted in (
            ("network", theirs.name, model.name),
            ("options", dict(theirs.options), dict(model.options)),
            ("montage", montage_of(identity.preprocessing_version), montage_of(version)),
        ):
            if written != wanted:
                raise BrainbrrError(
                    f"training.start_from: {self.directory} is of the {what} {written} and this "
                    f"training of {wanted}: set model and preprocessing.montage to those of the "
                    "run, or start from another one"
                )


def find_starting_point(name: str | None, runs_dir: Path) -> StartingPoint | None:
    """What ``training.start_from`` names: a folder, or a run in the folder of runs.

    None where it names nothing. Raises :class:`BrainbrrError` where there is no such run or model.
    """
    if name is None:
        return None
    directory = find_run_folder(name, runs_dir)
    exported = read_exported(directory)
    return StartingPoint(directory, read_record(directory) if exported is None else exported.run)
