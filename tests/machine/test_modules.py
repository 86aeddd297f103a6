"""Which files a user's module is made of."""

from __future__ import annotations

import importlib
import site
import sys
from pathlib import Path

import pytest

from brainbrr_core.machine.modules import imported_files

FILES = {
    "nets_of_a_user/__init__.py": "",
    "nets_of_a_user/model.py": (
        "import random\n"
        "import torch\n"
        "from brainbrr_core.constants import RATE\n"
        "from . import layers\n"
        "from .deep.norms import Norm\n"
        "import beside_of_a_user\n"
    ),
    "nets_of_a_user/layers.py": "def layer():\n    from nets_of_a_user import late\n",
    "nets_of_a_user/late.py": "from .model import Net\n",
    "nets_of_a_user/deep/__init__.py": "from ..shared import *\n",
    "nets_of_a_user/deep/norms.py": "class Norm: pass\n",
    "nets_of_a_user/shared.py": "",
    "nets_of_a_user/unrelated.py": "",
    "beside_of_a_user.py": "import missing_module_of_a_user\nimport broken_of_a_user\n",
    "broken_of_a_user.py": "def\n",
    "other_of_a_user.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a package and modules beside it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    importlib.invalidate_caches()
    return tmp_path


def names(files: dict[str, Path], folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in files.values()}


def test_a_module_is_made_of_what_it_imports_of_its_package_and_folder(folder: Path) -> None:
    files = imported_files("nets_of_a_user.model")
    assert names(files, folder) == FILES.keys() - {
        "nets_of_a_user/unrelated.py",
        "other_of_a_user.py",
    }
    assert files["nets_of_a_user.deep"] == folder / "nets_of_a_user" / "deep" / "__init__.py"
    assert "nets_of_a_user.layers" not in sys.modules
    assert names(imported_files("other_of_a_user"), folder) == {"other_of_a_user.py"}
    assert imported_files("missing_module_of_a_user") == {}


def test_beside_an_installed_package_are_packages_of_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(folder))
    files = imported_files("nets_of_a_user.model")
    assert "nets_of_a_user.deep.norms" in files
    assert "beside_of_a_user" not in files
