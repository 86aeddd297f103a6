"""The training loop, its checkpoints, its schedule and its devices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.model import SeizureNetwork, build
from brainbrr_core.model.device import check_device, describe_device
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training import loop
from brainbrr_core.training.loop import StepReport, fit
from brainbrr_core.training.loss import balanced_loss, loss_of
from brainbrr_core.training.nonfinite import dissect, replay
from brainbrr_core.training.optimizer import parameter_groups
from brainbrr_core.training.resumption import newest_whole
from brainbrr_core.training.schedule import ema_decay, learning_rate
from tests.support.toy_training import (
    FRACTION,
    SMALLEST,
    ignore,
    same_weights,
    toy_batch,
    toy_batches,
    toy_network,
    toy_settings,
    train,
)

# --- loss, schedule, groups


def test_loss_weighs_both_classes_one_half() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.5]])
    labels = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    costs = [math.log1p(math.exp(-0.3))]
    costs += [math.log1p(math.exp(logit)) for logit in (-1.2, 2.0, 0.5)]
    expected = 0.5 * costs[0] + 0.5 * sum(costs[1:]) / 3
    assert math.isclose(float(balanced_loss(logits, labels, 0.25)), expected, rel_tol=1e-6)
    # Without evidence: ln 2, whatever the share of seizure.
    assert math.isclose(
        float(balanced_loss(torch.zeros(1, 4), labels, 0.25)), math.log(2), rel_tol=1e-6
    )
    assert balanced_loss(logits.bfloat16(), labels, 0.25).dtype is torch.float32


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate(step, 8, 4, 2.0) for step in range(9)]
    half = math.sqrt(0.5)
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1 + half, 1.0, 1 - half, 0.0]
    assert np.allclose(rates, expected)
    assert learning_rate(0, 10, 0, 1.0) == 1.0
    # A warm-up longer than the training only rises.
    assert learning_rate(4, 5, 10, 1.0) == 0.5


def test_average_forgets_early_and_remembers_late() -> None:
    assert ema_decay(0) == 0.1
    assert math.isclose(ema_decay(90), 0.91)
    assert ema_decay(100_000) == 0.999


def test_only_matrices_and_kernels_decay() -> None:
    network = build("tiny", seed=0)
    decaying, kept = parameter_groups(network, 0.05)
    assert (decaying["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decaying_names = {names[id(parameter)] for parameter in decaying["params"]}
    kept_names = {names[id(parameter)] for parameter in kept["params"]}
    assert decaying_names | kept_names == set(names.values())
    assert not decaying_names & kept_names
    assert all(name.endswith("weight") and "norm" not in name for name in decaying_names)
    ends = ("bias", "norm.weight", "A_log", ".D")
    assert all(name.endswith(ends) for name in kept_names)
    assert "layers.0.forwards.dt_bias" in kept_names
    assert "layers.0.forwards.conv1d.weight" in decaying_names


# --- fit


class Linear(nn.Module):
    """One logit per sample from the channels: small enough to follow by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.1, 0.1, 19)[None])
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bct,c->bt", x, self.weight[0]) + self.bias


def test_three_steps_equal_the_optimizer_written_out(tmp_path: Path) -> None:
    settings = Training(
        steps=3, warmup_steps=1, learning_rate=0.01, weight_decay=0.3, gradient_clip=0.05
    )
    reports: list[StepReport] = []
    network, _ = train(tmp_path, settings, reports.append, network=Linear())

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
    found = np.append(state["weight"].numpy(), state["bias"].numpy())
    assert np.abs(found - average).max() < 1e-5


def test_loss_falls_and_the_rhythm_is_found(tmp_path: Path) -> None:
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


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(("every", "stop", "continued_from"), [(3, 5, 3), (4, 4, 4), (100, 5, 0)])
def test_resumed_training_equals_the_uninterrupted(
    tmp_path: Path, every: int, stop: int, continued_from: int
) -> None:
    def interrupt(report: StepReport) -> None:
        if report.step == stop:
            raise Interrupted

    straight, _ = train(tmp_path / "straight", toy_settings(9))
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", toy_settings(9, every), interrupt)
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
        train(tmp_path, toy_settings(4), network=Linear())
    # How often checkpoints are written changes no weight.
    train(tmp_path, toy_settings(4, checkpoint_every=1))


