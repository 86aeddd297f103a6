"""How commands print: results on standard output, remarks about the work on standard error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import typer

from brainbrr_core.display.counts import count as count

if TYPE_CHECKING:
    from brainbrr_core.evaluation.results import Estimate

#: How many names of a longer list are printed.
_SHOWN = 5

#: What JSON can hold.
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def log(line: str) -> None:
    """Print a remark about the work on standard error."""
    typer.echo(line, err=True)


def ignore(_line: str) -> None:
    """A log that drops what it is given."""


def print_json(value: Json) -> None:
    """Print JSON on one line; a figure that is undefined (NaN) becomes null."""
    print(json.dumps(_without_nan(value), allow_nan=False))


def _without_nan(value: Json) -> Json:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _without_nan(below) for key, below in value.items()}
    if isinstance(value, Sequence):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def print_first(names: Sequence[str], rest: str) -> None:
    """Print the first of many names, indented, and ``rest``, which says how to see the others."""
    for name in names[:_SHOWN]:
        print(f"  {name}")
    if len(names) > _SHOWN:
        print(f"  and {len(names) - _SHOWN:,} more: {rest}")


def estimate_text(estimate: Estimate, digits: int) -> str:
    """A figure with its interval in brackets; a dash where it is undefined."""
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:,.{digits}f} {estimate.bracketed(digits)}"
