"""The files around the packages agree: metadata, lock file, make targets, hooks, citation."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from trove_classifiers import classifiers

import brainbrr_core
from tests.support.project import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("brainbrr_core", "brainbrr_pipeline")
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

#: The only modules that may import what an extra brings: without it, the rest must work.
OF_EXTRA = {
    "gpu": "brainbrr_core/model/backend.py",
    "bench": "brainbrr_core/benchmark/recurrence.py",
    "braindecode": "brainbrr_core/model/networks/braindecode.py",
    "wandb": "brainbrr_core/training/metrics.py",
    "mlflow": "brainbrr_core/training/mlflow_log.py",
    "sweep": "brainbrr_core/sweep/",
    "onnx": "brainbrr_core/export/standalone.py",
    "hub": "brainbrr_core/export/hub.py",
    "deploy": "brainbrr_pipeline/deployment/",
}
#: What is needed though no module of the packages imports it, and what for.
WITHOUT_IMPORT = {
    "": {
        "dagster-webserver": "`brainbrr ui` and `dagster dev` start it",
        "sqlalchemy": "Dagster's storage; Dagster itself would take a 2.1 that nobody tried here",
        "tensorboard": "torch.utils.tensorboard, which writes the curves, imports it",
    },
    "gpu": {
        "causal-conv1d": "mamba-ssm takes it for its convolutions where it is installed",
    },
    "onnx": {"onnxscript": "torch.onnx, which writes the graphs, imports it"},
    "deploy": {
        "celery": "the command that starts a worker, in configs/deploy/celery",
        "dagster-postgres": "Dagster's storage, named in configs/deploy/celery/dagster.yaml",
        "psycopg2-binary": "the driver that dagster-postgres connects with",
        "redis": "the client that Celery reaches its broker with",
    },
    "dev": {
        "coverage": "`make coverage`",
        "eeglabio": "mne.export, which writes EEGLAB files for tests, imports it",
        "hatchling": "builds the wheel of tests/project/test_installed.py, without a network",
        "import-linter": "a tool of `make check`",
        "lightning": "the example of docs/python.md trains with it",
        "mypy": "a tool of `make check`",
        "onnxscript": "torch.onnx imports it, in tests of exported graphs",
        "pytest-randomly": "a plugin of `make test`",
        "pytest-xdist": "a plugin of `make test`",
        "ruff": "a tool of `make check`",
        "scipy-stubs": "types for mypy",
        "types-pyyaml": "types for mypy",
    },
    "docs": {
        "myst-parser": "an extension in docs/conf.py",
        "numpydoc": "an extension in docs/conf.py",
        "pydata-sphinx-theme": "the theme in docs/conf.py",
        "sphinx-gallery": "an extension in docs/conf.py",
    },
}


def declared(extra: str = "") -> dict[str, Requirement]:
    """The requirements of the project ("") or of an extra, by normalized name."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    requirements = [Requirement(line) for line in lines]
    named: dict[str, Requirement] = {canonicalize_name(one.name): one for one in requirements}
    assert len(named) == len(requirements)
    return named


def test_one_module_alone_imports_what_dagster_keeps_for_itself() -> None:
    internal = re.compile(r"^\s*(?:from|import) dagster\._", re.MULTILINE)
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if internal.search(path.read_text("utf-8"))
    }
    assert files == {"brainbrr_pipeline/dagster_internals.py"}


@cache
def imported(folder: str) -> dict[str, set[str]]:
    """The distributions that the modules below a folder import, with the files that do so."""
    known = packages_distributions()
    files: dict[str, set[str]] = defaultdict(set)
    paths = sorted((ROOT / folder).rglob("*.py"))
    # Modules of docs/_extensions are imported by their names.
    own = {*PACKAGES, "tests", *(path.stem for path in paths if folder == "docs")}
    for path in paths:
        for module in _modules(ast.parse(path.read_text(encoding="utf-8"))):
            if module in sys.stdlib_module_names or module in own:
                continue
            # An extra need not be installed: then its distribution has its module's name.
            for distribution in known.get(module, [module]):
                files[canonicalize_name(distribution)].add(path.relative_to(ROOT).as_posix())
    return dict(files)