def test_bfloat16_trains(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    hardware = Hardware(batch_size=4, precision="bfloat16")
    network, _ = train(tmp_path, toy_settings(30), reports.append, hardware)
    assert np.mean([r.loss for r in reports[-5:]]) < 0.7 * np.mean([r.loss for r in reports[:5]])
    assert all(value.dtype is torch.float32 for value in network.state_dict().values())


def test_settings_of_torch_are_put_back(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    train(tmp_path, toy_settings(1))
    assert not torch.are_deterministic_algorithms_enabled()


def test_waiting_for_data_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch comes after 3 s and a step takes 1 s, on a clock of the test's own."""
    now = 100.0
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))

    def slow(first: int) -> Iterator[Batch]:
        nonlocal now
        for batch in toy_batches(first):
            now += 3.0
            yield batch

    class Slow(Linear):
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


def test_data_that_end_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrainbrrError, match="ended at step 2 of 4"):
        train(tmp_path, toy_settings(4), batches=lambda _: iter([toy_batch(0), toy_batch(1)]))


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_one_class_alone_is_an_error(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(BrainbrrError, match="nothing"):
        fit(
            toy_network(),
            toy_batches,
            toy_settings(1),
            Hardware(),
            tmp_path,
            fraction,
            ignore,
        )


def whole_and_parts(tmp_path: Path, **others: object) -> float:
    """The largest difference between weights trained in whole batches and in parts of them."""
    settings = toy_settings(6, **others)
    whole, _ = train(tmp_path / "whole", settings)
    parts, _ = train(tmp_path / "parts", settings, hardware=Hardware(batch_size=4, accumulate=2))
    other = parts.state_dict()
    return max(float((v - other[n]).abs().max()) for n, v in whole.state_dict().items())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_goes_on_with_recomputed_activations_to_the_same_bits(
    tmp_path: Path, accumulate: int
) -> None:
    hardware = Hardware(batch_size=4, accumulate=accumulate)
    whole, _ = train(tmp_path / "whole", toy_settings(4), hardware=hardware)

    def ends(report: StepReport) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    settings = toy_settings(4, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", settings, ends, hardware)
    sparing = hardware.model_copy(update={"recompute_activations": True})
    network = SeizureNetwork(SMALLEST, recompute_activations=True)
    resumed, summary = train(tmp_path / "b", settings, hardware=sparing, network=network)
    assert summary.resumed_from == 2
    assert same_weights(whole, resumed)


@pytest.mark.parametrize("loss", ["weighted_bce", "focal"])
def test_a_batch_in_parts_is_the_same_batch(tmp_path: Path, loss: str) -> None:
    assert 0 < whole_and_parts(tmp_path, loss=loss) < 1e-5


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.5]])
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    expected = 0.0
    for logit, label in zip([0.3, -1.2, 2.0, 0.5], [1, 0, 0, 1], strict=True):
        right = 1 / (1 + math.exp(-logit)) if label else 1 / (1 + math.exp(logit))
        weight = 1 / (2 * 0.2) if label else 1 / (2 * 0.8)
        expected += weight * (1 - right) ** 2 * -math.log(right) / 4
    assert math.isclose(float(balanced_loss(logits, labels, 0.2, 2.0)), expected, rel_tol=1e-5)
    assert torch.equal(
        balanced_loss(logits, labels, 0.2, 1e-12), balanced_loss(logits, labels, 0.2, 0.0)
    )
    settings = Training(loss="focal", focal_gamma=2.0)
    assert math.isclose(float(loss_of(settings, 0.2)(logits, labels)), expected, rel_tol=1e-5)


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


