"""Batches that a CPU computes in parts, by several threads at the same time."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from brainbrr_core.configuration import Hardware
from brainbrr_core.data import UNKNOWN_LABEL, Batch
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.model.compute_threads import ComputeThreads
from brainbrr_core.training.trainer import StepMetrics, Trainer
from tests.support.services import HANGS_S
from tests.support.toy_training import (
    SAMPLES,
    SMALLEST,
    counted,
    other_network,
    toy_batch,
    toy_network,
    toy_settings,
    toy_trainer,
)

CPU = torch.device("cpu")
#: Parts of 4, 4 and 3 windows.
ROWS = 11
STEPS = 5


@pytest.fixture(autouse=True)
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def batch_of(step: int) -> Batch:
    """Windows with weights, some of them unknown: each part has another number of known samples."""
    batch = toy_batch(step, ROWS)
    batch.labels[:4] = UNKNOWN_LABEL
    batch.labels[5, 100:] = UNKNOWN_LABEL
    return counted(replace(batch, weights=1 + batch.labels.clamp(min=0)))


def trained(trainer: Trainer) -> tuple[dict[str, Tensor], list[StepMetrics]]:
    for step in range(STEPS):
        trainer.train_step(step, batch_of(step))
    return trainer.network.state_dict(), trainer.fetch_metrics()


def trainer_of(threads: int, network: SeizureNetwork | None = None, **hardware: Any) -> Trainer:
    torch.set_num_threads(threads)
    return toy_trainer(
        toy_settings(STEPS), Hardware(batch_size=ROWS, **hardware), network=network or toy_network()
    )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("recompute", [False, True])
def test_the_number_of_threads_changes_no_bit_of_a_training(recompute: bool) -> None:
    trainings = []
    for threads in (1, 2, 3):
        network = SeizureNetwork(SMALLEST, recompute_activations=recompute)
        network.load_state_dict(toy_network().state_dict())
        trainings.append(trained(trainer_of(threads, network)))
        # Nothing else computes with fewer threads than before.
        assert torch.get_num_threads() == threads
    (weights, figures), *others = trainings
    assert all(same(weights, other) and figures == rest for other, rest in others)
    assert not same(weights, toy_network().state_dict())


def test_parts_train_as_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed as a whole by torch's own backward pass, up to rounding."""
    parts, figures = trained(trainer_of(2))
    monkeypatch.setattr("brainbrr_core.model.compute_threads.may_be_shared", lambda *_: False)
    trainer = trainer_of(2)
    rows: list[int] = []
    trainer.network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    whole, expected = trained(trainer)
    assert rows == [ROWS] * STEPS
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], rtol=0, atol=2e-5), name
    for one, other in zip(expected, figures, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)


