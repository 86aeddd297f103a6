"""The chunked recurrence and the Mamba-2 layer, against the recurrence step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from brainbrr_core.model.mamba2 import NO_WEIGHT_DECAY, Mamba2
from brainbrr_core.model.ssd import CHUNK, running_sum_by_doubling, ssd
from tests.support.examples import examples

NAMES = ("x", "dt", "A", "B", "C", "D")


def step_by_step(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The definition, one sample at a time."""
    state = torch.zeros(x.shape[0], x.shape[2], x.shape[3], B.shape[2], dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        kept = torch.exp(dt[:, t] * A)[..., None, None]
        added = torch.einsum("bh,bhp,bn->bhpn", dt[:, t], x[:, t], B[:, t])
        state = kept * state + added
        outputs.append(torch.einsum("bhpn,bn->bhp", state, C[:, t]) + D[:, None] * x[:, t])
    return torch.stack(outputs, dim=1)


def example(length: int, scale: float = 1.0, seed: int = 0) -> dict[str, Tensor]:
    """Inputs as Mamba-2 has them at the start, in float64: dt in 0.001 to 0.1, A in -16 to -1."""
    generator = np.random.default_rng(seed)
    heads, headdim, state = 3, 4, 5
    arrays = {
        "x": generator.normal(size=(2, length, heads, headdim)),
        "dt": scale * np.exp(generator.uniform(np.log(0.001), np.log(0.1), (2, length, heads))),
        "A": -generator.uniform(1, 16, heads),
        "B": generator.normal(size=(2, length, state)),
        "C": generator.normal(size=(2, length, state)),
        "D": generator.normal(size=heads),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def chunked(inputs: dict[str, Tensor], chunk: int = CHUNK) -> Tensor:
    x, dt, A, B, C, D = (inputs[name] for name in NAMES)
    return ssd(x, dt, A, B, C, D, chunk)


def value_and_gradients(
    function: Callable[..., Tensor], inputs: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    y = function(*(leaves[name] for name in NAMES))
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    torch.autograd.backward((y * weight).sum())
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    assert gradients.keys() == inputs.keys()
    return y.detach(), gradients


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize("length", [1, 127, 960, 3840])
def test_equals_the_recurrence_in_float64_and_float32(length: int) -> None:
    inputs = example(length)
    expected, expected_gradients = value_and_gradients(step_by_step, inputs)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        typed = {name: tensor.to(dtype) for name, tensor in inputs.items()}
        found, gradients = value_and_gradients(ssd, typed)
        assert found.dtype is dtype
        assert relative(found, expected) < tolerance
        for name in NAMES:
            if length == 1 and name == "A":
                # From a zero state the first sample has nothing to decay.
                assert float(gradients[name].abs().max()) == 0.0
            else:
                assert relative(gradients[name], expected_gradients[name]) < tolerance, name


@pytest.mark.parametrize(("scale", "tolerance"), [(30.0, 1e-2), (1000.0, 1e-1)])
def test_large_steps_stay_finite(scale: float, tolerance: float) -> None:
    inputs = example(300, scale=scale)
    expected, expected_gradients = value_and_gradients(step_by_step, inputs)
    typed = {name: tensor.float() for name, tensor in inputs.items()}
    found, gradients = value_and_gradients(ssd, typed)
    assert relative(found, expected) < 1e-2
    for name in NAMES:
        assert bool(gradients[name].isfinite().all()), name
        # At a thousand times nothing outlives a sample, and the gradient of A is nearly zero.
        assert relative(gradients[name], expected_gradients[name]) < tolerance, name


@examples(20)
@given(length=st.integers(1, 40), chunk=st.integers(1, 17), seed=st.integers(0, 5))
def test_chunk_size_changes_nothing(length: int, chunk: int, seed: int) -> None:
    inputs = example(length, seed=seed)
    expected = step_by_step(**inputs)
    assert relative(chunked(inputs, chunk), expected) < 1e-10


def test_gradients_equal_finite_differences() -> None:
    inputs = [tensor.requires_grad_() for tensor in example(7).values()]

    def in_chunks_of_three(*tensors: Tensor) -> Tensor:
        return chunked(dict(zip(NAMES, tensors, strict=True)), 3)

    assert torch.autograd.gradcheck(in_chunks_of_three, inputs)


def test_autocast_does_not_reach_the_recurrence() -> None:
    inputs = {name: tensor.float() for name, tensor in example(200).items()}
    plain = chunked(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(chunked(inputs), plain)
        half = chunked(inputs | {"x": inputs["x"].bfloat16()})
    assert half.dtype is torch.bfloat16
    assert relative(half, plain.double()) < 1e-2


def test_no_sample_sees_a_later_one() -> None:
    layer = Mamba2(8, headdim=4, d_state=4).double()
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, 150, 8, dtype=torch.float64, generator=generator)
    changed = u.clone()
    changed[:, 100:] += 1.0
    with torch.no_grad():
        before, after = layer(u), layer(changed)
    assert torch.equal(before[:, :100], after[:, :100])
    assert bool((before[:, 100:] != after[:, 100:]).any(dim=-1).all())


def test_parameters_are_those_of_mamba_ssm() -> None:
    d_model, d_state, headdim = 32, 16, 8
    inner, heads = 64, 8
    expected = {
        "dt_bias": (heads,),
        "A_log": (heads,),
        "D": (heads,),
        "in_proj.weight": (2 * inner + 2 * d_state + heads, d_model),
        "conv1d.weight": (inner + 2 * d_state, 1, 4),
        "conv1d.bias": (inner + 2 * d_state,),
        "norm.weight": (inner,),
        "out_proj.weight": (d_model, inner),
    }
    layer = Mamba2(d_model, d_state=d_state, headdim=headdim)
    found = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert list(found.items()) == list(expected.items())
    unweighted = {n for n, p in layer.named_parameters() if getattr(p, NO_WEIGHT_DECAY, False)}
    assert unweighted == {"dt_bias", "A_log", "D"}


def test_initial_steps_and_decays_lie_in_their_ranges() -> None:
    torch.manual_seed(0)
    layer = Mamba2(512, headdim=2)
    dt = functional.softplus(layer.dt_bias.detach().double())
    assert 0.001 * 0.999 < float(dt.min()) < 0.0012
    assert 0.085 < float(dt.max()) < 0.1 * 1.001
    assert abs(float(dt.log().mean()) - np.log(0.01)) < 0.15
    A = layer.A_log.detach().exp()
    assert 1 <= float(A.min()) < 1.2
    assert 15.8 < float(A.max()) <= 16


def test_layer_equals_its_definition_sample_by_sample() -> None:
    torch.manual_seed(1)
    layer = Mamba2(6, d_state=3, headdim=4).double()
    u = torch.randn(2, 70, 6, dtype=torch.float64)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 1.5)
        layer.D.uniform_(-1, 1)
        z, xBC, dt = torch.split(u @ layer.in_proj.weight.T, [12, 18, 3], dim=-1)
        kernel = layer.conv1d.weight[:, 0]
        convolved = torch.zeros_like(xBC)
        for t in range(70):
            for lag in range(min(4, t + 1)):
                convolved[:, t] += kernel[:, 3 - lag] * xBC[:, t - lag]
        assert layer.conv1d.bias is not None
        convolved += layer.conv1d.bias
        convolved = convolved * torch.sigmoid(convolved)
        x, B, C = torch.split(convolved, [12, 3, 3], dim=-1)
        y = step_by_step(
            x.reshape(2, 70, 3, 4),
            torch.log1p(torch.exp(dt + layer.dt_bias)),
            -torch.exp(layer.A_log),
            B,
            C,
            layer.D,
        ).reshape(2, 70, 12)
        y = y * z * torch.sigmoid(z)
        y = y / torch.sqrt((y**2).mean(dim=-1, keepdim=True) + 1e-5) * layer.norm.weight
        expected = y @ layer.out_proj.weight.T
        assert relative(layer(u), expected) < 1e-12
        assert relative(layer.float()(u.float()), expected) < 1e-5


def test_gradients_of_a_layer_are_those_of_its_output() -> None:
    torch.manual_seed(2)
    layer = Mamba2(4, d_state=2, headdim=4).double()
    names = [name for name, _ in layer.named_parameters()]
    # Not contiguous, as the network's features are after its convolutions.
    u = torch.randn(2, 4, 5, dtype=torch.float64).transpose(1, 2).requires_grad_()

    def run(u: Tensor, *weights: Tensor) -> Tensor:
        out = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (u,))
        assert isinstance(out, Tensor)
        return out

    assert torch.autograd.gradcheck(run, (u, *layer.parameters()))


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="headdim 64"):
        Mamba2(48, headdim=64)


