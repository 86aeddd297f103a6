"""The examination: facts about this machine, the problems they mean, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.index_file import index_path
from brainbrr_core.corpus.split_report import lacking_seizures, splits_without_seizures
from brainbrr_core.corpus.summary import none_usable
from brainbrr_core.doctor.choices import (
    Choice,
    build_choices,
    demo_choice,
    reasons_choice,
    splits_choice,
    train_choice,
)
from brainbrr_core.doctor.estimate import (
    Extent,
    find_edfs,
    indexed_extent,
    measured_speed,
    recorded_speed,
    sampled_extent,
)
from brainbrr_core.doctor.facts import (
    Cache,
    Data,
    Graphics,
    Machine,
    cache_facts,
    data_facts,
    machine_facts,
    software_versions,
)
from brainbrr_core.doctor.problems import (
    cache_problems,
    data_problems,
    file_system_problems,
    gpu_problems,
    index_problems,
    machine_problems,
    power_line_problems,
)
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import file_system
from brainbrr_core.machine.software import gpus, torch_cuda
from brainbrr_core.remote.address import redact

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True)
class Examination:
    """The facts, a line for each problem that says how to fix it, and the choices."""

    machine: Machine
    #: Installed versions by package; None for a package that is not installed.
    software: dict[str, str | None]
    gpu: Graphics
    data: Data
    cache: Cache
    warnings: tuple[str, ...]
    choices: tuple[Choice, ...]
    #: Whether the cache of the profile is built and fresh.
    ready: bool

    def values(self) -> dict[str, JsonValue]:
        """Everything, as ``--json`` prints it."""
        return asdict(self) | {"cache": self.cache.values()}


def examine(configuration: Configuration, *, look_only: bool = False) -> Examination:
    """Examine this machine as a configuration would use it, in about two seconds.

    ``look_only`` measures nothing: neither the disk nor the time of preprocessing.
    """
    plan, trouble = _plan(configuration.cache_root, partial(plan_profile, configuration))
    sources, preprocessing = configuration.corpus_sources, configuration.preprocessing
    folders = [source.data_dir for source in sources if source.data_dir is not None]
    data_option = ""
    if folders and sources[0].named_by == "--data-dir":
        # Otherwise a variable or a file names it, and the next command reads that, too.
        data_option = f" --data-dir {shlex.quote(redact(folders[0]))}"
    store = Store.derived(configuration.cache_root, configuration.preprocessing)
    basis = "measured on one recording, without the time to write it"
    if plan is not None:
        extent: Extent | None = indexed_extent(plan.montage_index)
        needed: Extent | None = indexed_extent(item.recording for item in plan.to_build)
        speed = recorded_speed(store, plan.index)
        if speed is not None:
            basis = "as in earlier builds of this cache"
        elif not look_only:
            speed = _speed_of_edfs(plan, preprocessing)
    else:
        edfs, complete = _edfs_below(folders)
        extent = needed = sampled_extent(edfs, complete=complete) if edfs else None
        speed = None if look_only else measured_speed(edfs, preprocessing)
    root_file_system = file_system(configuration.cache_root)
    machine, software, gpu = (
        machine_facts(),
        software_versions(),
        Graphics(tuple(gpus()), torch_cuda()),
    )
    cache = cache_facts(
        configuration.cache_root,
        configuration.version or store.version,
        configuration.profile,
        plan,
        trouble,
        root_file_system,
        look_only=look_only,
    )
    unusable = "" if plan is None else none_usable(plan.montage_index)
    ready = plan is not None and not plan.unfit and plan.count(State.FRESH) > 0 and not unusable
    lacking = ""
    if plan is not None and ready and not configuration.corpus.split.has_folds:
        lacking = _lacking_seizures(plan, configuration.labels.seizure)
    if lacking:
        choices = [splits_choice(configuration.options), demo_choice()]
    elif ready:
        choices = [train_choice(configuration.options)]
    elif unusable:
        choices = [reasons_choice(configuration.options), demo_choice()]
    else:
        options = configuration.options
        choices = build_choices(options, data_option, bool(folders), extent, needed, speed, basis)
    return Examination(
        machine,
        software,
        gpu,
        data_facts(redact(", ".join(folders)) or None, extent),
        cache,
        (
            *cache_problems(cache, needed),
            *file_system_problems(cache.root, root_file_system, wsl=machine.wsl),
            *machine_problems(machine),
            *gpu_problems(configuration.hardware, gpu, software),
            *data_problems(sources),
            *index_problems(
                plan, sources, configuration.cache_root, configuration.options + data_option
            ),
            *([f"{unusable}: nothing of this corpus can be trained on"] if unusable else []),
            *([lacking] if lacking else []),
            *power_line_problems(plan, configuration.preprocessing.notch_hz),
        ),
        tuple(choices),
        ready,
    )


def _plan(cache_root: Path, make: Callable[[], Plan]) -> tuple[Plan | None, str]:
    """The plan that ``make`` gives, or None with the reason why there is none."""
    if not index_path(cache_root).is_file():
        return None, "no index yet"
    try:
        return make(), ""
    except BrainbrrError as error:
        return None, str(error)


def _lacking_seizures(plan: Plan, labels: tuple[str, ...]) -> str:
    """What to do where train or dev has no seizure, without which nothing can be trained."""
    if {"train", "dev"}.isdisjoint(splits_without_seizures(plan.montage_index, labels)):
        return ""
    return lacking_seizures(plan.montage_index, labels)


def _speed_of_edfs(plan: Plan, preprocessing: Preprocessing) -> float | None:
    """Seconds of EEG that one process preprocesses in a second, measured on what is to be built."""
    edfs = {
        Path(item.recording.path): item.recording.state.size
        for item in plan.to_build
        if Path(item.recording.path).is_file()
    }
    return measured_speed(edfs, preprocessing)


def _edfs_below(folders: Sequence[str]) -> tuple[dict[Path, int], bool]:
    """The EDFs of corpora on this machine with their bytes, and whether these are all."""
    edfs: dict[Path, int] = {}
    complete = True
    for folder in folders:
        if "://" not in folder and Path(folder).is_dir():
            own, all_of_it = find_edfs(Path(folder))
            edfs |= own
            complete &= all_of_it
    return edfs, complete
