"""All sections, one group after another, and their results."""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.gpu.kernels import Equality, Losses, equality, losses
from brainbrr_core.benchmark.gpu.rates import Ceilings, Rates, WarmUp, machine, rates, warm_up
from brainbrr_core.benchmark.gpu.scoring import Crossing, Scoring, crossing, scoring
from brainbrr_core.benchmark.gpu.training import (
    Preparation,
    Resuming,
    Waiting,
    prepare,
    resuming,
    waiting,
)
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.machine.software import versions
from brainbrr_core.model.backend import Backend, ssm_layer
from brainbrr_core.model.device import check_device, describe_device


@dataclass(frozen=True, slots=True)
class Section:
    """A function that measures, the question that it answers, and the seconds it may take."""

    measure: Callable[[Task], Figures]
    question: str
    limit_s: float

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.measure.__name__


#: The sections of a group run at the same time. A section that times something runs alone.
GROUPS = (
    (
        Section(prepare, "A synthetic corpus, and a training on the CPU", 240),
        Section(warm_up, "Compiling", 240),
        Section(equality, "Are the fused kernels the layer in torch?", 240),
    ),
    (Section(machine, "What can the GPU do at most?", 30),),
    (Section(rates, "How fast is a step, and how much memory does it take?", 150),),
    (Section(waiting, "Does the GPU wait for data?", 120),),
    (Section(scoring, "How many hours of EEG are scored in a second?", 60),),
    (Section(resuming, "Is a killed training resumed to the same model?", 120),),
    (
        Section(crossing, "Does a network score alike on GPU and CPU?", 90),
        Section(losses, "Do both backends train alike?", 90),
    ),
)
NAMES = tuple(section.name for group in GROUPS for section in group)
#: Packages besides torch that the figures depend on.
_SOFTWARE = ("triton", "mamba-ssm", "causal-conv1d", "numpy")


class Sections(Figures):
    """The results of the sections that were done."""

    prepare: Preparation | None = None
    warm_up: WarmUp | None = None
    equality: Equality | None = None
    machine: Ceilings | None = None
    rates: Rates | None = None
    waiting: Waiting | None = None
    scoring: Scoring | None = None
    resuming: Resuming | None = None
    crossing: Crossing | None = None
    losses: Losses | None = None

    def tables(self) -> list[Table]:
        """One table for each section that was done."""
        sections = (
            self.prepare,
            self.warm_up,
            self.equality,
            self.machine,
            self.rates,
            self.waiting,
            self.scoring,
            self.resuming,
            self.crossing,
            self.losses,
        )
        return [section.table() for section in sections if section is not None]