def test_the_gradient_of_the_chunks_grows_with_their_number_not_with_its_square() -> None:
    def elements_made(length: int) -> int:
        made = 0

        class Counting(TorchDispatchMode):
            def __init__(self) -> None:
                TorchDispatchMode.__init__(self)

            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                nonlocal made
                out = func(*args, **(kwargs or {}))
                if isinstance(out, Tensor):
                    made += out.numel()
                return out

        x, B, C = (torch.randn(1, length, *shape) for shape in ((2, 4), (3,), (3,)))
        dt, A = torch.rand(1, length, 2), -torch.ones(2)
        y = ssd(x.requires_grad_(), dt, A, B, C, None, 4)
        with Counting():
            torch.autograd.backward(y.sum())
        return made

    few, many = elements_made(80), elements_made(320)
    assert few < many < 4.5 * few


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_a_running_sum_by_additions_alone(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = -torch.rand(3, 5, length, generator=generator)
    exact = x.double().cumsum(-1)
    # Six additions at most, each right to half a unit of the last of 24 bits.
    wrong = (running_sum_by_doubling(x).double() - exact).abs()
    assert bool((wrong <= 6 * 2.0**-24 * exact.abs()).all())
    leaf = x.double().requires_grad_()
    assert torch.autograd.gradcheck(running_sum_by_doubling, leaf)
