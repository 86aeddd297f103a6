"""The network: shapes, sizes, directions, seeds and backends."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

import pytest
import torch
from torch import nn

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import PRESETS, NetworkShape, SeizureNetwork, build
from brainbrr_core.model.backend import Backend, ssm_layer
from brainbrr_core.model.mamba2 import Mamba2
from brainbrr_core.model.network import BidirectionalMamba

SMALLEST = NetworkShape(
    channels=(8, 8), strides=(4, 2), layers=1, headdim=4, d_state=4, blocks=1, kernels=(3, 5)
)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_one_logit_per_sample() -> None:
    network = build("tiny", seed=0).eval()
    with torch.no_grad():
        for batch, samples in ((2, 2560), (1, 5120), (1, 64)):
            assert network(torch.randn(batch, 19, samples)).shape == (batch, samples)


@pytest.mark.parametrize("shape", [(1, 18, 2560), (1, 19, 2570), (19, 2560)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        build("tiny", seed=0)(torch.zeros(shape))


def test_the_input_is_as_wide_as_the_montage() -> None:
    network = SeizureNetwork(SMALLEST, channels=18)
    assert network.channels == 18
    assert network(torch.zeros(2, 18, 64)).shape == (2, 64)
    with pytest.raises(ValueError, match=r"expected \(batch, 18, a multiple of 8\)"):
        network(torch.zeros(2, 19, 64))
    # Eight filters of eight samples look at one channel less.
    assert size(SeizureNetwork(SMALLEST)) - size(network) == 8 * 8
    assert build("tiny", seed=0, channels=18).channels == 18


def test_sizes_of_the_presets() -> None:
    millions = {preset: size(build(preset, seed=0)) / 1e6 for preset in PRESETS}
    assert 0.5 < millions["tiny"] < 0.7
    assert 2.5 < millions["small"] < 3.0
    assert 26.0 < millions["base"] < 26.3
    assert (PRESETS["base"].blocks, PRESETS["base"].layers) == (3, 6)
    assert PRESETS["base"].total_stride == 16
    # Blocks of 10 s at 256 Hz are whole numbers of steps in every preset.
    assert all(2560 % shape.total_stride == 0 for shape in PRESETS.values())


def test_size_counted_by_hand() -> None:
    down = (19 * 8 * 8 + 8) + (8 * 8 * 4 + 8)
    residual = 16 + 8 * 8 * 3 + 8
    block = 16 + (8 * 4 * 3 + 4) + (8 * 4 * 5 + 4) + (8 * 8 + 8)
    mamba = 3 * 4 + 8 * (2 * 16 + 2 * 4 + 4) + (16 + 2 * 4) * 5 + 16 + 16 * 8
    layer = 8 + 2 * mamba
    up = (8 * 8 + 8) + residual
    head = 16 + 8 * 4 * 3 + 4
    expected = down + 2 * residual + block + layer + 8 + up + head
    assert size(SeizureNetwork(SMALLEST)) == expected


def test_untrained_network_is_undecided() -> None:
    network = build("tiny", seed=0).eval()
    with torch.no_grad():
        probability = torch.sigmoid(network(torch.randn(4, 19, 2560)))
    assert 0.4 < float(probability.mean()) < 0.6


def test_layer_is_two_directions_and_the_residual() -> None:
    torch.manual_seed(0)
    layer = BidirectionalMamba(8, d_state=4, headdim=4, backend="torch").double()
    x = torch.randn(2, 30, 8, dtype=torch.float64)
    with torch.no_grad():
        normed = x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + 1e-5)
        reversed_in_time = torch.stack([normed[:, 29 - t] for t in range(30)], dim=1)
        future = layer.backwards(reversed_in_time)
        future = torch.stack([future[:, 29 - t] for t in range(30)], dim=1)
        expected = x + layer.forwards(normed) + future
        assert float((layer(x) - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_each_direction_sees_its_own_side_only(direction: str) -> None:
    torch.manual_seed(0)
    layer = BidirectionalMamba(8, d_state=4, headdim=4, backend="torch")
    other = layer.backwards if direction == "forwards" else layer.forwards
    x = torch.randn(1, 90, 8)
    changed = x.clone()
    changed[:, 40] += 1.0
    with torch.no_grad():
        both = (layer(x) != layer(changed)).any(dim=-1)[0]
        assert bool(both.all())
        other.get_parameter("out_proj.weight").zero_()
        differs = (layer(x) != layer(changed)).any(dim=-1)[0]
    assert bool(differs[40])
    seen = differs[41:] if direction == "forwards" else differs[:40]
    unseen = differs[:40] if direction == "forwards" else differs[41:]
    assert bool(seen.all())
    assert not bool(unseen.any())


def test_every_parameter_receives_a_gradient() -> None:
    network = build("tiny", seed=0)
    network(torch.randn(1, 19, 5120)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = build("tiny", seed=7).state_dict()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = build("tiny", seed=7).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build("tiny", seed=8).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_without_a_seed_torch_decides() -> None:
    torch.manual_seed(3)
    first, second = build("tiny"), build("tiny")
    assert not torch.equal(first.head.weight, second.head.weight)
    torch.manual_seed(3)
    assert torch.equal(build("tiny").head.weight, first.head.weight)


def test_runs_in_bfloat16_close_to_float32() -> None:
    network = build("tiny", seed=0).eval()
    x = torch.randn(1, 19, 5120)
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(x).float()
    assert float((exact - rough).abs().max()) < 0.1


def test_amplitude_is_not_normed_away() -> None:
    network = build("tiny", seed=0).eval()
    x = torch.randn(1, 19, 5120)
    with torch.no_grad():
        assert float((network(x) - network(3 * x)).abs().mean()) > 1e-3


def test_unknown_names_are_refused() -> None:
    with pytest.raises(BrainbrrError, match=r"model.preset 'huge'.*tiny.*base"):
        build("huge")
    with pytest.raises(BrainbrrError, match="ssm_backend 'jax'"):
        build("tiny", ssm_backend=cast("Backend", "jax"))


def test_missing_mamba_ssm_is_an_error_without_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    with pytest.raises(BrainbrrError) as caught:
        build("tiny", ssm_backend="mamba_ssm")
    message = str(caught.value)
    assert "\n" not in message
    assert "pip install" in message
    assert "ssm_backend: torch" in message


def test_mamba_ssm_is_built_with_the_same_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, int]] = []

    def record(**arguments: int) -> nn.Module:
        calls.append(arguments)
        return Mamba2(**arguments)

    module = ModuleType("mamba_ssm.modules.mamba2")
    vars(module)["Mamba2"] = record
    for name in ("mamba_ssm", "mamba_ssm.modules"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "mamba_ssm.modules.mamba2", module)
    ssm_layer("mamba_ssm", d_model=32, d_state=16, headdim=8)
    assert calls == [{"d_model": 32, "d_state": 16, "d_conv": 4, "expand": 2, "headdim": 8}]
    ours, theirs = build("tiny", seed=0), build("tiny", ssm_backend="mamba_ssm", seed=0)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(
        torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items()
    )


@pytest.mark.parametrize("bfloat16", [False, True])
def test_recomputed_activations_give_the_same_loss_and_gradients_to_the_bit(bfloat16: bool) -> None:
    x = torch.randn(2, 19, 5120, generator=torch.Generator().manual_seed(1))

    def trained(recompute: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        network = build("tiny", seed=0, recompute_activations=recompute).train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = network(x).square().mean()
        loss.backward()
        return loss.detach(), {
            n: p.grad for n, p in network.named_parameters() if p.grad is not None
        }

    (loss, gradients), (expected, others) = trained(True), trained(False)
    assert torch.equal(loss, expected)
    assert list(gradients) == list(others)
    assert all(torch.equal(gradient, others[name]) for name, gradient in gradients.items())


def test_only_a_training_computes_its_activations_again() -> None:
    calls: list[str] = []
    network = build("tiny", seed=0, recompute_activations=True)
    for name, module in network.named_modules():
        if name in ("down.0", "down.0.1", "blocks.1", "layers.2", "up.0"):
            module.register_forward_pre_hook(lambda _module, _inputs, name=name: calls.append(name))
    x = torch.randn(1, 19, 2560)
    logits = network.train()(x)
    forward = ["down.0", "down.0.1", "blocks.1", "layers.2", "up.0"]
    assert calls == forward
    logits.sum().backward()
    # Each part once more, from the last to the first.
    assert calls[len(forward) :] == ["up.0", "layers.2", "blocks.1", "down.0", "down.0.1"]
    calls.clear()
    network.eval()(x).sum().backward()
    with torch.no_grad():
        network.train()(x)
    assert calls == 2 * forward


def test_recomputed_activations_change_no_parameter() -> None:
    plain, recomputing = build("tiny", seed=0), build("tiny", seed=0, recompute_activations=True)
    assert list(plain.state_dict()) == list(recomputing.state_dict())
    plain.load_state_dict(recomputing.state_dict())