class GpuMeasurement(Report):
    """What was measured on which device, and what was not measured and why."""

    date: str
    device: dict[str, str]
    software: dict[str, str | None]
    profile: str
    backends: tuple[Backend, ...]
    no_kernels_because: str | None
    sections: Sections
    #: Seconds that each section took.
    seconds: dict[str, float]
    #: Why a section failed.
    failed: dict[str, str]
    #: Sections for which no time was left.
    skipped: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether no section failed, the kernels are right, and trainings are repeatable."""
        equality, resuming = self.sections.equality, self.sections.resuming
        return (
            not self.failed
            and (equality is None or equality.within)
            and (resuming is None or (resuming.same_twice and resuming.same_after_a_kill))
        )

    def tables(self) -> list[Table]:
        """One table for each section that was done, and one for what was not."""
        undone = [[name, reason.splitlines()[-1]] for name, reason in self.failed.items()]
        undone += [[name, "no time was left"] for name in self.skipped]
        if self.no_kernels_because:
            undone.append(["mamba_ssm", self.no_kernels_because])
        tables = self.sections.tables()
        return [*tables, Table("Not done", ["what", "why"], undone)] if undone else tables

    def markdown(self) -> str:
        """The tables as Markdown, under a line that names the GPU, the software and the date."""
        software = {"torch": self.device["torch"], **self.software}
        packages = ", ".join(f"{name} {version}" for name, version in software.items() if version)
        lines = [f"{self.device['name']}, {self.date}: {packages}."]
        for table in self.tables():
            lines += ["", f"**{table.title}**", ""]
            lines.append("| " + " | ".join(table.columns) + " |")
            lines.append("| --- |" + " ---: |" * (len(table.columns) - 1))
            lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        return "\n".join(lines) + "\n"


def run(
    task: Task,
    *,
    sections: Sequence[str] = (),
    limit_s: float = 540.0,
    out: Path | None = None,
    log: Callable[[str], None] = print,
) -> GpuMeasurement:
    """Run sections, all by default; write the results so far to ``out`` (JSON) after each group.

    A section that fails, or exceeds its time, leaves the reason under ``failed``; sections for
    which ``limit_s`` leaves no time are named under ``skipped``. All available backends are
    measured.

    Raises :class:`BrainbrrError` for a section that does not exist, and where the configured GPU
    is not available.
    """
    unknown = [name for name in sections if name not in NAMES]
    if unknown:
        raise BrainbrrError(f"--section {unknown[0]}: use some of {', '.join(NAMES)}")
    hardware = task.configuration.hardware
    device = check_device(hardware)
    backends, missing = _backends()
    task = replace(task, backends=backends)
    begin = time.monotonic()
    results: dict[str, JsonValue] = {}
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    skipped: list[str] = []

    def left() -> float:
        return limit_s - (time.monotonic() - begin)

    def run_group(group: Sequence[Section]) -> None:
        """Start these sections at the same time, and collect their results."""
        for section in group:
            log(f"{section.name}: {section.question}")
        processes = [_Process(section, task, min(section.limit_s, left())) for section in group]
        for process in processes:
            name, answer = process.section.name, process.answer()
            seconds[name] = round(process.seconds(), 1)
            if answer.failure is None:
                results[name] = answer.result
            else:
                failed[name] = answer.failure
                log(f"{name}: {answer.failure.splitlines()[-1]}")

    def measurement() -> GpuMeasurement:
        return GpuMeasurement(
            date=datetime.now(UTC).date().isoformat(),
            device=describe_device(device).record(),
            software=versions(_SOFTWARE),
            profile=hardware.name,
            backends=backends,
            no_kernels_because=missing,
            sections=Sections.model_validate(results),
            seconds=seconds,
            failed=failed,
            skipped=tuple(skipped),
        )

    task.folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        chosen = [section for section in group if not sections or section.name in sections]
        if left() > 0:
            run_group(chosen)
        else:
            skipped += [section.name for section in chosen]
        if out is not None:
            with replacing(out) as temporary:
                text = json.dumps(measurement().as_json(), indent=1)
                temporary.write_text(text + "\n", encoding="utf-8")
    return measurement()


def _backends() -> tuple[tuple[Backend, ...], str | None]:
    """The backends of this machine, and why the kernels are not among them."""
    try:
        ssm_layer("mamba_ssm", 64, 16, 64)
    except BrainbrrError as error:
        return ("torch",), str(error)
    return ("torch", "mamba_ssm"), None


class _Answer(BaseModel):
    """What the process of a section leaves: its result, or why there is none."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    result: JsonValue = None
    failure: str | None = None


class _Process:
    """A section in its own process, which is killed if it takes too long."""

    def __init__(self, section: Section, task: Task, limit_s: float) -> None:
        self.section, self._limit_s = section, limit_s
        self._path = task.folder / f"{section.name}.json"
        self._path.unlink(missing_ok=True)
        self._begin = time.monotonic()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(section, replace(task, limit_s=limit_s), self._path)
        )
        self._process.start()

    def answer(self) -> _Answer:
        """Wait for the section's answer, no longer than its time allows."""
        self._process.join(max(0.0, self._limit_s - self.seconds()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            return _Answer(failure=f"not done within {self._limit_s:.0f} s")
        if not self._path.is_file():
            return _Answer(failure=f"its process ended with status {self._process.exitcode}")
        return _Answer.model_validate_json(self._path.read_bytes())

    def seconds(self) -> float:
        """Seconds since its start; sections of one group are waited for one after another."""
        return time.monotonic() - self._begin


def _run(section: Section, task: Task, path: Path) -> None:
    try:
        answer = _Answer(result=section.measure(task).as_json())
    except BrainbrrError as error:
        answer = _Answer(failure=str(error))
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # What torch, Triton and the kernels raise on a GPU that they do not support. It is
        # recorded, and the other sections continue.
        answer = _Answer(failure=traceback.format_exc())
    with replacing(path) as temporary:
        temporary.write_text(answer.model_dump_json(), encoding="utf-8")
