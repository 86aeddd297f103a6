"""The sections, one after the other, and what they found."""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from brainbrr_core.benchmark.gpu.extent import FULL, SMALL, Task
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.machine.software import versions
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device, describe_device


@dataclass(frozen=True, slots=True)
class Section:
    """A module's function, what it answers, and the most seconds that it may take."""

    name: str
    module: str
    question: str
    limit_s: float


_HERE = "brainbrr_core.benchmark.gpu"
#: Sections that run at the same time, group after group. Where something is timed, one runs alone.
GROUPS = (
    (
        Section("prepare", "training", "A synthetic corpus, and a training on the CPU", 240),
        Section("warm_up", "rates", "Compiling", 240),
        Section("equality", "kernels", "Are the fused kernels the layer in torch?", 240),
    ),
    (Section("machine", "rates", "What can the GPU do at most?", 30),),
    (Section("rates", "rates", "How fast is a step, and how much memory does it take?", 150),),
    (Section("waiting", "training", "Does the GPU wait for data?", 120),),
    (Section("scoring", "training", "How many hours of EEG are scored in a second?", 60),),
    (Section("resuming", "training", "Is a killed training resumed to the same model?", 120),),
    (
        Section("crossing", "training", "Does a network score alike on GPU and CPU?", 90),
        Section("losses", "kernels", "Do both backends train alike?", 90),
    ),
)
NAMES = tuple(section.name for group in GROUPS for section in group)
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
        "device": describe_device(device).record(),
        "software": versions(_SOFTWARE),
        "profile": configuration.hardware.name,
        "backends": list(backends),
        "no_kernels_because": missing,
        "sections": {},
        "seconds": {},
        "failed": {},
        "skipped": [],
    }

    def left() -> float:
        return limit_s - (time.monotonic() - begun)

    def run_all(group: Sequence[Section]) -> None:
        """Start these sections at the same time, and take what they give."""
        for section in group:
            log(f"{section.name}: {section.question}")
        processes = [_Process(section, task, min(section.limit_s, left())) for section in group]
        for process in processes:
            name = process.section.name
            found, failure = process.result()
            values["seconds"][name] = round(process.seconds(), 1)
            if failure is None:
                values["sections"][name] = found
            else:
                values["failed"][name] = failure
                log(f"{name}: {failure.splitlines()[-1]}")
        if out is not None:
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        asked = [section for section in group if not sections or section.name in sections]
        if left() > 0:
            run_all(asked)
        else:
            values["skipped"] += [section.name for section in asked]
    return values


def is_right(values: Mapping[str, Any]) -> bool:
    """Whether nothing failed and nothing is wrong, however slow it is."""
    found = values["sections"]
    resumed = found.get("resuming", {"same_twice": True, "same_after_a_kill": True})
    return (
        not values["failed"]
        and found.get("equality", {"within": True})["within"]
        and resumed["same_twice"]
        and resumed["same_after_a_kill"]
    )


def _backends() -> tuple[tuple[Backend, ...], str | None]:
    """The backends that this machine has, and why the kernels are not among them."""
    from brainbrr_core.model.backend import ssm_layer

    try:
        ssm_layer("mamba_ssm", 64, 16, 64)
    except BrainbrrError as error:
        return ("torch",), str(error)
    return ("torch", "mamba_ssm"), None


class _Process:
    """A section in a process of its own, which is killed where it takes too long."""

    def __init__(self, section: Section, task: Task, limit_s: float) -> None:
        self.section, self._limit_s = section, limit_s
        self._answer = task.folder / f"{section.name}.json"
        self._answer.unlink(missing_ok=True)
        self._begun = time.monotonic()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(section, replace(task, limit_s=limit_s), self._answer)
        )
        self._process.start()

    def result(self) -> tuple[dict[str, Any] | None, str | None]:
        """What the section gives, or why it gives nothing."""
        self._process.join(max(0.0, self._limit_s - self.seconds()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            return None, f"not done within {self._limit_s:.0f} s"
        if not self._answer.is_file():
            return None, f"its process ended with status {self._process.exitcode}"
        answer = json.loads(self._answer.read_text(encoding="utf-8"))
        return answer["found"], answer["failure"]

    def seconds(self) -> float:
        """Since its start; of several at the same time, the later ones are waited for last."""
        return time.monotonic() - self._begun


def _run(section: Section, task: Task, path: Path) -> None:
    found, failure = None, None
    try:
        found = resolve_name(f"{_HERE}.{section.module}:{section.name}")(task)
    except BrainbrrError as error:
        failure = str(error)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # What torch, Triton and the kernels raise on a GPU that they do not know: it is written
        # down, and the other sections go on.
        failure = traceback.format_exc()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"found": found, "failure": failure}), encoding="utf-8")
