"""The power-line frequency in a ``*_eeg.json``, compared with that of the notch filter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.configuration import Corpus, Overrides, load
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS
from brainbrr_core.corpus.summary import summarize
from brainbrr_core.doctor.examination import examine
from brainbrr_core.files import state as files_module
from brainbrr_core.files.state import Hashes
from tests.support.bids import write_bids
from tests.support.shell import Shell

SUBJECTS = ["sub-01", "sub-02", "sub-03"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bids(tmp_path / "data", SUBJECTS)


def write(path: Path, frequency: object) -> Path:
    path.write_text(json.dumps({"TaskName": "rest", "PowerLineFrequency": frequency}))
    return path


def found(index: Index) -> dict[str, list[tuple[str, str]]]:
    """Code and detail of the findings of each patient."""
    return {r.patient: [(finding.code, finding.detail) for finding in r.findings] for r in index}


def test_the_nearest_file_states_the_frequency(data: Path) -> None:
    write(data / "task-rest_eeg.json", 50)
    write(data / "sub-02" / "sub-02_task-rest_eeg.json", 60)
    own = data / "sub-03" / "eeg" / "sub-03_task-rest_eeg.json"
    own.write_text('{"SamplingFrequency": 256}')
    # Another task, another subject and another kind of file describe no recording here.
    write(data / "task-sleep_eeg.json", 60)
    write(data / "sub-01" / "sub-02_eeg.json", 60)
    write(data / "sub-01" / "sub-01_ecg.json", 60)
    assert found(scan(data)) == {
        "sub-01": [("power_line_50", "task-rest_eeg.json")],
        "sub-02": [("power_line_60", "sub-02_task-rest_eeg.json")],
        # What its own file leaves out, the one above says.
        "sub-03": [("power_line_50", "task-rest_eeg.json")],
    }


@pytest.mark.parametrize("stated", ["n/a", None, True, 16.7, -50, [50]])
def test_another_number_than_a_grid_frequency_is_not_a_finding(data: Path, stated: object) -> None:
    write(data / "task-rest_eeg.json", stated)
    assert found(scan(data)) == {subject: [] for subject in SUBJECTS}


def test_a_change_of_the_file_is_seen_without_hashing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    before = update_index(str(data), cache)

    def forbidden(path: Path) -> Hashes:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(files_module, "edf_hashes", forbidden)
    path = write(data / "sub-01" / "eeg" / "sub-01_task-rest_eeg.json", 50)
    index = update_index(str(data), cache)
    assert found(index)["sub-01"] == [("power_line_50", path.name)]
    # It is no part of what a shard is made of.
    assert [r.source_version for r in index] == [r.source_version for r in before]
    assert update_index(str(data), cache) == index == read_index(cache)
    path.unlink()
    assert found(update_index(str(data), cache))["sub-01"] == []


def test_a_file_that_cannot_be_read_is_a_finding(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = data / "sub-01" / "eeg" / "sub-01_task-rest_eeg.json"
    path.write_text("{")
    assert found(update_index(str(data), cache))["sub-01"] == [("bad_eeg_json", "not valid JSON")]
    for number in ("NaN", "Infinity", "-Infinity"):
        # No JSON by the standard, but Python writes and reads it.
        path.write_text(f'{{"PowerLineFrequency": {number}}}')
        assert found(update_index(str(data), cache))["sub-01"] == [
            ("bad_eeg_json", "PowerLineFrequency is not a finite number")
        ]
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.json")
    index = update_index(str(data), cache, Corpus())
    codes = [code for code, _ in found(index)["sub-01"]]
    assert {"bad_eeg_json", "unreadable_now"} & set(codes)
    assert set(codes) <= SIGNAL_FINDINGS.keys()
    write(tmp_path / "nowhere.json", 50)
    assert found(update_index(str(data), cache))["sub-01"] == [("power_line_50", path.name)]


def test_a_remote_file_is_read(data: Path, tmp_path: Path) -> None:
    write(data / "task-rest_eeg.json", 50)
    index = update_index(f"file://{data}", tmp_path / "cache")
    assert {code for findings in found(index).values() for code, _ in findings} == {"power_line_50"}


def test_a_flat_folder_has_the_file_next_to_the_edf(data: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in data.glob("*/eeg/*"):
        path.rename(flat / path.name.replace("sub-", "person-"))
    write(flat / "person-02_task-rest_eeg.json", 50)
    corpus = Corpus(layout="folder", patient_pattern="^(person-..)_")
    assert found(scan(flat, corpus=corpus)) == {
        "person-01": [],
        "person-02": [("power_line_50", "person-02_task-rest_eeg.json")],
        "person-03": [],
    }


def test_a_frequency_that_the_notch_filter_removes_is_not_reported(
    data: Path, tmp_path: Path, shell: Shell
) -> None:
    write(data / "task-rest_eeg.json", 50)
    cache = tmp_path / "cache"
    index = update_index(str(data), cache)
    assert summarize(index, (), 60).findings == {"power_line_50": 3}
    assert summarize(index, (), 50).findings == {}
    layer = tmp_path / "fifty.yaml"
    layer.write_text("preprocessing: {notch_hz: 50}\n")
    typed = ("--data-dir", data, "--cache-root", cache)
    line = "power_line_50 in 3 recordings: its eeg.json states a power line of 50 Hz, so that"
    done = shell.type("index", *typed)
    assert line in done.stdout
    assert "preprocessing.notch_hz should be 50" in done.stdout
    assert line not in shell.type("index", *typed, "--config", f"full:cpu:{layer}").stdout


def test_the_doctor_names_the_setting(data: Path, tmp_path: Path) -> None:
    write(data / "sub-02" / "eeg" / "sub-02_task-rest_eeg.json", 50)
    write(data / "sub-03" / "eeg" / "sub-03_task-rest_eeg.json", 60)
    folders = {"data_dir": str(data), "cache_root": str(tmp_path / "cache")}
    update_index(str(data), tmp_path / "cache")
    sixty = load(Overrides(config="full:cpu", **folders), environment={})
    warnings = examine(sixty, look_only=True).warnings
    assert [line for line in warnings if "power line" in line] == [
        "1 of 3 recordings have a power line of 50 Hz by their *_eeg.json, and the notch filter "
        "removes 60 Hz: set `preprocessing: {notch_hz: 50}` in a configuration file, which makes "
        "another version of the cache"
    ]
    fifty = sixty.model_copy(
        update={"preprocessing": sixty.preprocessing.model_copy(update={"notch_hz": 50})}
    )
    warnings = examine(fifty, look_only=True).warnings
    assert [line for line in warnings if "a power line of 60 Hz" in line]
