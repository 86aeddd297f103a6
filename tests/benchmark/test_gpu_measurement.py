"""``brainbrr bench gpu``, as far as it can be tested on a CPU."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from brainbrr_core.benchmark.gpu import kernels, measurement
from brainbrr_core.benchmark.gpu.extent import SMALL, Task
from brainbrr_core.benchmark.gpu.kernels import Distance, LayerDistance, LayerTask, Losses, equality
from brainbrr_core.benchmark.gpu.measurement import NAMES, GpuMeasurement, Section, Sections
from brainbrr_core.benchmark.gpu.training import prepare
from brainbrr_core.benchmark.result import Figures
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.mamba2 import Mamba2
from tests.support.project import ROOT

MEASURED = ROOT / "docs" / "benchmarks" / "nvidia-h200.json"
PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.fixture
def cpu() -> Configuration:
    return load(Overrides(config="full:cpu"), {})


def fails(_task: Task) -> Figures:
    raise ValueError("unlike any GPU")


def leaves(_task: Task) -> Figures:
    raise SystemExit(3)


def distances(precision: str) -> list[LayerDistance]:
    return kernels.compare(LayerTask("tiny", 70, precision, "cpu", ("torch",)))


def test_torch_is_as_near_to_float64_as_its_numbers_allow() -> None:
    [exact], [coarse] = distances("float32"), distances("bfloat16")
    assert exact.within
    assert coarse.within
    assert exact.value < 1e-5
    # A number of bfloat16 has eight bits.
    assert 2**-10 < coarse.value < 2**-6


def test_a_layer_that_is_wrong_by_a_percent_is_not_within(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Mamba2.forward

    def scaled(self: Mamba2, u: torch.Tensor) -> torch.Tensor:
        # The reference is in float64, and stays as it is.
        return forward(self, u) * (1.0 if u.dtype == torch.float64 else 1.01)

    monkeypatch.setattr(Mamba2, "forward", scaled)
    [row] = distances("float32")
    assert not row.within
    assert row.value == pytest.approx(0.01, rel=0.01)


def test_a_gradient_that_is_missing_or_no_number_is_not_within() -> None:
    right = Distance(
        value=0.0,
        gradient=0.0,
        gradient_of="input",
        cancelling=0.0,
        cancelling_of="D",
        without_gradient=(),
    )
    bounds = (1e-3, 1e-3, 1e-3)
    assert right.is_within(*bounds)
    for key in ("value", "gradient", "cancelling"):
        assert not right.model_copy(update={key: math.nan}).is_within(*bounds)
        assert not right.model_copy(update={key: 2e-3}).is_within(*bounds)
    assert not right.model_copy(update={"without_gradient": ("D",)}).is_within(*bounds)


def test_losses_fall_and_are_the_same_each_time(cpu: Configuration, tmp_path: Path) -> None:
    task = Task(cpu, tmp_path, replace(SMALL, equal_batches=4), ("torch",))
    curves = kernels.losses(task).curves["tiny"]
    assert list(curves) == ["torch, bfloat16", "torch, float32"]
    assert all(curve[0] == pytest.approx(math.log(2), abs=0.05) for curve in curves.values())
    assert all(curve[-1] < curve[0] for curve in curves.values())
    assert kernels.losses(task).curves["tiny"] == curves


def test_a_section_that_fails_or_hangs_costs_nothing_but_itself(
    cpu: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        measurement,
        "GROUPS",
        (
            (Section(fails, "", 60), Section(leaves, "", 60)),
            (Section(prepare, "", 0.0),),
            (Section(equality, "", 120),),
        ),
    )
    monkeypatch.setattr(measurement, "NAMES", ("fails", "leaves", "prepare", "equality"))
    out = tmp_path / "out.json"
    messages: list[str] = []
    measured = measurement.run(Task(cpu, tmp_path / "work", SMALL), out=out, log=messages.append)
    assert set(measured.failed) == {"fails", "leaves", "prepare"}
    assert measured.failed["prepare"] == "not done within 0 s"
    assert "unlike any GPU" in measured.failed["fails"]
    assert measured.failed["leaves"] == "its process ended with status 3"
    assert measured.sections.equality is not None
    assert measured.sections.equality.within
    assert json.loads(out.read_text()) == measured.as_json()
    assert not measured.is_right
    assert "| prepare | not done within 0 s |" in measured.markdown()


def test_without_time_sections_are_named_and_not_run(cpu: Configuration, tmp_path: Path) -> None:
    measured = measurement.run(Task(cpu, tmp_path, SMALL), limit_s=0.0, log=lambda _line: None)
    assert measured.skipped == NAMES
    assert measured.as_json()["sections"] == {}


def test_a_result_that_is_not_a_number_is_recorded() -> None:
    curves: dict[str, dict[str, tuple[float, ...]]] = {"tiny": {"torch, float32": (0.5, math.nan)}}
    sections = Sections(losses=Losses(curves=curves))
    values = json.loads(json.dumps(sections.as_json()))
    again = Sections.model_validate(values).losses
    assert again is not None
    assert math.isnan(again.curves["tiny"]["torch, float32"][1])


def test_what_is_wrong_ends_the_command_with_1() -> None:
    h200 = json.loads(MEASURED.read_text(encoding="utf-8"))

    def is_right(failed: dict[str, str], **sections: dict[str, object]) -> bool:
        values = h200 | {"failed": failed, "sections": sections}
        return GpuMeasurement.model_validate(values).is_right

    equal: dict[str, object] = {"rows": [], "within": True}
    resumed: dict[str, object] = {
        "steps": 40,
        "batch": 64,
        "same_twice": True,
        "resumed_from": 10,
        "same_after_a_kill": True,
        "deterministic_windows_per_s": 1.0,
        "plain_windows_per_s": 2.0,
    }
    assert is_right({}, equality=equal, resuming=resumed)
    assert is_right({})
    assert not is_right({"rates": "out of luck"}, equality=equal, resuming=resumed)
    assert not is_right({}, equality=equal | {"within": False}, resuming=resumed)
    for key in ("same_twice", "same_after_a_kill"):
        assert not is_right({}, equality=equal, resuming=resumed | {key: False})


def test_a_section_that_does_not_exist_and_a_cpu_are_refused(cpu: Configuration) -> None:
    with pytest.raises(BrainbrrError, match="--section speed: use some of prepare, "):
        measurement.run(Task(cpu, Path("nowhere"), SMALL), sections=["speed"])
    reason = "hardware cpu is no GPU: choose one, such as --config full:h100, or .* with --small"
    with pytest.raises(BrainbrrError, match=reason):
        CliRunner().invoke(app, ["bench", "gpu", "--config", "full:cpu"], catch_exceptions=False)


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text(encoding="utf-8")
    measured = GpuMeasurement.model_validate_json(MEASURED.read_bytes())
    assert not measured.failed
    rows = [line for line in measured.markdown().splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    assert [row for row in rows if row not in page] == []
    assert measured.markdown().splitlines()[0] in page


def test_a_measurement_is_read_back_as_it_was_written() -> None:
    values = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert GpuMeasurement.model_validate(values).as_json() == values


def test_every_section_has_a_table() -> None:
    measured = GpuMeasurement.model_validate_json(MEASURED.read_bytes())
    tables = measured.tables()
    assert len(tables) == len(measured.sections.model_fields_set) > 0
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert set(Sections.model_fields) == set(NAMES)


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
