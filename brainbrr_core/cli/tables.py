"""Tables on standard output: a narrow terminal breaks no word and no figure of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Characters between two columns without lines, and at the beginning of a listed cell.
_GAP, _INDENT = 2, 2


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column aligned to the left and the others to the right.

    Headings and cells continue on the next line at a space. Where the terminal is too narrow for
    the longest words of the columns side by side, the table has no lines between them; where it is
    still too narrow, each row is a list of its cells with their headings.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(title, style="italic"), soft_wrap=True)
    by_column = list(zip(columns, *rows, strict=True))
    lines = 3 * len(columns) + 1
    gaps = _GAP * (len(columns) - 1)
    if widths := _widths(by_column, console.width - lines):
        _print_columns(console, columns, rows, widths, with_lines=True)
    elif widths := _widths(by_column, console.width - gaps):
        _print_columns(console, columns, rows, widths, with_lines=False)
    else:
        _print_lists(console, columns, rows)


def _widths(by_column: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Characters of each column, from its longest word on; None where these have no room."""
    from rich.cells import cell_len

    words = [
        max(cell_len(word) for cell in column for word in cell.split(" ")) for column in by_column
    ]
    whole = [max(map(cell_len, column)) for column in by_column]
    if sum(words) > room:
        return None
    widths = words
    for _ in range(room - sum(words)):
        # The column that lacks most.
        lacks = [full - width for full, width in zip(whole, widths, strict=True)]
        if max(lacks) > 0:
            widths[lacks.index(max(lacks))] += 1
    return widths


def _print_columns(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    *,
    with_lines: bool,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = (
        Table()
        if with_lines
        else Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    )
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        table.add_column(Text(column), justify="left" if number == 0 else "right", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_lists(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of a heading and its cell; those after the first are indented."""
    from rich.text import Text

    longest = max(map(len, columns)) + _INDENT
    for row in rows:
        for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
            heading = column if number == 0 else " " * _INDENT + column
            console.print(Text(f"{heading:<{longest}}{' ' * _GAP}{cell}"), soft_wrap=True)
