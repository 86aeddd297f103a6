"""Starting a training from the weights of another one."""

from __future__ import annotations

from torch import nn

from brainbrr_core.configuration import Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AnyNetwork, SeizureNetwork
from brainbrr_core.runs.run import open_model
from brainbrr_core.runs.starting_point import StartingPoint


def load_starting_weights(
    network: AnyNetwork, start: StartingPoint, model: Model, version: str
) -> None:
    """Load the weights of a run or an exported model into a network.

    ``model`` and ``version`` are the settings of the network and the preprocessing version of the
    training. Raises :class:`BrainbrrError` if the weights belong to another network or montage, or
    are damaged.
    """
    start.check(model, version)
    state = open_model(start.directory).load_network("torch").state_dict()
    try:
        network.load_state_dict(state)
    except RuntimeError:
        # The shapes of some networks depend on the length of their windows.
        raise BrainbrrError(
            f"training.start_from: the weights of {start.directory} do not fit this network: set "
            f"windows.length_s: {start.record.identity.windows.length_s}, as in that run"
        ) from None


def freeze_encoder(network: AnyNetwork) -> None:
    """Exclude the encoder of a network from training, with the statistics of its norms.

    Raises :class:`BrainbrrError` for a network without an encoder.
    """
    if isinstance(network, SeizureNetwork):
        # It has no dropout and no statistics, which would behave differently in training.
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
    """The starting weights of a training, and how many parameters are trained, for the log."""
    parameters = list(network.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return (
        f"starts from the weights of {start.directory.name} ({start.checksum[:12]}); "
        f"{trained:,} of {sum(parameter.numel() for parameter in parameters):,} parameters are "
        "trained"
    )
