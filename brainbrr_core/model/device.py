"""The device that the network runs on: whether it is there, and whether it is the right one."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass

import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError

#: Bytes in one GB of ``hardware.memory_gb``.
GB = 1e9


def check_device(hardware: Hardware, gpu: int = 0) -> torch.device:
    """The device that ``hardware`` asks for, after checking that it is there.

    ``gpu`` is the number of the GPU as CUDA counts them. Raises :class:`BrainbrrError` if CUDA is
    missing, or if the GPU's name, memory or compute capability is not what ``hardware`` says.
    Nothing falls back to another device.
    """
    if hardware.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        raise BrainbrrError(
            f"hardware {hardware.name} needs an NVIDIA GPU and torch {torch.__version__} "
            f"(CUDA {built}) finds none: run on the GPU's machine, or use the cpu profile"
        )
    device = torch.device("cuda", gpu)
    properties = torch.cuda.get_device_properties(device)
    capability = (properties.major, properties.minor)
    present = (
        f"{properties.name} ({properties.total_memory / GB:.1f} GB, compute capability "
        f"{capability[0]}.{capability[1]})"
    )
    required: list[str] = []
    if hardware.card and not any(name in properties.name for name in hardware.card):
        required.append(f"a GPU named {' or '.join(hardware.card)}")
    if properties.total_memory < hardware.memory_gb * GB:
        required.append(f"{hardware.memory_gb:g} GB")
    wanted = hardware.compute_capability
    if wanted is not None and wanted != capability:
        required.append(f"compute capability {wanted[0]}.{wanted[1]}")
    if required:
        raise BrainbrrError(
            f"hardware {hardware.name} is bound to {', '.join(required)} but this is {present}: "
            "choose the profile of this GPU, or select the GPU with CUDA_VISIBLE_DEVICES"
        )
    if hardware.precision == "bfloat16" and capability < (8, 0):
        raise BrainbrrError(
            f"hardware {hardware.name} asks for bfloat16, which {present} lacks: "
            "set hardware.precision: float32"
        )
    return device


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """A device, and the versions of the software that drives it. Fields that do not apply are None.

    Every value is text: this is for people to read, and for reports to compare.
    """

    #: ``cpu`` or ``cuda``.
    device: str
    torch: str
    #: Of the processor or GPU.
    name: str
    #: The instruction set that torch uses on a CPU.
    instructions: str | None = None
    #: Threads that torch uses on a CPU.
    threads: str | None = None
    #: Memory of a GPU in GB.
    memory_gb: str | None = None
    compute_capability: str | None = None
    #: Version of CUDA.
    cuda: str | None = None

    def record(self) -> dict[str, str]:
        """The fields that apply, by name, as ``run.json`` has them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """The values in one line, with units."""
        parts = [self.device, self.name]
        if self.instructions is not None:
            parts.append(self.instructions)
        if self.threads is not None:
            parts.append(count(int(self.threads), "thread"))
        if self.memory_gb is not None:
            parts.append(f"{self.memory_gb} GB")
        if self.compute_capability is not None:
            parts.append(f"compute capability {self.compute_capability}")
        parts.append(f"torch {self.torch}")
        if self.cuda:
            parts.append(f"CUDA {self.cuda}")
        return ", ".join(parts)


def describe_device(device: torch.device) -> DeviceDescription:
    """Describe a device and the software that drives it."""
    if device.type != "cuda":
        return DeviceDescription(
            device.type,
            torch.__version__,
            platform.processor() or platform.machine(),
            instructions=torch.backends.cpu.get_cpu_capability(),
            threads=str(torch.get_num_threads()),
        )
    properties = torch.cuda.get_device_properties(device)
    return DeviceDescription(
        device.type,
        torch.__version__,
        properties.name,
        memory_gb=f"{properties.total_memory / GB:.1f}",
        compute_capability=f"{properties.major}.{properties.minor}",
        cuda=torch.version.cuda or "",
    )
