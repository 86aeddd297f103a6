"""The commands a user types: what they print, and what they do with a mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from conftest import small_config
from edf_files import write_edf

from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.signal.montage import CHANNELS

BIN = Path(sys.executable).parent


def run(
    *words: str, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("BRAINBRR_", "DAGSTER_"))
    }
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env=clean | (environment or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(*words: str, environment: dict[str, str] | None = None) -> str:
    """The one line that a refused command prints."""
    done = run("brainbrr", *words, environment=environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("brainbrr:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def shell_lines(text: str) -> dict[str, str]:
    """Variables that ``eval`` of the text would set, by a real shell."""
    done = subprocess.run(
        ["bash", "-c", f"{text}\nenv -0"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (entry.partition("=") for entry in done.stdout.split("\0") if entry)
    return {name: value for name, _, value in pairs}


def test_mistakes_are_one_line_and_exit_2(corpus: Path, tmp_path: Path) -> None:
    place = {"BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"), "BRAINBRR_CONFIG": "smoke:cpu"}
    assert "BRAINBRR_DATA_DIR" in refused("index", environment=place)
    assert "no data directory" in refused(
        "index", environment=place | {"BRAINBRR_DATA_DIR": "/nowhere"}
    )
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused("index", "--data-dir", str(tmp_path / "empty"), environment=place)
    assert "not laid out as" in refused("index", "--data-dir", str(tmp_path), environment=place)
    (tmp_path / "file").write_text("")
    assert "not writable" in refused(
        "index", "--data-dir", str(corpus), "--cache-root", str(tmp_path / "file" / "x")
    )
    (tmp_path / "bad.yaml").write_text("windows: {strid_s: 10}")
    assert "windows.stride_s" in refused(
        "cache", "status", "--config", f"smoke:cpu:{tmp_path}/bad.yaml"
    )
    assert "brainbrr index" in refused("cache", "status", environment=place)
    assert not (tmp_path / "cache").exists()


def test_wrong_usage_exits_2() -> None:
    done = run("brainbrr", "cache", "build", "--nothing")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_unreadable_edf_is_counted_and_stops_nothing(
    settings: Configuration, corpus: Path, tmp_path: Path
) -> None:
    victim = sorted(corpus.rglob("*.edf"))[0]
    victim.write_bytes(b"nothing")
    config = ("--config", small_config(tmp_path))
    found = json.loads(run("brainbrr", "index", "--json", *config).stdout)
    assert (found["found"], found["usable"], found["reasons"]) == (12, 11, {"unreadable": 1})
    done = run("brainbrr", "cache", "build", "--json", *config)
    assert done.returncode == 0
    assert json.loads(done.stdout)["built"] == 11
    status = json.loads(run("brainbrr", "cache", "status", "--json", *config).stdout)
    assert (status["fresh"], status["excluded"]) == (11, 1)
    assert settings.cache_root.is_dir()


def test_status_says_what_needs_doing_and_how(settings: Configuration, tmp_path: Path) -> None:
    config = ("--config", small_config(tmp_path))
    assert run("brainbrr", "index", *config).returncode == 0
    before = run("brainbrr", "cache", "status", *config)
    assert before.returncode == 1
    assert "brainbrr cache build" in before.stdout
    dry = run("brainbrr", "cache", "build", "--dry-run", *config)
    assert dry.returncode == 1
    assert "12 of 12 recordings would be built" in dry.stdout
    some = run("brainbrr", "cache", "build", "--limit", "4", "--json", *config)
    assert json.loads(some.stdout)["built"] == 4
    rest = run("brainbrr", "cache", "build", "--json", *config)
    assert json.loads(rest.stdout) | {"seconds": 0} == {
        "built": 8,
        "fresh_before": 4,
        "failed": {},
        "seconds": 0,
    }
    after = run("brainbrr", "cache", "status", "--json", *config)
    assert after.returncode == 0
    assert json.loads(after.stdout)["fresh"] == 12
    assert run("brainbrr", "cache", "verify", *config).returncode == 0
    shard = next(settings.cache_root.rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run("brainbrr", "cache", "verify", *config).returncode == 1


def test_training_without_a_cache_names_the_command_that_mends_it(
    settings: Configuration, tmp_path: Path
) -> None:
    config = ("--config", small_config(tmp_path))
    run("brainbrr", "index", *config)
    done = run("brainbrr", "train", *config)
    assert done.returncode == 1
    assert f"brainbrr cache build {config[0]} {config[1]}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not settings.runs_dir.exists()


@pytest.mark.smoke
def test_the_literal_commands_of_dagster(settings: Configuration, tmp_path: Path) -> None:
    """``eval "$(brainbrr env)"`` and then Dagster's own commands, from a corpus to a report."""
    printed = run("brainbrr", "env", "--config", small_config(tmp_path))
    assert printed.returncode == 0
    environment = shell_lines(printed.stdout)
    assert environment["DAGSTER_HOME"] == str(settings.dagster_home)
    assert environment["BRAINBRR_CACHE_ROOT"] == str(settings.cache_root)

    def materialize(*words: str) -> subprocess.CompletedProcess[str]:
        return run("dagster", "asset", "materialize", *words, environment=environment)

    for name in ("raw_edf_index", "windowed_cache", "cache_manifest"):
        done = materialize("--select", name)
        assert done.returncode == 0, done.stderr
    everything = materialize("--select", "*")
    assert everything.returncode == 0, everything.stderr
    assert "SKIPPED" not in everything.stderr
    report = next(settings.runs_dir.glob("*/report-eval/report.html"))
    assert "SzCORE" in report.read_text()

    key = read_index(settings.cache_root).recordings[3].partition_key
    one = materialize(
        "-m", "brainbrr_pipeline.definitions", "--select", "windowed_cache", "--partition", key
    )
    assert one.returncode == 0, one.stderr
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        recorded = instance.get_materialized_partitions(dg.AssetKey("windowed_cache"))
        assert recorded == {r.partition_key for r in read_index(settings.cache_root)}

    validated = run("dagster", "definitions", "validate", environment=environment)
    assert validated.returncode == 0, validated.stderr


