"""A day-long EDF is built, and predicted, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.annotation import tuh
from tests.support.edf_files import patch, write_edf
from tests.support.project import ROOT

BUILD = """
import json, sys
from pathlib import Path
from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.cache.shard_build import build_one
from brainbrr_core.cache.plan import make_plan
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.corpus.index import scan
settings = Preprocessing()
index = scan(Path(sys.argv[1]))
store = Store(Path(sys.argv[2]), preprocessing_version(settings))
store.root.mkdir()
item = make_plan(store, settings, index, index).items[0]
done = build_one(store, settings, item.recording, item.fingerprint)
peak = peak_mb()
print(json.dumps({"error": done.error, "hours": done.duration_s / 3600, "peak_mb": peak}))
"""

PREDICT = """
import dataclasses, json, sys
from pathlib import Path
from brainbrr_core.benchmark.peak_memory import peak_mb
from tests.support.prediction_runs import random_predictor
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.scoring import OperatingPoint
place = Path(sys.argv[1])
predictor = random_predictor(place)
detection = predictor.detection.model_copy(update={"stride_s": 60})
predictor = dataclasses.replace(predictor, window_s=60, detection=detection)
short, day = (place / name for name in ("short.edf", "day.edf"))
peaks = []
for path in (short, day):
    point = OperatingPoint.of_probability(0.5, 0.99)
    [(_, outcome)] = predictor.predict_all([path], point, Normalization())
    peaks.append(peak_mb())
print(json.dumps({"hours": outcome.duration_s / 3600, "peaks_mb": peaks}))
"""


def write_day(path: Path) -> None:
    """24 h of 19 channels: ten minutes, over and over."""
    write_edf(path, seconds=600)
    content = path.read_bytes()
    with path.open("ab") as file:
        for _ in range(143):
            file.write(content[256 * 20 :])
    patch(path, 236, str(600 * 144).encode(), 8)


@pytest.mark.slow
def test_a_day_is_predicted_in_the_memory_of_ten_minutes(tmp_path: Path) -> None:
    write_edf(tmp_path / "short.edf", seconds=600)
    write_day(tmp_path / "day.edf")
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    values = json.loads(done.stdout)
    assert values["hours"] == pytest.approx(24)
    # A network of this size, torch and numba take most of it.
    short, day = values["peaks_mb"]
    assert day < short + 150
    print(values)


@pytest.mark.slow
def test_a_day_is_built_in_less_than_500_mb(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train" / "p1" / "s1" / "01_tcp_ar" / "p1_s1_t0.edf"
    write_day(path)
    path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([], 86_400, path.stem))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path / "data"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )
    values = json.loads(done.stdout)
    assert values["error"] == ""
    assert values["hours"] == pytest.approx(24)
    assert values["peak_mb"] < 500
    print(values)
