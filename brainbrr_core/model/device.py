"""The device a training is bound to: is it there, and is it the right one?"""

from __future__ import annotations

import platform

import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError

#: Bytes in one GB of ``hardware.memory_gb``.
GB = 1e9


def check_device(hardware: Hardware, card: int = 0) -> torch.device:
    """The device that ``hardware`` asks for, after looking at what is there.

    Raises :class:`BrainbrrError` if CUDA is missing, or if the name, memory or compute capability
    of the given card is not what ``hardware`` says. Nothing falls back to another device.
    """
    if hardware.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        raise BrainbrrError(
            f"hardware {hardware.name} needs a CUDA card and torch {torch.__version__} "
            f"(CUDA {built}) finds none: run on the card's machine, or use the cpu profile"
        )
    device = torch.device("cuda", card)
    properties = torch.cuda.get_device_properties(device)
    capability = (properties.major, properties.minor)
    found = (
        f"{properties.name} ({properties.total_memory / GB:.1f} GB, compute capability "
        f"{capability[0]}.{capability[1]})"
    )
    wanted: list[str] = []
    if hardware.card and not any(name in properties.name for name in hardware.card):
        wanted.append(f"a card named {' or '.join(hardware.card)}")
    if properties.total_memory < hardware.memory_gb * GB:
        wanted.append(f"{hardware.memory_gb:g} GB")
    asked = hardware.compute_capability
    if asked is not None and asked != capability:
        wanted.append(f"compute capability {asked[0]}.{asked[1]}")
    if wanted:
        raise BrainbrrError(
            f"hardware {hardware.name} is bound to {', '.join(wanted)} but found {found}: "
            "choose the profile of this card, or select the card with CUDA_VISIBLE_DEVICES"
        )
    if hardware.precision == "bfloat16" and capability < (8, 0):
        raise BrainbrrError(
            f"hardware {hardware.name} asks for bfloat16, which {found} lacks: "
            "set hardware.precision: float32"
        )
    return device


def describe_device(device: torch.device) -> dict[str, str]:
    """What a run's record says about the device and the software that drove it."""
    described = {"device": device.type, "torch": torch.__version__}
    if device.type != "cuda":
        described["name"] = platform.processor() or platform.machine()
        described["instructions"] = torch.backends.cpu.get_cpu_capability()
        described["threads"] = str(torch.get_num_threads())
        return described
    properties = torch.cuda.get_device_properties(device)
    described["name"] = properties.name
    described["memory_gb"] = f"{properties.total_memory / GB:.1f}"
    described["compute_capability"] = f"{properties.major}.{properties.minor}"
    described["cuda"] = torch.version.cuda or ""
    return described
