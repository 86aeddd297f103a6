"""How a network's operations are started, and what becomes of gradients then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.model.compilation import clear_gradients
from brainbrr_core.training import trainer
from brainbrr_core.training.distributed import join_process_group
from tests.support.toy_training import SMALLEST, same_weights, toy_settings, train


def test_compile_takes_yes_no_and_cuda_graphs() -> None:
    assert Hardware(compile=True).compile is True
    assert Hardware().compile is False
    assert Hardware(device="cuda", compile="cuda_graphs").compile == "cuda_graphs"
    with pytest.raises(ValidationError, match="cuda_graphs needs device: cuda"):
        Hardware(compile="cuda_graphs")
    for wrong in (2, "yes", "graphs"):
        with pytest.raises(ValidationError):
            Hardware.model_validate({"compile": wrong})
    with pytest.raises(ValidationError, match="true and false are not a value"):
        Hardware.model_validate({"precision": True})


def test_gradients_are_added_to_memory_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph needs, with a stand-in that hands out its own memory as gradients do."""
    plain, _ = train(tmp_path / "plain", toy_settings(3), hardware=Hardware(batch_size=4))
    whole = Hardware(batch_size=4, device="cpu")
    graphs = whole.model_copy(update={"compile": "cuda_graphs"})
    places: list[tuple[int, ...]] = []

    def stand_in(network: nn.Module, how: object) -> Callable[[Tensor], Tensor]:
        assert how == "cuda_graphs"

        def run(signals: Tensor) -> Tensor:
            gradients = [parameter.grad for parameter in network.parameters()]
            assert all(g is not None and not g.any() for g in gradients)
            places.append(tuple(g.data_ptr() for g in gradients if g is not None))
            logits: Tensor = network(signals)
            return logits

        return run

    monkeypatch.setattr(trainer, "compiled", stand_in)
    network, _ = train(tmp_path / "graphs", toy_settings(3), hardware=graphs)
    assert len(places) == 3
    assert len(set(places)) == 1
    assert same_weights(plain, network)


def gradient_of(layer: nn.Linear) -> Tensor:
    gradient = layer.weight.grad
    assert gradient is not None
    return gradient


def test_gradients_are_dropped_or_kept() -> None:
    layer = nn.Linear(2, 1)
    clear_gradients(layer, keep=False)
    assert layer.weight.grad is None
    clear_gradients(layer, keep=True)
    kept = gradient_of(layer)
    layer(torch.ones(1, 2)).sum().backward()
    assert gradient_of(layer) is kept
    assert kept.tolist() == [[1.0, 1.0]]
    clear_gradients(layer, keep=True)
    assert kept.tolist() == [[0.0, 0.0]]


def test_cuda_graphs_are_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    hardware = Hardware(device="cuda", compile="cuda_graphs")
    with (
        pytest.raises(BrainbrrError, match=r"one process: set hardware.compile: true"),
        join_process_group(hardware),
    ):
        pytest.fail("it joined the group")


@pytest.mark.parametrize("recompute", [False, True])
# torch's own compiler calls what torch has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_network_is_one_graph(recompute: bool) -> None:
    network = SeizureNetwork(SMALLEST, recompute_activations=recompute).train()
    torch._dynamo.reset()
    found = torch._dynamo.explain(network)(torch.randn(2, 19, 2560))
    assert (found.graph_count, found.graph_break_count) == (1, 0)
