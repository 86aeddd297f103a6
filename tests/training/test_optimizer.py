"""The optimizer, the schedule of the learning rate, and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from brainbrr_core.configuration import Training
from brainbrr_core.model import build
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.optimizer import BETAS, SkippingAdamW, make_optimizer, parameter_groups
from brainbrr_core.training.schedule import ema_decay, learning_rate
from tests.support.toy_training import (
    same_tensors,
    same_weights,
    toy_batch,
    toy_network,
    toy_trainer,
    training_state,
)


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate(step, 8, 4, 2.0) for step in range(9)]
    half = math.sqrt(0.5)
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1 + half, 1.0, 1 - half, 0.0]
    assert np.allclose(rates, expected)
    assert learning_rate(0, 10, 0, 1.0) == 1.0
    # A warm-up longer than the training only rises.
    assert learning_rate(4, 5, 10, 1.0) == 0.5


def test_the_average_forgets_faster_at_first() -> None:
    assert ema_decay(0) == 0.1
    assert math.isclose(ema_decay(90), 0.91)
    assert ema_decay(100_000) == 0.999


def test_only_matrices_and_kernels_decay() -> None:
    network = build("tiny", seed=0)
    groups = parameter_groups(network)
    rates = [group["weight_decay"] for group in groups.with_decay(0.05)]
    assert rates == [0.05, 0.0]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decaying_names = {names[id(parameter)] for parameter in groups.decaying}
    other_names = {names[id(parameter)] for parameter in groups.without_decay}
    assert decaying_names | other_names == set(names.values())
    assert not decaying_names & other_names
    assert all(name.endswith("weight") and "norm" not in name for name in decaying_names)
    ends = ("bias", "norm.weight", "A_log", ".D")
    assert all(name.endswith(ends) for name in other_names)
    assert "layers.0.forwards.dt_bias" in other_names
    assert "layers.0.forwards.conv1d.weight" in decaying_names


def gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_a_step_that_the_device_skips_changes_nothing() -> None:
    network = toy_network()
    optimizer = make_optimizer(network, Training(weight_decay=0.1))
    gradients(network, 0)
    optimizer.step()
    before = training_state(network, optimizer)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert same_tensors(training_state(network, optimizer), before)
    gradients(network, 1)
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    after = training_state(network, optimizer)
    assert {int(v) for name, v in after.items() if name.endswith("/step")} == {2}
    assert not same_tensors(after, before)


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_restored")
def test_the_optimizer_gives_the_same_bits_on_any_number_of_threads() -> None:
    states = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        # No multiple of what a thread or a register takes.
        network = nn.Linear(1237, 531)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(0.01)
        optimizer = make_optimizer(network, Training())
        for step in range(3):
            gradients(network, step)
            optimizer.step()
        states.append(training_state(network, optimizer))
    assert same_tensors(states[0], states[1])
    assert same_tensors(states[0], states[2])


def test_the_state_of_an_unfused_optimizer_is_restored() -> None:
    """Earlier versions of the program had one, whose counts of steps are on the host."""
    network, settings = toy_network(), Training(learning_rate=1e-3)
    groups = parameter_groups(network).with_decay(settings.weight_decay)
    before = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, foreach=False)
    for step in range(2):
        gradients(network, step)
        before.step()
    saved = {name: v.clone() for name, v in files.optimizer_tensors(network, before).items()}
    other = toy_network(5)
    other.load_state_dict(network.state_dict())
    optimizer = make_optimizer(other, settings)
    files.restore_optimizer(other, optimizer, saved)
    assert isinstance(optimizer, SkippingAdamW)
    assert same_tensors(files.optimizer_tensors(other, optimizer), saved)
    for net, of in ((network, before), (other, optimizer)):
        gradients(net, 2)
        of.step()
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-6
    assert not same_weights(other, toy_network())


def test_the_average_of_all_weights_at_once_is_that_of_each() -> None:
    state = toy_trainer()
    expected = {name: value.clone() for name, value in state.ema.items()}
    for step in range(4):
        state.train_step(step, toy_batch(step))
        for name, value in state.network.state_dict().items():
            expected[name].lerp_(value, 1.0 - (1 + step) / (10 + step))
    assert same_tensors(state.ema, expected)
