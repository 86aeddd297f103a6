"""Dagster's commands, typed in a checkout in a shell where nothing is set."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from tests.support.project import ROOT
from tests.support.shell import BIN, clean_environment


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, with the ``dagster`` that ``make setup`` leaves there."""

    root: Path

    def type(
        self, *words: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        # An environment of its own would have the copy installed instead of named by a variable.
        return subprocess.run(
            [self.root / ".venv" / "bin" / "dagster", *words],
            cwd=cwd or self.root,
            env=clean_environment() | {"PYTHONPATH": str(self.root)} | variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "checkout"
    for name in ("brainbrr_core", "brainbrr_pipeline", "configs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "workspace.yaml", "Makefile"):
        shutil.copy(ROOT / name, root)
    scripts = root / ".venv" / "bin"
    scripts.mkdir(parents=True)
    shutil.copy(BIN / "dagster", scripts)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    recipe = subprocess.run(
        ["make", "--dry-run", "setup"],
        cwd=root, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    [change] = [line for line in recipe.splitlines() if line.endswith(".venv/bin/dagster")]
    # Once more, as after a change of the requirements that leaves Dagster as it was.
    for _ in range(2):
        subprocess.run(["sh", "-c", change], cwd=root, check=True)
    assert (scripts / "dagster").read_text().count("find_project()") == 1
    return Checkout(root)


def test_assets_are_listed_and_materialized(checkout: Checkout, master_corpus: Path) -> None:
    listed = checkout.type("asset", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {"raw_edf_index", "windowed_cache", "eval_report"} <= set(listed.stdout.split())
    done = checkout.type(
        "asset", "materialize", "--select", "raw_edf_index", BRAINBRR_DATA_DIR=str(master_corpus)
    )
    assert done.returncode == 0, done.stderr
    assert "superseded" not in done.stderr
    home = checkout.root / ".brainbrr"
    assert (home / "cache").is_dir()
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("raw_edf_index"))


def test_the_sensor_is_started_in_the_storage_of_this_configuration(
    checkout: Checkout, tmp_path: Path
) -> None:
    own = checkout.root / "own.yaml"
    own.write_text(f"dagster_home: {tmp_path}/storage\n")
    (checkout.root / ".env").write_text(f"BRAINBRR_CONFIG=smoke:cpu:{own}\n")
    done = checkout.type("sensor", "start", "keep_up")
    assert done.returncode == 0, done.stderr
    assert "Started sensor keep_up" in done.stdout
    with dg.DagsterInstance.from_config(str(tmp_path / "storage")) as instance:
        [state] = instance.all_instigator_state()
        assert (state.name, state.is_running) == ("keep_up", True)


def test_a_wrong_configuration_is_one_line(checkout: Checkout) -> None:
    for words in (("asset", "list"), ("sensor", "start", "keep_up")):
        done = checkout.type(*words, BRAINBRR_CONFIG="smok")
        assert done.returncode == 1
        assert done.stderr.startswith("brainbrr: no configuration named 'smok'")
        assert done.stderr.count("\n") == 1


def test_a_run_configuration_that_is_not_json_is_one_line(checkout: Checkout) -> None:
    """Dagster itself prints a stack trace of it."""
    for words in (("--config-json", "{ops: 1}"), ("--config-json={ops: 1}",)):
        done = checkout.type("asset", "materialize", "--select", "raw_edf_index", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("brainbrr: --config-json {ops: 1} is not JSON: ")
        assert done.stderr.count("\n") == 1


def test_variables_of_the_shell_and_other_code_are_left_alone(
    checkout: Checkout, tmp_path: Path
) -> None:
    code = tmp_path / "other" / "assets.py"
    code.parent.mkdir()
    code.write_text("import dagster as dg\n@dg.asset\ndef of_another_project(): ...\n")
    elsewhere = checkout.type("asset", "list", cwd=code.parent)
    assert elsewhere.returncode == 2
    assert not (checkout.root / ".brainbrr").exists()
    listed = checkout.type("asset", "list", DAGSTER_HOME=str(tmp_path / "mine"))
    assert "eval_report" in listed.stdout
    assert not (checkout.root / ".brainbrr").exists()
    assert (tmp_path / "mine" / "dagster.yaml").is_file()
    listed = checkout.type("asset", "list", "--python-file", str(code))
    assert listed.stdout.split() == ["of_another_project"], listed.stderr
