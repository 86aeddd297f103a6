"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

Config = Annotated[
    str | None,
    typer.Option(help="Configuration files or names, joined by ':', later ones winning."),
]
Profile = Annotated[str | None, typer.Option(help="smoke, dev or full.")]
DataDir = Annotated[str | None, typer.Option(help="Folder that holds train, dev and eval.")]
CacheRoot = Annotated[str | None, typer.Option(help="The one cache root.")]
RunsDir = Annotated[str | None, typer.Option(help="Where training runs are kept.")]
Version = Annotated[
    str | None, typer.Option(help="An imported version, by its name; the derived one by default.")
]
#: How a command says what names a run.
RUN_HELP = "A run's folder, or its name in the runs folder."
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def configuration(
    config: str | None = None,
    profile: str | None = None,
    data_dir: str | None = None,
    cache_root: str | None = None,
    runs_dir: str | None = None,
    version: str | None = None,
    *,
    uses_cache: bool = True,
) -> Configuration:
    """The configuration that flags, variables and files give.

    A command that ``uses_cache`` says where the cache root is and why, where nobody set it.
    """
    from brainbrr_core.configuration import Overrides, load

    settings = load(
        Overrides(
            config=config,
            profile=profile,
            data_dir=data_dir,
            cache_root=cache_root,
            runs_dir=runs_dir,
            version=version,
        )
    )
    if uses_cache and settings.origin.cache_root is not None:
        log(
            f"cache root {settings.cache_root} ({settings.origin.cache_root}; "
            "set BRAINBRR_CACHE_ROOT or --cache-root)"
        )
        here = Path(".brainbrr", "cache")
        if here.is_dir() and here.absolute() != settings.cache_root:
            log(f"the cache in {here} of this folder is not used: see --cache-root")
    return settings


def run_folder(run: str, runs_dir: Path) -> Path:
    """A run by its folder, or by its name in the runs folder.

    Raises :class:`BrainbrrError` where there is neither.
    """
    from brainbrr_core.errors import BrainbrrError

    for folder in (Path(run), runs_dir / run):
        if folder.is_dir():
            return folder.resolve()
    raise BrainbrrError(f"no run {run}, neither as a folder nor in {runs_dir}: see `ls {runs_dir}`")


def log(line: str) -> None:
    """A remark beside the result, on standard error."""
    typer.echo(line, err=True)


def print_json(value: Any) -> None:
    """JSON on one line; a figure that is undefined (NaN) is null."""
    print(json.dumps(_without_nan(value), allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on standard output, figures to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        # Too long for a terminal, a cell goes on below: no figure is cut off.
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
