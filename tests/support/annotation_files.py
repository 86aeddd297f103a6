"""Annotation files and annotated EDFs, and the labels that they give."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

from brainbrr_core.configuration import Corpus
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.recording import Recording

SIGNAL_S = 300.0
HEAD = "# duration = {duration:.2f} secs\nchannel,start_time,stop_time,label,confidence\n"
FOLDER = Corpus(layout="folder", patient_pattern="^(.)")

Row = tuple[str, float, float, str]


def table(rows: Sequence[Row], duration: float = SIGNAL_S) -> str:
    """Text of a csv or csv_bi."""
    lines = (f"{channel},{start},{stop},{label},1\n" for channel, start, stop, label in rows)
    return HEAD.format(duration=duration) + "".join(lines)


def whole(*seizures: tuple[float, float]) -> str:
    """Text of a csv_bi with some seizures and background between them."""
    rows: list[Row] = []
    reached = 0.0
    for start, stop in seizures:
        rows += [("TERM", reached, start, "bckg"), ("TERM", start, stop, "seiz")]
        reached = stop
    return table([*rows, ("TERM", reached, SIGNAL_S, "bckg")])


def labels_from(folder: Path, **files: str) -> RecordingLabels:
    """The labels of ``x.edf``, of 300 s, from files ``csv``, ``csv_bi`` or ``tsv``."""
    folder.mkdir(exist_ok=True)
    names = {"csv": "x.csv", "csv_bi": "x.csv_bi", "tsv": "x_events.tsv"}
    for name in names.values():
        (folder / name).unlink(missing_ok=True)
    for kind, text in files.items():
        (folder / names[kind]).write_text(text, encoding="utf-8")
    layout = FolderLayout(folder)
    return layout.read_labels(layout.describe_path(folder / "x.edf"), SIGNAL_S)


def codes(labels: RecordingLabels) -> list[str]:
    return [finding.code for finding in labels.findings]


def events_tsv(
    *rows: tuple[float, str, str], column: str = "eventType", more: str = "", cells: str = ""
) -> str:
    head = f"onset\tduration\t{column}{more}\n"
    return head + "".join(f"{onset}\t{length}\t{text}{cells}\n" for onset, length, text in rows)


def annotated_edf(
    path: Path,
    *annotations: tuple[float, float | None, str],
    seconds: int = 60,
    subsecond: int = 0,
    seed: int = 0,
) -> Path:
    """An EDF+C of 19 channels of noise with annotations."""
    rng = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(
            rng.uniform(-90, 90, 256 * seconds),
            256,
            label=f"EEG {name}-REF",
            physical_dimension="uV",
            physical_range=(-100, 100),
        )
        for name in CHANNELS
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        signals,
        data_record_duration=1,
        starttime=datetime.time(10, 0, 0, subsecond),
        annotations=[edfio.EdfAnnotation(*annotation) for annotation in annotations],
    ).write(path)
    return path


def one(corpus: Path, settings: Corpus = FOLDER) -> Recording:
    (recording,) = scan(corpus, corpus=settings)
    return recording


def tal_bytes(onset: float, length: float, *texts: str) -> bytes:
    duration = f"\x15{length:.4f}" if length else ""
    return f"{onset:+.4f}{duration}\x14{''.join(text + chr(20) for text in texts)}\0".encode()
