"""What ``brainbrr bench model`` counts and measures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from typer.testing import CliRunner

from brainbrr_core.benchmark import network_rates
from brainbrr_core.benchmark.network_cost import (
    AllocatedBytes,
    convolution_backward_operations,
    cost,
    operation_counter,
    peak_bytes,
)
from brainbrr_core.benchmark.network_passes import (
    PASSES,
    Pass,
    Task,
    in_own_process,
    make_step,
    measure,
)
from brainbrr_core.benchmark.network_rates import backends_of
from brainbrr_core.benchmark.operation_times import (
    REST,
    operation_times,
    operations_of_projections,
)
from brainbrr_core.benchmark.recurrence import naive
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Hardware, Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.model.ssd import ssd


def test_the_cost_grows_linearly_with_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brainbrr_core.benchmark.network_rates.MINUTES", (2, 4, 8))
    done = CliRunner().invoke(app, ["bench", "model", "--lengths", "--preset", "tiny", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["tiny"]
    # Libraries and weights are the same at all lengths; four more minutes cost twice what two do.
    two, four = (rows[i + 1]["peak_mb"] - rows[i]["peak_mb"] for i in (0, 1))
    assert 1.4 < four / two < 2.8
    for row in rows:
        # Not exactly: a minute has 240 steps, 16 fewer than four chunks of 64.
        for key in ("forward_gflop_per_minute", "kept_mb_per_minute"):
            assert math.isclose(row[key], rows[-1][key], rel_tol=0.02), row
    assert [row["minutes"] for row in rows] == [2, 4, 8]


def test_the_operations_of_the_largest_network_are_those_of_its_page() -> None:
    # Windows of TUSZ's dev, 435 h, that begin every 30 s: 3.6 s of what an H100 does at best.
    assert 52_199 * cost(Model(preset="base"), 60).forward == pytest.approx(2.81e15, rel=0.01)


def test_the_operations_of_a_layer_agree_with_a_count_by_hand() -> None:
    with operation_counter() as counter:
        x = torch.randn(1, 6, 40, requires_grad=True)
        kernel = torch.randn(6, 1, 4, requires_grad=True)
        out = functional.conv1d(x, kernel, groups=6)
        weight = torch.randn(6, 5, requires_grad=True)
        product = out.transpose(1, 2) @ weight
        torch.autograd.backward(product.sum())
    # 37 positions, 6 channels, 4 taps; 37 rows, 6 columns, 5 results; each forward and twice back.
    assert counter.get_total_flops() == 3 * 2 * (37 * 6 * 4 + 37 * 6 * 5)
    shapes = ((1, 6, 37), (1, 6, 40), (6, 1, 4))
    assert convolution_backward_operations(*shapes, [True, False, True]) == 2 * 37 * 6 * 4


def test_base_costs_what_its_projections_cost_and_little_more() -> None:
    base = cost(Model(preset="base"), 60)
    inner, heads = 1024, 16
    projections = 2 * 960 * 512 * (2 * inner + 32 + heads + inner) * 2 * 6
    assert projections < base.forward < 2 * projections
    # A backward pass costs twice as much, without the gradient of the input.
    assert 2.9 < base.training / base.forward < 3.1


def test_the_naive_scan_is_the_recurrence() -> None:
    generator = torch.Generator().manual_seed(0)
    x, B, C = (
        torch.randn(*s, generator=generator, dtype=torch.float64)
        for s in ((2, 70, 3, 4), (2, 70, 5), (2, 70, 5))
    )
    dt = torch.rand(2, 70, 3, generator=generator, dtype=torch.float64)
    A, D = -torch.arange(1.0, 4.0, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    difference = naive(x, dt, A, B, C, D) - ssd(x, dt, A, B, C, D)
    assert float(difference.abs().max()) < 1e-12


def test_a_rate_is_measured() -> None:
    task = Task(Model(preset="tiny"), "torch", "training", 1, 10, Hardware(), 0.0, 1)
    rate = measure(task)
    assert rate.windows_per_s > 0
    assert rate.memory_mb > 100
    assert rate.busy is None


@pytest.mark.parametrize("kind", PASSES)
def test_a_measured_step_has_the_arithmetic_of_real_work(
    kind: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[bool, bool]] = []
    forward = SeizureNetwork.forward

    def noted(network: SeizureNetwork, x: torch.Tensor) -> torch.Tensor:
        fixed = torch.are_deterministic_algorithms_enabled()
        modes.append((torch.backends.cudnn.allow_tf32, fixed))
        return forward(network, x)

    monkeypatch.setattr(SeizureNetwork, "forward", noted)
    make_step(
        Task(Model(preset="tiny"), "torch", kind, 1, 10, Hardware(), 0.0, 1), torch.device("cpu")
    )()
    assert modes == [(False, kind == "training")]


def test_the_time_of_a_step_is_split_by_kind_of_operation() -> None:
    a, b = torch.randn(300, 300), torch.randn(64, 40, 40)
    x, kernel = torch.randn(1, 4, 50), torch.randn(4, 4, 3)

    def step() -> None:
        functional.conv1d(x, kernel)
        for _ in range(20):
            a @ a
        b @ b
        a.exp()

    seconds = operation_times(step)
    assert seconds["convolutions"] > 0.0
    assert seconds["projections"] > seconds["batched products"] > 0.0
    assert seconds[REST] > 0.0
    assert operations_of_projections(step) == 20 * 2 * 300**3


def test_unknown_names_are_refused() -> None:
    for words in (["model", "--preset", "huge"], ["learn", "--preset", "huge"]):
        with pytest.raises(BrainbrrError, match="'huge' is not one of 'tiny', 'small', 'base'"):
            CliRunner().invoke(app, ["bench", *words], catch_exceptions=False)
    with pytest.raises(BrainbrrError, match="backend 'jax'"):
        backends_of(["torch", "jax"])


def test_other_networks_are_measured_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process of its own for each figure would take a minute.
    monkeypatch.setattr(network_rates, "in_own_process", lambda measured, task: measured(task))
    short = tmp_path / "short.yaml"
    short.write_text("windows: {length_s: 10, stride_s: 10}\ndetection: {stride_s: 10}\n")
    words = ["bench", "model", "--network", "eegnet", "--network", "line_length", "--batch", "1"]
    options = ["--seconds", "0", "--config", f"smoke:cpu:{short}", "--json"]
    done = CliRunner().invoke(app, [*words, *options])
    assert done.exit_code == 0, done.output
    measured = json.loads(done.stdout)
    assert [row["network"] for row in measured["rows"]] == ["eegnet", "line_length"]
    # No state-space layers, so neither has a backend, and their recurrence is not measured.
    assert [row["backend"] for row in measured["rows"]] == [None, None]
    assert measured["scan"] is None
    eegnet, line_length = measured["rows"]
    assert (eegnet["parameters"], line_length["parameters"]) == (2241, 3)
    # Two segments: the temporal filter, then each of 16 spatial ones, at every sample.
    filters = 2 * 2 * 1280 * (8 * 19 * 128 + 16 * 19)
    assert eegnet["forward"]["gflop_per_window"] == pytest.approx(filters / 1e9, rel=0.05)
    assert line_length["forward"]["gflop_per_window"] == 0.0
    assert all(row["training"]["windows_per_s"] > 0 for row in measured["rows"])
    with pytest.raises(BrainbrrError, match="--network has 'egnet': there is no such network"):
        CliRunner().invoke(app, ["bench", "model", "--network", "egnet"], catch_exceptions=False)


def test_the_commands_are_there() -> None:
    for words in (["bench", "--help"], ["bench", "model", "--help"], ["bench", "learn", "--help"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output


def test_peak_bytes_agree_with_a_count_by_hand() -> None:
    with FakeTensorMode(), AllocatedBytes() as allocated:
        first = torch.empty(1000)
        view = first[:10]
        second = first * 2
        assert allocated.peak == 8000
        del first, view
        third = second + 1
        # The first tensor has been freed.
        assert allocated.peak == 8000
        second.add_(third)
        fourth = second.expand(5, 1000)
        assert allocated.peak == 8000
        assert fourth.contiguous().numel() == 5000
        assert allocated.peak == 28000


def test_recomputed_activations_need_less_memory_and_a_third_more_operations() -> None:
    tiny = Model(preset="tiny")
    plain, sparing = (cost(tiny, 60, recompute_activations=again) for again in (False, True))
    assert sparing.forward == plain.forward
    assert 1.2 < sparing.training / plain.training < 4 / 3
    assert sparing.kept_bytes < plain.kept_bytes / 5
    most, less = (peak_bytes(tiny, 60, recompute_activations=again) for again in (False, True))
    # All that is kept is in use when the backward pass begins, which adds little.
    assert 1 <= most / plain.kept_bytes < 1.1
    # While the gradients of one block are computed, its activations are in use.
    assert sparing.kept_bytes < less < most / 2.5


@pytest.mark.slow
def test_more_windows_need_the_memory_that_was_counted() -> None:
    def peak(batch: int) -> float:
        hardware = Hardware(batch_size=batch)
        task = Task(Model(preset="small"), "torch", "training", batch, 60, hardware, 0.0, 1)
        return in_own_process(measure, task).memory_mb

    measured = (peak(6) - peak(2)) / 4
    # Libraries take additional memory for convolutions.
    assert 1 <= measured / (peak_bytes(Model(preset="small"), 60) / 1e6) < 1.4
