"""Against ``mamba_ssm``'s kernels, where there is a card and the extra ``gpu`` is installed."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from brainbrr_core.model import build
from brainbrr_core.model.backend import ssm_layer

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("mamba_ssm") is None,
    reason="needs a CUDA card and brainbrr[gpu]",
)


@pytest.mark.parametrize("length", [1, 127, 960, 3840])
@pytest.mark.parametrize(
    ("kind", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"]
)
def test_the_layer_equals_the_kernels(length: int, kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    ours = ssm_layer("torch", 256, 16, 64).cuda()
    theirs = ssm_layer("mamba_ssm", 256, 16, 64).cuda()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    u = torch.randn(2, length, 256, device="cuda")
    found = []
    for layer in (ours, theirs):
        leaf = u.clone().requires_grad_()
        with torch.autocast("cuda", dtype=kind, enabled=kind is not torch.float32):
            out = layer(leaf)
        torch.autograd.backward(out.float().square().sum())
        gradients = [leaf.grad, *(p.grad for p in layer.parameters())]
        found.append([out.detach(), *gradients])
    for mine, other in zip(*found, strict=True):
        assert mine is not None
        assert other is not None
        scale = float(other.abs().max().float().clamp_min(1e-6))
        assert float((mine.float() - other.float()).abs().max()) < tolerance * scale


def test_a_network_moves_from_one_backend_to_the_other() -> None:
    ours, theirs = build("tiny", "torch", seed=0).cuda(), build("tiny", "mamba_ssm").cuda()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 19, 15360, device="cuda")
    with torch.inference_mode():
        assert float((ours.eval()(x) - theirs.eval()(x)).abs().max()) < 1e-3
