"""``brainbrr predict`` as a user types it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from brainbrr_core.configuration import Corpus, Overrides, load
from brainbrr_core.corpus.index_file import update_index
from tests.support.edf_files import write_edf
from tests.support.prediction_runs import UNIT, digital_eeg, random_run, write_digital
from tests.support.project import ROOT
from tests.support.shell import BIN, Shell


class Predicting:
    """Types ``brainbrr predict`` with a run of random weights."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        self.folder, self.config = random_run(folder)
        self._shell = shell

    def predict(self, *words: object, stdin: bytes = b"") -> tuple[int, str]:
        """Exit status and standard output."""
        done = self._shell.type("predict", *words, "--config", self.config, stdin=stdin)
        return done.returncode, done.stdout

    def refused(self, *words: object, status: int = 2) -> str:
        """The one line of a refusal."""
        return self._shell.refused("predict", *words, "--config", self.config, status=status)


@pytest.fixture
def predicting(tmp_path: Path, shell: Shell) -> Predicting:
    return Predicting(tmp_path, shell)


def test_a_folder_with_a_broken_file_is_predicted_and_exits_1(
    predicting: Predicting, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    write_digital(folder / "p" / "a.edf", digital_eeg(45, 200), 200)
    write_edf(folder / "b.edf", seconds=31)
    (folder / "broken.edf").write_bytes(b"nothing")
    code, out = predicting.predict(folder, tmp_path / "out", "--format", "tsv", "--format", "json")
    assert code == 1
    assert "failed: " in out
    assert str(folder / "broken.edf") in out
    assert re.search(r"\d+ events in 2 recordings; 1 failed", out)
    assert re.search(r"0\.02 h of EEG in [\d.]+ s: [\d,]+ times real time", out)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*")) == [
        "a.json",
        "a.tsv",
        "b.json",
        "b.tsv",
    ]
    (folder / "broken.edf").unlink()
    code, out = predicting.predict(folder, tmp_path / "out", "--json")
    values = json.loads(out)
    assert code == 0
    assert (values["recordings"], values["failed"], values["eeg_s"]) == (2, {}, 76)
    assert values["times_real_time"] == pytest.approx(76 / values["seconds"], rel=0.1)


def test_a_recording_of_the_index_is_predicted_by_the_end_of_its_key(
    predicting: Predicting, tmp_path: Path
) -> None:
    write_digital(tmp_path / "data" / "alice" / "night_1.edf", digital_eeg(45, 200), 200)
    write_digital(tmp_path / "data" / "bob" / "night_2.edf", digital_eeg(31, 200), 200)
    settings = load(Overrides(config=predicting.config), environment={})
    update_index(str(tmp_path / "data"), settings.cache_root, Corpus(layout="folder"))
    for name in ("bob/night_2", "night_2.edf", "_2"):
        out = tmp_path / f"{len(name)}.tsv"
        code, _ = predicting.predict(name, out)
        assert code == 0
        assert "31.00" in out.read_text().splitlines()[1]
    line = predicting.refused("alice/night_3", tmp_path / "no.tsv")
    assert "no recording alice/night_3 in the index (the nearest of this patient is" in line
    assert "2 recordings are named night" not in line
    assert "partition key" in predicting.refused("night", tmp_path / "no.tsv")


def test_mistakes_are_one_line(predicting: Predicting, tmp_path: Path) -> None:
    edf = write_digital(tmp_path / "a.edf", digital_eeg(12, 200), 200)
    out = tmp_path / "o.tsv"
    assert "is a file: name the run's folder" in predicting.refused(
        edf, out, "--run", predicting.folder / "run.json"
    )
    assert "no finished run" in predicting.refused(edf, out, "--run", tmp_path, status=1)
    assert "no EDF at" in predicting.refused(tmp_path / "none.edf", tmp_path / "none.tsv")
    assert "'xml' is not one of" in predicting.refused(edf, tmp_path / "o", "--format", "xml")
    assert "does not exist" in predicting.refused(edf, out, "--stats", tmp_path / "none.json")
    assert "exclude each other" in predicting.refused(
        edf, out, "--stats", out, "--first-minutes", "1"
    )
    assert "add --stream" in predicting.refused("-", out)
    assert "give OUT" in predicting.refused(edf)
    assert "give --rate" in predicting.refused("-", "--stream")
    for rate in ("99.9", "1/0", "fast", "1e9"):
        assert f"--rate {rate} is not a sampling rate from 100" in predicting.refused(
            "-", "--stream", "--rate", rate
        )
    assert "'int8' is not one of 'float32', 'int16'" in predicting.refused(
        "-", "--stream", "--rate", "256", "--sample-type", "int8"
    )
    assert "not a readable EDF" in predicting.refused(__file__, "--stream")
    assert "cannot be read" in predicting.refused(tmp_path / "none.edf", "--stream")
    assert "cannot be written" in predicting.refused(edf, edf / "o.tsv")
    (predicting.folder / "threshold.json").write_text('{"on_thr')
    assert "threshold.json is damaged" in predicting.refused(edf, out)
    (predicting.folder / "run.json").write_text("{}")
    assert "run.json is damaged" in predicting.refused(edf, out)
    assert not out.exists()


