"""``brainbrr doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    Profile,
    configuration,
    log,
    print_json,
    print_table,
)
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration
    from brainbrr_core.doctor.batch import Capacity
    from brainbrr_core.doctor.examination import Choice, Examination


_BATCH = "The batch of a training"


def doctor(
    batch: Annotated[
        bool,
        typer.Option(
            "--batch",
            help="Instead: the most windows that a training step can have at once here. On a GPU "
            "real steps are tried, which takes minutes; on a CPU their memory is counted.",
            rich_help_panel=_BATCH,
        ),
    ] = False,
    minutes: Annotated[
        list[float] | None,
        typer.Option(
            help="Length of windows for --batch, several times for several; the configured one by "
            "default.",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Say what this machine has, where it will hurt, and what to do next."""
    if batch:
        settings = configuration(config, profile, data_dir, cache_root, uses_cache=False)
        return _print_batch(settings, minutes or [], json=json)
    if minutes:
        raise BrainbrrError("--minutes says how long the windows of --batch are: add --batch")
    from brainbrr_core.doctor.examination import examine

    found = examine(configuration(config, profile, data_dir, cache_root))
    if json:
        print_json(found.values())
    else:
        print_examination(found)
    return 0 if found.ready and not found.warnings else 1


def _print_batch(settings: Configuration, minutes: list[float], *, json: bool) -> int:
    """Find out how many windows fit, and print them with the settings that follow; 1 where for
    some length none fits.
    """
    from dataclasses import asdict

    from brainbrr_core.doctor.batch import capacity

    found = capacity(settings, minutes, log)
    batch_size = settings.hardware.batch_size
    advice = {
        window_s: found.advice(window_s, batch_size)
        for window_s in dict.fromkeys(row.window_s for row in found.rows)
    }
    status = 0 if all(advice.values()) else 1
    if json:
        chosen = {"batch_size", "accumulate", "recompute_activations"}
        print_json(
            {
                "device": found.device,
                "preset": settings.model.preset,
                "free_gb": round(found.free_gb, 1),
                "rows": [asdict(row) | {"at_least": row.at_least} for row in found.rows],
                "hardware": {
                    str(window_s): None if h is None else h.model_dump(include=chosen)
                    for window_s, h in advice.items()
                },
            }
        )
        return status
    _print_capacity(settings, found)
    for window_s, hardware in advice.items():
        if hardware is None:
            print(f"windows of {window_s} s: not one fits; shorten windows.length_s")
            continue
        print(
            f"windows of {window_s} s, {batch_size} a step as configured:\n"
            f"  hardware: {{batch_size: {batch_size}, accumulate: {hardware.accumulate}, "
            f"recompute_activations: {str(hardware.recompute_activations).lower()}}}"
        )
    print("another batch_size is another training: its learning rate and steps go with it")
    return status


def _print_capacity(settings: Configuration, found: Capacity) -> None:
    hardware = settings.hardware
    tried = hardware.device != "cpu"
    how = "tried" if tried else "counted, nothing was run"
    print_table(
        f"{settings.model.preset}, {hardware.ssm_backend}, {hardware.precision}, "
        f"{found.device['name']}, {found.free_gb:.1f} GB free of which a tenth stays free ({how})",
        ["window", "activations", "windows at once", "GB", *(["windows/s"] if tried else [])],
        [
            [
                f"{row.window_s} s",
                "recomputed" if row.recompute_activations else "kept",
                f"{'at least ' if row.at_least else ''}{row.windows}",
                "" if row.memory_gb is None else f"{row.memory_gb:.1f}",
                *([f"{row.windows_per_s:.1f}" if row.windows_per_s else ""] if tried else []),
            ]
            for row in found.rows
        ],
    )


def print_examination(found: Examination) -> None:
    """The examination as text: a line for each fact, warning and choice."""
    machine, cache, data = (found.facts[name] for name in ("machine", "cache", "data"))
    software, gpu = found.facts["software"], found.facts["gpu"]
    print(
        f"machine  {machine['system']}{', WSL2' if machine['wsl'] else ''}: {_cores(machine)}, "
        f"{machine['memory_gb']} GB, {machine['open_files']} open files"
    )
    here = [f"{name} {version}" for name, version in software.items() if version]
    missing = [name for name, version in software.items() if not version]
    print(f"software {', '.join(here)}")
    if missing:
        print(f"missing  {', '.join(missing)}")
    names = [f"{card['name']} ({card['memory_gb']} GB)" for card in gpu["cards"]]
    cuda = f"for CUDA {gpu['torch_cuda']}" if gpu["torch_cuda"] else "without CUDA"
    print(f"gpu      {', '.join(names) or 'none'}; torch is built {cuda}")
    print(f"data     {_data(data)}")
    print(f"cache    {cache['root']}")
    speed = "" if cache["write_mb_s"] is None else f", {cache['write_mb_s']} MB/s written"
    print(f"         {cache['file_system']}, {cache['free_gb']} GB free{speed}")
    if cache["trouble"]:
        print(f"         {cache['version']}: {cache['trouble']}")
    else:
        print(
            f"         {cache['version']}: {cache['fresh']:,} of {cache['selected']:,} recordings "
            f"of profile {cache['profile']} are fresh, {cache['to_build']:,} to build"
        )
    for warning in found.warnings:
        print(f"warning  {warning}")
    print("what next:")
    for number, choice in enumerate(found.choices, start=1):
        print(f"  {number}. {choice.what}: {choice.command}")
        if cost := _cost(choice):
            print(f"     {cost}")


def _data(data: dict[str, object]) -> str:
    if data["data_dir"] is None and data["recordings"] is None:
        return "no data directory is set (BRAINBRR_DATA_DIR)"
    place = data["data_dir"] or "no data directory is set; the index stands for the corpus"
    if data["recordings"] is None:
        return f"{place}: no EDFs seen"
    about = "" if data["known_from"] == "index" else "about "
    return f"{place}: {data['recordings']:,} recordings, {about}{data['hours']:,} h"


def _cost(choice: Choice) -> str:
    parts = []
    if choice.hours is not None:
        minutes = choice.hours * 60
        long = f"{choice.hours:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"
        parts.append(f"about {long}")
    if choice.disk_gb is not None:
        parts.append(f"{choice.disk_gb} GB of disk")
    if choice.remark:
        parts.append(choice.remark)
    return "; ".join(parts)


def _cores(machine: dict[str, Any]) -> str:
    """The processors that this process may use, and how many workers that and memory allow."""
    cores, whole = machine["cores"], machine["machine_cores"]
    part = "" if cores == whole else f" of {whole}"
    return f"{cores}{part} cores for {machine['workers']} workers"
