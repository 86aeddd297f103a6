"""The training loop: what it computes, resumes, reports and refuses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.loop import fit
from brainbrr_core.training.provenance import Provenance
from brainbrr_core.training.report import StepReport
from tests.support.toy_training import (
    FRACTION,
    SMALLEST,
    Interrupted,
    LinearNetwork,
    ignore,
    interrupt_at,
    same_weights,
    toy_batch,
    toy_batches,
    toy_network,
    toy_provenance,
    toy_settings,
    train,
)


def test_three_steps_equal_the_optimizer_written_out(tmp_path: Path) -> None:
    settings = Training(
        steps=3, warmup_steps=1, learning_rate=0.01, weight_decay=0.3, gradient_clip=0.05
    )
    reports: list[StepReport] = []
    network, _ = train(tmp_path, settings, reports.append, network=LinearNetwork())

    weights = np.append(np.linspace(-0.1, 0.1, 19), 0.0)
    decay = np.append(np.full(19, 0.3), 0.0)
    average, first, second = weights.copy(), np.zeros(20), np.zeros(20)
    rates = [0.01, 0.01, 0.005]
    for step in range(3):
        batch = toy_batch(step)
        inputs = batch.signals.double().numpy().transpose(0, 2, 1).reshape(-1, 19)
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
        labels = batch.labels.double().numpy().ravel()
        probability = 1 / (1 + np.exp(-inputs @ weights))
        importance = np.where(labels == 1, 1 / (2 * FRACTION), 1 / (2 * (1 - FRACTION)))
        gradient = inputs.T @ (importance * (probability - labels)) / len(labels)
        norm = np.sqrt((gradient**2).sum())
        assert math.isclose(reports[step].gradient_norm, norm, rel_tol=1e-4)
        assert norm > 0.05
        gradient *= 0.05 / norm
        first = 0.9 * first + 0.1 * gradient
        second = 0.98 * second + 0.02 * gradient**2
        corrected = np.sqrt(second / (1 - 0.98 ** (step + 1))) + 1e-8
        weights = weights * (1 - rates[step] * decay)
        weights = weights - rates[step] * first / (1 - 0.9 ** (step + 1)) / corrected
        keep = (1 + step) / (10 + step)
        average = keep * average + (1 - keep) * weights
        assert math.isclose(reports[step].learning_rate, rates[step])
    state = network.state_dict()
    final = np.append(state["weight"].numpy(), state["bias"].numpy())
    assert np.abs(final - average).max() < 1e-5


def test_the_loss_falls_and_the_network_finds_the_rhythm(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    network, summary = train(tmp_path, toy_settings(60), reports.append)
    losses = [report.loss for report in reports]
    assert np.mean(losses[-10:]) < 0.35 * np.mean(losses[:5])
    assert [report.step for report in reports] == list(range(1, 61))
    assert (summary.steps, summary.resumed_from, summary.windows) == (60, 0, 240)
    assert summary.last_loss == losses[-1]
    unseen = toy_batch(10_000, rows=16)
    with torch.no_grad():
        logits = network(unseen.signals)
    inside, outside = logits[unseen.labels == 1], logits[unseen.labels == 0]
    assert float(inside.mean()) > 1 > -1 > float(outside.mean())


def test_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    first, _ = train(tmp_path / "a", toy_settings(6))
    torch.manual_seed(99)
    second, _ = train(tmp_path / "b", toy_settings(6))
    assert same_weights(first, second)
    names = [tmp_path / folder / files.CHECKPOINT_NAME for folder in "ab"]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(("every", "stop", "continued_from"), [(3, 5, 3), (4, 4, 4), (100, 5, 0)])
def test_resumed_training_equals_the_uninterrupted(
    tmp_path: Path, every: int, stop: int, continued_from: int
) -> None:
    straight, _ = train(tmp_path / "straight", toy_settings(9))
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", toy_settings(9, every), interrupt_at(stop))
    resumed, summary = train(tmp_path / "cut", toy_settings(9, every), network=toy_network(seed=5))
    assert summary.resumed_from == continued_from
    assert summary.windows == 4 * (9 - continued_from)
    if continued_from:
        assert same_weights(straight, resumed)


def test_finished_training_is_only_read(tmp_path: Path) -> None:
    def refuse(first: int) -> Iterator[Batch]:
        raise AssertionError(first)

    trained, _ = train(tmp_path, toy_settings(4))
    again, summary = train(tmp_path, toy_settings(4), network=toy_network(3), batches=refuse)
    assert same_weights(trained, again)
    assert (summary.resumed_from, summary.windows, summary.last_loss) == (4, 0, None)


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path, toy_settings(4))
    with pytest.raises(BrainbrrError, match=r"training.steps 4, this run has 5"):
        train(tmp_path, toy_settings(5))
    with pytest.raises(BrainbrrError, match=r"hardware.batch_size 4, this run has 8"):
        train(tmp_path, toy_settings(4), hardware=Hardware(batch_size=8))
    with pytest.raises(BrainbrrError, match="another network"):
        train(tmp_path, toy_settings(4), network=LinearNetwork())
    # How often checkpoints are written changes no weight.
    train(tmp_path, toy_settings(4, checkpoint_every=1))


def test_another_preprocessing_version_is_refused_with_both_named(tmp_path: Path) -> None:
    provenance = toy_provenance(preprocessing_version="v1_256hz_10-20_000000000000")
    train(tmp_path, toy_settings(2), provenance=provenance)
    checkpoint = files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    assert checkpoint.provenance == provenance.record()
    with pytest.raises(BrainbrrError) as caught:
        train(
            tmp_path,
            toy_settings(2),
            provenance=toy_provenance(preprocessing_version="v1_256hz_10-20_111111111111"),
        )
    assert "v1_256hz_10-20_000000000000" in str(caught.value)
    assert "v1_256hz_10-20_111111111111" in str(caught.value)


def test_a_checkpoint_of_other_preprocessing_is_refused_by_its_keys(tmp_path: Path) -> None:
    def provenance(hertz: int, version: str) -> Provenance:
        configuration: dict[str, JsonValue] = {"preprocessing": {"notch_hz": hertz}}
        toy = toy_provenance(preprocessing_version=version)
        return toy.model_copy(update={"configuration": configuration})

    train(tmp_path, toy_settings(2), provenance=provenance(60, "v2_256hz_10-20_0"))
    with pytest.raises(BrainbrrError, match=r"\(preprocessing\.notch_hz: 60 against 50\)") as error:
        train(tmp_path, toy_settings(2), provenance=provenance(50, "v2_256hz_10-20_1"))
    assert "v2_" not in str(error.value)


def test_bfloat16_trains(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    hardware = Hardware(batch_size=4, precision="bfloat16")
    network, _ = train(tmp_path, toy_settings(30), reports.append, hardware)
    assert np.mean([r.loss for r in reports[-5:]]) < 0.7 * np.mean([r.loss for r in reports[:5]])
    assert all(value.dtype is torch.float32 for value in network.state_dict().values())


def test_the_settings_of_torch_are_restored(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    train(tmp_path, toy_settings(1))
    assert not torch.are_deterministic_algorithms_enabled()


def test_running_out_of_batches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrainbrrError, match="ended at step 2 of 4"):
        train(tmp_path, toy_settings(4), batches=lambda _: iter([toy_batch(0), toy_batch(1)]))


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_training_set_of_one_class_is_an_error(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(BrainbrrError, match="nothing to tell apart"):
        fit(
            toy_network(),
            toy_batches,
            toy_settings(1),
            Hardware(),
            tmp_path,
            fraction,
            ignore,
        )


def whole_and_parts(tmp_path: Path, **others: Any) -> float:
    """The largest difference between weights trained in whole batches and in parts of them."""
    settings = toy_settings(6, **others)
    whole, _ = train(tmp_path / "whole", settings)
    parts, _ = train(tmp_path / "parts", settings, hardware=Hardware(batch_size=4, accumulate=2))
    other = parts.state_dict()
    return max(float((v - other[n]).abs().max()) for n, v in whole.state_dict().items())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_resumes_with_recomputed_activations_to_the_same_bits(
    tmp_path: Path, accumulate: int
) -> None:
    hardware = Hardware(batch_size=4, accumulate=accumulate)
    whole, _ = train(tmp_path / "whole", toy_settings(4), hardware=hardware)

    settings = toy_settings(4, checkpoint_every=2)
    with pytest.raises(Interrupted):
        train(tmp_path / "b", settings, interrupt_at(2), hardware)
    sparing = hardware.model_copy(update={"recompute_activations": True})
    network = SeizureNetwork(SMALLEST, recompute_activations=True)
    resumed, summary = train(tmp_path / "b", settings, hardware=sparing, network=network)
    assert summary.resumed_from == 2
    assert same_weights(whole, resumed)


@pytest.mark.parametrize("loss", ["weighted_bce", "focal"])
def test_a_batch_in_parts_is_the_same_batch(tmp_path: Path, loss: str) -> None:
    assert 0 < whole_and_parts(tmp_path, loss=loss) < 1e-5


@pytest.mark.slow
# torch's own compiler calls what torch has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_network_trains_alike(tmp_path: Path) -> None:
    plain: list[StepReport] = []
    compiled: list[StepReport] = []
    train(tmp_path / "a", toy_settings(3), plain.append)
    hardware = Hardware(batch_size=4, compile=True)
    train(tmp_path / "b", toy_settings(3), compiled.append, hardware)
    assert np.allclose([r.loss for r in plain], [r.loss for r in compiled], rtol=1e-4)


class ConstantNetwork(nn.Module):
    """Gives the same logit to everything."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), x.shape[2])


