"""The group of all commands, which reports a wrong command line like any other mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from typer._click import Context


class Program(TyperGroup):
    """A group whose :class:`BrainbrrError` says what is wrong with a command line, and its help."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: object
    ) -> Context:
        """The context of the words that stand before a command's name."""
        with _usage_in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Context) -> object:
        """Run the command, whose own words are read here too."""
        with _usage_in_one_line():
            return super().invoke(ctx)


@contextmanager
def _usage_in_one_line() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        message = " ".join(error.format_message().split()).removesuffix(".")
        message = message.replace("Value error, ", "")
        if not message:
            # Typer has printed the help of a group that was given no command.
            raise typer.Exit(error.exit_code) from None
        context: Context | None = getattr(error, "ctx", None)
        path = "brainbrr" if context is None else context.command_path
        raise BrainbrrError(f"{message[0].lower()}{message[1:]}: see `{path} --help`") from None
