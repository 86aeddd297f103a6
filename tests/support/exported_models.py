"""A run with everything that must not leave with its model, and the models exported from it."""

from __future__ import annotations

import json
from pathlib import Path

from brainbrr_core.configuration import Configuration, apply_values
from brainbrr_core.export.card import Statements
from brainbrr_core.export.folder import export_run
from brainbrr_core.export.use import Use
from brainbrr_core.files.state import content_hash
from brainbrr_core.runs.own_settings import with_network_settings
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.run import Run, open_run
from brainbrr_core.runs.run_corpus import RunCorpus, RunRecording
from brainbrr_core.runs.threshold import OperatingThreshold, write_threshold
from brainbrr_core.runs.used_versions import RUN
from brainbrr_core.scoring import OperatingPoint
from tests.support.prediction_runs import random_run, random_settings

#: A name that is in every text of the run that a user wrote.
SECRET = "mustermann"
#: Of the run below, tuned: neither that of the configuration nor one of a fresh network.
POINT = OperatingPoint(0.31, 0.12)


def secretive_run(place: Path) -> tuple[Run, Configuration]:
    """A run of random weights whose record has names and paths, and a configuration to use it."""
    folder, _ = random_run(place)
    settings = random_settings(place)
    named = apply_values(
        settings,
        {
            "data_dir": f"/data/{SECRET}",
            "corpus.layout": "siena",
            "corpus.patient_pattern": f"^({SECRET}.*)-",
            "corpus.split.dev": [SECRET],
            "corpus.split.eval": [f"{SECRET}2"],
            "corpus.annotation_texts.ignored": [SECRET],
            "training.wandb": SECRET,
            "training.mlflow": f"sleep lab of {SECRET}",
            "training.start_from": f"/data/{SECRET}",
            "profile": SECRET,
        },
        "the test",
    )
    record = json.loads((folder / RUN).read_text())
    record["configuration"] = named.model_dump(mode="json")
    record["data"] = {
        "train": {
            **{"recordings": 7, "patients": 5, "hours": 3.5, "seizures": 11},
            **{"ictal_hours": 0.25, "unknown_seconds": 0},
        }
    }
    record["remark"] = SECRET
    (folder / RUN).write_text(json.dumps(record))
    RunCorpus(SECRET, (RunRecording(f"{SECRET}/a", "train", SECRET, "", ""),)).write(folder)
    write_threshold(
        folder,
        OperatingThreshold(
            format=2, point=POINT, dev_f1=0.625, detection=settings.detection, tuned_on="0" * 64
        ),
    )
    return open_run(folder), settings


def export(
    run: Run,
    settings: Configuration,
    out: Path,
    *formats: str,
    statements: Statements | None = None,
) -> Path:
    """The folder of a model that was exported from a run."""
    own = with_network_settings(settings, run).configuration
    use = Use(own.preprocessing, own.detection, own.hardware.precision)
    return export_run(run, use, out, formats or ("safetensors",), statements).directory


def weights_hash(run: Run) -> str:
    """What a report says of the weights that it scored."""
    return content_hash(run.directory / MODEL)


def assert_private(path: Path, *folders: Path) -> None:
    """That a file of a model has nothing that a user wrote, and no path."""
    content = path.read_bytes()
    assert SECRET.encode() not in content.lower(), path.name
    for folder in (*folders, Path(__file__).parents[2]):
        assert str(folder).encode() not in content, path.name
