"""Steps whose loss or gradient is not finite: skipped, or saved and replayed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.configuration.settings import Precision
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.distributed import SINGLE_PROCESS
from brainbrr_core.training.loss import balanced_loss, loss_of
from brainbrr_core.training.metrics import STEPS, MetricsLog
from brainbrr_core.training.nonfinite import diagnose_step, replay
from brainbrr_core.training.report import StepReport
from tests.support.toy_training import (
    FRACTION,
    LinearNetwork,
    copy_weights,
    has_weights,
    ignore,
    same_tensors,
    same_weights,
    spoiled_batch,
    spoiled_batches,
    toy_batch,
    toy_network,
    toy_provenance,
    toy_settings,
    toy_trainer,
    train,
    training_state,
)


def spoiled_third(first: int) -> Iterator[Batch]:
    for step in range(first, 10):
        batch = toy_batch(step)
        if step == 2:
            batch.signals[1, 4, 100] = float("nan")
        yield batch


def test_not_finite_loss_stops_names_and_saves(tmp_path: Path) -> None:
    network = toy_network()
    after: list[dict[str, Tensor]] = []

    def remember(_: StepReport) -> None:
        after.append({name: value.clone() for name, value in network.state_dict().items()})

    with pytest.raises(BrainbrrError) as caught:
        train(tmp_path, toy_settings(5), remember, network=network, batches=spoiled_third)
    message = str(caught.value)
    assert "loss of step 3" in message
    assert "recording-2-1 at 0 s" in message
    assert "recording-2-0" not in message
    assert "\n" not in message
    path = tmp_path / "nonfinite-step-3.safetensors"
    assert str(path) in message
    tensors, header = weight_files.load_tensors(path)
    expected = next(spoiled_third(2))
    assert torch.equal(tensors["signals"].nan_to_num(7), expected.signals.nan_to_num(7))
    assert torch.equal(tensors["labels"], expected.labels)
    assert header["names"] == list(expected.names)
    # The weights are the ones the step began with, in the file and in the network.
    assert len(after) == 2
    for name, value in network.state_dict().items():
        assert torch.equal(value, after[1][name])
        assert torch.equal(tensors[f"network/{name}"], value)


def test_a_saved_step_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(BrainbrrError, match="brainbrr replay"):
        train(
            tmp_path,
            toy_settings(5),
            network=build("tiny", seed=0),
            batches=spoiled_third,
            provenance=toy_provenance("tiny"),
        )
    diagnosis, saved = replay(tmp_path / "nonfinite-step-3.safetensors")
    assert not diagnosis.finite
    assert diagnosis.windows == ("recording-2-1 at 0 s",)
    assert diagnosis.module == "down.0.0"
    assert "down.0.0.weight" in diagnosis.parameters
    assert (saved.step, saved.loss) == (3, "nan")
    assert saved.model is not None and saved.model.preset == "tiny"
    # Without the NaN it is a step like any other.
    tensors, header = weight_files.load_tensors(tmp_path / "nonfinite-step-3.safetensors")
    tensors["signals"].nan_to_num_(0.0)
    weight_files.save_tensors(tmp_path / "repaired.safetensors", tensors, header)
    repaired, _ = replay(tmp_path / "repaired.safetensors")
    assert repaired.finite
    assert (repaired.windows, repaired.module, repaired.parameters) == ((), None, ())
    weight_files.save_tensors(tmp_path / "other.safetensors", {}, {})
    with pytest.raises(BrainbrrError, match="not a saved step that can be replayed"):
        replay(tmp_path / "other.safetensors")


def test_diagnosing_a_step_changes_no_weight() -> None:
    network, batch = toy_network(), toy_batch(0)
    before = copy_weights(network)
    diagnosis = diagnose_step(network, loss_of(Training(), FRACTION), batch)
    assert diagnosis.finite
    expected = balanced_loss(network(batch.signals), batch.labels, FRACTION)
    assert math.isclose(diagnosis.loss, float(expected.detach()), rel_tol=1e-6)
    assert has_weights(network, before)


def test_the_projection_that_goes_wrong_is_named() -> None:
    network = build("tiny", seed=0)
    with torch.no_grad():
        network.get_parameter("layers.1.forwards.in_proj.weight")[0, 0] = math.inf
    batch = Batch(torch.randn(1, 19, 640), torch.zeros(1, 640), ("a at 0 s",), known=(640,))
    diagnosis = diagnose_step(network, loss_of(Training(), FRACTION), batch)
    assert diagnosis.module == "layers.1.forwards.in_proj"


class InfiniteSlope(LinearNetwork):
    def forward(self, x: Tensor) -> Tensor:
        # At zero the root is finite and its slope is not.
        return super().forward(x) + (self.bias * 0).abs().sqrt()


def test_not_finite_gradient_stops_and_names_the_batch(tmp_path: Path) -> None:
    def many(first: int) -> Iterator[Batch]:
        yield toy_batch(first, rows=6)

    with pytest.raises(BrainbrrError) as caught:
        train(tmp_path, toy_settings(5), network=InfiniteSlope(), batches=many)
    message = str(caught.value)
    assert "gradient of step 1" in message
    assert "recording-0-3 at 0 s and 2 more" in message
    assert (tmp_path / "nonfinite-step-1.safetensors").is_file()
    assert not (tmp_path / files.CHECKPOINT_NAME).exists()


def test_a_step_that_is_not_finite_leaves_no_trace() -> None:
    settings = toy_settings(50, skipped_steps_limit=1)
    trainer, other = toy_trainer(settings), toy_trainer(settings)
    for step in range(6):
        trainer.train_step(step, spoiled_batch(step))
        if step != 3:
            other.train_step(step, toy_batch(step))
    assert same_tensors(
        training_state(trainer.network, trainer.optimizer),
        training_state(other.network, other.optimizer),
    )
    steps = trainer.fetch_metrics()
    assert [step.finite for step in steps] == [True] * 3 + [False] + [True] * 2
    assert math.isnan(steps[3].loss)


@pytest.mark.parametrize("every", [1, 4])
def test_a_skipped_step_is_counted_named_and_written_down(tmp_path: Path, every: int) -> None:
    settings = toy_settings(8, checkpoint_every=5, skipped_steps_limit=2)
    hardware = Hardware(batch_size=4, report_every=every)
    said: list[str] = []
    reports: list[StepReport] = []
    with MetricsLog(tmp_path, SINGLE_PROCESS, 1) as log:
        network, summary = train(
            tmp_path,
            settings,
            reports.append,
            hardware,
            batches=spoiled_batches,
            step_log=log,
            log=said.append,
        )
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    (line,) = said
    assert line.startswith("step 4 is skipped (1 so far, at most 2): its loss is nan")
    assert "recording-3-0 at 0 s" in line
    assert (summary.steps, summary.skipped_steps) == (8, (4,))
    assert summary.last_loss == reports[-1].loss
    assert summary.skips().startswith("1 of 8 steps were skipped")
    assert [report.step for report in reports] == list(range(1, 9))
    assert {report.step: report.skipped for report in reports if report.skipped} == {
        4: toy_batch(3).names
    }
    assert reports[3].note().startswith("skipped, ")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    lines = (tmp_path / STEPS).read_text().splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert rows[3]["loss"] is None
    assert rows[3]["skipped"] == list(toy_batch(3).names)
    assert rows[4]["skipped"] == []
    checkpoint = files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    assert checkpoint.progress.skipped_steps == [4]


def twice_spoiled(first: int) -> Iterator[Batch]:
    for batch, step in zip(spoiled_batches(first), range(first, 50), strict=False):
        if step == 6:
            batch.signals[0, 0, 0] = math.inf
        yield batch


@pytest.mark.parametrize("every", [1, 5])
def test_one_skipped_step_too_many_ends_the_training_and_is_saved_as_it_was(
    tmp_path: Path, every: int
) -> None:
    """However late that is seen: weights and batch are those that the step began with."""
    hardware = Hardware(batch_size=4, report_every=every)
    settings = toy_settings(12, checkpoint_every=6, skipped_steps_limit=1)
    straight, whole = train(
        tmp_path / "straight",
        settings.model_copy(update={"skipped_steps_limit": 2}),
        hardware=hardware,
        batches=twice_spoiled,
    )
    assert whole.skipped_steps == (4, 7)
    folder = tmp_path / "ended"
    for resumed_from in (0, 6):
        reports: list[StepReport] = []
        with pytest.raises(BrainbrrError, match=r"the loss of step 7 is not finite.*recording-6-0"):
            train(folder, settings, reports.append, hardware, batches=twice_spoiled)
        assert [report.step for report in reports] == list(range(resumed_from + 1, 7))
    tensors, header = weight_files.load_tensors(folder / "nonfinite-step-7.safetensors")
    assert (header["step"], header["names"]) == (7, list(toy_batch(6).names))
    signals = toy_batch(6).signals
    signals[0, 0, 0] = math.inf
    assert torch.equal(tensors["signals"], signals)
    # Those after step 6, which the checkpoint has.
    for name, value in files.read_checkpoint(folder / files.CHECKPOINT_NAME).network.items():
        assert torch.equal(tensors[f"network/{name}"], value)
    # With leave to skip one more, it goes on from there and past it.
    more = settings.model_copy(update={"skipped_steps_limit": 2})
    network, summary = train(folder, more, hardware=hardware, batches=twice_spoiled)
    assert (summary.resumed_from, summary.skipped_steps) == (6, (4, 7))
    assert same_weights(network, straight)
    with pytest.raises(BrainbrrError, match=r"skipped 2 steps .*skipped_steps_limit is 1"):
        train(folder, settings, hardware=hardware, batches=twice_spoiled)


@pytest.mark.parametrize(
    ("precision", "limit", "skips"),
    [("float32", None, 0), ("bfloat16", None, 20), ("float32", 3, 3), ("bfloat16", 0, 0)],
)
def test_how_many_steps_may_be_skipped(precision: Precision, limit: int | None, skips: int) -> None:
    settings = toy_settings(50, skipped_steps_limit=limit)
    hardware = Hardware(batch_size=4, precision=precision)
    assert toy_trainer(settings, hardware).skipped_steps_limit == skips


@pytest.mark.parametrize("every", [1, 4])
def test_weights_that_are_not_finite_end_the_training(tmp_path: Path, every: int) -> None:
    """No step skipped mends them, so none is waited for; and no checkpoint has them."""
    network = toy_network()

    def spoil(report: StepReport) -> None:
        if report.step == 5:
            with torch.no_grad():
                network.get_parameter("down.0.0.weight")[0, 0, 0] = math.inf

    settings = toy_settings(20, checkpoint_every=5, skipped_steps_limit=20)
    hardware = Hardware(batch_size=4, report_every=every)
    with pytest.raises(BrainbrrError, match=r"down\.0\.0\.weight is not finite after step 6"):
        train(tmp_path, settings, spoil, hardware, network)
    kept = files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    assert kept.step == 5
    assert all(bool(value.isfinite().all()) for value in kept.network.values())
    _, summary = train(tmp_path, settings, ignore, hardware, toy_network(3))
    assert (summary.resumed_from, summary.skipped_steps) == (5, ())
