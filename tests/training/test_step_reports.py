"""What a training reports of its steps: figures, times, and in which order it does things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training import step_timer
from brainbrr_core.training.report import FitSummary, StepReport
from brainbrr_core.training.validation import Validation
from tests.support.toy_training import (
    Interrupted,
    LinearNetwork,
    same_weights,
    toy_batches,
    toy_settings,
    toy_validation,
    train,
)


def test_waiting_for_data_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch comes after 3 s and a step takes 1 s, by the test's own clock."""
    now = 100.0
    monkeypatch.setattr(step_timer, "time", SimpleNamespace(perf_counter=lambda: now))

    def slow(first: int) -> Iterator[Batch]:
        nonlocal now
        for batch in toy_batches(first):
            now += 3.0
            yield batch

    class Slow(LinearNetwork):
        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += 1.0
            return super().forward(signals)

    reports: list[StepReport] = []
    _, summary = train(tmp_path, toy_settings(4), reports.append, network=Slow(), batches=slow)
    assert summary.data_wait_share == pytest.approx(12 / 16)
    assert summary.windows_per_s == pytest.approx(4 * 4 / 16)
    assert summary.elapsed_s == pytest.approx(16)
    assert [report.data_wait_share for report in reports] == pytest.approx([3 / 4] * 4)


def figures(report: StepReport) -> tuple[float, ...]:
    return (report.step, report.loss, report.gradient_norm, report.spread, report.learning_rate)


class RecordedTraining:
    """Records what a training does, in order: draws batches, validates, logs and reports steps."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.reports: list[StepReport] = []

    def batches(self, first: int) -> Iterator[Batch]:
        for batch, step in zip(toy_batches(first), range(first + 1, 100), strict=False):
            self.events.append(("draw", step))
            yield batch

    def validate(self, _network: nn.Module, step: int) -> Validation:
        self.events.append(("validate", step))
        return toy_validation(step, 0.5)

    def log_step(self, report: StepReport) -> None:
        self.events.append(("log", report.step))

    def flush(self) -> None:
        self.events.append(("flush", 0))

    def on_step(self, report: StepReport) -> None:
        self.events.append(("report", report.step))
        self.reports.append(report)

    def numbers(self, kind: str) -> list[int]:
        return [number for what, number in self.events if what == kind]

    def train(
        self, directory: Path, settings: Training, every: int | None
    ) -> tuple[nn.Module, FitSummary]:
        hardware = Hardware(batch_size=4, report_every=every)
        return train(
            directory,
            settings,
            self.on_step,
            hardware,
            batches=self.batches,
            validate=self.validate,
            step_log=self,
        )


def test_each_step_is_reported_however_rarely_figures_are_fetched(tmp_path: Path) -> None:
    settings = toy_settings(16, checkpoint_every=7, validate_every=10)
    each, rare = RecordedTraining(), RecordedTraining()
    straight, _ = each.train(tmp_path / "each", settings, None)
    network, summary = rare.train(tmp_path / "rare", settings, 4)
    assert same_weights(straight, network)
    assert [figures(r) for r in rare.reports] == [figures(r) for r in each.reports]
    assert summary.last_loss == each.reports[-1].loss
    assert rare.numbers("log") == rare.numbers("report") == list(range(1, 17))
    # Every fourth, and before each checkpoint and validation.
    asked = [
        number
        for (what, number), (after, _) in zip(rare.events, rare.events[1:], strict=False)
        if what == "draw" and after != "draw"
    ]
    assert asked == [4, 7, 10, 14, 16]
    for step in (7, 10, 14, 16):
        flushed = rare.events.index(("flush", 0), rare.events.index(("log", step)))
        assert flushed < rare.events.index(("report", step))
    assert each.numbers("draw") == each.numbers("report")
    names = [tmp_path / folder / files.CHECKPOINT_NAME for folder in ("each", "rare")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_times_and_rates_of_reports_add_up(tmp_path: Path) -> None:
    events = RecordedTraining()
    events.train(tmp_path, toy_settings(9, validate_every=5), 4)
    elapsed = [report.elapsed_s for report in events.reports]
    assert elapsed == sorted(elapsed)
    # Fetched together, steps took equally long.
    assert elapsed[1] == pytest.approx(2 * elapsed[0])
    assert elapsed[3] == pytest.approx(4 * elapsed[0])
    for report in events.reports[:4]:
        assert report.windows_per_s == pytest.approx(4 * report.step / report.elapsed_s)
        assert 0 <= report.data_wait_share <= 1


def test_a_killed_training_loses_no_step_that_a_checkpoint_covers(tmp_path: Path) -> None:
    settings = toy_settings(12, checkpoint_every=5)
    straight, _ = train(tmp_path / "straight", settings)

    class Cut(RecordedTraining):
        def on_step(self, report: StepReport) -> None:
            super().on_step(report)
            if report.step == 6:
                raise Interrupted

    cut, rest = Cut(), RecordedTraining()
    with pytest.raises(Interrupted):
        cut.train(tmp_path / "cut", settings, 4)
    network, summary = rest.train(tmp_path / "cut", settings, 4)
    assert summary.resumed_from == 5
    assert rest.numbers("report") == list(range(6, 13))
    assert network.state_dict().keys() == straight.state_dict().keys()
    whole = RecordedTraining()
    uncut, _ = whole.train(tmp_path / "uncut", settings, 4)
    assert same_weights(uncut, network)
