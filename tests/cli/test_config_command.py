"""``brainbrr config``: what each setting is, and what set it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from brainbrr_core.configuration import Overrides, load
from tests.support.project import ROOT
from tests.support.shell import Shell

MINE = """\
# Of this hospital.
preprocessing:
  bandpass_hz: [0.5, 70]

  notch_hz: 50
training: {steps: 12}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_each_setting_has_its_value_and_what_set_it(
    shell: Shell, mine: Path, tmp_path: Path
) -> None:
    done = shell.type(
        *("config", "--json", "--config", f"full:cpu:{mine}", "--profile", "smoke"),
        *("--runs-dir", tmp_path / "runs"),
        environment={"BRAINBRR_DATA_DIR": "/data/tusz"},
    )
    settings = json.loads(done.stdout)["settings"]

    def origin(key: str) -> tuple[object, str, str, int | None]:
        of = settings[key]
        return of["value"], of["kind"], of["source"], of["line"]

    assert origin("preprocessing.notch_hz") == (50, "file", str(mine), 5)
    assert origin("training.steps") == (12, "file", str(mine), 6)
    smoke = ROOT / "configs" / "smoke.yaml"
    line = smoke.read_text().splitlines().index("  recordings: 50") + 1
    assert origin("selection.recordings") == (50, "profile", str(smoke), line)
    assert origin("profile") == ("smoke", "command-line option", "--profile", None)
    assert origin("model.preset")[:2] == ("tiny", "hardware preset")
    assert origin("data_dir")[:3] == ("/data/tusz", "environment variable", "BRAINBRR_DATA_DIR")
    assert origin("runs_dir")[1:3] == ("command-line option", "--runs-dir")
    assert origin("detection.stride_s")[1:] == ("default", "", None)
    assert settings["preprocessing.notch_hz"]["default"] == 60


def test_only_what_differs_from_the_defaults_is_shown_where_asked(shell: Shell, mine: Path) -> None:
    words = ("config", "--changed", "--config", f"full:cpu:{mine}")
    shown = yaml.safe_load(shell.type(*words).stdout)
    assert shown["preprocessing"] == {"bandpass_hz": [0.5, 70.0], "notch_hz": 50}
    assert shown["training"]["steps"] == 12
    # Files set these to what they are anyway.
    assert "profile" not in shown
    assert "hardware" not in shown
    assert "cache_root" not in shown


def test_the_signal_chain_is_described_with_the_version_that_follows(
    shell: Shell, mine: Path, tmp_path: Path
) -> None:
    words = ("config", "--config", f"full:cpu:{mine}", "--cache-root", tmp_path)
    done = shell.type(*words)
    comments = [line for line in done.stdout.splitlines() if line.startswith("#")]
    told = " ".join(line.removeprefix("# ") for line in comments)
    for step in (
        "19 electrodes of the 10-20 system",
        "resampled to 256 Hz",
        "band-pass 0.5 to 70 Hz (Butterworth, order 3",
        "notch at 50 Hz (Q 30",
        "z-scored per channel by the mean and standard deviation of the whole recording",
        "clipped at ±10",
        "Reference: each channel as it was recorded",
        f"in {tmp_path} (nothing is stored of it)",
    ):
        assert step in told
    version = json.loads(shell.type(*words, "--json").stdout)["cache_version"]
    assert f"Cache version: {version} in" in told
    default = json.loads(shell.type("config", "--json").stdout)["cache_version"]
    assert version != default


def test_what_is_printed_is_a_file_for_config(shell: Shell, mine: Path, tmp_path: Path) -> None:
    before = load(Overrides(config=f"smoke:cpu:{mine}"), environment={})
    printed = shell.type("config", "--config", f"smoke:cpu:{mine}").stdout
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    after = load(Overrides(config=str(again)), environment={})
    assert after.model_dump() == before.model_dump()


@pytest.mark.parametrize("scheme", ["s3", "https", "ftp"])
def test_no_command_prints_the_password_of_an_address(
    scheme: str, shell: Shell, tmp_path: Path
) -> None:
    address = f"{scheme}://me:hunter2@host/bucket?X-Amz-Signature=abcdef"
    several = tmp_path / "several.yaml"
    several.write_text(f"corpora: [{{name: one, layout: bids, data_dir: '{address}'}}]\n")
    for environment in (
        {"BRAINBRR_DATA_DIR": address},
        {"BRAINBRR_CONFIG": f"smoke:cpu:{several}"},
    ):
        folders = {"BRAINBRR_CACHE_ROOT": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "home")}
        for words in (
            ("config",), ("config", "--json"), ("config", "--changed"), ("doctor",),
            ("doctor", "--json"), ("index",), ("cache", "build"), ("env",),
        ):  # fmt: skip
            done = shell.type(*words, environment=environment | folders)
            said = done.stdout + done.stderr
            assert "hunter2" not in said and "abcdef" not in said, (words, said)
            if words[0] == "config":
                assert f"{scheme}://***@host/bucket?X-Amz-Signature=***" in said
