"""The script for Modal: what its functions are given, and the commands they run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.project import ROOT

SCRIPT = ROOT / "configs" / "deploy" / "modal" / "brainbrr_modal.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    pytest.importorskip("modal")
    spec = importlib.util.spec_from_file_location("brainbrr_modal", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["brainbrr_modal"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["brainbrr_modal"]


def test_modals_functions_have_their_volume_gpu_and_cpus(script: ModuleType) -> None:
    import modal

    assert isinstance(script.app, modal.App)
    assert script.app.name == "brainbrr"
    functions = {
        name: getattr(script, name) for name in ("populate_cache", "verify_cache", "train")
    }
    for name, function in functions.items():
        assert isinstance(function, modal.Function)
        # What the SDK will send: there is no public way to ask it.
        spec = function._spec_
        assert repr(spec.volumes) == f"{{'/results': {script.volume!r}}}"
        assert spec.cpu == 8
        assert spec.gpus == ("A100-40GB" if name == "train" else None)
        assert len(spec.secrets) == (1 if name == "populate_cache" else 0)
    assert script.FOLDERS["BRAINBRR_CACHE_ROOT"] == "/results/cache"
    assert SCRIPT.parents[3] == script.PROJECT
    assert set(script.ACTIONS) == {"populate-cache", "verify-cache", "train"}


@pytest.mark.filterwarnings("ignore:The .* function is executing locally")
def test_modals_functions_run_commands_that_exist(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    committed: list[int] = []

    def run(command: list[str], *, check: bool) -> None:
        assert check
        ran.append(command)
        if "train" in command:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(type(script.volume), "commit", lambda _self: committed.append(len(ran)))
    script.populate_cache.local("s3://bucket/brainbrr", "smoke")
    script.verify_cache.local("smoke")
    with pytest.raises(subprocess.CalledProcessError):
        script.train.local("smoke")
    assert committed == [2, 4, 6]
    assert ran[0] == ["brainbrr", "cache", "pull", "s3://bucket/brainbrr", "--profile", "smoke"]
    assert ran[-1] == ["brainbrr", "train", "--config", "smoke:a100"]
    monkeypatch.undo()
    program = shutil.which("brainbrr", path=str(Path(sys.executable).parent))
    for command in ran:
        words = [word for word in command[1:] if not word.startswith(("s3:", "-", "smoke"))]
        done = subprocess.run(
            [str(program), *words, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, command
        for option in (word for word in command if word.startswith("--")):
            assert option in done.stdout


def test_modals_entry_point_refuses_what_it_cannot_do(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="none of populate-cache, verify-cache, train"):
        script.main.info.raw_f("explode")
    with pytest.raises(SystemExit, match="needs --url"):
        script.main.info.raw_f("populate-cache")