def test_a_stream_gives_the_events_of_the_file(predicting: Predicting, tmp_path: Path) -> None:
    digital = digital_eeg(95, 250, 5)
    edf = write_digital(tmp_path / "a.edf", digital, 250)
    stats = tmp_path / "stats.json"
    other = write_digital(tmp_path / "b.edf", digital_eeg(60, 250, 6), 250)
    on = ("--threshold", 0.55)
    assert predicting.predict(other, tmp_path / "b.tsv", *on, "--save-stats", stats)[0] == 0
    for how in (("--stats", stats), ("--first-minutes", 0.5)):
        code, _ = predicting.predict(edf, tmp_path / "a.json", *on, *how, "--batch", 1)
        assert code == 0
        expected = json.loads((tmp_path / "a.json").read_text())["events"]
        assert expected
        raw = ("-", "--stream", "--rate", 250, "--sample-type", "int16", "--microvolts", UNIT)
        frames = digital.T.astype("<i2").tobytes()
        for words, stdin in ((raw, frames), ((edf, "--stream", "--idle", 0), b"")):
            code, out = predicting.predict(*words, *on, *how, stdin=stdin)
            lines = [json.loads(line) for line in out.splitlines()]
            assert code == 0
            assert (lines[0]["kind"], lines[0]["latency_s"]) == (
                "stream",
                pytest.approx(30.9, abs=0.1),
            )
            assert lines[-1] == {"kind": "end", "events": len(expected), "signal_s": 95.0}
            events = [
                {k: v for k, v in line.items() if k not in ("kind", "signal_s")}
                for line in lines
                if line["kind"] == "event"
            ]
            assert events == expected
    # To a file, and with the mean and deviation of the first minutes kept.
    kept = tmp_path / "kept.json"
    to_a_file = (edf, tmp_path / "lines" / "a.jsonl", "--stream", "--idle", 0, "--save-stats", kept)
    assert predicting.predict(*to_a_file, *on, "--first-minutes", 0.5) == (0, "")
    assert len((tmp_path / "lines" / "a.jsonl").read_text().splitlines()) == len(lines)
    predicting.predict(edf, tmp_path / "again.json", *on, "--stats", kept, "--batch", 1)
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["events"] == expected


def test_lines_come_while_the_pipe_is_open(tmp_path: Path) -> None:
    _, config = random_run(tmp_path)
    frames = digital_eeg(60, 256, 5).T.astype("<i2").tobytes()
    words = ["--stream", "--rate", "256", "--sample-type", "int16", "--microvolts", str(UNIT)]
    more = ["--threshold", "0.55", "--first-minutes", "0.2", "--config", config]
    with subprocess.Popen(
        [str(BIN / "brainbrr"), "predict", "-", *words, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frames)
        process.stdin.flush()
        # The input stays open: these come before its end is known.
        kinds = [json.loads(process.stdout.readline())["kind"] for _ in range(3)]
        process.stdin.close()
        last = json.loads(process.stdout.read().splitlines()[-1])
    assert kinds[0] == "stream"
    assert set(kinds[1:]) <= {"onset", "event"}
    assert last["kind"] == "end"
    assert process.returncode == 0


def test_the_containers_command_reads_input_and_writes_output(tmp_path: Path) -> None:
    recipe = (ROOT / "configs" / "deploy" / "szcore" / "Dockerfile").read_text()
    folder, config = random_run(tmp_path)
    [command] = re.findall(r"^CMD (.*)$", recipe, re.MULTILINE)
    assert '"/data/$INPUT" "/output/$OUTPUT"' in command
    assert {"/data", "/output"} == set(re.findall(r'^VOLUME \["(.*)"\]$', recipe, re.MULTILINE))
    for real, inside in (("data", "/data"), ("output", "/output"), (folder, "/app/run")):
        command = command.replace(inside, str(tmp_path / real))
    # The labels and the order of channels that the challenge promises.
    left, middle, right = (
        ("Fp1", "F3", "C3", "P3", "O1", "F7", "T3", "T5"),
        ("Fz", "Cz", "Pz"),
        ("Fp2", "F4", "C4", "P4", "O2", "F8", "T4", "T6"),
    )
    labels = [f"{name}-Avg" for name in (*left, *middle, *right)]
    write_edf(tmp_path / "data" / "sub-01" / "a_eeg.edf", labels=labels, seconds=62)
    environment = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "INPUT": "sub-01/a_eeg.edf",
        "OUTPUT": "a.tsv",
        "BRAINBRR_CONFIG": config,
        "HOME": "/nonexistent",
    }
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + shlex.join(command.split())
    header, *rows = (tmp_path / "output" / "a.tsv").read_text().splitlines()
    assert header.split("\t")[:3] == ["onset", "duration", "eventType"]
    assert rows
    assert all(row.split("\t")[-1] == "62.0000" for row in rows)
