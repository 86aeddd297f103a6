"""Functions take what they need: how often the code hands on everything, or anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.project import ROOT

#: Fewer than these may be in the code of both packages.
WHOLE_CONFIGURATIONS, ANYTHING = 30, 40
#: Classes with a whole configuration: what a run makes of one, and the work of `bench gpu`, which
#: trains under many.
WITH_CONFIGURATION = {"OwnSettings", "Task"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("brainbrr_core", "brainbrr_pipeline"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def _names(annotation: ast.expr) -> set[str]:
    """The last part of each name in an annotation."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name | ast.Attribute)
    }


def _that_take_a_configuration(module: ast.Module) -> Iterator[str]:
    """Functions, once for each parameter that is a whole configuration."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                if one.annotation is not None and "Configuration" in _names(one.annotation):
                    yield node.name


def _that_have_a_configuration(module: ast.Module) -> Iterator[str]:
    """Classes, once for each field that is a whole configuration."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            for one in node.body:
                if isinstance(one, ast.AnnAssign) and "Configuration" in _names(one.annotation):
                    yield node.name


def _listed(locations: list[str]) -> str:
    return "\n".join(f"  {one}" for one in locations)


def test_few_functions_take_a_whole_configuration() -> None:
    locations = [
        f"{path}: {name}"
        for path, module in _modules()
        for name in _that_take_a_configuration(module)
    ]
    assert len(locations) < WHOLE_CONFIGURATIONS, (
        f"{len(locations)} parameters are a whole Configuration, and fewer than "
        f"{WHOLE_CONFIGURATIONS} may be: let the command or the asset take the configuration "
        "apart, and pass a section of it, a ProfileCache, TrainingSettings, ReportSettings, a "
        f"plan, a run or a path:\n{_listed(locations)}"
    )


def test_no_class_hides_a_configuration() -> None:
    classes = {name for _, module in _modules() for name in _that_have_a_configuration(module)}
    assert classes <= WITH_CONFIGURATION, (
        f"{', '.join(sorted(classes - WITH_CONFIGURATION))}: give the class the sections that it "
        "needs; whoever takes a class with a whole Configuration takes the Configuration"
    )


def test_few_values_are_of_any_type() -> None:
    locations = [
        f"{path}:{node.lineno}"
        for path, module in _modules()
        for node in ast.walk(module)
        if (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Attribute) and node.attr == "Any")
    ]
    assert len(locations) < ANYTHING, (
        f"{len(locations)} annotations are Any, and fewer than {ANYTHING} may be: name the type, "
        "with a dataclass for values of several kinds and JsonValue for JSON:\n"
        f"{_listed(locations)}"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(c: Configuration) -> None: ...", ["f"]),
        ("def f(*, c: settings.Configuration | None) -> None: ...", ["f"]),
        ("class A:\n    c: tuple[Configuration, ...]", []),
        ("class A:\n    def f(self, c: list[Configuration], d: Configuration): ...", ["f", "f"]),
        ("def f(c: Hardware) -> Configuration:\n    d: Configuration = make(c)\n    return d", []),
        ("def f(c: BuildConfiguration) -> None: ...", []),
    ],
)
def test_what_counts_as_a_whole_configuration(source: str, expected: list[str]) -> None:
    assert list(_that_take_a_configuration(ast.parse(source))) == expected


def test_what_counts_as_a_class_with_a_configuration() -> None:
    module = ast.parse("class A:\n    c: tuple[Configuration, ...]\nclass B:\n    c: Hardware")
    assert list(_that_have_a_configuration(module)) == ["A"]
