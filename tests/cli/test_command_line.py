"""The commands a user types: what they print, and what they do with a mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.settings import LayoutName
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import read_index
from tests.support.edf_files import write_edf
from tests.support.shell import Done, Shell, run
from tests.support.small_run import small_config, small_settings


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


def test_mistakes_are_one_line_and_exit_2(shell: Shell, corpus: Path, tmp_path: Path) -> None:
    folders = {"BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"), "BRAINBRR_CONFIG": "smoke:cpu"}
    assert "BRAINBRR_DATA_DIR" in shell.refused("index", environment=folders)
    elsewhere = folders | {"BRAINBRR_DATA_DIR": "/nowhere"}
    own = tmp_path / "own.yaml"
    own.write_text("data_dir: /nowhere/at/all\n")
    for given, environment, wrong in (
        ((), elsewhere, "BRAINBRR_DATA_DIR names the data directory /nowhere,"),
        (("--data-dir", "/no"), elsewhere, "--data-dir names the data directory /no,"),
        (
            ("--config", f"smoke:cpu:{own}"),
            folders,
            f"data_dir of {own} names the data directory /nowhere/at/all,",
        ),
    ):
        for command in (("index",), ("cache", "build")):
            line = shell.refused(*command, *given, environment=environment)
            assert f"{wrong} which does not exist: mount its drive, or set" in line
        assert wrong in shell.type("doctor", *given, environment=environment).stdout
    own.unlink()
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "empty", "is empty"), (tmp_path, "not laid out as")):
        assert words in shell.refused("index", "--data-dir", folder, environment=folders)
    (tmp_path / "file").write_text("")
    assert "not writable" in shell.refused(
        "index", "--data-dir", corpus, "--cache-root", tmp_path / "file" / "x"
    )
    (tmp_path / "bad.yaml").write_text("windows: {strid_s: 10}")
    assert "windows.stride_s" in shell.refused(
        "cache", "status", "--config", f"smoke:cpu:{tmp_path}/bad.yaml"
    )
    assert "brainbrr index" in shell.refused("cache", "status", environment=folders)
    assert not (tmp_path / "cache").exists()


def test_wrong_usage_exits_2() -> None:
    done = run("brainbrr", "cache", "build", "--nothing")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("one_worker")
def test_an_unreadable_edf_is_counted_and_stops_nothing(
    shell: Shell, settings: Configuration, corpus: Path, tmp_path: Path
) -> None:
    victim = sorted(corpus.rglob("*.edf"))[0]
    victim.write_bytes(b"nothing")
    config = ("--config", small_config(tmp_path))
    listed = json.loads(shell.type("index", "--json", *config).stdout)
    assert (listed["found"], listed["usable"], listed["reasons"]) == (12, 11, {"unreadable": 1})
    done = shell.type("cache", "build", "--json", *config)
    assert done.returncode == 0
    assert json.loads(done.stdout)["built"] == 11
    status = json.loads(shell.type("cache", "status", "--json", *config).stdout)
    assert (status["fresh"], status["excluded"]) == (11, 1)
    assert settings.cache_root.is_dir()


@pytest.mark.usefixtures("one_worker")
def test_status_says_what_needs_doing_and_how(
    shell: Shell, settings: Configuration, tmp_path: Path
) -> None:
    config = ("--config", small_config(tmp_path))
    assert shell.type("index", *config).returncode == 0
    before = shell.type("cache", "status", *config)
    assert before.returncode == 1
    assert "brainbrr cache build" in before.stdout
    train = shell.refused("train", *config, status=1)
    assert f"brainbrr cache build {config[0]} {config[1]}`" in train
    assert not settings.runs_dir.exists()
    dry = shell.type("cache", "build", "--dry-run", *config)
    assert dry.returncode == 1
    assert "12 of 12 recordings would be built" in dry.stdout
    some = shell.type("cache", "build", "--limit", "4", "--json", *config)
    assert json.loads(some.stdout)["built"] == 4
    rest = shell.type("cache", "build", "--json", *config)
    assert json.loads(rest.stdout) | {"seconds": 0} == {
        "built": 8,
        "built_by_others": 0,
        "fresh_before": 4,
        "failed": {},
        "seconds": 0,
    }
    after = shell.type("cache", "status", "--json", *config)
    assert after.returncode == 0
    assert json.loads(after.stdout)["fresh"] == 12
    assert shell.type("cache", "verify", *config).returncode == 0
    shard = next(settings.cache_root.rglob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert shell.type("cache", "verify", *config).returncode == 1


@dataclass(frozen=True)
class Materialized:
    """A corpus that Dagster's own commands took to a report."""

    settings: Configuration
    #: What ``--config`` must say for it.
    config: str
    #: What ``eval "$(brainbrr env)"`` sets.
    environment: dict[str, str]

    def materialize(self, *words: str) -> Done:
        """``dagster asset materialize``, as typed."""
        return run("dagster", "asset", "materialize", *words, environment=self.environment)