def test_parts_are_computed_at_the_same_time_and_accumulate_makes_them_smaller() -> None:
    trainer = trainer_of(2)
    rows: list[int] = []
    both = threading.Barrier(2, timeout=60)
    # Two threads wait here for each other; the third part has none to wait for.
    order = itertools.count()

    def meet(_network: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        rows.append(len(inputs[0]))
        if next(order) < 2:
            both.wait()

    trainer.network.register_forward_pre_hook(meet)
    trainer.train_step(0, batch_of(0))
    assert sorted(rows) == [3, 4, 4]
    smaller = trainer_of(1, accumulate=4)
    rows.clear()
    smaller.network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    smaller.train_step(0, batch_of(0))
    assert rows == [3, 3, 3, 2]


def test_networks_that_threads_must_not_share_get_the_whole_batch() -> None:
    """The statistics of a batch norm are of all of its windows."""
    rows: list[int] = []
    network = other_network("unet")
    network.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    torch.set_num_threads(2)
    trainer = toy_trainer(toy_settings(STEPS), Hardware(batch_size=ROWS), network=network)
    trainer.train_step(0, batch_of(0))
    assert rows == [ROWS]


def test_an_error_in_a_part_is_that_of_the_step() -> None:
    trainer = trainer_of(2)

    def fail(_network: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) == 3:
            raise torch.OutOfMemoryError("no memory")

    trainer.network.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        trainer.train_step(0, batch_of(0))
    assert torch.get_num_threads() == 2


def test_the_number_of_threads_changes_no_bit_of_a_score() -> None:
    network = toy_network()
    windows = torch.randn(7, 4, 19, SAMPLES, generator=torch.Generator().manual_seed(0))
    scored = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        scorer = WindowScorer(network, CPU, 4)
        batches = list(scorer.scores((batch, n) for n, batch in enumerate(windows)))
        assert [n for _, n in batches] == list(range(7))
        assert torch.get_num_threads() == threads
        scored.append(np.stack([scores for scores, _ in batches]))
    with torch.inference_mode():
        expected = [network.eval()(batch).numpy() for batch in windows]
    assert np.array_equal(scored[0], np.stack(expected))
    assert np.array_equal(scored[0], scored[1])
    assert np.array_equal(scored[0], scored[2])


@pytest.mark.parametrize("same_scorer", [True, False])
def test_generators_of_scores_may_be_used_by_turns(same_scorer: bool) -> None:
    """The one that began first ends first: the other still scores in evaluation mode."""
    network = toy_network().train()
    windows = torch.randn(9, 4, 19, SAMPLES, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(3)
    scorers = [WindowScorer(network, CPU, 4) for _ in range(2)]
    if same_scorer:
        scorers[1] = scorers[0]
    expected = [scores for scores, _ in scorers[0].scores((batch, None) for batch in windows)]
    first = scorers[0].scores((batch, None) for batch in windows[:5])
    second = scorers[1].scores((batch, None) for batch in windows)
    taken: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for (one, _), (other, _) in zip(first, second, strict=False):
        assert torch.get_num_threads() == 1
        taken.append((one, other))
    assert len(taken) == 5 and next(first, None) is None
    assert not network.training
    assert torch.get_num_threads() == 1
    others = [other for _, other in taken] + [scores for scores, _ in second]
    assert np.array_equal(np.stack([one for one, _ in taken]), np.stack(expected[:5]))
    assert np.array_equal(np.stack(others), np.stack(expected))
    assert network.training
    assert torch.get_num_threads() == 3


def test_threads_start_before_anything_is_computed() -> None:
    """One that started later would set the process's number of threads while others compute."""
    torch.set_num_threads(3)
    before = set(threading.enumerate())
    threads = ComputeThreads(2)
    assert threads.count == 2
    assert len(set(threading.enumerate()) - before) == 2
    assert torch.get_num_threads() == 3


def test_a_result_is_kept_no_longer_than_it_is_used() -> None:
    """The gradients of all parts of a large batch would take several times the network's memory."""
    torch.set_num_threads(1)
    made: list[weakref.ref[Tensor]] = []

    def compute(_part: int) -> Tensor:
        result = torch.zeros(1)
        made.append(weakref.ref(result))
        return result

    threads = ComputeThreads(1)
    used = 0
    for result in threads.map(compute, range(5)):
        assert made[used]() is result
        del result
        used += 1
        assert all(one() is None for one in made[:used])
    assert used == 5


def test_where_threads_cannot_be_started_the_process_says_so_and_ends() -> None:
    code = """
import threading
from brainbrr_core.model.compute_threads import ComputeThreads, WorkRemains

start = threading.Thread.start

def refuse(thread):
    if threading.active_count() > 1:
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = refuse
import torch
torch.set_num_threads(3)
try:
    ComputeThreads(3)
except WorkRemains as error:
    print(error, torch.get_num_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANGS_S
    )
    assert done.stdout == (
        "3 threads to compute with cannot be started (can't start new thread): end other programs, "
        "or allow more threads (`ulimit -u`), then run the same command again 3\n"
    )


@pytest.mark.parametrize("before", [True, False])
def test_scoring_on_a_cpu_changes_no_setting_of_the_process(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that each set it back would leave it as another one has set it meanwhile."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    network = toy_network()
    meanwhile: list[bool] = []
    network.register_forward_pre_hook(lambda *_: meanwhile.append(torch.backends.cudnn.allow_tf32))
    scorer = WindowScorer(network, CPU, 2)
    assert len(list(scorer.scores((torch.zeros(2, 19, SAMPLES), n) for n in range(3)))) == 3
    assert meanwhile == [before] * 3
