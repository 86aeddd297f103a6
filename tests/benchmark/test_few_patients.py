"""``brainbrr bench transfer``: trainings on few patients, from a model and from random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.benchmark.few_patients import Trained, Transfer
from brainbrr_core.files.one_process import only_writer
from brainbrr_core.simulation import load_ranges
from tests.support.shell import Shell


def test_a_row_of_the_table_is_the_mean_and_the_range_over_seeds() -> None:
    def trained(start: str, patients: int, seed: int, f1: float) -> Trained:
        return Trained(
            start=start,
            patients=patients,
            seed=seed,
            seconds=1.0,
            f1=f1,
            sensitivity=f1 / 2,
            false_per_day=10 * f1,
            average_precision=0.5,
        )

    measured = Transfer(
        model="pretrained",
        steps=10,
        hours=3.0,
        seizures=20,
        eval_patients=5,
        trainings=(
            trained("model", 0, 0, 0.3),
            trained("model", 1, 0, 0.5),
            trained("random", 1, 0, 0.1),
            trained("model", 1, 1, 0.8),
            trained("random", 1, 1, 0.2),
        ),
    )
    [table] = measured.tables()
    assert table.rows == [
        ["0", "model", "1", "0.300", "0.30–0.30", "0.150", "3.0", "0.500"],
        ["1", "model", "2", "0.650", "0.50–0.80", "0.325", "6.5", "0.500"],
        ["1", "random", "2", "0.150", "0.10–0.20", "0.075", "1.5", "0.500"],
    ]


def test_the_hospital_elsewhere_has_recorders_and_onsets_that_no_simulated_training_has() -> None:
    elsewhere = load_ranges("elsewhere")
    for trained in (load_ranges("varied"), load_ranges("unseen")):
        for table in ("rates_hz", "highpass_hz", "lowpass_hz"):
            there = {k for k, weight in getattr(elsewhere.recorders, table).items() if weight}
            assert there.isdisjoint(
                k for k, weight in getattr(trained.recorders, table).items() if weight
            )
        for kind in ("temporal", "frontal", "posterior"):
            assert elsewhere.seizures[kind].start_hz[0] >= trained.seizures[kind].start_hz[1]


@pytest.mark.slow
def test_each_number_of_patients_is_trained_from_both_starts(tmp_path: Path, shell: Shell) -> None:
    typed = (
        *("bench", "transfer", "--hours", 5, "--steps", 4, "--patients", 1, "--patients", 2),
        *("--seeds", 1, "--folder", tmp_path / "work", "--json"),
    )
    first = shell.type(*typed)
    assert first.returncode == 0, first.stderr
    measured = json.loads(first.stdout.splitlines()[-1])
    rows = [(one["patients"], one["start"]) for one in measured["trainings"]]
    assert rows == [(0, "model"), (1, "model"), (1, "random"), (2, "model"), (2, "random")]
    assert measured["seizures"] > 0 and measured["eval_patients"] > 0
    trained_on = {
        json.loads(record.read_text("utf-8"))["data"]["train"]["patients"]
        for record in (tmp_path / "work" / "runs").glob("*/run.json")
    }
    assert trained_on == {1, 2}
    # The same command reuses the trainings, and says the same, also of how long they took.
    again = json.loads(shell.type(*typed).stdout.splitlines()[-1])
    assert again == measured
    assert all(one["seconds"] > 0 for one in measured["trainings"][1:])

    other = tmp_path / "other.yaml"
    other.write_text("preprocessing: {montage: double-banana}\n")
    refused = shell.type(*typed[:-1], "--config", f"cpu:pretrained:{other}")
    assert refused.returncode == 2 and "double-banana" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["transfer", "learn", "gpu"])
def test_one_process_at_a_time_measures_in_a_folder(
    command: str, tmp_path: Path, shell: Shell
) -> None:
    further = ["--small"] if command == "gpu" else []
    with only_writer(tmp_path / "work", ""):
        said = shell.refused("bench", command, "--folder", tmp_path / "work", *further)
    assert f"another process measures in {tmp_path / 'work'}: wait for it" in said
    assert not (tmp_path / "work").exists()
