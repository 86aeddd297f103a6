"""Where settings come from, and what a user hears about a wrong one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.cli.dagster import variables
from brainbrr_core.configuration import (
    Configuration,
    Overrides,
    apply_assignments,
    checkout,
    load,
    location,
)
from brainbrr_core.configuration.environment import VARIABLES
from brainbrr_core.errors import BrainbrrError
from tests.support.examples import examples
from tests.support.project import ROOT


def layered(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Configuration:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load(Overrides(config=f"smoke:cpu:{path}"), environment or {})


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(BrainbrrError) as error:
        layered(tmp_path, text)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2
    return str(error.value)


def test_an_option_wins_over_a_variable_over_a_file_over_the_default(tmp_path: Path) -> None:
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
    # Both begin with what was typed; and a key may be right, and its section wrong.
    for key in ("preprocessing: {notch: 50}", "windows: {notch_hz: 50}", "notch_hz: 50"):
        assert "nearest valid key is preprocessing.notch_hz" in refusal(tmp_path, key), key
    assert "preprocessing.notch_hz or preprocessing.notch_q" in refusal(
        tmp_path, "preprocessing: {notch: 50}"
    )


def test_keys_of_brain_go_brr_v2_name_what_replaces_them(tmp_path: Path) -> None:
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
    mine = load(Overrides(config=f"cpu:{path}", profile="smoke"), {})
    assert (mine.profile, mine.selection.recordings, mine.training.seed) == ("smoke", 50, 5)
    whole = load(Overrides(config=f"cpu:{path}", profile="full"), {})
    assert (whole.profile, whole.selection.recordings) == ("full", None)


def test_a_remedy_repeats_the_options_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "my settings.yaml"
    path.write_text("profile: mine\nhardware: {name: mine}\n")
    given = load(Overrides(config=str(path), cache_root=str(tmp_path)), {})
    assert given.options == f" --config '{path}' --cache-root {tmp_path}"
    assert load(Overrides(), {"BRAINBRR_CONFIG": str(path)}).options == ""


def installed_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This package as if it were installed, by a user whose data folder is given."""
    monkeypatch.setattr(location, "PACKAGED_CONFIGS", ROOT / "configs")
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    assert checkout() is None


def refused(overrides: Overrides, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(BrainbrrError) as error:
        load(overrides, environment or {})
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2
    return str(error.value)


# Files


@pytest.mark.parametrize("scheme", ["kfold", "leave_one_patient_out"])
def test_patients_of_train_are_not_chosen_where_each_fold_has_its_own(
    tmp_path: Path, scheme: str
) -> None:
    text = f"corpus: {{split: {{scheme: {scheme}}}}}\nselection: {{train_patients: 2}}\n"
    assert f"corpus.split.scheme {scheme} each fold has its own: remove train_patients" in (
        refusal(tmp_path, text)
    )
    assert layered(tmp_path, text.replace(scheme, "hash")).selection.train_patients == 2


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("training: {seed: 1}\nwindows: {stride_s: 20}\ntraining: {steps: 9}\n", 3, "training"),
        ("training:\n  seed: 1\n  steps: 9\n  seed: 2\n", 4, "seed"),
        ("training: &t {seed: 1, seed: 1}\n", 1, "seed"),
        ("data_dir: a\n'data_dir': b\n", 2, "data_dir"),
        ("training:\n  <<: {seed: 1}\n  <<: {seed: 2}\n", 3, "<<"),
        ("corpus:\n  split:\n    dev: 0.1\n    eval: 0.1\n    dev: 0.2\n", 5, "dev"),
    ],
)
def test_a_repeated_key_is_refused_with_its_line(
    text: str, line: int, key: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, text)
    assert f"mine.yaml, line {line}: the key {key} is already in line " in message


