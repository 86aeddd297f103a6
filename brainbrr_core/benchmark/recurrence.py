"""Speed of the chunked recurrence, compared with a loop over samples and with another library."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.benchmark.result import Figures
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.mamba2 import Mamba2
from brainbrr_core.model.ssd import ssd

#: One layer of the base preset on a window of 60 s.
D_MODEL, HEADDIM, STATE, LENGTH = 512, 64, 16, 960
REPEATS = 3
_OTHER_CHUNKS = (64, 256)


def naive(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The recurrence as it is defined, one sample at a time. Shapes as in :func:`ssd`."""
    state = x.new_zeros(x.shape[0], x.shape[2], x.shape[3], B.shape[2])
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        added = (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, None, None]
        state = decay * state + added
        outputs.append((state @ C[:, t, None, :, None])[..., 0] + D[:, None] * x[:, t])
    return torch.stack(outputs, dim=1)


class RecurrenceTimes(Figures):
    """Milliseconds of forward and backward passes, and their ratios."""

    length: int
    batch: int
    ms: dict[str, float]
    naive_over_chunked: float
    #: Only where transformers is installed.
    transformers_over_ours: float | None = None
    transformers_largest_difference: float | None = None

    def remarks(self) -> list[str]:
        """The ratios."""
        lines = [f"naive scan / chunked ssd: {self.naive_over_chunked:.1f}"]
        if self.transformers_over_ours is not None:
            lines.append(
                f"transformers' layer / ours: {self.transformers_over_ours:.2f} (outputs "
                f"differ by {self.transformers_largest_difference:.1e} at most)"
            )
        return lines


def compare(batch: int = 1) -> RecurrenceTimes:
    """Time forward and backward passes of the recurrence alone, and of whole layers.

    The other library is transformers' Mamba-2 in torch, where it is installed, at the better of
    two chunk lengths and with the same weights; its output is compared, too.
    """
    generator = torch.Generator().manual_seed(0)
    heads = 2 * D_MODEL // HEADDIM
    x = torch.randn(batch, LENGTH, heads, HEADDIM, generator=generator)
    dt = functional.softplus(torch.randn(batch, LENGTH, heads, generator=generator) - 4)
    A = -(1 + 15 * torch.rand(heads, generator=generator))
    B, C = (torch.randn(batch, LENGTH, STATE, generator=generator) for _ in range(2))
    D = torch.ones(heads)
    for tensor in (x, dt, A, B, C, D):
        tensor.requires_grad_()
    u = torch.randn(batch, LENGTH, D_MODEL, generator=generator).requires_grad_()
    ours = Mamba2(D_MODEL, STATE, headdim=HEADDIM)
    tasks: dict[str, Callable[[], Tensor]] = {
        "naive scan": lambda: naive(x, dt, A, B, C, D),
        "chunked ssd": lambda: ssd(x, dt, A, B, C, D),
        "layer": lambda: ours(u),
    }
    others = _transformers_layers(ours)
    for chunk, layer in others.items():
        tasks[f"transformers layer, chunk {chunk}"] = _call(layer, u)
    times = _times(tasks)
    figures = RecurrenceTimes(
        length=LENGTH,
        batch=batch,
        ms={name: round(seconds * 1e3, 1) for name, seconds in times.items()},
        naive_over_chunked=round(times["naive scan"] / times["chunked ssd"], 2),
    )
    if not others:
        return figures
    theirs = min(seconds for name, seconds in times.items() if "transformers" in name)
    with torch.no_grad():
        difference = max(float((layer(u) - ours(u)).abs().max()) for layer in others.values())
    return figures.model_copy(
        update={
            "transformers_over_ours": round(theirs / times["layer"], 2),
            "transformers_largest_difference": difference,
        }
    )


def _call(layer: nn.Module, u: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        out: Tensor = layer(u)
        return out

    return run


def _times(tasks: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    """The shortest time of each task in some rounds, in which the tasks take turns."""
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(REPEATS + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            torch.autograd.backward(task().square().mean())
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _transformers_layers(ours: Mamba2) -> dict[int, nn.Module]:
    """Transformers' layer with our weights, by chunk length; empty where it is not installed."""
    try:
        module = importlib.import_module("transformers.models.mamba2.modeling_mamba2")
        transformers = importlib.import_module("transformers")
    except ImportError:
        return {}
    layers: dict[int, nn.Module] = {}
    for chunk in _OTHER_CHUNKS:
        config = transformers.Mamba2Config(
            hidden_size=D_MODEL,
            state_size=STATE,
            num_heads=ours.heads,
            head_dim=HEADDIM,
            expand=2,
            n_groups=1,
            conv_kernel=ours.d_conv,
            chunk_size=chunk,
            use_bias=False,
            use_conv_bias=True,
        )
        layer: nn.Module = module.Mamba2Mixer(config, layer_idx=0)
        try:
            layer.load_state_dict(ours.state_dict())
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BrainbrrError(
                f"the installed transformers has another Mamba-2 ({reason}): install the "
                "release of brainbrr[bench], or uninstall it"
            ) from None
        layers[chunk] = layer
    return layers
