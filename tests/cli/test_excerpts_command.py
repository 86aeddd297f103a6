"""``brainbrr excerpts``, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.prediction_runs import digital_eeg, random_run, write_digital
from tests.support.shell import Shell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seconds in (("a", 95), ("b", 60)):
        write_digital(tmp_path / f"{name}.edf", digital_eeg(seconds, 250), 250)
    return tmp_path


def test_the_counts_are_those_of_the_predicted_events(folder: Path, shell: Shell) -> None:
    run, config = random_run(folder)
    typed = ("--threshold", 0.55, "--config", config)
    events = {}
    for name in ("a", "b"):
        out = folder / f"{name}.json"
        assert (
            shell.type("predict", folder / f"{name}.edf", out, "--run", run, *typed).returncode == 0
        )
        events[name] = json.loads(out.read_text())["events"]
    first = events["a"][1]
    start, stop = first["onset_s"] - 2, first["onset_s"] + first["duration_s"]
    quiet = events["b"][0]["onset_s"]
    assert quiet > 1, "the test needs a beginning without an event"
    table = folder / "labels.csv"
    table.write_text(f"file,label,start_s,stop_s\na.edf,SZ,{start},{stop}\nb.edf,GPD,0,{quiet}\n")
    done = shell.type("excerpts", run, table, *typed, "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert [row["detected"] for row in scores["intervals"]] == [True, False]
    before = [e for e in events["a"][:1] if e["onset_s"] + e["duration_s"] > start]
    expected = 0.0 if before else first["onset_s"] - start
    assert scores["intervals"][0]["latency_s"] == pytest.approx(expected)
    # Every event of the recording without a seizure, wherever it is.
    assert scores["false_alarms"]["events"] == len(events["b"])
    assert scores["false_alarms"]["hours"] == pytest.approx(60 / 3600)
    assert scores["seizures"]["hits"] == scores["seizures"]["trials"] == 1

    printed = shell.type("excerpts", run, table, *typed)
    assert "seizures detected: 1 of 1 [0.03, 1.00]" in printed.stdout
    assert f"false alarms in these: {len(events['b'])} event" in printed.stdout
    renamed = shell.type("excerpts", run, table, *typed, "--seizure-label", "gpd", "--json")
    assert json.loads(renamed.stdout)["by_label"]["GPD"]["hits"] == 0
    assert json.loads(renamed.stdout)["seizures"]["trials"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("none.edf,SZ,0,10", "none.edf"),
        ("a.edf,SZ,90,100", "a.edf lasts 95 s, and an interval labeled SZ ends at 100 s"),
        ("a.edf,SZ,9,3", "line 2: a row needs"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(
    folder: Path, shell: Shell, row: str, message: str
) -> None:
    run, config = random_run(folder)
    table = folder / "labels.csv"
    table.write_text(f"file,label,start_s,stop_s\n{row}\n")
    done = shell.type("excerpts", run, table, "--config", config)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("brainbrr:")]
    assert message in line
    assert "Traceback" not in done.stderr
