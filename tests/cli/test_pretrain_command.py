"""``brainbrr pretrain``: from nothing to a model folder, and on from where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.files.one_process import one_process
from tests.support.shell import Shell

SHORT = """\
model: {preset: tiny}
hardware: {batch_size: 4}
training: {steps: 4, warmup_steps: 1, validate_every: 4}
"""
RANGES = """\
recordings:
  session: {weight: 0}
"""


@pytest.mark.slow
def test_a_model_of_simulated_eeg_alone(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "short.yaml").write_text(SHORT)
    (tmp_path / "ranges.yaml").write_text(RANGES)
    out = tmp_path / "out"
    typed = (
        *("pretrain", out, "--hours", 0.3, "--seed", 2, "--simulator", tmp_path / "ranges.yaml"),
        *("--config", f"cpu:pretrained:{tmp_path / 'short.yaml'}", "--workers", 1, "--json"),
    )
    done = shell.type(*typed)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    model, run = Path(made["model"]), Path(made["run"])
    assert model == out / "model"
    card = (model / "README.md").read_text("utf-8")
    assert "Simulated scalp EEG alone" in card and "--hours 0.3 --seed 2" in card
    assert "apache-2.0" in card
    config = json.loads((model / "config.json").read_text("utf-8"))
    # The threshold is tuned on patients of dev, the report is on those of eval.
    assert config["threshold"] is not None
    assert (run / "report-eval" / "report.html").is_file()

    edf = sorted((out / "corpus").rglob("*.edf"))[0]
    predicted = shell.type("predict", edf, tmp_path / "e.tsv", "--run", model)
    assert predicted.returncode == 0, predicted.stderr
    assert (tmp_path / "e.tsv").is_file()

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    again = shell.type(*typed)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before

    other = shell.type(*typed[:4], *("--seed", 3), *typed[6:])
    assert other.returncode == 2
    assert "another" in other.stderr and "Traceback" not in other.stderr


def test_a_second_pretraining_in_one_folder_is_refused(tmp_path: Path, shell: Shell) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with one_process(out / "pretrain.lock", ""):
        refused = shell.refused("pretrain", out, "--hours", 0.1)
    assert f"another process pretrains in {out}: wait for it, or give another folder" in refused
    assert list(out.iterdir()) == []
