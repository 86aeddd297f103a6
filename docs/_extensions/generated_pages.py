"""Pages with generated text: the commands, the settings, and files of the repository.

The page in docs/ says in a sentence what it is about and can be read as it is. The generated text
is added when the site is built, so that the reference always agrees with the program.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from inspect import cleandoc, get_annotations
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
CONFIGS = ROOT / "configs"
#: The files of ``configs`` that say which recordings, and how long a training; others are devices.
PROFILES = ("smoke", "dev", "full", "pretrained")
#: Suffixes of files that a page shows.
PICTURES = {".png", ".svg"}
#: Pages that are files of the repository, by the name of the page.
REPOSITORY_PAGES = {
    "changelog": "CHANGELOG.md",
    "conduct": "CODE_OF_CONDUCT.md",
    "contributing": "CONTRIBUTING.md",
    "deployment": "configs/deploy/celery/README.md",
    "security": "SECURITY.md",
    "training-machines": "configs/deploy/README.md",
}


def command_reference() -> str:
    """Every command with its arguments and options, as Markdown, from the program itself."""
    import typer

    from brainbrr_core.cli.app import app

    program = typer.main.get_command(app)
    return "\n".join(_of_command(program, "brainbrr", None))


def _of_command(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield from (f"## {name}", "", _plain(cleandoc(command.help or "")), "")
    # Only what Typer and Click have had in all releases is asked for.
    listed = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    records = [(each, each.get_help_record(context)) for each in listed if each.name != "help"]
    arguments = [each for each, _ in records if each.param_type_name == "argument"]
    children = getattr(command, "commands", {})
    # A group is a command where it has options of its own.
    if records or not children:
        yield from ("```", " ".join([name, "[OPTIONS]", *map(_usage, arguments)]), "```", "")
    for each, (term, meaning) in records:
        if each in arguments:
            term = each.metavar or each.name.upper()
        # Of an option that may be repeated, each time takes one value.
        term = re.sub(r"<list\[(.+)\]>", r"<\1>", term)
        yield from (f"`{term}`", f": {_sentence(meaning)}", "")
    for child in children:
        yield from _of_command(children[child], f"{name} {child}", context)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _sentence(meaning: str) -> str:
    """The help of an option, and in parentheses what the program adds, such as its default."""
    text, _, added = meaning.partition("  [")
    facts = [
        fact.replace("x>=", "at least ").replace("x<=", "at most ").replace("default: ", "default ")
        for fact in added.removesuffix("]").split("; ")
        if fact
    ]
    text = _plain(text)
    if text and text[-1] not in ".:":
        text += "."
    return f"{text} {'; '.join(map(_plain, facts)).capitalize()}." if facts else text


def setting_reference() -> str:
    """Every setting with its values, its default and its meaning, as Markdown."""
    from brainbrr_core.configuration import Configuration

    schema = Configuration.model_json_schema()
    sections: list[tuple[str, type[BaseModel]]] = [("", Configuration)]
    lines = [line for name, model in sections for line in _of_model(name, model, schema)]
    for title, names in (("Profiles", PROFILES), ("Devices", _devices())):
        lines += ["", f"## {title}", ""]
        for name in names:
            text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
            lines += [f"`{name}`:", "", "```yaml", text.rstrip(), "```", ""]
    return "\n".join(lines)


def _devices() -> list[str]:
    return sorted({path.stem for path in CONFIGS.glob("*.yaml")} - set(PROFILES))


def _of_model(name: str, model: type[BaseModel], schema: dict[str, Any]) -> Iterator[str]:
    """The settings of a model, those of its sections after its own."""
    properties = (schema["$defs"][model.__name__] if name else schema)["properties"]
    if name:
        yield from (f"## {name}", "", _plain(cleandoc(model.__doc__ or "")), "")
    sections = []
    for field, info in model.model_fields.items():
        key = f"{name}.{field}" if name else field
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            sections.append((key, info.annotation))
            continue
        default = "see [Configuration](configuration.md)"
        if not info.is_required():
            default = f"`{_yaml(info.get_default())}`"
        # What Python calls None is null in a file.
        meaning = re.sub(r"\bNone\b", "`null`", _plain(described(model, field)))
        yield from (f"`{key}`", f": {meaning}", "")
        values = _values(properties[field], schema["$defs"])
        yield from (f"  Values: {values}. Default: {default}.", "")
    for key, section in sections:
        yield from _of_model(key, section, schema)


def described(model: type[BaseModel], field: str) -> str:
    """The comment ``#:`` of a setting, from the class that declares it; empty without one."""
    for declaring in model.__mro__:
        if field in get_annotations(declaring):
            comments = ModuleAnalyzer.for_module(declaring.__module__).find_attr_docs()
            return " ".join(comments.get((declaring.__qualname__, field), ())).strip()
    raise KeyError(field)


