"""The group of all commands, which reports a wrong command line like any other mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from inspect import cleandoc
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup
from typer.main import get_command_name

from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from typer._click import Command, Context


class Program(TyperGroup):
    """A group whose :class:`BrainbrrError` says what is wrong with a command line, and its help."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command with this name, whose help breaks its lines where the terminal ends."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            paragraphs = cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: object
    ) -> Context:
        """The context of the words that stand before a command's name."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except typer.TyperException as error:
            names = [] if parent is None else [parent.command_path]
            raise _in_one_line(error, " ".join([*names, info_name or "brainbrr"])) from None

    def invoke(self, ctx: Context) -> object:
        """Run the command, whose own words are read here too."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            names = [ctx.command_path, ctx.invoked_subcommand]
            raise _in_one_line(error, " ".join(filter(None, names))) from None

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """The command that the first word names; an unknown word is told the nearest commands."""
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException:
            program = ctx.find_root()
            near = _nearest(args[0], dict(_whole_names(program.command)))
            commands = " and ".join(f"`{program.command_path} {name}`" for name in near)
            hint = f", the nearest {'are' if near[1:] else 'is'} {commands}" if near else ""
            raise BrainbrrError(
                f"no such command {args[0]!r}{hint}: see `{ctx.command_path} --help`"
            ) from None


def with_one_command(program: typer.Typer, words: Sequence[str]) -> typer.Typer | None:
    """A program with no other command than the one that ``words`` begin with; None without one.

    Typer reads the signatures of all commands before it runs one, which takes as long as the work
    of a short command.
    """
    if not words:
        return None
    only = copy(program)
    only.registered_commands = [
        command
        for command in program.registered_commands
        if command.callback is not None
        and (command.name or get_command_name(command.callback.__name__)) == words[0]
    ]
    only.registered_groups = []
    if only.registered_commands:
        return only
    for group in program.registered_groups:
        if group.name == words[0] and group.typer_instance is not None:
            only_group = copy(group)
            only_group.typer_instance = with_one_command(group.typer_instance, words[1:])
            if only_group.typer_instance is not None:
                only.registered_groups = [only_group]
                return only
    return None


def _whole_names(group: Command, before: str = "") -> Iterator[tuple[str, str]]:
    """Each command below a group: all words that a user types for it, and the last of them."""
    for word, command in getattr(group, "commands", {}).items():
        yield before + word, word
        yield from _whole_names(command, f"{before}{word} ")


def _nearest(word: str, commands: dict[str, str]) -> list[str]:
    """The whole names of the commands that a word may mean."""
    same = [name for name, last in commands.items() if last == word]
    if same:
        return same
    from brainbrr_core.nearest import nearest_names

    whole = nearest_names(word, commands, only_alike=True)
    last = nearest_names(word, commands.values(), only_alike=True)
    return whole or [name for name in commands if commands[name] in last]


def _in_one_line(error: typer.TyperException, command: str) -> Exception:
    """What is raised instead of an error about the words of ``command``."""
    message = " ".join(_message(error).split()).removesuffix(".").replace("Value error, ", "")
    if not message:
        # Typer has printed the help of a group that was given no command.
        return typer.Exit(error.exit_code)
    # An option without its value has no context.
    context: Context | None = getattr(error, "ctx", None)
    path = command if context is None else context.command_path
    return BrainbrrError(f"{message[0].lower()}{message[1:]}: see `{path} --help`")


def _message(error: typer.TyperException) -> str:
    """What is wrong; an unknown option is told the nearest one, or the setting of that name."""
    context: Context | None = getattr(error, "ctx", None)
    # Only the error of an unknown option has possibilities.
    if context is None or not hasattr(error, "possibilities"):
        return error.format_message()
    unknown: str = getattr(error, "option_name", "")
    from brainbrr_core.nearest import nearest_names

    options = [name for each in context.command.params for name in each.opts if name[0] == "-"]
    if near := nearest_names(unknown, [*options, "--help"], only_alike=True):
        return f"{error.message}, the nearest is {' or '.join(near)}"
    if "--config" in options:
        from brainbrr_core.configuration.keys import keys_named_like

        if settings := keys_named_like(unknown):
            return (
                f"{error.message}, the nearest setting is {' or '.join(settings)}, which a file "
                "that --config names can set"
            )
    return error.message
