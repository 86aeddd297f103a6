"""Networks by the name that a configuration gives them: built in, of braindecode, or one's own."""

from __future__ import annotations

import contextlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import get_type_hints

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import nn

from brainbrr_core.configuration.settings import BRAINDECODE, DEFAULT_NETWORK, Model
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.modules import look_in_current_folder
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.contract import AdaptedNetwork, described
from brainbrr_core.model.network import SeizureNetwork
from brainbrr_core.model.networks import BUILT_IN
from brainbrr_core.model.networks.braindecode import braindecode_network
from brainbrr_core.model.presets import build
from brainbrr_core.nearest import nearest

#: The first parameters of every class of a network.
_WINDOW = ("channels", "samples", "rate")
#: Parameters that ``hardware`` sets where a class has them: they change no weight.
_OF_HARDWARE = ("ssm_backend", "recompute_activations")

#: A network that is trained and used: the default one, or any other behind its adapter.
AnyNetwork = SeizureNetwork | AdaptedNetwork


def build_network(
    model: Model,
    samples: int,
    *,
    channels: int = len(CHANNELS),
    ssm_backend: Backend = "torch",
    seed: int | None = None,
    recompute_activations: bool = False,
) -> AnyNetwork:
    """Build the network of a configuration on the CPU, with initial weights.

    Parameters
    ----------
    model : Model
        Name, options and preset.
    samples : int
        Samples of a window at 256 Hz.
    channels : int
        Channels of the montage.
    ssm_backend : {"torch", "mamba_ssm"}
        What computes the state-space layers of a network that has some.
    seed : int, optional
        With a seed, the weights depend on nothing else and torch's random state does not change.
    recompute_activations : bool
        For a training with little memory, where the network can.

    Returns
    -------
    SeizureNetwork or AdaptedNetwork
        A network in training mode that maps (batch, channels, samples) to (batch, samples).

    Raises
    ------
    BrainbrrError
        Where a class or a package cannot be imported, or is no network; for an option that it does
        not have, with those that it has; and where it cannot be built.
    """
    if model.network == DEFAULT_NETWORK:
        return build(
            model.preset,
            ssm_backend,
            seed,
            channels=channels,
            recompute_activations=recompute_activations,
        )
    made_by = network_class(model.network)
    options = checked_options(made_by, model)
    parameters = inspect.signature(made_by).parameters
    hardware: dict[str, JsonValue] = {
        "ssm_backend": ssm_backend,
        "recompute_activations": recompute_activations,
    }
    if recompute_activations and "recompute_activations" not in parameters:
        raise BrainbrrError(
            f"model.network {model.network} cannot recompute activations: set "
            "hardware.recompute_activations: false, and raise hardware.accumulate for less memory"
        )
    given = {name: value for name, value in hardware.items() if name in parameters}
    with torch.random.fork_rng(devices=[]) if seed is not None else contextlib.nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        try:
            network = made_by(channels, samples, RATE, **options, **given)
        except BrainbrrError:
            raise
        # It is somebody's own code, which may raise anything.
        except Exception as error:
            reason = str(error) if model.network in BUILT_IN else described(error)
            raise BrainbrrError(
                f"model.network {model.network} cannot be built for {channels} channels, "
                f"{samples} samples at {RATE} Hz and options {model.options}: {reason}"
            ) from error
    if not isinstance(network, nn.Module):
        raise BrainbrrError(
            f"model.network {model.network} makes {type(network).__name__}, which is no "
            "torch.nn.Module: derive the class from it"
        )
    return AdaptedNetwork(network, model.network, channels, samples).train()


def can_recompute_activations(model: Model) -> bool:
    """Whether a network has ``hardware.recompute_activations``. Raises as :func:`network_class`."""
    return _takes("recompute_activations", model)


def has_state_space_layers(model: Model) -> bool:
    """Whether a network has ``hardware.ssm_backend``. Raises as :func:`network_class`."""
    return _takes("ssm_backend", model)


def _takes(parameter: str, model: Model) -> bool:
    if model.network == DEFAULT_NETWORK:
        return True
    return parameter in inspect.signature(network_class(model.network)).parameters


def network_class(name: str) -> Callable[..., object]:
    """The class that a name of a network stands for.

    Raises :class:`BrainbrrError` where it cannot be imported, or is not there.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    module_name, _, class_name = name.partition(":")
    if module_name == BRAINDECODE:
        return braindecode_network(class_name)
    look_in_current_folder()
    try:
        module = pkgutil.resolve_name(f"{module_name}:")
    # What somebody's module does on import may raise anything.
    except Exception as error:
        raise BrainbrrError(
            f"model.network is {name}, and {module_name} cannot be imported "
            f"({described(error)}): install its package, put its folder on PYTHONPATH, or run "
            "the command from that folder"
        ) from error
    found: object = getattr(module, class_name, None)
    if not callable(found):
        raise BrainbrrError(
            f"model.network is {name}, and {module_name} ({module.__file__}) has no class "
            f"{class_name}"
        )
    return found


def checked_options(made_by: Callable[..., object], model: Model) -> Mapping[str, JsonValue]:
    """The options of a network, which its class has.

    Raises :class:`BrainbrrError` for a class that does not take (channels, samples, rate), for an
    option that it does not have, and for one that it needs.
    """
    parameters = list(inspect.signature(made_by).parameters.values())
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters)
    positional = [
        each
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) < len(_WINDOW) and not any(
        each.kind is each.VAR_POSITIONAL for each in parameters
    ):
        raise BrainbrrError(
            f"model.network {model.network} takes ({', '.join(each.name for each in positional)}): "
            f"the first parameters of its class must be ({', '.join(_WINDOW)})"
        )
    named = [
        each
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        and each not in positional[: len(_WINDOW)]
        and each.name not in _OF_HARDWARE
    ]
    allowed = [each.name for each in named]
    for name in model.options:
        if name not in allowed and (not anything or name in _OF_HARDWARE):
            raise BrainbrrError(_unknown_option(model.network, name, allowed))
    for each in named:
        if each.default is each.empty and each.name not in model.options:
            raise BrainbrrError(
                f"model.network {model.network} needs the option {each.name}: set "
                f"model.options.{each.name}"
            )
    return _of_their_types(made_by, model)


def _unknown_option(network: str, name: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return f"model.options.{name}: {network} has no options"
    return (
        f"model.options.{name}: {network} has no such option, the nearest is "
        f"{nearest(name, allowed)}; it has {', '.join(allowed)}"
    )


def _of_their_types(made_by: Callable[..., object], model: Model) -> Mapping[str, JsonValue]:
    """The options, after a look at their types where the program's own classes declare them."""
    if model.network not in BUILT_IN:
        return model.options
    hints = get_type_hints(made_by.__init__)
    for name, value in model.options.items():
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise BrainbrrError(
                f"model.options.{name} is {value!r}: {error.errors()[0]['msg']}"
            ) from None
    return model.options
