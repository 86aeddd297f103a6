"""What ``brainbrr bench learn`` trains and scores."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from brainbrr_core.benchmark import learning
from brainbrr_core.benchmark.detectors import Score, line_length
from brainbrr_core.benchmark.learning import CorpusSize, Learning
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import Counts, OperatingPoint
from brainbrr_core.synthesis.plan import plan_corpus


@dataclass
class ArrayReader:
    signal: NDArray[np.float32]

    @property
    def samples(self) -> int:
        return len(self.signal[0])

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.signal[:, start:stop]


def test_line_length_by_hand() -> None:
    signal = np.zeros((19, 96), np.float32)
    # The second of three frames rises by one in every sample, on all channels.
    signal[:, 32:64] = np.arange(1, 33)
    signal[:, 64:] = 32
    signal[0, 64:] += np.arange(32) % 2
    frames = line_length(ArrayReader(signal))
    lengths = np.array([0.0, 1.0, 31 / 32 / 19])
    assert np.allclose(frames, lengths / np.median(lengths))


def test_resamples_draw_patients_not_events() -> None:
    # Two patients: one whose two seizures are found, one whose single one is missed, with an alarm.
    score = Score(
        OperatingPoint(0.5, 0.5),
        (Counts(2.0, 2.0, 0.0, 3600.0), Counts(1.0, 0.0, 1.0, 3600.0)),
        0.7,
    )
    drawn = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    assert np.allclose(score.resampled_f1(drawn), [2 * 2 / (2 * 2 + 1 + 1), 1.0, 0.0])
    assert math.isclose(score.pooled.f1, 2 / 3)


def test_unseen_patients_show_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "TEN_PATIENTS", CorpusSize(12, 0.6, 300.0))
    monkeypatch.setattr(learning, "MORE_PATIENTS", CorpusSize(5, 0.3, None))
    steps: list[int] = []

    def run(assignments: Sequence[str] = (), baselines: bool = True) -> Learning:
        return learning.run(
            load(),
            tmp_path,
            preset="tiny",
            steps=4,
            seed=3,
            assignments=assignments,
            baselines=baselines,
            on_step=lambda report: steps.append(report.step),
            log=lambda _: None,
        )

    learned = run()
    assert steps == [1, 2, 3, 4]
    scored = [plan for plan in plan_corpus(12, 0.6, 3, 300.0) if plan.split == "eval"]
    scored += plan_corpus(5, 0.3, 3 + learning.MORE_SEED, None)
    assert learned.seizures_scored == sum(len(plan.seizures) for plan in scored)
    assert learned.patients.unseen == len({(p.seed, p.patient) for p in scored})
    hours = sum(p.duration_s for p in scored) / 3600
    assert math.isclose(learned.hours.unseen, hours, abs_tol=0.01)
    scores = learned.detectors
    # SzCORE merges seizures less than 90 s apart, so no more than were written.
    assert 0 < scores["trained"].reference <= learned.seizures_scored
    assert len({score.reference for score in scores.values()}) == 1
    for score in scores.values():
        low, high = score.f1_interval
        assert low is not None
        assert high is not None
        assert low <= score.f1 <= high
    above = learned.f1_above_line_length
    assert above is not None
    difference = scores["trained"].f1 - scores["line length"].f1
    assert math.isclose(above.difference, difference, abs_tol=0.0015)
    assert scores["untrained"].threshold == scores["trained"].threshold
    [table] = learned.tables()
    assert [row[0] for row in table.rows] == list(scores)
    # The folder's corpora and run are reused: nothing is trained again.
    assert run().detectors == scores
    assert steps == [1, 2, 3, 4]
    # Another setting is another training; without the baselines the network alone is scored.
    words = ["training.label_smoothing=0.2", "preprocessing.zscore_minutes=1"]
    other = run(assignments=words, baselines=False)
    assert steps == [1, 2, 3, 4] * 2
    values = other.as_json()
    assert values["set"] == words
    assert list(other.detectors) == ["trained"]
    assert "f1_above_line_length" not in values
    assert "f1_above_line_length" in learned.as_json()
    assert all(0 <= score.average_precision <= 1 for score in scores.values())
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("ten/runs/*/run.json")]
    assert sorted(r["identity"]["training"].get("label_smoothing", 0.0) for r in runs) == [0, 0.2]
    assert len({r["preprocessing_version"] for r in runs}) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("training.label_smothing=0.1", "nearest valid key is training.label_smoothing"),
        ("training.label_smoothing=2", "training.label_smoothing is 2"),
        ("training.label_smoothing", "write SECTION.KEY=VALUE"),
        ("training.=1", "write SECTION.KEY=VALUE"),
        ("training.label_smoothing=", "label_smoothing"),
        ("training.augmentation=", "the section training.augmentation is empty"),
        ("training.augmentation={a: 1, a: 2}", "is not readable YAML"),
        ("training.seed=1", "preset, steps and seed have options of their own"),
        ("model={preset: base}", "the measurement sets that itself"),
        ("selection.recordings=3", "the measurement sets that itself"),
        ("training={}", "the measurement sets that itself"),
    ],
)
def test_an_assignment_that_cannot_be_is_one_line(tmp_path: Path, words: str, reason: str) -> None:
    with pytest.raises(BrainbrrError) as raised:
        CliRunner().invoke(
            app,
            ["bench", "learn", "--folder", str(tmp_path), "--set", words],
            catch_exceptions=False,
        )
    assert reason in str(raised.value)
    assert "--set" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not any(tmp_path.iterdir())
