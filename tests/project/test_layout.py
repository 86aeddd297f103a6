"""The layout of the tests: tests/README.md describes it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.support.project import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES} - {TESTS})
#: Folders that are not named after a package of ``brainbrr_core``.
OTHERS = {"pipeline", "project", "support"}
README = (TESTS / "README.md").read_text("utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_of_tests_is_named_after_a_package(folder: Path) -> None:
    assert folder.parent == TESTS
    packages = {path.parent.name for path in ROOT.glob("brainbrr_core/*/__init__.py")}
    assert folder.name in packages | OTHERS


def test_names_of_test_files_are_unique() -> None:
    names = Counter(path.name for path in FILES if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_and_what_they_share_are_in_their_folders() -> None:
    for path in FILES:
        name = path.relative_to(TESTS).as_posix()
        if path.parent == TESTS:
            assert name == "conftest.py"
        elif path.parent.name == "support":
            assert not path.name.startswith("test_"), name
        else:
            # A script measures something by hand, and says so in its name.
            assert path.name.startswith(("test_", "measure_", "conftest")), name


def test_the_page_names_every_marker_fixture_and_make_target() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    for marker in options["ini_options"]["markers"]:
        assert f"| `{marker.partition(':')[0]}` |" in README, marker
    conftest = (TESTS / "conftest.py").read_text("utf-8")
    fixtures = set(re.findall(r"@pytest\.fixture.*\ndef (\w+)\(", conftest))
    listed = set(
        re.findall(r"`(\w+)`", README.partition("## Fixtures")[2].partition("## Rules")[0])
    )
    assert fixtures <= listed
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
