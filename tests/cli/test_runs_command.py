"""``brainbrr runs``: the runs of a folder in whatever state, and what differs between two."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import JsonValue

from brainbrr_core.configuration import Overrides, apply_assignments, load
from brainbrr_core.evaluation.results import EVALUATION
from brainbrr_core.runs.identity import EVALUATION_VERSION
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.run_corpus import RunCorpus
from brainbrr_core.runs.used_versions import RUN, write_started
from brainbrr_core.runs.weights import save_tensors
from tests.support.run_records import fit_values, run_values
from tests.support.scored_patients import FOUND_A, scored, store_report
from tests.support.shell import Shell

VERSION = "v2_256hz_10-20_89f91765f0ac"


def configured(*assignments: str) -> dict[str, Any]:
    settings = load(Overrides(config="smoke:cpu"), environment={})
    return apply_assignments(settings, assignments).model_dump(mode="json")


def finished(directory: Path, at: str, *assignments: str, **identity: Any) -> Path:
    """A finished run whose training had these settings."""
    directory.mkdir(parents=True)
    values = run_values(
        configuration=configured(*assignments),
        finished_at=at,
        fit=fit_values(steps=250),
    )
    values["identity"] |= {
        "training": {"seed": 0, "steps": 300},
        "preprocessing_version": VERSION,
        **identity,
    }
    (directory / RUN).write_text(json.dumps(values))
    (directory / MODEL).write_bytes(b"weights")
    return directory


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Two finished runs, one that was interrupted, one without a checkpoint, and two damaged."""
    runs = tmp_path / "runs"
    older = finished(runs / "smoke-older", "2026-01-02T03:04:05+00:00")
    newer = finished(runs / "smoke-newer", "2026-01-03T03:04:05+00:00", "preprocessing.notch_hz=50")
    for number, run in enumerate((older, newer)):
        os.utime(run / RUN, (1_000_000 + number, 1_000_000 + number))
    store_report(older, scored(FOUND_A))
    RunCorpus("siena", ()).write(older)
    interrupted = runs / "dev-interrupted"
    interrupted.mkdir()
    write_started(interrupted, VERSION)
    for name, step in (
        ("checkpoint.safetensors", 40),
        ("checkpoint-step-00000020.safetensors", 20),
    ):
        provenance: dict[str, JsonValue] = {
            "preprocessing_version": VERSION,
            "profile": "dev",
            "configuration": configured("training.steps=900", "training.seed=7"),
        }
        save_tensors(
            interrupted / name,
            {"network/x": torch.zeros(1)},
            {"step": step, "provenance": provenance},
        )
    begun = runs / "full-begun"
    begun.mkdir()
    write_started(begun, VERSION)
    for name in ("smoke-torn", "smoke-lost"):
        finished(runs / name, "2026-01-01T00:00:00+00:00")
        os.utime(runs / name / RUN, (999_000, 999_000))
    (runs / "smoke-torn" / RUN).write_text('{"identity": ')
    os.utime(runs / "smoke-torn" / RUN, (999_000, 999_000))
    (runs / "smoke-lost" / MODEL).unlink()
    # No runs.
    (runs / "smoke-seeds-0123456789ab" / "report-dev").mkdir(parents=True)
    (runs / "eval-scorings.jsonl").write_text("")
    return runs


def test_every_run_is_listed_with_what_it_is(shell: Shell, runs_dir: Path) -> None:
    listed = json.loads(shell.type("runs", "--json", "--runs-dir", runs_dir).stdout)
    runs = {run["name"]: run for run in listed}
    assert {name: run["state"] for name, run in runs.items()} == {
        "smoke-older": "finished",
        "smoke-newer": "finished",
        "dev-interrupted": "not finished",
        "full-begun": "not finished",
        "smoke-torn": "damaged",
        "smoke-lost": "damaged",
    }
    assert [name for name, run in runs.items() if run["latest"]] == ["smoke-newer"]
    older, interrupted = runs["smoke-older"], runs["dev-interrupted"]
    assert (older["profile"], older["steps"], older["planned_steps"]) == ("smoke", 250, 300)
    assert (older["corpus"], older["version"]) == ("siena", VERSION)
    assert older["at"] == "2026-01-02T03:04:05+00:00"
    assert set(older["scores"]) == {"dev"}
    # A finds one of the two seizures and raises two false alarms in four recordings of 600 s.
    assert older["scores"]["dev"]["szcore_event.sensitivity"]["value"] == 0.5
    assert older["scores"]["dev"]["szcore_event.false_per_day"]["value"] == 86_400 / 2400 * 2
    assert runs["smoke-newer"]["scores"] == {}
    assert (interrupted["profile"], interrupted["steps"]) == ("dev", 40)
    assert interrupted["planned_steps"] == 900
    assert runs["full-begun"]["steps"] == 0
    assert "run.json is damaged" in runs["smoke-torn"]["remarks"][0]
    assert f"{MODEL} is missing" in runs["smoke-lost"]["remarks"][0]


