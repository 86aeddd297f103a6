"""Installed versions, the build of torch and the GPUs, without importing torch."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Seconds that a driver may take to say which GPUs it sees.
_TIMEOUT_S = 2.0


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Installed versions of distributions; None for those that are not installed."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built for; None for a build without CUDA.

    Read from torch's ``version.py``: importing torch would take seconds.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin).with_name("version.py")
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign):
            target: ast.expr = statement.target
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
        else:
            continue
        if isinstance(target, ast.Name) and target.id == "cuda":
            value = statement.value
            return str(value.value) if isinstance(value, ast.Constant) and value.value else None
    return None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU, with the name that its driver gives it; memory in GB."""

    name: str
    memory_gb: float
    driver: str


def gpus(command: str = "nvidia-smi") -> list[Gpu]:
    """The NVIDIA GPUs that the driver sees; none without a driver."""
    if shutil.which(command) is None:
        return []
    fields = "name,memory.total,driver_version"
    try:
        answer = subprocess.run(
            [command, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = []
    for line in answer.stdout.splitlines():
        columns = [part.strip() for part in line.split(",")]
        if len(columns) == 3 and columns[1].isdigit():
            # The driver counts in MiB.
            gpus.append(Gpu(columns[0], round(int(columns[1]) * 2**20 / 1e9, 1), columns[2]))
    return gpus