def _values(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Which values a setting takes, in words, from its JSON schema."""
    if "$ref" in schema:
        keys = definitions[schema["$ref"].rpartition("/")[2]]["properties"]
        return "mappings with some of the keys " + ", ".join(f"`{key}`" for key in keys)
    if "anyOf" in schema:
        return _alternatives([_values(each, definitions) for each in schema["anyOf"]])
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        return _alternatives([f"`{_yaml(choice)}`" for choice in choices])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return " and ".join(_values(each, definitions) for each in schema["prefixItems"])
        return f"a list of {_values(schema['items'], definitions)}"
    words = {
        "null": "`null`",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true` or `false`",
        "object": "a mapping of names to values",
    }
    limits = [
        f"{word} {schema[key]:g}"
        for key, word in (
            ("exclusiveMinimum", "above"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "below"),
            ("maximum", "at most"),
            ("multipleOf", "a multiple of"),
        )
        if key in schema
    ]
    return ", ".join([words[str(kind)], *limits])


def _alternatives(values: list[str]) -> str:
    return " or ".join([", ".join(values[:-1]), values[-1]] if values[1:] else values)


def _yaml(value: Any) -> str:
    """A value as it is written in a configuration file."""
    return json.dumps(value, ensure_ascii=False, default=str).strip('"') or '""'


def _plain(text: str) -> str:
    """A docstring as Markdown: its code and references are code, and nothing else is markup."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    outside_code = re.split(r"(`[^`]*`)", text)
    return "".join(
        each if each.startswith("`") else re.sub(r"([*<>\[\]])", r"\\\1", each)
        for each in outside_code
    )


def repository_page(name: str) -> str:
    """A Markdown file of the repository as a page of the site."""
    path = ROOT / REPOSITORY_PAGES[name]
    return linked(path.read_text(encoding="utf-8"), path.parent)


def linked(text: str, folder: Path) -> str:
    """Markdown of a file in ``folder``, with its links as they have to be in docs/.

    A link to a page of the site leads to that page, and a link to another file of the repository
    downloads it.
    """
    pages = {(ROOT / file).resolve(): page for page, file in REPOSITORY_PAGES.items()}

    def link(match: re.Match[str]) -> str:
        path, mark, anchor = match[1].partition("#")
        file = (folder / path).resolve()
        if not path or re.match(r"[a-z]+:", path) or not file.exists():
            return match[0]
        if file in pages:
            return f"]({pages[file]}.md{mark}{anchor})"
        if file.parent == DOCS / "examples":
            return f"](gallery/{'index' if file.stem == 'GALLERY_HEADER' else file.stem}.rst)"
        if file.suffix == ".md" and file.is_relative_to(DOCS):
            return f"]({file.relative_to(DOCS)}{mark}{anchor})"
        relative = os.path.relpath(file, DOCS)
        # A picture is shown, not downloaded.
        return f"]({relative})" if file.suffix in PICTURES else f"](path:{relative})"

    return re.sub(r"\]\(([^)\s]+)\)", link, text)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    if name in REPOSITORY_PAGES:
        app.env.note_dependency(str(ROOT / REPOSITORY_PAGES[name]))
        source[0] = repository_page(name)
    elif name in GENERATED:
        # Read in every build, since it depends on more than one file.
        app.env.note_reread()
        source[0] += f"\n{GENERATED[name]()}"
    elif "/" not in name:
        source[0] = linked(source[0], DOCS)


GENERATED = {"commands": command_reference, "settings": setting_reference}


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
