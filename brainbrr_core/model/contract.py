"""What a network must do to be trained and used here, and what is done for it.

A class takes ``(channels, samples, rate, **options)`` and gives logits of windows (batch, channels,
samples): one for each sample, one for each of some equal steps, or one for the whole window. The
losses, the stitching of windows and the scores want one for each sample, which
:class:`AdaptedNetwork` makes of them.
"""

from __future__ import annotations

import traceback
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from brainbrr_core.errors import BrainbrrError

#: What a class may declare in its attribute ``resolution``: of what one logit is.
Resolution = Literal["sample", "step", "window"]
#: Windows of the batch that a network is tried on.
_TRIED = 2


class AdaptedNetwork(nn.Module):
    """A network of any resolution, as one that gives a logit for each sample.

    A logit of a step holds for each of the step's samples, that of a window for the whole window.

    Parameters
    ----------
    network : torch.nn.Module
        Takes signals (batch, channels, samples) and gives logits (batch, steps), where steps
        divide the window evenly, or one logit per window as (batch,) or (batch, 1). What its
        attribute ``resolution`` declares, if it has one, must hold.
    name : str
        What the configuration calls it, for messages.
    channels, samples : int
        The shape of a window.
    """

    def __init__(self, network: nn.Module, name: str, channels: int, samples: int) -> None:
        super().__init__()
        self.network = network
        self.name, self.channels, self.samples = name, channels, samples
        # Not as an attribute of its own, which would have its weights twice.
        self._frozen: tuple[nn.Module, ...] = ()

    def freeze(self, part: nn.Module) -> None:
        """Leave a part of the network as it is: its weights, statistics of norms, and no dropout.

        The part stays in evaluation mode, whatever mode the network is set to.
        """
        part.requires_grad_(False)
        self._frozen = (*self._frozen, part)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which a frozen part is not, or evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    @property
    def declared(self) -> str | None:
        """The resolution that the network declares; None where it declares none."""
        return getattr(self.network, "resolution", None)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of windows.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, samples)
            Signals in standard deviations, channels in the order of the montage.

        Returns
        -------
        Tensor, shape (batch, samples)
            Logit of seizure for each sample.

        Raises
        ------
        ValueError
            For signals of another shape, and where the network's output is none of the above.
        """
        if x.dim() != 3 or x.shape[1:] != (self.channels, self.samples):
            raise ValueError(
                f"expected (batch, {self.channels}, {self.samples}), got {tuple(x.shape)}: "
                f"{self.name} takes windows of the length that it was built for"
            )
        logits: Tensor = self.network(x)
        steps = self._steps(logits, x.shape[0])
        by_step = logits.reshape(x.shape[0], steps)
        if steps == self.samples:
            return by_step
        return by_step[..., None].expand(-1, -1, self.samples // steps).flatten(1)

    def _steps(self, logits: Tensor, batch: int) -> int:
        """Logits of a window. Raises ``ValueError`` where they are not those of even steps."""
        if not isinstance(logits, Tensor):
            raise ValueError(f"it gives {type(logits).__name__}, not a tensor")
        shape = tuple(logits.shape)
        steps = 1 if shape == (batch,) else shape[1] if len(shape) == 2 else 0
        if shape[:1] != (batch,) or not steps or self.samples % steps:
            raise ValueError(
                f"it gives {shape} for {batch} windows of {self.samples} samples: give one logit "
                f"per sample ({batch}, {self.samples}), per step ({batch}, a number that divides "
                f"{self.samples}), or per window ({batch},)"
            )
        measured = "window" if steps == 1 else "sample" if steps == self.samples else "step"
        if self.declared not in (None, measured):
            raise ValueError(
                f"it declares resolution {self.declared!r} and gives {shape} for {batch} windows, "
                f"one logit per {measured}"
            )
        return steps


def check_on_one_batch(network: AdaptedNetwork) -> None:
    """Try a network on one batch of noise: once as it is used, and twice as it is trained.

    Afterwards its weights and torch's random state are those of before.

    Parameters
    ----------
    network : AdaptedNetwork
        The network, on the CPU and in training mode.

    Raises
    ------
    BrainbrrError
        In one line, where its output has another shape or is not finite, where it fails, where
        nothing in it can be trained, and where it keeps a state that no checkpoint can have.
    """
    about = f"model.network {network.name}"
    if network.declared not in (None, *get_args(Resolution)):
        raise BrainbrrError(
            f"{about} declares resolution {network.declared!r}: write sample, step or window"
        )
    signals = torch.randn(
        _TRIED,
        network.channels,
        network.samples,
        generator=torch.Generator().manual_seed(0),
    )
    buffers = dict(network.named_buffers())
    before = {name: value.clone() for name, value in buffers.items()}
    # What is in training mode changes statistics with each batch that it sees.
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            logits = network(signals)
    # It is somebody's own code, which may raise anything.
    except Exception as error:
        raise BrainbrrError(
            f"{about} fails on a batch {tuple(signals.shape)}: {described(error)}"
        ) from error
    finally:
        network.train()
    if not logits.is_floating_point():
        raise BrainbrrError(f"{about} gives {logits.dtype}: logits are floating-point numbers")
    if not bool(logits.isfinite().all()):
        share = float((~logits.isfinite()).float().mean())
        raise BrainbrrError(
            f"{about} gives NaN or infinity for {share:.0%} of the samples of a batch of noise: "
            "give finite logits"
        )
    if not logits.requires_grad:
        raise BrainbrrError(
            f"{about} cannot be trained: no parameter that requires a gradient reaches its logits "
            "(detach, no_grad or numpy in its forward?)"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            _train_twice(network, signals)
    # As above.
    except Exception as error:
        raise BrainbrrError(
            f"{about} fails in training on a batch {tuple(signals.shape)}, twice the same: "
            f"{described(error)}"
        ) from error
    now = dict(network.named_buffers())
    for name in sorted(buffers.keys() | now.keys()):
        if now.get(name) is not buffers.get(name):
            raise BrainbrrError(
                f"{about} has another tensor as its buffer {name.removeprefix('network.')} after "
                "a batch, which no checkpoint and no average of the weights would have: change it "
                "in place, with copy_"
            )
    with torch.no_grad():
        for name, value in before.items():
            buffers[name].copy_(value)


def _train_twice(network: AdaptedNetwork, signals: Tensor) -> None:
    """Two forward and backward passes, whose gradients nobody gets."""
    parameters = [each for each in network.parameters() if each.requires_grad]
    for _ in range(2):
        logits = network(signals)
        torch.autograd.grad(logits.sum(), parameters, allow_unused=True)


def described(error: Exception) -> str:
    """What somebody's own code has raised, and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    # Where they called a library wrongly says more than where in the library that was noticed.
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not frame.filename.startswith("<frozen")
    ]
    last = (own or frames)[-1]
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and frames[-1].filename == __file__:
        return text
    return f"{type(error).__name__}: {text} ({last.filename}, line {last.lineno})"
