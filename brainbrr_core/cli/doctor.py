"""``brainbrr doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    Profile,
    configuration,
    print_json,
)

if TYPE_CHECKING:
    from brainbrr_core.doctor.examination import Choice, Examination


def doctor(
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Say what this machine has, where it will hurt, and what to do next."""
    from brainbrr_core.doctor.examination import examine

    found = examine(configuration(config, profile, data_dir, cache_root))
    if json:
        print_json(found.values())
    else:
        print_examination(found)
    return 0 if found.ready and not found.warnings else 1


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