def test_a_merged_key_may_be_set_again(tmp_path: Path) -> None:
    loaded = layered(tmp_path, "training:\n  <<: {seed: 1, steps: 5}\n  seed: 2\n")
    assert (loaded.training.seed, loaded.training.steps) == (2, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {seed: 1}\n---\ntraining: {seed: 2}\n", "line 2: a second YAML document"),
        ("training:\n", "the section training is empty"),
        ("training:\nseed: 3\n", "the section training is empty"),
        ("training:\n  augmentation:\n", "the section training.augmentation is empty"),
        ("corpus: {split: null}\n", "the section corpus.split is empty"),
        ("just words\n", "must contain a mapping"),
        ("training: 5\n", "training is 5"),
        ("training: {steps: many}\n", "training.steps is 'many'"),
        ("training: {steps: yes}\n", "training.steps is True"),
        ("training: {learning_rate: .inf}\n", "training.learning_rate is inf"),
        ("training: {learning_rate: .nan}\n", "training.learning_rate is nan"),
        ("data_dir: 5\n", "data_dir is 5"),
        ("windows: {stride_s: null}\n", "windows.stride_s is None"),
        ("preprocessing: {bandpass_hz: [low, 5]}\n", "preprocessing.bandpass_hz.0 is 'low'"),
        ("cache_root: ''\n", "cache_root is empty"),
        ("data_dir: ''\n", "data_dir is empty"),
        ("profile: no\n", "profile is False"),
        ("1: x\n", "line 1: the key 1 is not text"),
        ("? [a, b]\n: c\n", "line 1: the key is not text"),
        ("training: &t {seed: *t}\n", "line 1: *t is inside the value that it repeats"),
        ("training: {seed: *t}\n", "line 1 is not readable YAML"),
        ("training: !!python/object:os.system {}\n", "line 1 is not readable YAML"),
        ("profile: 2024-02-31\n", "is not readable YAML"),
        ("profile: 2024-02-01\n", "profile is datetime.date(2024, 2, 1)"),
        ("a:\n\tb: 1\n", "line 2 is not readable YAML"),
        ("cache_root: ~nobody-of-this-name/cache\n", "home folder that does not exist"),
        ("[" * 1500, "is not readable YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(
    text: str, expected: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, text)
    assert str(tmp_path / "mine.yaml") in message or "home folder" in message
    assert expected in message


def test_an_error_names_the_file_that_has_it(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.yaml", tmp_path / "right.yaml"
    wrong.write_text("training: {seed: many}\n")
    right.write_text("training: {steps: 5}\nwindows: {stride_s: 20}\n")
    for config in (f"smoke:cpu:{wrong}:{right}", f"smoke:cpu:{right}:{wrong}"):
        assert refused(Overrides(config=config)).startswith(f"{wrong}: training.seed is 'many'")


def test_a_file_of_another_encoding_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    overrides = Overrides(config=f"smoke:cpu:{path}")
    text = "# für später\nprofile: später\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert load(overrides, {}).profile == "später"
    path.write_bytes(text.encode("latin-1"))
    assert f"{path}, line 1: the byte 0xfc is not UTF-8" in refused(overrides)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    plain = load(Overrides(config="smoke:cpu"), {})
    assert layered(tmp_path, "# nothing yet\n").model_dump() == plain.model_dump()
    assert layered(tmp_path, "data_dir: null\n").data_dir is None


# Names


def test_a_name_is_never_a_file_of_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "configs").mkdir()
    for path in ("full.yaml", "full", "configs/full.yaml", "configs/mine.yaml", "mine.yaml"):
        (tmp_path / path).write_text("training: {steps: 1}\nprofile: foreign\n")
    monkeypatch.chdir(tmp_path)
    installed_in(tmp_path / "home", monkeypatch)
    assert load(Overrides(config="full:cpu"), {}).profile == "full"
    assert load(Overrides(profile="full"), {}).profile == "full"
    assert "write ./mine.yaml" in refused(Overrides(config="mine:cpu"))
    for path in ("mine.yaml", "./mine.yaml", "configs/mine.yaml", "full.yaml", "./full"):
        assert load(Overrides(config=f"{path}:cpu"), {}).profile == "foreign"
    assert f"no configuration file {tmp_path}/full/mine.yaml" in refused(
        Overrides(config="full/mine.yaml:cpu")
    )


def test_a_run_names_one_profile_and_one_device(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("hardware: {name: mine, device: cpu}\nprofile: mine\n")
    folders = tmp_path / "folders.yaml"
    folders.write_text("hardware: {batch_size: 2}\n")
    for config, expected in (
        ("smoke:dev", "2 profiles, smoke and dev"),
        ("smoke:dev:cpu", "2 profiles, smoke and dev"),
        ("smoke:cpu:a100", "2 devices, cpu and a100"),
        ("full", "no device (a100, cpu, h100, rtx4090): use, for example, full:cpu"),
        ("a100", "no profile (dev, full, pretrained, smoke): use, for example, full:a100"),
        (
            f"full:{folders}",
            f"no device (a100, cpu, h100, rtx4090): use, for example, full:cpu:{folders}",
        ),
        (str(folders), f"use, for example, full:cpu:{folders}"),
        (":", "names no configuration"),
        ("smoke:cp", "the nearest is cpu"),
    ):
        assert expected in refused(Overrides(config=config)), config
        assert expected in refused(Overrides(), {"BRAINBRR_CONFIG": config}), config
    assert load(Overrides(config=str(own)), {}).hardware.name == "mine"
    assert load(Overrides(config=f"full:cpu:{own}"), {}).profile == "mine"
    assert load(Overrides(config=f"full:{own}"), {}).profile == "mine"


def test_only_a_profile_is_accepted_as_a_profile(tmp_path: Path) -> None:
    assert "a100 is a device, not a profile: use --config full:a100" in refused(
        Overrides(profile="a100")
    )
    assert "nearest is smoke" in refused(Overrides(profile="smok"))
    own = tmp_path / "own.yaml"
    own.write_text("training: {steps: 5}\n")
    assert f"--config full:cpu:{own}" in refused(Overrides(profile=str(own)))
    own.write_text("profile: mine\nselection: {recordings: 3}\n")
    mine = load(Overrides(profile=str(own)), {})
    assert (mine.profile, mine.selection.recordings, mine.hardware.name) == ("mine", 3, "cpu")


# Variables


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BRAINBRR_CACHEROOT", "BRAINBRR_CACHE_ROOT"),
        ("BRAINBRR_CACHE_DIR", "BRAINBRR_CACHE_ROOT"),
        ("BRAINBRR_RUN_DIR", "BRAINBRR_RUNS_DIR"),
        ("BRAINBR_DATA_DIR", "BRAINBRR_DATA_DIR"),
        ("brainbrr_config", "BRAINBRR_CONFIG"),
        ("BRAINBRR_PROFIL", "BRAINBRR_PROFILE"),
    ],
)
def test_a_mistyped_variable_names_the_nearest_one(name: str, nearest: str) -> None:
    message = refused(Overrides(config="smoke:cpu"), {name: "x"})
    assert name in message
    assert f"the nearest one is {nearest};" in message