def test_the_list_is_readable(shell: Shell, runs_dir: Path) -> None:
    shown = shell.type("runs", "--runs-dir", runs_dir).stdout
    assert "smoke-newer: finished 2026-01-03 03:04 UTC, the latest\n" in shown
    assert (
        "smoke-older: finished 2026-01-02 03:04 UTC\n"
        f"  profile smoke, 250 of 300 steps, corpus siena, {VERSION}\n"
        "  dev: F1 0.400 ["
    ) in shown
    assert "sensitivity 0.500, false alarms per 24 h 72.0" in shown
    assert "dev-interrupted: not finished" in shown
    assert "40 of 900 steps" in shown
    assert "smoke-torn: damaged" in shown
    assert shown.index("smoke-newer") < shown.index("smoke-older")
    nothing = shell.type("runs", "--runs-dir", runs_dir / "none")
    assert (nothing.returncode, nothing.stdout.count("\n")) == (0, 1)
    assert "`brainbrr train`" in nothing.stdout


def test_scores_of_another_evaluation_version_are_marked(shell: Shell, runs_dir: Path) -> None:
    def lines() -> list[str]:
        done = shell.type("runs", "--runs-dir", runs_dir)
        assert done.returncode == 0
        return [line for line in done.stdout.splitlines() if "evaluation" in line]

    again = (
        f"Scores of another evaluation version than {EVALUATION_VERSION} do not compare with "
        "those of today: score these runs again with `brainbrr evaluate RUN --split SPLIT`"
    )
    # That of the fixture does not name its version.
    [marked, said] = lines()
    assert marked.startswith("  dev: F1 0.400 [")
    assert marked.endswith("per 24 h 72.0 (evaluation version before 7)")
    assert said == again
    for version in (EVALUATION_VERSION + 1, EVALUATION_VERSION):
        scoring = scored(FOUND_A)
        results = replace(scoring.results, provenance={EVALUATION: str(version)})
        store_report(runs_dir / "smoke-newer", replace(scoring, results=results))
        listed = json.loads(shell.type("runs", "--json", "--runs-dir", runs_dir).stdout)
        versions = {run["name"]: run["evaluation_versions"] for run in listed}
        assert versions["smoke-newer"] == {"dev": str(version)}
        assert versions["smoke-older"] == {"dev": "before 7"}
        others = [line for line in lines() if f"(evaluation version {version})" in line]
        assert len(others) == (version != EVALUATION_VERSION)
    store_report(runs_dir / "smoke-older", replace(scoring, results=results))
    assert lines() == []


def test_a_damaged_report_is_named_and_hides_nothing_else(shell: Shell, runs_dir: Path) -> None:
    [results] = runs_dir.glob("smoke-older/report-dev/results.json")
    results.write_text("{")
    runs = json.loads(shell.type("runs", "--json", "--runs-dir", runs_dir).stdout)
    [older] = [run for run in runs if run["name"] == "smoke-older"]
    assert (older["state"], older["scores"]) == ("finished", {})
    assert str(results) in older["remarks"][0]


def test_settings_that_differ_are_named_by_their_keys(shell: Shell, runs_dir: Path) -> None:
    words = ("runs", "smoke-newer", "smoke-older", "--runs-dir", runs_dir)
    assert shell.type(*words).stdout.splitlines() == [
        "smoke-newer against smoke-older:",
        "  preprocessing.notch_hz: 50 against 60",
    ]
    assert json.loads(shell.type(*words, "--json").stdout)["differences"] == [
        {"key": "preprocessing.notch_hz", "a": 50, "b": 60}
    ]
    same = shell.type("runs", "smoke-older", runs_dir / "smoke-older", "--runs-dir", runs_dir)
    assert "no setting differs" in same.stdout
    unfinished = shell.type("runs", "dev-interrupted", "smoke-older", "--runs-dir", runs_dir)
    assert "training.seed: 7 against 0" in unfinished.stdout
    assert "training.steps: 900 against 300" in unfinished.stdout


def test_what_no_setting_shows_is_named_too(shell: Shell, runs_dir: Path) -> None:
    earlier = "v1_256hz_10-20_000000000000"
    at = "2026-01-01T00:00:00+00:00"
    finished(runs_dir / "x", at, preprocessing_version=earlier, training_version=4)
    finished(runs_dir / "y", at, manifest="1" * 64)
    shown = shell.type("runs", "x", "smoke-older", "--runs-dir", runs_dir).stdout
    assert "signal_chain_version: v1 against v2" in shown
    assert "training_version: 4 against 0" in shown
    shown = shell.type("runs", "y", "smoke-older", "--runs-dir", runs_dir).stdout
    assert "manifest (recordings and annotations): 111111111111 against 000000000000" in shown


def test_runs_without_settings_are_refused_in_one_line(shell: Shell, runs_dir: Path) -> None:
    for words, reason in (
        (("smoke-older",), "name two runs"),
        (("smoke-older", "nothing"), "no run nothing"),
        (("smoke-older", "full-begun"), "it has no checkpoint"),
        (("smoke-torn", "smoke-older"), "it is damaged"),
        (("smoke-older", "smoke-seeds-0123456789ab"), "not the folder of a run"),
    ):
        assert reason in shell.refused("runs", *words, "--runs-dir", runs_dir)