def _modules(tree: ast.AST) -> Iterator[str]:
    """Top-level names of all that is imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            # The name of a module may be looked up in a table of the file.
            names = _texts(node.args) or [
                name
                for table in ast.walk(tree)
                if isinstance(table, ast.Dict)
                for name in _texts(table.values)
            ]
            assert names, f"which modules does {ast.unparse(node)} import?"
            yield from (name.partition(".")[0] for name in names)


def _texts(values: Sequence[ast.AST]) -> list[str]:
    return [str(one.value) for one in values if isinstance(one, ast.Constant)]


def of_packages() -> dict[str, set[str]]:
    """What the packages import, with the files that do so."""
    files: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for distribution, importers in imported(package).items():
            files[distribution] |= importers
    return files


def test_what_is_imported_is_declared() -> None:
    of_extras = {name: extra for extra in OF_EXTRA for name in declared(extra)}
    for distribution, files in of_packages().items():
        if distribution in declared():
            continue
        extra = of_extras.get(distribution)
        assert extra is not None, f"{distribution} is imported by {files} and not declared"
        elsewhere = [file for file in files if not file.startswith(OF_EXTRA[extra])]
        assert not elsewhere, f"{distribution} comes only with the extra {extra}"


@pytest.mark.parametrize("extra", ["", *OF_EXTRA])
def test_what_is_declared_is_imported_or_has_a_reason(extra: str) -> None:
    reasons = WITHOUT_IMPORT.get(extra, {})
    assert set(declared(extra)) - set(of_packages()) == set(reasons)


def test_what_tests_import_is_declared_and_the_rest_of_dev_has_a_reason() -> None:
    tests = set(imported("tests"))
    everywhere = set().union(*(declared(extra) for extra in ("", *OF_EXTRA, "dev", "docs")))
    assert not tests - everywhere
    assert set(declared("dev")) - tests == set(WITHOUT_IMPORT["dev"])
    assert set(PROJECT["optional-dependencies"]) == {*OF_EXTRA, "dev", "docs"}


def test_what_the_site_imports_is_declared_and_the_rest_of_docs_has_a_reason() -> None:
    site = set(imported("docs"))
    assert not site - set(declared()) - set(declared("docs"))
    assert set(declared("docs")) - site == set(WITHOUT_IMPORT["docs"])
    configuration = (ROOT / "docs" / "conf.py").read_text()
    for name in ("myst_parser", "numpydoc", "pydata_sphinx_theme", "sphinx_gallery"):
        assert f'"{name}' in configuration


def locked() -> dict[str, Version]:
    """The releases of constraints.txt, by normalized name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("extra", ["", "dev", "deploy", "docs"])
def test_the_lock_file_has_an_allowed_release_of_each_requirement(extra: str) -> None:
    """Of those that `make setup` installs."""
    assert re.search(r"--editable '\.\[dev,deploy,docs\]'", MAKEFILE)
    for name, requirement in declared(extra).items():
        assert locked()[name] in requirement.specifier, name


def test_the_license_is_the_one_that_the_metadata_name() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "Copyright The brainbrr authors" in text
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert PROJECT["authors"] == [{"name": "The brainbrr authors"}]
    assert set(PROJECT["classifiers"]) <= classifiers


def test_the_citation_is_that_of_this_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"] == PROJECT["description"]
    assert citation["keywords"] == PROJECT["keywords"]


def make(*words: str) -> list[str]:
    """The lines that make prints."""
    # Options of a make that runs these tests would change what this one prints.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={**environment, "MFLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def test_make_help_has_a_line_for_each_target() -> None:
    lines = make("help")
    assert all(re.fullmatch(r"[a-z-]+ +\S.+", line) for line in lines), lines
    listed = [line.split()[0] for line in lines]
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
    for target in listed:
        make("--dry-run", target)


def test_the_targets_of_the_readme_exist() -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "check"} <= named
    listed = {line.split()[0] for line in make("help")}
    assert named <= listed


def test_make_alone_is_the_demo() -> None:
    assert make("--dry-run") == make("--dry-run", "demo")


def commands(target: str) -> list[str]:
    """The recipe of a target of the Makefile, as it is typed."""
    [recipe] = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]


def test_the_hooks_run_what_make_check_runs() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    # The last one says what coverage was measured, and checks nothing.
    checks = [command for command in commands("check") if command.startswith(".venv/bin/")]
    assert [hook["entry"] for hook in hooks] == checks
    # With nothing of their own, they run as `make setup` installed them: as locked.
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)
    assert not any("additional_dependencies" in hook for hook in hooks)
    tools = {Path(shlex.split(hook["entry"])[0]).name for hook in hooks}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert {"ruff", "mypy", "import-linter"} <= set(locked())


def test_a_change_is_checked_by_the_command_that_anyone_can_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
    commands = {"check": ".ci/run", "docs": "make docs"}
    assert set(workflow["jobs"]) == set(commands)
    for name, job in workflow["jobs"].items():
        checkout, python, run = job["steps"]
        assert checkout["uses"].startswith("actions/checkout@")
        assert python["uses"].startswith("actions/setup-python@")
        assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
            python["with"]["python-version"]
        )
        assert run == {"run": commands[name]}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "docs" in {line.split()[0] for line in make("help")}


def test_the_tour_of_the_library_names_each_of_its_packages() -> None:
    folder = ROOT / "brainbrr_core"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    described = re.findall(r"^- ``(\w+)``", brainbrr_core.__doc__ or "", re.MULTILINE)
    assert sorted(described) == sorted(packages | modules)
