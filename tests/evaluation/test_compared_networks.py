"""``brainbrr compare --networks``: trained once, reused afterwards, in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.configuration import Configuration
from tests.support.shell import Shell
from tests.support.small_run import small_config


@pytest.fixture
def config(prepared: Configuration) -> tuple[str, str]:
    return "--config", small_config(prepared.cache_root.parent)


def test_networks_are_trained_scored_and_compared_in_one_table(
    shell: Shell, prepared: Configuration, config: tuple[str, str]
) -> None:
    done = shell.type("compare", "--networks", "bimamba2, line_length", *config)
    assert done.returncode == 0, done.stderr
    again = shell.type("compare", "--networks", "bimamba2,line_length", *config, "--json")
    told = json.loads(again.stdout)
    assert "finished already" in again.stderr
    assert told["split"] == "eval"
    rows = {row["network"]: row for row in told["networks"]}
    assert list(rows) == ["bimamba2", "line_length"]
    # Each row says what the run's record and the report of `evaluate` say.
    for name, row in rows.items():
        run = prepared.runs_dir / row["run"]
        record = json.loads((run / "run.json").read_text())
        assert row["parameters"] == record["parameters"]
        assert row["seconds"] == record["seconds"]
        assert row["windows_per_s"] == record["fit"]["windows_per_s"]
        scores = json.loads(shell.type("evaluate", row["run"], *config, "--json").stdout)
        for figure, value in row["figures"].items():
            assert value == scores["estimates"][figure], (name, figure)
        assert f"{row['parameters']:,}" in done.stdout
    assert rows["line_length"]["parameters"] == 3
    # The default network's run is the one that `train` makes.
    trained = shell.type("train", *config)
    assert f"finished already: {prepared.runs_dir / rows['bimamba2']['run']}" in trained.stdout
    page = Path(told["report"])
    text = page.read_text(encoding="utf-8")
    assert ">606,848<" in text and ">3<" in text
    assert "chosen on eval" in text
    for row in rows.values():
        assert (page.parent / f"../../{row['run']}/report-eval/report.html").is_file()
        assert f"../../{row['run']}/report-eval/report.html" in text
    table = (page.parent / "networks.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--networks", "bimamba2,egnet"), "--networks has 'egnet': there is no such network"),
        (("--networks", "tcn,tcn"), "--networks has tcn twice"),
        (("--networks", "tcn,nowhere:Net"), "nowhere cannot be imported"),
        (("--networks", "tcn", "--primary", "x"), "give it without runs"),
        (("--networks", "tcn", "A", "B"), "give it without runs"),
        (("A", "B", "--profile", "smoke"), "--cache-version and --allow-eval are for"),
        (("A",), "missing argument 'RUN_B': see `brainbrr compare --help`"),
        ((), "missing argument 'RUN_A'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    shell: Shell,
    config: tuple[str, str],
    prepared: Configuration,
    words: tuple[str, ...],
    said: str,
) -> None:
    before = sorted(prepared.runs_dir.glob("*"))
    assert said in shell.refused("compare", *words, *config)
    assert sorted(prepared.runs_dir.glob("*")) == before


def test_eval_is_asked_for_before_anything_is_trained(
    shell: Shell, config: tuple[str, str], prepared: Configuration, tmp_path: Path
) -> None:
    careful = tmp_path / "careful.yaml"
    careful.write_text("evaluation: {allow_eval: false}\ntraining: {seed: 77}\n")
    words = ("compare", "--networks", "line_length", "--config", f"{config[1]}:{careful}")
    before = sorted(prepared.runs_dir.glob("*"))
    assert "scored only on purpose: add --allow-eval" in shell.refused(*words)
    assert sorted(prepared.runs_dir.glob("*")) == before
    done = shell.type(*words, "--allow-eval", "--json")
    assert json.loads(done.stdout)["split"] == "eval"


def test_the_options_of_the_configured_network_hold_for_it_alone(
    shell: Shell, config: tuple[str, str], prepared: Configuration, tmp_path: Path
) -> None:
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("model: {network: line_length, options: {step_s: 2}}\n")
    both = ("--config", f"{config[1]}:{chosen}")
    told = json.loads(shell.type("compare", "--networks", "line_length", *both, "--json").stdout)
    [row] = told["networks"]
    record = json.loads((prepared.runs_dir / row["run"] / "run.json").read_text())
    assert record["identity"]["model"] == {"network": "line_length", "options": {"step_s": 2}}
