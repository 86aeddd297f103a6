"""The options that several commands share, and the configuration they choose."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import ProfileName
from brainbrr_core.cli.printing import log

if TYPE_CHECKING:
    from brainbrr_core.cache.plan import Plan
    from brainbrr_core.configuration import Configuration
    from brainbrr_core.configuration.settings import ManifestSettings

Config = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Profile, device and configuration files, joined by ':', such as smoke:cpu:my.yaml; "
        "later ones override earlier ones.",
    ),
]
Profile = Annotated[
    ProfileName | None,
    typer.Option(help="Which recordings to use, instead of the profile of --config."),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="Folder or URL of the corpus (default: BRAINBRR_DATA_DIR)."
    ),
]
CacheRoot = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="Folder that holds the cache (default: BRAINBRR_CACHE_ROOT)."
    ),
]
RunsDir = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="Folder that holds the training runs (default: BRAINBRR_RUNS_DIR)."
    ),
]
CacheVersion = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION", help="Cache version to use (default: derived from the configuration)."
    ),
]
#: The setting of the option ``--fold``.
FOLD = "corpus.split.fold"
Fold = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="One fold of the cross-validation, from 1 on (see corpus.split.scheme).",
    ),
]
#: How a command describes an argument that names a run.
RUN_HELP = "Folder of a run, or its name in the runs folder"
ForRun = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Use the preprocessing that this run was trained with and, in the cache root that it "
        "was trained from, its recordings and windows.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def configuration(
    config: str | None = None,
    profile: ProfileName | None = None,
    data_dir: str | None = None,
    cache_root: str | None = None,
    runs_dir: str | None = None,
    cache_version: str | None = None,
    *,
    for_run: str | None = None,
    uses_cache: bool = True,
) -> Configuration:
    """The configuration that options, variables and files give, ``for_run`` with that run's own.

    A command that ``uses_cache`` logs which cache root it uses, and why, where nobody set one.
    """
    from brainbrr_core.configuration import Overrides, load

    settings = load(
        Overrides(
            config=config,
            profile=profile,
            data_dir=data_dir,
            cache_root=cache_root,
            runs_dir=runs_dir,
            cache_version=cache_version,
        )
    )
    if uses_cache and settings.origin.cache_root is not None:
        log(
            f"cache root {settings.cache_root} ({settings.origin.cache_root}; "
            "set BRAINBRR_CACHE_ROOT or --cache-root)"
        )
        local_cache = Path(".brainbrr", "cache")
        if local_cache.is_dir() and local_cache.absolute() != settings.cache_root:
            log(f"the cache in {local_cache} of this folder is not used: see --cache-root")
    if for_run is None:
        return settings
    from brainbrr_core.runs.own_settings import (
        was_trained_from,
        with_network_settings,
        with_own_settings,
    )
    from brainbrr_core.runs.run import open_model

    opened = open_model(run_folder(for_run, settings.runs_dir))
    if was_trained_from(opened, settings.cache_root):
        own = with_own_settings(settings, opened)
    else:
        # The recordings in another cache root are not those of its training.
        own = with_network_settings(settings, opened)
    if own.differences:
        log(own.sentence(opened))
    return own.configuration


def next_command(command: str, options: str, **given: str | None) -> None:
    """Log the command that usually follows, with the options that chose the configuration.

    ``given`` are further options of the command, by their names in Python; one that is None was
    not given.
    """
    further = "".join(
        f" --{name.replace('_', '-')} {shlex.quote(value)}"
        for name, value in given.items()
        if value is not None
    )
    log(f"next: brainbrr {command}{options}{further}")


def next_of_cache(
    plan: Plan, settings: ManifestSettings, data_dir: str | None = None, run: str | None = None
) -> None:
    """Log what a profile's cache is ready for: a build, its manifest or, with it, the training.

    ``run`` is a run that the cache is for, which is trained already.
    """
    from brainbrr_core.cache.manifest_file import manifest_state

    if plan.to_build:
        next_command("cache build", settings.options, data_dir=data_dir)
    elif manifest_state(plan, settings) != "current":
        next_command("manifest", settings.options)
    elif run is None:
        next_command("train", settings.options)
    else:
        log(f"next: brainbrr evaluate {shlex.quote(run)}")


def run_folder(run: str, runs_dir: Path) -> Path:
    """As :func:`brainbrr_core.runs.record.find_run_folder`, which is imported when it is needed."""
    from brainbrr_core.runs.record import find_run_folder

    return find_run_folder(run, runs_dir)