def test_variables_of_others_are_left_alone() -> None:
    of_a_pod = (
        "BRAINBRR_SERVICE_HOST",
        "BRAINBRR_DAGSTER_WEBSERVER_SERVICE_PORT_HTTP",
        "BRAINBRR_PORT",
        "BRAINBRR_PORT_4266_TCP_ADDR",
    )
    environment = dict.fromkeys((*of_a_pod, "BRAINBROWSER", "MY_BRAINBRR_CACHEROOT"), "x")
    assert load(Overrides(config="smoke:cpu"), environment).profile == "smoke"


def test_every_variable_that_this_project_names_is_known() -> None:
    folders = ("brainbrr_core", "brainbrr_pipeline", "configs", "docs", "tests")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    # Pictures and weights have no text, nor has what Python, numba and Sphinx leave there.
    named = {
        name
        for path in (ROOT / "README.md", *files)
        if path.suffix not in {".png", ".safetensors"}
        and not {"__pycache__", "_build", "gallery"} & set(path.parts)
        and path != Path(__file__)
        for name in re.findall(r"\bBRAINBRR_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert named == set(VARIABLES)


def test_an_empty_variable_counts_as_not_set_and_an_empty_flag_is_refused() -> None:
    plain = load(Overrides(), {"BRAINBRR_CONFIG": "smoke:cpu"})
    empty = dict.fromkeys(VARIABLES, "") | {"DAGSTER_HOME": "", "BRAINBRR_CONFIG": "smoke:cpu"}
    assert load(Overrides(), empty).model_dump() == plain.model_dump()
    assert "--cache-root is empty" in refused(Overrides(cache_root=""))
    assert "--profile is empty" in refused(Overrides(profile=""))


def test_a_profile_variable_wins_over_files_and_loses_to_the_option() -> None:
    environment = {"BRAINBRR_CONFIG": "full:a100", "BRAINBRR_PROFILE": "dev"}
    assert load(Overrides(), environment).profile == "dev"
    assert load(Overrides(), environment).hardware.name == "a100"
    assert load(Overrides(profile="smoke"), environment).profile == "smoke"
    assert load(Overrides(config="full:cpu"), environment).profile == "full"


def test_the_source_of_each_setting_is_known(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("data_dir: /of/file\nselection: {recordings: 7}\ntraining: {steps: 9}\n")
    environment = {"BRAINBRR_RUNS_DIR": "/runs", "BRAINBRR_CONFIG": f"smoke:cpu:{own}"}
    loaded = load(Overrides(cache_root="/cache"), environment)
    sources = loaded.origin.sources
    assert loaded.origin.data_dir == f"data_dir of {own}"
    assert sources["cache_root"] == "--cache-root"
    assert sources["runs_dir"] == "BRAINBRR_RUNS_DIR"
    assert sources["training.steps"] == sources["selection.recordings"] == str(own)
    assert Path(sources["training.validate_every"]).name == "smoke.yaml"
    assert {"cache_root", "training.steps", "training.validate_every"} <= loaded.origin.set_by_user
    assert "training.seed" not in sources
    # A profile that is chosen replaces what the files select.
    chosen = load(Overrides(profile="dev", data_dir="/x"), environment).origin
    assert chosen.sources["profile"] == "--profile"
    assert Path(chosen.sources["selection.recordings"]).name == "dev.yaml"
    assert chosen.sources["training.steps"] == str(own)
    assert chosen.data_dir == "--data-dir"
    by_variable = load(Overrides(), environment | {"BRAINBRR_PROFILE": "full"}).origin
    assert by_variable.sources["profile"] == "BRAINBRR_PROFILE"
    assert "selection.recordings" not in by_variable.sources


# What `brainbrr env` prints

FOLDER_KEYS = ("data_dir", "cache_root", "runs_dir")
CONFIGS = ("dev:rtx4090", "full:cpu:FOLDERS", "PROFILE", "smoke:cpu:relative.yaml", "cpu:PROFILE")


@given(
    flags=st.fixed_dictionaries(
        {
            "config": st.sampled_from([None, *CONFIGS]),
            "profile": st.sampled_from([None, "smoke", "dev", "PROFILE"]),
            **{key: st.sampled_from([None, "by-flag", "/abs/by flag's"]) for key in FOLDER_KEYS},
        }
    ),
    shell=st.fixed_dictionaries(
        {
            "BRAINBRR_CONFIG": st.sampled_from(["", *CONFIGS]),
            "BRAINBRR_PROFILE": st.sampled_from(["", "full", "smoke"]),
            "BRAINBRR_DATA_DIR": st.sampled_from(["", "by-variable", "s3://bucket/tusz"]),
            "BRAINBRR_CACHE_ROOT": st.sampled_from(["", "by-variable"]),
            "BRAINBRR_RUNS_DIR": st.sampled_from(["", "by-variable"]),
            "DAGSTER_HOME": st.sampled_from(["", "by-variable"]),
        }
    ),
    demo=st.booleans(),
)
@examples(100)
def test_the_printed_variables_give_the_same_configuration(
    flags: dict[str, str | None],
    shell: dict[str, str],
    demo: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "printed"
    (folder / "brainbrr" / "demo").mkdir(parents=True, exist_ok=True)
    (folder / "folders.yaml").write_text("cache_root: by-file\ndata_dir: by-file\n")
    (folder / "profile.yaml").write_text(
        "profile: own\nselection: {recordings: 4}\nhardware: {name: own, batch_size: 3}\n"
    )
    (folder / "relative.yaml").write_text("runs_dir: by-file\nprofile: relative\n")
    paths = {"FOLDERS": str(folder / "folders.yaml"), "PROFILE": str(folder / "profile.yaml")}
    with pytest.MonkeyPatch.context() as patch:
        installed_in(folder, patch)
        patch.chdir(folder)
        demo_file = folder / "brainbrr" / "demo" / "demo.yaml"
        demo_file.unlink(missing_ok=True)
        if demo:
            demo_file.write_text(f"cache_root: {folder}/demo-cache\ndata_dir: {folder}/demo-tusz\n")

        def filled(value: str | None) -> str | None:
            return value and re.sub("FOLDERS|PROFILE", lambda m: paths[m[0]], value)

        overrides = Overrides(**{name: filled(value) for name, value in flags.items()})
        environment = {name: filled(value) or "" for name, value in shell.items()}
        used = load(overrides, environment)
        printed = environment | variables(used)
        # Dagster's commands start in another folder.
        patch.chdir("/")
        assert load(environment=printed).model_dump() == used.model_dump()
        for name, flag in flags.items():
            if flag is not None and name in FOLDER_KEYS:
                assert str(getattr(used, name)) == str(folder / flag)


def test_a_path_that_no_variable_can_hold_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "mine.yaml").write_text("profile: mine\nhardware: {name: mine}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        loaded = load(Overrides(config="mine.yaml"), {})
    with pytest.raises(BrainbrrError, match="rename the file or its folder"):
        variables(loaded)


# Where the folders are


def test_the_folders_of_an_installed_package_do_not_follow_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed_in(tmp_path / "home", monkeypatch)
    for name in ("a", "b"):
        (tmp_path / name / ".brainbrr" / "cache").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        loaded = load(Overrides(config="smoke:cpu"), {})
        assert loaded.cache_root == tmp_path / "home" / "brainbrr" / "cache"
        assert loaded.runs_dir == tmp_path / "home" / "brainbrr" / "runs"
        assert loaded.dagster_home == tmp_path / "home" / "brainbrr" / "dagster"
        assert loaded.origin.cache_root == "default of this user"


def test_a_reason_is_given_for_a_default_cache_root(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"cache_root: {tmp_path}/file\n")
    default = load(Overrides(config="smoke:cpu"), {})
    assert default.origin.cache_root == "default of this checkout"
    for overrides, environment in (
        (Overrides(config=f"smoke:cpu:{path}"), {}),
        (Overrides(config="smoke:cpu", cache_root="x"), {}),
        (Overrides(config="smoke:cpu"), {"BRAINBRR_CACHE_ROOT": "x"}),
    ):
        assert load(overrides, environment).origin.cache_root is None


def test_the_demo_is_used_where_no_folder_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed_in(tmp_path, monkeypatch)
    demo = tmp_path / "brainbrr" / "demo" / "demo.yaml"
    demo.parent.mkdir(parents=True)
    demo.write_text(yaml.safe_dump({"cache_root": str(tmp_path / "demo-cache")}))
    used = load(Overrides(), {})
    assert used.cache_root == tmp_path / "demo-cache"
    assert used.origin.cache_root == "that of the demo, since no folder is set"
    assert load(Overrides(runs_dir="x"), {}).cache_root == tmp_path / "brainbrr" / "cache"


def test_without_a_home_the_folders_must_be_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed_in(tmp_path, monkeypatch)
    # As platformdirs answers where there is neither HOME nor an entry of this user.
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_a, **_k: Path("~/.local/share/x"))
    message = refused(Overrides(config="smoke:cpu", cache_root=str(tmp_path)))
    assert "set HOME" in message
    assert "BRAINBRR_RUNS_DIR and DAGSTER_HOME" in message
    folders = {"BRAINBRR_RUNS_DIR": "/runs", "DAGSTER_HOME": "/dagster"}
    assert load(Overrides(config="smoke:cpu", cache_root="/cache"), folders).profile == "smoke"


def test_assignments_change_settings_one_after_the_other() -> None:
    words = ["training.augmentation.noise_sd=0.25", "hardware.card=[A, B]", "training.wandb=null"]
    before = load(Overrides(config="full:cpu"), {})
    after = apply_assignments(before, [*words, "training.augmentation.noise_sd=0.5"])
    assert after.training.augmentation.noise_sd == 0.5
    assert after.training.augmentation.channel_dropout == 0.05
    assert after.hardware.card == ("A", "B")
    values, others = before.model_dump(), after.model_dump()
    values["training"]["augmentation"]["noise_sd"] = 0.5
    values["hardware"]["card"] = ("A", "B")
    assert others == values
    assert after.options == before.options
