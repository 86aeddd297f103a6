"""What ``brainbrr bench gpu`` says of a GPU, as far as a CPU can show it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from brainbrr_core.benchmark.gpu import kernels
from brainbrr_core.benchmark.gpu import measurement as run
from brainbrr_core.benchmark.gpu.extent import SMALL, Task
from brainbrr_core.benchmark.gpu.measurement import NAMES, Section, is_right
from brainbrr_core.benchmark.gpu.tables import markdown, tables
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.mamba2 import Mamba2
from tests.support.project import ROOT

MEASURED = ROOT / "docs" / "benchmarks" / "nvidia-h200.json"
PAGE = ROOT / "docs" / "gpu.md"


@pytest.fixture
def cpu() -> Configuration:
    return load(Overrides(config="full:cpu"), {})


def compared(precision: str) -> list[dict[str, Any]]:
    return kernels._compared(kernels._Sequence("tiny", 70, precision, "cpu", ("torch",)))


def test_torch_is_as_near_to_float64_as_its_numbers_allow() -> None:
    [exact], [coarse] = compared("float32"), compared("bfloat16")
    assert exact["within"]
    assert coarse["within"]
    assert exact["value"] < 1e-5
    # A number of bfloat16 has eight bits.
    assert 2**-10 < coarse["value"] < 2**-6


def test_a_layer_that_is_wrong_by_a_percent_is_not_within(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Mamba2.forward

    def scaled(self: Mamba2, u: torch.Tensor) -> torch.Tensor:
        # The reference is in float64, and stays as it is.
        return forward(self, u) * (1.0 if u.dtype == torch.float64 else 1.01)

    monkeypatch.setattr(Mamba2, "forward", scaled)
    [row] = compared("float32")
    assert not row["within"]
    assert row["value"] == pytest.approx(0.01, rel=0.01)


def test_a_gradient_that_is_missing_or_no_number_is_not_within() -> None:
    right = {"value": 0.0, "gradient": 0.0, "cancelling": 0.0, "without_gradient": []}
    bounds = (1e-3, 1e-3, 1e-3)
    assert kernels._within(right, bounds)
    for key in ("value", "gradient", "cancelling"):
        assert not kernels._within(right | {key: math.nan}, bounds)
        assert not kernels._within(right | {key: 2e-3}, bounds)
    assert not kernels._within(right | {"without_gradient": ["D"]}, bounds)


def test_losses_fall_and_are_the_same_each_time(cpu: Configuration, tmp_path: Path) -> None:
    task = Task(cpu, tmp_path, replace(SMALL, equal_batches=4), ("torch",))
    curves = kernels.losses(task)["curves"]["tiny"]
    assert list(curves) == ["torch, bfloat16", "torch, float32"]
    assert all(curve[0] == pytest.approx(math.log(2), abs=0.05) for curve in curves.values())
    assert all(curve[-1] < curve[0] for curve in curves.values())
    assert kernels.losses(task)["curves"]["tiny"] == curves


def test_a_section_that_fails_or_hangs_costs_nothing_but_itself(
    cpu: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        run,
        "GROUPS",
        (
            # Neither can be called with a task.
            (Section("NAMES", "measurement", "", 60), Section("GROUPS", "measurement", "", 60)),
            (Section("prepare", "training", "", 0.0),),
            (Section("equality", "kernels", "", 120),),
        ),
    )
    monkeypatch.setattr(run, "NAMES", ("NAMES", "GROUPS", "prepare", "equality"))
    out = tmp_path / "out.json"
    said: list[str] = []
    values = run.run(cpu, tmp_path / "work", small=True, out=out, log=said.append)
    assert set(values["failed"]) == {"NAMES", "GROUPS", "prepare"}
    assert values["failed"]["prepare"] == "not done within 0 s"
    assert "not callable" in values["failed"]["GROUPS"]
    assert values["sections"]["equality"]["within"]
    assert json.loads(out.read_text()) == json.loads(json.dumps(values))
    assert not is_right(values)
    written = markdown(values)
    assert "| prepare | not done within 0 s |" in written


def test_without_time_sections_are_named_and_not_run(cpu: Configuration, tmp_path: Path) -> None:
    values = run.run(cpu, tmp_path, small=True, limit_s=0.0, log=lambda _line: None)
    assert values["skipped"] == list(NAMES)
    assert values["sections"] == {}


def test_what_is_wrong_ends_the_command_with_1() -> None:
    right = {
        "failed": {},
        "sections": {
            "equality": {"within": True},
            "resuming": {"same_twice": True, "same_after_a_kill": True},
        },
    }
    assert is_right(right)
    assert is_right({"failed": {}, "sections": {}})
    assert not is_right(right | {"failed": {"rates": "out of luck"}})
    for section, key in (
        ("equality", "within"),
        ("resuming", "same_twice"),
        ("resuming", "same_after_a_kill"),
    ):
        sections = json.loads(json.dumps(right["sections"]))
        sections[section][key] = False
        assert not is_right({"failed": {}, "sections": sections})


def test_a_section_that_does_not_exist_and_a_cpu_are_refused(cpu: Configuration) -> None:
    with pytest.raises(BrainbrrError, match="--section speed: use some of prepare, "):
        run.run(cpu, Path("nowhere"), sections=["speed"], small=True)
    reason = "hardware cpu is no GPU: choose one, such as --config full:h100, or .* with --small"
    with pytest.raises(BrainbrrError, match=reason):
        CliRunner().invoke(app, ["bench", "gpu", "--config", "full:cpu"], catch_exceptions=False)


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text(encoding="utf-8")
    values = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert not values["failed"]
    rows = [line for line in markdown(values).splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    assert [row for row in rows if row not in page] == []
    assert markdown(values).splitlines()[0] in page


def test_every_section_has_a_table() -> None:
    values = json.loads(MEASURED.read_text(encoding="utf-8"))
    drawn = tables(values)
    assert len(drawn) == len(values["sections"])
    assert all(len(row) == len(table.columns) for table in drawn for row in table.rows)


@pytest.mark.slow
def test_the_whole_measurement_in_small(tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.md"
    options = [
        "--small",
        "--config",
        "full:cpu",
        "--minutes",
        "60",
        "--folder",
        str(tmp_path / "f"),
    ]
    words = ["bench", "gpu", *options, "--out", str(out), "--page", str(page)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    values = json.loads(out.read_text())
    assert sorted(values["sections"]) == sorted(NAMES)
    assert values["sections"]["resuming"]["resumed_from"] >= 10
    [crossed, _] = values["sections"]["crossing"]["rows"]
    assert crossed["largest_logit_difference"] == 0
    assert page.read_text().count("\n| ---") == len(NAMES) + 1