def test_a_network_with_one_answer_to_everything_ends_the_training(tmp_path: Path) -> None:
    steps: list[int] = []
    with pytest.raises(BrainbrrError, match=r"collapsed: for 100 steps up to step 103"):
        train(
            tmp_path,
            toy_settings(200),
            lambda report: steps.append(report.step),
            network=ConstantNetwork(),
        )
    # The warm-up of three steps does not count.
    assert steps[-1] == 102


@pytest.mark.parametrize(
    ("hardware", "remedies"),
    [
        (Hardware(batch_size=4), ["raise hardware.accumulate (now 1)", "recompute_activations"]),
        (Hardware(batch_size=4, accumulate=4, recompute_activations=True), []),
    ],
)
def test_too_little_memory_for_a_step_is_one_line(
    tmp_path: Path, hardware: Hardware, remedies: list[str]
) -> None:
    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, _signals: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nSee docs")

    with pytest.raises(BrainbrrError) as caught:
        train(tmp_path, toy_settings(2), hardware=hardware, network=Large())
    message = str(caught.value)
    assert f"a training step of 4 windows, {4 // hardware.accumulate} at once" in message
    assert "Tried to allocate 9 GiB" in message
    assert "lower hardware.batch_size (now 4)" in message
    assert "`brainbrr doctor --batch`" in message
    assert "\n" not in message
    for remedy in ("raise hardware.accumulate (now 1)", "recompute_activations"):
        assert (remedy in message) == (remedy in remedies)


@pytest.mark.parametrize(
    ("accumulate", "at_once", "remedy"),
    [
        # 3 threads have 4 windows each, until 16 windows are in 6 parts: of 3 at most.
        (1, 12, "raise hardware.accumulate (now 1) to 6 or more"),
        (4, 12, "raise hardware.accumulate (now 4) to 6 or more"),
        (8, 6, "raise hardware.accumulate (now 8) to 16 or more"),
        (16, 3, None),
    ],
)
def test_too_little_memory_counts_the_windows_that_threads_compute_at_once(
    accumulate: int,
    at_once: int,
    remedy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("can't allocate memory")

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        network, batches = toy_network(), itertools.repeat(toy_batch(0, rows=16))
        monkeypatch.setattr(type(network), "forward", full)
        hardware = Hardware(batch_size=16, accumulate=accumulate)
        with pytest.raises(BrainbrrError) as caught:
            fit(network, lambda _: batches, toy_settings(2), hardware, tmp_path, FRACTION, ignore)
    finally:
        torch.set_num_threads(before)
    message = str(caught.value)
    assert f"a training step of 16 windows, {at_once} at once" in message
    assert ("hardware.accumulate" in message) == (remedy is not None)
    assert remedy is None or remedy in message
