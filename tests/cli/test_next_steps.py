"""What commands say is to be done next, and of a corpus with which nothing can be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import make_manifest
from brainbrr_core.cache.plan import limited, plan_corpus, plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.smaller_profile import smaller_profile
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.configuration import layers as layer_files
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.errors import WorkRemains
from tests.support.edf_files import write_edf
from tests.support.shell import Done, Shell


def next_of(done: Done) -> list[str]:
    """The commands that a command says come next."""
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return [line.removeprefix("next: ") for line in lines if line.startswith("next: ")]


SHORT = """\
hardware: {batch_size: 4}
training: {steps: 3, warmup_steps: 1}
detection: {on_threshold: 0.5}
"""


@pytest.mark.usefixtures("one_worker")
def test_each_command_ends_with_the_next_one_and_its_options(
    shell: Shell, corpus: Path, tmp_path: Path
) -> None:
    own = tmp_path / "my own.yaml"
    own.write_text(SHORT)
    folders = {
        "BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"),
        "BRAINBRR_RUNS_DIR": str(tmp_path / "elsewhere"),
    }
    config = ("--config", f"smoke:cpu:{own}")
    shown = f"--config 'smoke:cpu:{own}'"
    data = ("--data-dir", corpus)
    done = shell.type("index", *config, *data, environment=folders)
    assert next_of(done) == [f"brainbrr cache build {shown} --data-dir {corpus}"]
    # 0.4 hours of EEG are preprocessed within seconds.
    assert "less than 1 min; " in shell.type("doctor", *config, environment=folders).stdout
    profile = (*config, "--profile", "dev")
    done = shell.type("cache", "build", *profile, *data, "--limit", 4, environment=folders)
    assert next_of(done) == [f"brainbrr cache build {shown} --profile dev --data-dir {corpus}"]
    done = shell.type("cache", "build", *profile, *data, environment=folders)
    assert next_of(done) == [f"brainbrr manifest {shown} --profile dev"]
    done = shell.type("cache", "status", *profile, environment=folders)
    assert "manifest missing" in done.stdout
    assert next_of(done) == [f"brainbrr manifest {shown} --profile dev"]
    done = shell.type("manifest", *profile, environment=folders)
    assert "none, partial, full: windows without a seizure, with one in less than 0.99" in " ".join(
        done.stdout.split()
    )
    assert next_of(done) == [f"brainbrr train {shown} --profile dev"]
    european = tmp_path / "european.yaml"
    european.write_text("preprocessing: {notch_hz: 50}\n")
    done = shell.type("cache", "status", "--config", f"dev:cpu:{european}", environment=folders)
    assert "stale: version changed: 12 recordings" in done.stdout
    assert "stored with preprocessing.notch_hz: 60 against 50" in done.stdout
    assert "manifest current" in shell.type("cache", "status", *profile, environment=folders).stdout
    done = shell.type("manifest", *profile, "--json", environment=folders)
    assert next_of(done) == []
    # What a variable sets need not be repeated.
    by_variable = folders | {"BRAINBRR_CONFIG": config[1], "BRAINBRR_PROFILE": "dev"}
    done = shell.type("manifest", environment=by_variable)
    assert next_of(done) == ["brainbrr train"]
    runs = ("--runs-dir", tmp_path / "runs")
    done = shell.type("train", *profile, *runs, environment=folders)
    assert next_of(done) == [
        f"brainbrr evaluate {shown} --profile dev --runs-dir {tmp_path / 'runs'}"
    ]
    run = json.loads(shell.type("train", *profile, *runs, "--json", environment=folders).stdout)
    name = Path(run["run"]).name
    scored = f"brainbrr predict RECORDING OUT --run {name} {shown} --runs-dir {tmp_path / 'runs'}"
    done = shell.type("evaluate", *profile, *runs, environment=folders)
    assert next_of(done) == [scored]
    refused = shell.refused("train", *config, "--profile", "full", environment=folders, status=1)
    assert f"run `brainbrr manifest {shown} --profile full`" in refused


@pytest.mark.usefixtures("one_worker")
def test_an_index_and_an_idle_build_name_what_is_really_next(
    shell: Shell, corpus: Path, tmp_path: Path
) -> None:
    folders = {"BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"), "BRAINBRR_DATA_DIR": str(corpus)}

    def next_after(*words: str) -> list[str]:
        return next_of(shell.type(*words, environment=folders))

    assert next_after("index") == ["brainbrr cache build"]
    assert next_after("cache", "build") == ["brainbrr manifest"]
    assert next_after("index") == ["brainbrr manifest"]
    assert next_after("manifest") == ["brainbrr train"]
    assert next_after("index") == ["brainbrr train"]
    assert next_after("cache", "build") == ["brainbrr train"]
    # Only annotations changed: no shard is built, and the manifest is of other events.
    [table, *_] = sorted(corpus.rglob("*.csv_bi"))
    text = table.read_text()
    assert ",seiz," in text
    table.write_text(text.replace(",seiz,", ",bckg,"))
    assert next_after("index") == ["brainbrr manifest"]
    assert next_after("cache", "build") == ["brainbrr manifest"]
    assert next_after("manifest") == ["brainbrr train"]
    # Another profile has a manifest of its own.
    assert next_after("index", "--config", "smoke:cpu") == ["brainbrr manifest --config smoke:cpu"]


@pytest.mark.usefixtures("one_worker")
def test_a_refusal_names_the_smaller_profile_that_is_built(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sized(recordings: int | None) -> Selection:
        return Selection(recordings=recordings)

    settings = settings.model_copy(update={"selection": sized(None)})
    monkeypatch.setattr(
        "brainbrr_core.cache.smaller_profile.bundled_selections",
        lambda: {"dev": sized(8), "full": sized(None), "smoke": sized(5)},
    )
    whole = plan_corpus(settings, lambda _line: None)
    assert smaller_profile(whole) is None
    with pytest.raises(WorkRemains) as refused:
        check(ProfileCache.of(settings))
    assert "--profile" not in str(refused.value)
    for size, name in ((5, "smoke"), (8, "dev")):
        part = settings.model_copy(update={"selection": sized(size)})
        # One recording less is not the whole profile.
        build(limited(plan_profile(part), size - 6 if size == 8 else 4), settings.preprocessing)
        assert smaller_profile(plan_profile(settings)) == {5: None, 8: "smoke"}[size]
        build(plan_profile(part), settings.preprocessing)
        plan = plan_profile(settings)
        assert smaller_profile(plan) == name
        for refuse in (
            lambda: check(ProfileCache.of(settings)),
            lambda plan=plan: make_manifest(plan, settings.manifest_settings),
        ):
            with pytest.raises(WorkRemains) as refused:
                refuse()
            assert str(refused.value).endswith(f"or use what is built: --profile {name}")


def test_the_bundled_profiles_choose_what_their_files_say() -> None:
    selections = layer_files.bundled_selections()
    assert selections.keys() == {"smoke", "dev", "full", "pretrained"}
    for name, selection in selections.items():
        loaded = load(Overrides(profile=name, cache_root="/x", runs_dir="/y"), {})
        assert selection == loaded.selection


@pytest.mark.usefixtures("one_worker")
def test_a_corpus_without_usable_recordings_is_reported(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "tusz"
    for split in ("train", "dev", "eval"):
        for number in range(2):
            name = f"aaaaa{split[0]}{number}"
            path = folder / "edf" / split / name / "s001_2020" / "01_tcp_ar"
            path.mkdir(parents=True)
            write_edf(path / f"{name}_s001_t000.edf", seconds=8)
    (path / f"{name}_s001_t000.edf").write_bytes(b"nothing")
    environment = {
        "BRAINBRR_DATA_DIR": str(folder),
        "BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"),
    }
    said = "6 found, none usable: 5 too_short, 1 unreadable"
    for words in (
        ("index",),
        ("index", "--json"),
        ("cache", "build"),
        ("cache", "build", "--json"),
    ):
        assert said in shell.refused(*words, environment=environment, status=1)
        assert "next:" not in shell.type(*words, environment=environment).stderr
    # Not the labels: no recording has windows.
    refused = shell.refused("manifest", environment=environment, status=1)
    assert "no recording of profile full has a window: 5 too_short, 1 unreadable" in refused
    assert "labels.seizure" not in refused
    done = shell.type("doctor", environment=environment)
    assert done.returncode == 1
    assert said in done.stdout
    assert "brainbrr index --list" in done.stdout
    assert "pull" not in done.stdout.partition("What to do next")[2]
