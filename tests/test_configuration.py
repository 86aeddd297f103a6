"""Where settings come from, and what a user hears about a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brainbrr_core.configuration import Overrides, load
from brainbrr_core.errors import BrainbrrError


def layered(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> object:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load(Overrides(config=f"smoke:cpu:{path}"), environment or {})


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(BrainbrrError) as error:
        layered(tmp_path, text)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2
    return str(error.value)


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"cache_root: {tmp_path}/file\n")
    config = f"smoke:cpu:{path}"
    variable = {"BRAINBRR_CACHE_ROOT": str(tmp_path / "variable")}
    flag = Overrides(config=config, cache_root=str(tmp_path / "flag"))
    assert load(flag, variable).cache_root == tmp_path / "flag"
    assert load(Overrides(config=config), variable).cache_root == tmp_path / "variable"
    assert load(Overrides(config=config), {}).cache_root == tmp_path / "file"
    assert load(Overrides(config="smoke:cpu"), {}).cache_root.name == "cache"
    assert load(Overrides(), {"BRAINBRR_CONFIG": config}).profile == "smoke"


def test_a_run_is_one_profile_and_one_device() -> None:
    dev = load(Overrides(config="dev:a100"), {})
    assert (dev.profile, dev.selection.recordings, dev.hardware.name) == ("dev", 500, "a100")
    assert dev.model.preset == "base"
    full = load(Overrides(config="dev:rtx4090", profile="full"), {})
    assert (full.profile, full.selection.recordings, full.hardware.name) == (
        "full",
        None,
        "rtx4090",
    )


def test_an_unknown_key_names_the_nearest_valid_one(tmp_path: Path) -> None:
    assert "windows.stride_s" in refusal(tmp_path, "windows: {strides_s: 10}")
    assert "preprocessing.notch_hz" in refusal(tmp_path, "preprocessing: {notch_herz: 50}")
    assert "cache_root" in refusal(tmp_path, "cache_rot: /x")


def test_keys_of_the_predecessor_name_what_replaces_them(tmp_path: Path) -> None:
    message = refusal(tmp_path, "experiment: {cache_dir: /x}")
    assert "experiment.cache_dir" in message
    assert "cache_root" in message
    with pytest.raises(BrainbrrError, match="--profile smoke"):
        load(Overrides(config="smoke:cpu"), {"BGB_LIMIT_FILES": "50"})


def test_values_out_of_range_and_broken_files_are_one_line(tmp_path: Path) -> None:
    assert "windows.stride_s" in refusal(tmp_path, "windows: {stride_s: 7}")
    assert "bandpass" in refusal(tmp_path, "preprocessing: {bandpass_hz: [40, 0.5]}")
    assert "YAML" in refusal(tmp_path, "a: [1,")
    assert "mapping" in refusal(tmp_path, "- 1")
    with pytest.raises(BrainbrrError, match="no configuration named 'smok'"):
        load(Overrides(config="smok:cpu"), {})


def test_nothing_is_trained_from_a_remote_root() -> None:
    with pytest.raises(BrainbrrError, match="local folder"):
        load(Overrides(config="smoke:cpu", cache_root="s3://bucket/cache"), {})


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(Overrides(config="smoke:cpu", cache_root="here", data_dir="data"), {})
    assert loaded.cache_root == tmp_path / "here"
    assert loaded.data_dir == os.fspath(tmp_path / "data")


def test_a_profile_flag_wins_over_a_file_and_keeps_what_else_it_sets(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("profile: mine\nselection: {recordings: 7}\ntraining: {seed: 5}\n")
    mine = load(Overrides(config=str(path), profile="smoke"), {})
    assert (mine.profile, mine.selection.recordings, mine.training.seed) == ("smoke", 50, 5)
    whole = load(Overrides(config=str(path), profile="full"), {})
    assert (whole.profile, whole.selection.recordings) == ("full", None)


def test_a_remedy_repeats_the_options_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "my settings.yaml"
    path.write_text("profile: mine\n")
    given = load(Overrides(config=str(path), cache_root=str(tmp_path)), {})
    assert given.options == f" --config '{path}' --cache-root {tmp_path}"
    assert load(Overrides(), {"BRAINBRR_CONFIG": str(path)}).options == ""