class Silent(nn.Module):
    """Answers everything with the same number."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), x.shape[2])


def test_a_network_that_answers_everything_alike_is_stopped(tmp_path: Path) -> None:
    steps: list[int] = []
    with pytest.raises(BrainbrrError, match=r"collapsed: for 100 steps up to step 103"):
        train(
            tmp_path,
            toy_settings(200),
            lambda report: steps.append(report.step),
            network=Silent(),
        )
    # The warm-up of three steps does not count.
    assert steps[-1] == 102


# --- steps that are not finite


def spoiled(first: int) -> Iterator[Batch]:
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
        train(tmp_path, toy_settings(5), remember, network=network, batches=spoiled)
    message = str(caught.value)
    assert "loss of step 3" in message
    assert "recording-2-1 at 0 s" in message
    assert "recording-2-0" not in message
    assert "\n" not in message
    path = tmp_path / "nonfinite-step-3.safetensors"
    assert str(path) in message
    tensors, header = weight_files.load_tensors(path)
    expected = next(spoiled(2))
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
            batches=spoiled,
            provenance={"preset": "tiny"},
        )
    anatomy, header = replay(tmp_path / "nonfinite-step-3.safetensors")
    assert not anatomy.finite
    assert anatomy.windows == ("recording-2-1 at 0 s",)
    assert anatomy.module == "down.0.0"
    assert "down.0.0.weight" in anatomy.parameters
    assert header["step"] == 3
    # Without the spoiled sample the same step is a step like others.
    tensors, header = weight_files.load_tensors(tmp_path / "nonfinite-step-3.safetensors")
    tensors["signals"].nan_to_num_(0.0)
    weight_files.save_tensors(tmp_path / "mended.safetensors", tensors, header)
    mended, _ = replay(tmp_path / "mended.safetensors")
    assert mended.finite
    assert (mended.windows, mended.module, mended.parameters) == ((), None, ())
    weight_files.save_tensors(tmp_path / "other.safetensors", {}, {})
    with pytest.raises(BrainbrrError, match="not a saved step"):
        replay(tmp_path / "other.safetensors")


def test_dissecting_a_step_changes_no_weight() -> None:
    network, batch = toy_network(), toy_batch(0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = dissect(
        network, loss_of(Training(), FRACTION), batch.signals, batch.labels, batch.names
    )
    assert found.finite
    expected = balanced_loss(network(batch.signals), batch.labels, FRACTION)
    assert math.isclose(found.loss, float(expected.detach()), rel_tol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_projection_that_goes_wrong_is_named() -> None:
    network = build("tiny", seed=0)
    with torch.no_grad():
        network.get_parameter("layers.1.forwards.in_proj.weight")[0, 0] = math.inf
    signals, labels = torch.randn(1, 19, 640), torch.zeros(1, 640)
    found = dissect(network, loss_of(Training(), FRACTION), signals, labels, ("a at 0 s",))
    assert found.module == "layers.1.forwards.in_proj"


class InfiniteSlope(Linear):
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


# --- files


def test_model_file_gives_back_weights_and_metadata(tmp_path: Path) -> None:
    network = toy_network()
    metadata = {"preset": "tiny", "version": "v1", "seed": "0"}
    first, second = tmp_path / "a" / "model.safetensors", tmp_path / "b.safetensors"
    weight_files.save_model(first, network, metadata)
    weight_files.save_model(second, network, dict(reversed(metadata.items())))
    assert first.read_bytes() == second.read_bytes()
    state, found = weight_files.load_model(first)
    assert found == metadata
    other = toy_network(seed=1)
    other.load_state_dict(state)
    assert same_weights(network, other)
    with safe_open(first, framework="pt") as opened:
        assert set(opened.keys()) == set(network.state_dict())


def test_interrupted_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    weight_files.save_model(path, toy_network(), {"state": "old"})
    before = path.read_bytes()

    def fail(_tensors: object, temporary: Path, _header: object) -> None:
        temporary.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(weight_files, "save_file", fail)
    with pytest.raises(WorkRemains, match="No space"):
        weight_files.save_model(path, toy_network(1), {"state": "new"})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    train(tmp_path, toy_settings(7, checkpoint_every=2, keep_checkpoints=2))
    kept = sorted(path.name for path in tmp_path.glob("checkpoint*"))
    assert kept == [
        "checkpoint-step-00000006.safetensors",
        "checkpoint-step-00000007.safetensors",
        files.CHECKPOINT_NAME,
    ]
    _, header = weight_files.load_tensors(tmp_path / kept[0])
    assert header["step"] == 6
    # Put in the place of the last one, an older one is gone on with.
    straight, _ = train(tmp_path / "other", toy_settings(7))
    (tmp_path / kept[0]).replace(tmp_path / files.CHECKPOINT_NAME)
    again, summary = train(
        tmp_path, toy_settings(7, checkpoint_every=2, keep_checkpoints=0), network=toy_network(9)
    )
    assert summary.resumed_from == 6
    assert same_weights(straight, again)
    assert [path.name for path in tmp_path.glob("checkpoint*")] == [files.CHECKPOINT_NAME]


def test_another_preprocessing_version_is_refused_with_both_named(tmp_path: Path) -> None:
    of = {"preprocessing_version": "v1_256hz_10-20_000000000000"}
    train(tmp_path, toy_settings(2), provenance=of)
    assert files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME).provenance == of
    with pytest.raises(BrainbrrError) as caught:
        train(
            tmp_path,
            toy_settings(2),
            provenance={"preprocessing_version": "v1_256hz_10-20_111111111111"},
        )
    assert "v1_256hz_10-20_000000000000" in str(caught.value)
    assert "v1_256hz_10-20_111111111111" in str(caught.value)


def test_a_single_changed_bit_of_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checksum = weight_files.save_model(path, toy_network(), {})
    assert weight_files.load_model(path, checksum)
    other = weight_files.save_model(tmp_path / "other.safetensors", toy_network(1), {})
    assert other != checksum
    with pytest.raises(BrainbrrError, match="weights that its run recorded") as caught:
        weight_files.load_model(tmp_path / "other.safetensors", checksum)
    assert "\n" not in str(caught.value)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrainbrrError, match="checksum"):
        weight_files.load_model(path)


@pytest.mark.parametrize("damage", ["cut", "text", "foreign"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / files.CHECKPOINT_NAME
    weight_files.save_tensors(
        path,
        {"network/weight": torch.zeros(100)},
        {"step": 1, "settings": {}, "progress": {}, "provenance": {}},
    )
    assert files.read_checkpoint(path).step == 1
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "text":
        path.write_text("not a checkpoint at all")
    else:
        weight_files.save_model(path, toy_network(), {})
    with pytest.raises(weight_files.DamagedFile, match=r"checkpoint\.safetensors") as caught:
        files.read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    assert newest_whole(tmp_path) is None
    with pytest.raises(BrainbrrError, match="does not exist"):
        files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    with pytest.raises(BrainbrrError, match="does not exist"):
        weight_files.load_model(tmp_path / "model.safetensors")


# --- devices


def card(
    monkeypatch: pytest.MonkeyPatch, name: str, gigabytes: float, major: int, minor: int
) -> None:
    properties = SimpleNamespace(
        name=name, total_memory=int(gigabytes * 1e9), major=major, minor=minor
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


A100 = Hardware(
    name="a100",
    device="cuda",
    card=("A100",),
    memory_gb=38,
    compute_capability=(8, 0),
    precision="bfloat16",
)


def test_the_cpu_needs_no_check() -> None:
    assert check_device(Hardware()) == torch.device("cpu")
    assert describe_device(torch.device("cpu"))["threads"] == "1"


def test_no_card_is_an_error_and_not_a_cpu_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BrainbrrError, match="a100 needs a CUDA card"):
        check_device(A100)


@pytest.mark.parametrize("gigabytes", [42.4, 85.1])
def test_both_sizes_of_an_a100_are_taken(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    card(monkeypatch, "NVIDIA A100-SXM4-40GB", gigabytes, 8, 0)
    device = check_device(A100)
    assert device == torch.device("cuda", 0)
    described = describe_device(device)
    assert described["name"] == "NVIDIA A100-SXM4-40GB"
    assert described["memory_gb"] == f"{gigabytes}"


@pytest.mark.parametrize(
    ("name", "gigabytes", "major", "minor", "said"),
    [
        ("NVIDIA GeForce RTX 4090", 25.2, 8, 9, "a card named A100"),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20.0, 8, 0, "38 GB"),
        ("NVIDIA A100 imitation", 42.0, 7, 5, "compute capability 8.0"),
    ],
)
def test_another_card_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, gigabytes: float, major: int, minor: int, said: str
) -> None:
    card(monkeypatch, name, gigabytes, major, minor)
    with pytest.raises(BrainbrrError) as caught:
        check_device(A100)
    message = str(caught.value)
    assert said in message
    assert name in message
    assert "\n" not in message


def test_bfloat16_on_an_old_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, "Tesla T4", 15.8, 7, 5)
    with pytest.raises(BrainbrrError, match="bfloat16"):
        check_device(Hardware(name="t4", device="cuda", precision="bfloat16"))
