"""An installation that cannot be written to, for a user without a home, computes the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import brainbrr_core
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from tests.support.small_run import small_config


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of the package whose modules have no folder for what is compiled."""
    package = Path(brainbrr_core.__file__).parent
    copy = tmp_path / "installation"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, copy / package.name, ignore=ignored)
    shutil.copytree(package.parent / "configs", copy / "configs")
    for folder in [copy / package.name, *(copy / package.name).rglob("*/")]:
        # Not even root can make a folder where a file is.
        (folder / "__pycache__").touch()
    return copy


def run(installation: Path, *words: str) -> dict[str, object]:
    """What a command of the installation prints, for a user without a home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    } | {"BRAINBRR_CONFIG": small_config(installation.parent), "HOME": "/proc/no-home"}
    program = "from brainbrr_core.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, *words, "--json"],
        cwd=installation,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_corpus_is_indexed(settings: Configuration, installation: Path) -> None:
    assert run(installation, "index")["usable"] == 12
    assert settings.cache_root.is_dir()


@pytest.mark.slow
def test_a_shard_is_the_same_byte_for_byte(
    settings: Configuration, installation: Path, tmp_path: Path
) -> None:
    built = run(installation, "cache", "build", "--limit", "2", "--workers", "1")["built"]
    there = Store.of(settings)
    made = {key: there.shard_path(key).read_bytes() for key in there.shard_keys()}
    here = settings.model_copy(update={"cache_root": tmp_path / "here"})
    build(plan_corpus(here), here.preprocessing, workers=1)
    assert built == len(made) == 2
    assert made == {key: Store.of(here).shard_path(key).read_bytes() for key in made}
