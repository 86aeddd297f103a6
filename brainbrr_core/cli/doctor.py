"""``brainbrr doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import ProfileName
from brainbrr_core.cli.options import CacheRoot, Config, DataDir, Json, Profile, configuration
from brainbrr_core.cli.printing import count, log, print_json
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.configuration import Hardware
    from brainbrr_core.doctor.batch import Capacity, TrainingStep
    from brainbrr_core.doctor.choices import Choice
    from brainbrr_core.doctor.examination import Examination
    from brainbrr_core.doctor.facts import Data, Machine


_BATCH = "Batch size of a training"


def doctor(
    batch: Annotated[
        bool,
        typer.Option(
            "--batch",
            help="Find the most windows that a training step can have at a time on this machine, "
            "and examine nothing else. On a GPU real steps are tried, which takes minutes; on a "
            "CPU their memory is calculated.",
            rich_help_panel=_BATCH,
        ),
    ] = False,
    minutes: Annotated[
        list[float] | None,
        typer.Option(
            metavar="MINUTES",
            help="Length of the windows for --batch; may be repeated (default: windows.length_s).",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Examine this machine: what it has, likely problems and their fixes, and what to do next.

    The exit status is 1 where there is a problem, or where the cache of the profile is not ready.
    """
    if batch:
        return _doctor_batch(config, profile, minutes or [], json=json)
    if minutes:
        raise BrainbrrError("--minutes is the length of the windows of --batch: add --batch")
    from brainbrr_core.doctor.examination import examine

    examination = examine(configuration(config, profile, data_dir, cache_root))
    if json:
        print_json(examination.values())
    else:
        print_examination(examination)
    return 0 if examination.ready and not examination.warnings else 1


def _doctor_batch(
    config: str | None, profile: ProfileName | None, minutes: list[float], *, json: bool
) -> int:
    """Print how many windows fit, and settings for them; 1 where no window of a length fits."""
    from brainbrr_core.doctor.batch import TrainingStep, capacity, window_seconds

    settings = configuration(config, profile, uses_cache=False)
    step = TrainingStep(settings.model, settings.hardware, settings.training)
    lengths_s = [window_seconds(each) for each in minutes] or [settings.windows.length_s]
    fitting = capacity(step, lengths_s, log)
    batch_size = settings.hardware.batch_size
    advice = {
        window_s: fitting.advice(window_s, batch_size)
        for window_s in dict.fromkeys(row.window_s for row in fitting.rows)
    }
    if json:
        _print_batch_json(step, fitting, advice)
    else:
        _print_capacity(step, fitting)
        _print_advice(batch_size, advice)
    return 0 if all(advice.values()) else 1


def _print_batch_json(
    step: TrainingStep, fitting: Capacity, advice: dict[int, Hardware | None]
) -> None:
    chosen = {"batch_size", "accumulate", "recompute_activations"}
    print_json(
        {
            "device": fitting.device,
            "preset": step.model.name,
            "free_gb": round(fitting.free_gb, 1),
            "rows": [asdict(row) | {"at_least": row.at_least} for row in fitting.rows],
            "hardware": {
                str(window_s): None if hardware is None else hardware.model_dump(include=chosen)
                for window_s, hardware in advice.items()
            },
        }
    )


def _print_capacity(step: TrainingStep, fitting: Capacity) -> None:
    hardware = step.hardware
    tried, name = hardware.device != "cpu", step.model.name
    how = "tried" if tried else "calculated, nothing was run"
    print_table(
        f"{name}, {hardware.ssm_backend}, {hardware.precision}, {fitting.device['name']}: "
        f"{fitting.free_gb:.1f} GB free, of which a tenth is left free ({how})",
        ["window", "activations", "windows at a time", "GB", *(["windows/s"] if tried else [])],
        [
            [
                f"{row.window_s} s",
                "recomputed" if row.recompute_activations else "kept",
                f"{'at least ' if row.at_least else ''}{row.windows}",
                "" if row.memory_gb is None else f"{row.memory_gb:.1f}",
                *([f"{row.windows_per_s:.1f}" if row.windows_per_s else ""] if tried else []),
            ]
            for row in fitting.rows
        ],
    )