@pytest.fixture(scope="module")
def materialized(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Materialized:
    """``eval "$(brainbrr env)"`` and then Dagster's own commands, from a corpus to a report."""
    folder = tmp_path_factory.mktemp("dagster")
    settings, config = small_settings(folder, master_corpus), small_config(folder)
    printed = run("brainbrr", "env", "--config", config)
    assert printed.returncode == 0
    made = Materialized(settings, config, shell_lines(printed.stdout))
    for name in ("raw_edf_index", "windowed_cache", "*"):
        done = made.materialize("--select", name)
        assert done.returncode == 0, done.stderr
        assert "SKIPPED" not in done.stderr
    return made


@pytest.mark.smoke
def test_the_literal_commands_of_dagster(materialized: Materialized) -> None:
    settings, environment = materialized.settings, materialized.environment
    assert environment["DAGSTER_HOME"] == str(settings.dagster_home)
    assert environment["BRAINBRR_CACHE_ROOT"] == str(settings.cache_root)
    report = next(settings.runs_dir.glob("*/report-eval/report.html"))
    assert "SzCORE" in report.read_text()
    key = read_index(settings.cache_root).recordings[3].partition_key
    one = materialized.materialize(
        "-m", "brainbrr_pipeline.definitions", "--select", "windowed_cache", "--partition", key
    )
    assert one.returncode == 0, one.stderr
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        recorded = instance.get_materialized_partitions(dg.AssetKey("windowed_cache"))
        assert recorded == {r.partition_key for r in read_index(settings.cache_root)}
    validated = run("dagster", "definitions", "validate", environment=environment)
    assert validated.returncode == 0, validated.stderr


@pytest.mark.smoke
def test_the_commands_find_what_dagster_made(shell: Shell, materialized: Materialized) -> None:
    config = ("--config", materialized.config)
    built = json.loads(shell.type("cache", "build", "--json", *config).stdout)
    assert (built["built"], built["fresh_before"], built["failed"]) == (0, 12, {})
    assert not json.loads(shell.type("manifest", "--json", *config).stdout)["rewritten"]
    trained = shell.type("train", *config)
    assert trained.returncode == 0
    assert "is finished already: nothing to train" in trained.stdout + trained.stderr
    scores = json.loads(shell.type("evaluate", "--json", *config).stdout)
    assert scores["reused"]
    assert set(scores["scores"]) >= {"szcore_event", "nedc_ovlp", "nedc_taes"}


@pytest.mark.smoke
def test_predict_writes_the_events_of_any_edf(
    shell: Shell, materialized: Materialized, master_corpus: Path, tmp_path: Path
) -> None:
    config = ("--config", materialized.config)
    folder = tmp_path / "in"
    labels = [f"EEG {name}-Ref" for name in CHANNELS if name not in ("Fz", "Cz", "Pz")]
    write_edf(folder / "a" / "own.edf", labels=labels, rate=200, seconds=95)
    shutil.copy(sorted(master_corpus.glob("edf/eval/**/*.edf"))[0], folder)
    (folder / "broken.edf").write_bytes(b"nothing")
    done = shell.type("predict", folder, tmp_path / "out", *config)
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
    for name, expected in (("none.edf", "no EDF at"), ("in/broken.edf", "not a readable EDF")):
        line = shell.refused("predict", tmp_path / name, tmp_path / "alone", *config)
        assert expected in line
    assert not (tmp_path / "alone").exists()


def test_the_index_lists_what_became_of_each_recording(
    shell: Shell, corpus: Path, tmp_path: Path
) -> None:
    victim, spoilt = sorted(corpus.rglob("*.edf"))[:2]
    victim.write_bytes(b"nothing")
    annotation = spoilt.with_suffix(".csv_bi")
    annotation.write_text(annotation.read_text().replace("bckg", "bkgd"))
    options = ("--data-dir", str(corpus), "--cache-root", str(tmp_path / "cache"))
    done = shell.type("index", "--list", *options)
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert head[:4] == ["recording", "split", "status", "reason"]
    assert len(rows) == 12
    outcomes = {row[0].rsplit("/")[-1]: row for row in rows}
    assert outcomes[victim.stem][2:4] == ["excluded", "unreadable"]
    assert outcomes[spoilt.stem][2:4] == ["unlabeled", "bad_annotation"]
    assert f"{annotation.name}:7: unknown_label" in outcomes[spoilt.stem][-2]
    values = json.loads(shell.type("index", "--list", "--json", *options).stdout)
    assert [[r["recording"], r["reason"]] for r in values["recordings"]] == [
        [row[0], row[3]] for row in rows
    ]
    assert (values["found"], values["usable"]) == (12, 10)
    assert (values["excluded"], values["unlabeled"]) == (1, 1)
    # No other command counts them otherwise.
    assert shell.type("cache", "build", *options).returncode == 0
    status = json.loads(shell.type("cache", "status", "--json", *options[2:]).stdout)
    assert (status["fresh"], status["excluded"]) == (11, 1)
    refused = shell.refused("index", "--layout", "bdis", *options)
    assert all(f"'{layout}'" in refused for layout in get_args(LayoutName))
