"""This project as a wheel in a clean environment, far from its checkout; nothing is downloaded."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.project import ROOT

#: Commands of dependencies that are used, which an installation would put beside `brainbrr`.
_SCRIPTS = ("dagster", "dagster-daemon", "dagster-webserver")


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, written to a folder."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    [wheel] = folder.glob("brainbrr-*.whl")
    return wheel


class Installation:
    """An environment with the wheel, this environment's dependencies, and a user's own home."""

    def __init__(self, place: Path, wheel: Path) -> None:
        self.bin = place / "venv" / "bin"
        self.home = place / "home"
        self.home.mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True
        )
        python = str(self.bin / "python")
        _pip("--python", python, "install", "--no-deps", "--no-index", str(wheel))
        [packages] = (place / "venv").glob("lib/python*/site-packages")
        # Only this folder: what it says of editable installations is not followed.
        (packages / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
        scripts = importlib.metadata.entry_points(group="console_scripts")
        for name in _SCRIPTS:
            module, _, function = scripts[name].value.partition(":")
            script = self.bin / name
            script.write_text(
                f"#!{python}\nfrom {module} import {function}\n"
                f"if __name__ == '__main__':\n    {function}()\n"
            )
            script.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """Variables of a shell in which nothing of this project is set."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRAINBRR_", "DAGSTER_"))
        }
        of_the_user = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "XDG_DATA_HOME": "",
            "PYTHONPATH": "",
        }
        return kept | of_the_user | more

    def run(self, *words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Type a command in a folder."""
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=cwd,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )


def foreign_folder(folder: Path) -> Path:
    """A folder of another project, with files of the names that this one uses."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "full.yaml").write_text("profile: foreign\ntraining: {steps: 1}\n")
    (folder / "configs" / "smoke.yaml").write_text("learning_rate: 3\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "foreign"\nversion = "1"\n'
        '[tool.dagster]\nmodule_name = "foreign.definitions"\n'
    )
    (folder / "workspace.yaml").write_text("load_from:\n  - python_module: foreign.definitions\n")
    return folder


def _pip(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words],
        check=True,
        # A leftover of a tool's own settings must not send it to a network.
        env=os.environ | {"PIP_NO_INDEX": "1"},
        stdout=subprocess.DEVNULL,
    )
