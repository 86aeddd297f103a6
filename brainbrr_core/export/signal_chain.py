"""The signal chain and the steps of detection as numbers in a file, for programs of any language.

The chain is no part of a graph: its recursive filters and its z-score run over the whole recording,
and a graph sees one window.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.constants import FRAME_SAMPLES, RATE
from brainbrr_core.evaluation.method import method
from brainbrr_core.export.use import Use
from brainbrr_core.prediction.predictor import threshold_of
from brainbrr_core.runs.run import Run
from brainbrr_core.signal import edges
from brainbrr_core.signal.derivation import derivation_rules
from brainbrr_core.signal.filters import sections
from brainbrr_core.signal.montage import label_rules
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.resampling import DESIGN
from brainbrr_core.signal.statistics import GAUSSIAN_IQR, QUIET_UV, SETTLING_S

SIGNAL_CHAIN = "signal_chain.json"
FORMAT = 1


def write_signal_chain(folder: Path, run: Run, use: Use) -> None:
    """Write every number between an EDF and events that the graph does not have."""
    settings, identity = use.preprocessing, run.record.identity
    point, _ = threshold_of(run, use.detection, use.precision)
    montage: dict[str, JsonValue] = {"labels": label_rules()}
    if settings.montage != "10-20":
        montage["derivations"] = derivation_rules()
    values: dict[str, JsonValue] = {
        "format": FORMAT,
        "in_words": list(method(settings, use.detection, identity.windows.length_s)),
        "preprocessing_version": identity.preprocessing_version,
        "montage": settings.montage,
        "channels": list(settings.channels),
        **montage,
        "rate_hz": RATE,
        "resampling": DESIGN,
        "edges": edges.CONSTANTS,
        "second_order_sections": sections(settings).tolist(),
        "z_score": {
            "scale": settings.scale,
            "minutes": settings.zscore_minutes,
            "settling_s": SETTLING_S,
            "gaussian_iqr": GAUSSIAN_IQR,
            "quiet_uv": QUIET_UV,
        },
        "clip_sd": settings.clip_sd,
        "quantum_sd": SCALE,
        "window_s": identity.windows.length_s,
        "frame_samples": FRAME_SAMPLES,
        "detection": use.detection.model_dump(mode="json"),
        "operating_point_logits": {"on": point.on, "off": point.off},
    }
    text = json.dumps(values, indent=1) + "\n"
    (folder / SIGNAL_CHAIN).write_text(text, encoding="utf-8")
