"""Predictions as bytes of a file: SzCORE's TSV, NEDC's csv_bi, EDF+ annotations, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from brainbrr_core.annotation.edf_plus import format_edf_plus
from brainbrr_core.annotation.szcore import clock_time, format_tsv
from brainbrr_core.annotation.times import duration_to
from brainbrr_core.annotation.tuh import format_csv_bi
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.scoring import OperatingPoint


@dataclass(frozen=True)
class Origin:
    """What made a prediction: the run, its preprocessing version and how it was used."""

    run: str
    preprocessing_version: str
    point: OperatingPoint
    normalization: str


def _tsv(prediction: Prediction, _name: str, _origin: Origin) -> bytes:
    return format_tsv(prediction.events, prediction.duration_s, prediction.start).encode()


def _csv_bi(prediction: Prediction, name: str, _origin: Origin) -> bytes:
    return format_csv_bi(prediction.events, prediction.duration_s, name).encode()


def _edf(prediction: Prediction, _name: str, _origin: Origin) -> bytes:
    return format_edf_plus(prediction.events, prediction.duration_s, prediction.start)


def _json(prediction: Prediction, name: str, origin: Origin) -> bytes:
    start = clock_time(prediction.start).replace(" ", "T") if prediction.start else None
    values = {
        "recording": name,
        "start": start,
        "duration_s": prediction.duration_s,
        "run": origin.run,
        "preprocessing_version": origin.preprocessing_version,
        "on_threshold": origin.point.probability,
        "operating_point_logits": {"on": origin.point.on, "off": origin.point.off},
        "mean_and_deviation": origin.normalization,
        "events": [
            {
                "onset_s": event.start,
                "duration_s": duration_to(event.start, event.stop),
                "label": event.label,
                "confidence": event.confidence,
            }
            for event in prediction.events
        ],
        "findings": [str(finding) for finding in prediction.findings],
    }
    return (json.dumps(values, indent=1) + "\n").encode()


@dataclass(frozen=True)
class Format:
    """How a prediction is written, and how the name ends of a file that the program names."""

    suffix: str
    encode: Callable[[Prediction, str, Origin], bytes]

    @property
    def ending(self) -> str:
        """The ending by which the name of a file that a user gives means this format."""
        return f".{self.suffix.rpartition('.')[2]}"


#: By the name that ``--format`` takes. An annotation file must not be taken for a recording.
FORMATS = {
    "tsv": Format(".tsv", _tsv),
    "csv_bi": Format(".csv_bi", _csv_bi),
    "edf": Format(".annotations.edf", _edf),
    "json": Format(".json", _json),
}
