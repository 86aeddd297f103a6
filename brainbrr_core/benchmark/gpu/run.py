"""The sections, one after the other, and what they found."""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from brainbrr_core.atomic import replacing
from brainbrr_core.benchmark.gpu.extent import FULL, SMALL, Task
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.software import versions
from brainbrr_core.model.backend import Backend
from brainbrr_core.training.hardware import check_device, describe_device


@dataclass(frozen=True, slots=True)
class Section:
    """A module's function, what it answers, and the most seconds that it may take."""

    name: str
    module: str
    question: str
    limit_s: float


_HERE = "brainbrr_core.benchmark.gpu"
SECTIONS = (
    Section("machine", "rates", "What can the GPU do at most?", 60),
    Section("warm_up", "rates", "How long does compiling take?", 120),
    Section("equality", "kernels", "Are the fused kernels the layer in torch?", 120),
    Section("rates", "rates", "How fast is a step, and how much memory does it take?", 150),
    Section("losses", "kernels", "Do both backends train alike?", 60),
)
NAMES = tuple(section.name for section in SECTIONS)
#: What the figures depend on, beside torch.
_SOFTWARE = ("triton", "mamba-ssm", "causal-conv1d", "numpy")


def run(
    configuration: Configuration,
    folder: Path,
    *,
    sections: Sequence[str] = (),
    small: bool = False,
    limit_s: float = 540.0,
    out: Path | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run sections, all by default, and keep in ``out`` (JSON) what is known after each of them.

    A section that fails, or is not done in its time, leaves the reason under ``failed``; those for
    which ``limit_s`` leaves no time are named under ``skipped``. ``folder`` takes the synthetic
    corpus and the runs. Raises :class:`BrainbrrError` for a section that does not exist, and where
    the configured GPU is not there.
    """
    unknown = [name for name in sections if name not in NAMES]
    if unknown:
        raise BrainbrrError(f"--section {unknown[0]}: use some of {', '.join(NAMES)}")
    device = check_device(configuration.hardware)
    backends, missing = _backends()
    task = Task(configuration, folder, SMALL if small else FULL, backends)
    begun = time.monotonic()
    values: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": describe_device(device),
        "software": versions(_SOFTWARE),
        "profile": configuration.hardware.name,
        "backends": list(backends),
        "no_kernels_because": missing,
        "sections": {},
        "seconds": {},
        "failed": {},
        "skipped": [],
    }
    for section in SECTIONS:
        if sections and section.name not in sections:
            continue
        left = limit_s - (time.monotonic() - begun)
        if left <= 0:
            values["skipped"].append(section.name)
            continue
        log(f"{section.name}: {section.question}")
        started = time.monotonic()
        found, failure = _in_a_process(section, task, folder, min(section.limit_s, left))
        values["seconds"][section.name] = round(time.monotonic() - started, 1)
        if failure is None:
            values["sections"][section.name] = found
        else:
            values["failed"][section.name] = failure
            log(f"{section.name}: {failure.splitlines()[-1]}")
        if out is not None:
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return values


def _backends() -> tuple[tuple[Backend, ...], str | None]:
    """The backends that this machine has, and why the kernels are not among them."""
    from brainbrr_core.model.backend import ssm_layer

    try:
        ssm_layer("mamba_ssm", 64, 16, 64)
    except BrainbrrError as error:
        return ("torch",), str(error)
    return ("torch", "mamba_ssm"), None


def _in_a_process(
    section: Section, task: Task, folder: Path, limit_s: float
) -> tuple[dict[str, Any] | None, str | None]:
    """What a section gives, or why it gives nothing."""
    path = folder / f"{section.name}.json"
    path.unlink(missing_ok=True)
    process = multiprocessing.get_context("spawn").Process(
        target=_section, args=(section, replace(task, limit_s=limit_s), path)
    )
    process.start()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        return None, f"not done within {limit_s:.0f} s"
    if not path.is_file():
        return None, f"its process ended with status {process.exitcode}"
    answer = json.loads(path.read_text(encoding="utf-8"))
    return answer["found"], answer["failure"]


def _section(section: Section, task: Task, path: Path) -> None:
    found, failure = None, None
    try:
        found = getattr(import_module(f"{_HERE}.{section.module}"), section.name)(task)
    except BrainbrrError as error:
        failure = str(error)
    # Whatever fails on a GPU: it is written down, and the other sections go on.
    except Exception:
        failure = traceback.format_exc()
    path.write_text(json.dumps({"found": found, "failure": failure}), encoding="utf-8")