def _print_advice(batch_size: int, advice: dict[int, Hardware | None]) -> None:
    for window_s, hardware in advice.items():
        if hardware is None:
            print(f"windows of {window_s} s: not even one fits: set a shorter windows.length_s")
            continue
        print(
            f"windows of {window_s} s, {batch_size} in a step as configured:\n"
            f"  hardware: {{batch_size: {batch_size}, accumulate: {hardware.accumulate}, "
            f"recompute_activations: {str(hardware.recompute_activations).lower()}}}"
        )
    print(
        "Another batch_size makes another training: adjust its learning rate and number of steps."
    )


def print_examination(examination: Examination) -> None:
    """Print the examination: a line for each fact, problem and choice."""
    machine, gpu, cache = examination.machine, examination.gpu, examination.cache
    print(
        f"machine  {machine.system}{', WSL2' if machine.wsl else ''}: {_cores(machine)}, "
        f"{machine.memory_gb} GB of memory, {machine.open_files} open files at a time"
    )
    installed = [f"{name} {version}" for name, version in examination.software.items() if version]
    missing = [name for name, version in examination.software.items() if not version]
    print(f"software {', '.join(installed)}")
    if missing:
        print(f"         not installed: {', '.join(missing)}")
    names = [f"{card.name} ({card.memory_gb} GB)" for card in gpu.cards]
    cuda = f"for CUDA {gpu.torch_cuda}" if gpu.torch_cuda else "without CUDA"
    print(f"GPU      {', '.join(names) or 'none'}; torch is built {cuda}")
    print(f"data     {_data(examination.data)}")
    print(f"cache    {cache.root}")
    speed = "" if cache.write_mb_s is None else f", {cache.write_mb_s} MB/s written"
    print(f"         {cache.file_system or 'unknown file system'}, {cache.free_gb} GB free{speed}")
    if cache.progress is None:
        print(f"         {cache.version}: {cache.trouble}")
    else:
        from brainbrr_core.cache.plan import State

        print(
            f"         {cache.version}: {cache.progress.states[State.FRESH]:,} of "
            f"{count(cache.progress.selected, 'recording')} of profile {cache.profile} fresh, "
            f"{cache.progress.to_build:,} to build"
        )
    for warning in examination.warnings:
        print(f"warning  {warning}")
    print("What to do next:")
    for number, choice in enumerate(examination.choices, start=1):
        print(f"  {number}. {choice.what}: {choice.command}")
        if cost := _cost(choice):
            print(f"     {cost}")


def _data(data: Data) -> str:
    if data.data_dir is None and data.recordings is None:
        return "no data directory is set (BRAINBRR_DATA_DIR)"
    location = data.data_dir or "no data directory is set; from the index"
    if data.recordings is None:
        return f"{location}: no EDF or BDF"
    about = "" if data.known_from == "index" else "about "
    return f"{location}: {count(data.recordings, 'recording')}, {about}{data.hours:,} h"


def _cost(choice: Choice) -> str:
    costs = []
    if choice.hours is not None:
        minutes = choice.hours * 60
        about = f"about {choice.hours:.1f} h" if minutes >= 90 else f"about {round(minutes)} min"
        costs.append(about if minutes >= 1 else "less than 1 min")
    if choice.disk_gb is not None:
        size = "less than 0.1" if choice.disk_gb < 0.05 else f"{choice.disk_gb}"
        costs.append(f"{size} GB of disk")
    if choice.remark:
        costs.append(choice.remark)
    return "; ".join(costs)


def _cores(machine: Machine) -> str:
    """The processors that this process may use, and how many workers they and memory allow."""
    of_all = "" if machine.cores == machine.machine_cores else f" of {machine.machine_cores}"
    return f"{machine.cores}{of_all} cores for {count(machine.workers, 'worker')}"
