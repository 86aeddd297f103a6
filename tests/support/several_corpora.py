"""Small trees of several corpora, and a configuration that lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import yaml

from brainbrr_core.configuration import Configuration, Overrides, load
from tests.support.public_corpora import CHBMIT_LABELS, SIENA_LABELS, edf
from tests.support.small_run import SMALL

#: When each recording starts.
START = datetime(2016, 1, 1, 19, 0, 0)
CASES = ("chb01", "chb02", "chb03", "chb04")
PATIENTS = ("PN00", "PN01", "PN02")
#: A patient of each split in both trees.
OF_CHBMIT: Mapping[str, object] = {"split": {"dev": ["chb02"], "eval": ["chb03"]}}
OF_SIENA: Mapping[str, object] = {"split": {"dev": ["PN01"], "eval": ["PN02"]}}


def write_chbmit_like(root: Path, cases: Iterable[str] = CASES, seconds: int = 100) -> Path:
    """Bipolar recordings, one of each case with a seizure from 40 to 60 s, and one without."""
    for case in cases:
        for number in (1, 2):
            edf(root / case / f"{case}_0{number}.edf", START, CHBMIT_LABELS[:18], seconds)
        (root / case / f"{case}-summary.txt").write_text(
            f"File Name: {case}_01.edf\n"
            "Number of Seizures in File: 1\n"
            "Seizure Start Time: 40 seconds\n"
            "Seizure End Time: 60 seconds\n\n"
            f"File Name: {case}_02.edf\n"
            "Number of Seizures in File: 0\n"
        )
    return root


def write_siena_like(root: Path, patients: Iterable[str] = PATIENTS, seconds: int = 100) -> Path:
    """Referential recordings, one of each patient with a seizure from 30 to 50 s."""
    for patient in patients:
        edf(root / patient / f"{patient}-1.edf", START, SIENA_LABELS, seconds)
        (root / patient / f"Seizures-list-{patient}.txt").write_text(
            f"Seizure n 1\nFile name: {patient}-1.edf\n"
            "Registration start time: 19.00.00\nRegistration end time: 19.01.40\n"
            "Seizure start time: 19.00.30\nSeizure end time: 19.00.50\n"
        )
    return root


class Listed:
    """A configuration file below a folder that lists corpora."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "several.yaml"
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, *corpora: Mapping[str, object], **sections: object) -> Configuration:
        """Write and load it; sections are those of the small run, unless they are given."""
        values = {
            **yaml.safe_load(SMALL),
            "cache_root": str(self.folder / "cache"),
            "runs_dir": str(self.folder / "runs"),
            "dagster_home": str(self.folder / "dagster"),
            **sections,
        }
        if corpora:
            values["corpora"] = [
                {name: str(v) if isinstance(v, Path) else v for name, v in corpus.items()}
                for corpus in corpora
            ]
        self.path.write_text(yaml.safe_dump(values))
        return load(Overrides(config=self.config), environment={})

    @property
    def config(self) -> str:
        """What ``--config`` takes."""
        return f"smoke:cpu:{self.path}"