@pytest.mark.smoke
def test_predict_writes_the_events_of_any_edf(settings: Configuration, tmp_path: Path) -> None:
    config = ("--config", small_config(tmp_path))
    for words in (("cache", "build"), ("manifest",), ("train",), ("evaluate",)):
        done = run("brainbrr", *words, *config)
        assert done.returncode == 0, done.stderr
    again = run("brainbrr", "evaluate", "--json", *config)
    scores = json.loads(again.stdout)
    assert scores["reused"]
    assert set(scores["scores"]) >= {"szcore_event", "nedc_ovlp", "nedc_taes"}

    folder = tmp_path / "in"
    labels = [f"EEG {name}-Ref" for name in CHANNELS if name not in ("Fz", "Cz", "Pz")]
    write_edf(folder / "a" / "own.edf", labels=labels, rate=200, seconds=95)
    shutil.copy(sorted(settings.cache_root.parent.rglob("tusz/edf/eval/**/*.edf"))[0], folder)
    (folder / "broken.edf").write_bytes(b"nothing")
    done = run("brainbrr", "predict", str(folder), str(tmp_path / "out"), *config)
    assert done.returncode == 1
    assert "broken.edf" in done.stdout
    text = (tmp_path / "out" / "a" / "own.tsv").read_text().splitlines()
    assert text[0].split("\t") == [
        "onset",
        "duration",
        "eventType",
        "confidence",
        "channels",
        "dateTime",
        "recordingDuration",
    ]
    assert all(line.split("\t")[-1] == "95.0000" for line in text[1:])
    assert len(list((tmp_path / "out").rglob("*.tsv"))) == 2
    for name, expected in (("none.edf", "no EDF at"), ("in/broken.edf", "no EDF that can be read")):
        line = refused("predict", str(tmp_path / name), str(tmp_path / "alone"), *config)
        assert expected in line
    assert not (tmp_path / "alone").exists()


def test_the_index_lists_what_became_of_each_recording(corpus: Path, tmp_path: Path) -> None:
    victim, spoilt = sorted(corpus.rglob("*.edf"))[:2]
    victim.write_bytes(b"nothing")
    annotation = spoilt.with_suffix(".csv_bi")
    annotation.write_text(annotation.read_text().replace("bckg", "bkgd"))
    options = ("--data-dir", str(corpus), "--cache-root", str(tmp_path / "cache"))
    done = run("brainbrr", "index", "--list", *options)
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert head[:4] == ["recording", "split", "status", "reason"]
    assert len(rows) == 12
    outcomes = {row[0].rsplit("/")[-1]: row for row in rows}
    assert outcomes[victim.stem][2:4] == ["excluded", "unreadable"]
    assert outcomes[spoilt.stem][2:4] == ["excluded", "bad_annotation"]
    assert f"{annotation.name}:7: unknown_label" in outcomes[spoilt.stem][-1]
    values = json.loads(run("brainbrr", "index", "--list", "--json", *options).stdout)
    assert [[r["recording"], r["reason"]] for r in values["recordings"]] == [
        [row[0], row[3]] for row in rows
    ]
    assert (values["found"], values["usable"], values["excluded"]) == (12, 10, 2)
    assert "no layout named 'bdis'" in refused("index", "--layout", "bdis", *options)
