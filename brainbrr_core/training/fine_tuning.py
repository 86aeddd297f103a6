"""A training that begins with the weights of another one."""

from __future__ import annotations

from torch import nn

from brainbrr_core.configuration import Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AnyNetwork, SeizureNetwork
from brainbrr_core.runs.run import open_model
from brainbrr_core.runs.starting_point import StartingPoint


def begin_with(network: AnyNetwork, start: StartingPoint, model: Model, version: str) -> None:
    """Give a network the weights of a run or an exported model.

    ``model`` and ``version`` are the settings of the network and the preprocessing version of the
    training. Raises :class:`BrainbrrError` where network or montage are others, and where the
    weights are damaged.
    """
    start.check(model, version)
    state = open_model(start.directory).load_network("torch").state_dict()
    try:
        network.load_state_dict(state)
    except RuntimeError:
        # A network that is built for the length of its windows.
        raise BrainbrrError(
            f"training.start_from: the weights of {start.directory} do not fit this network: set "
            f"windows.length_s: {start.record.identity.windows.length_s}, as in that run"
        ) from None


def freeze_encoder(network: AnyNetwork) -> None:
    """Leave the encoder of a network as it is, with its statistics, in whatever trains it.

    Raises :class:`BrainbrrError` for a network without an encoder.
    """
    if isinstance(network, SeizureNetwork):
        # Nothing in it is different in training.
        network.down.requires_grad_(False)
        return
    encoder: object = getattr(network.network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise BrainbrrError(
            f"training.freeze: the network {network.name} has no encoder: leave it out, or give "
            "its class an attribute encoder"
        )
    network.freeze(encoder)


def starting_sentence(start: StartingPoint, network: nn.Module) -> str:
    """What a training begins with, and how much of it is trained, for the log."""
    parameters = list(network.parameters())
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    return (
        f"begins with the weights of {start.directory.name} ({start.checksum[:12]}); "
        f"{trained:,} of {sum(one.numel() for one in parameters):,} parameters are trained"
    )
