"""A run is used with its own settings, whatever the configuration of the moment says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration, apply_assignments
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.own_settings import check_version
from brainbrr_core.runs.run import open_run
from brainbrr_core.runs.threshold import read_threshold
from brainbrr_core.training.run import train
from tests.support.run_records import recorded_run, run_values
from tests.support.shell import Done, Shell
from tests.support.small_run import small_config, small_settings

pytestmark = pytest.mark.usefixtures("one_worker")

#: Other preprocessing, recordings, windows and detection than the run's.
NOW = """\
preprocessing: {notch_hz: 50}
selection: {recordings: 6}
windows: {length_s: 30}
detection: {min_duration_s: 7}
"""


@pytest.fixture(scope="module")
def master_trained(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A corpus, built, with a finished run; no test changes it."""
    settings = small_settings(tmp_path_factory.mktemp("trained"), master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    train(settings, log=lambda _line: None)
    return settings


@dataclass(frozen=True)
class Trained:
    """A finished run, and a configuration that differs from its own."""

    settings: Configuration
    run: Path
    own: str
    now: str
    shell: Shell

    def evaluate(self, config: str, *words: object) -> Done:
        """``brainbrr evaluate RUN`` on dev."""
        return self.shell.type(
            *("evaluate", self.run, "--split", "dev", "--config", config, *words), "--json"
        )


@pytest.fixture
def trained(master_trained: Configuration, tmp_path: Path, shell: Shell) -> Trained:
    place = Path(shutil.copytree(master_trained.cache_root.parent, tmp_path / "x", symlinks=True))
    assert master_trained.data_dir is not None
    settings = small_settings(place, Path(master_trained.data_dir))
    run = next(path.parent for path in place.glob("runs/*/run.json"))
    record = (run / "run.json").read_text()
    # As if it had been trained here.
    (run / "run.json").write_text(record.replace(str(master_trained.cache_root.parent), str(place)))
    (place / "now.yaml").write_text(NOW)
    own = small_config(place)
    return Trained(settings, run, own, f"{own}:{place / 'now.yaml'}", shell)


def results_of(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def test_evaluate_scores_a_run_as_it_was_trained_and_names_what_differs(trained: Trained) -> None:
    with_own = trained.evaluate(trained.own)
    assert "own settings" not in with_own.stderr
    before = results_of(with_own)
    shutil.rmtree(Path(before["report"]).parent)
    (trained.run / "threshold.json").unlink()
    done = trained.evaluate(trained.now)
    after = results_of(done)
    assert (after["estimates"], after["on_threshold"]) == (
        before["estimates"],
        before["on_threshold"],
    )
    assert after["reused"] is False
    [line] = [line for line in done.stderr.splitlines() if "own settings" in line]
    assert line.startswith(f"run {trained.run.name} is used with its own settings")
    for difference in (
        "preprocessing.notch_hz: 60 against 50",
        "selection.recordings: 50 against 6",
        "windows.length_s: 60 against 30",
        "against 7.0",
    ):
        assert difference in line
    # Neither of them has anything to do with the names of versions.
    assert "v2_" not in line
    # The report is the same one, so it is not written again.
    assert results_of(trained.evaluate(trained.own))["reused"] is True


def test_a_run_whose_version_is_not_stored_says_which_commands_build_it(trained: Trained) -> None:
    shell, settings = trained.shell, trained.settings
    version = open_run(trained.run).record.identity.preprocessing_version
    shutil.rmtree(settings.cache_root / version)
    words = ("evaluate", trained.run, "--split", "dev", "--config", trained.now)
    line = shell.refused(*words, status=1)
    for command in ("cache build", "manifest"):
        [typed] = re.findall(rf"`brainbrr ({command} [^`]+)`", line)
        assert f"--run {trained.run.name}" in typed
        done = shell.type(*shlex.split(typed))
        assert done.returncode == 0, done.stderr
        assert "preprocessing.notch_hz: 60 against 50" in done.stderr
        assert f"--run {trained.run.name}" in done.stderr or "evaluate" in done.stderr
        assert (settings.cache_root / version).is_dir()
        if command == "cache build":
            line = shell.refused(*words, status=1)
    assert f"next: brainbrr evaluate {trained.run.name}" in done.stderr
    assert results_of(trained.evaluate(trained.now))["split"] == "dev"
    # Of the configuration's own version nothing was built.
    assert [path.name for path in settings.cache_root.glob("v2_*")] == [version]


def test_another_setting_of_detection_is_given_by_an_option(trained: Trained) -> None:
    shell = trained.shell
    base = ("evaluate", trained.run, "--split", "dev", "--config", trained.own)
    assert "only settings of detection" in shell.refused(*base, "--set", "training.steps=1")
    assert "nearest valid key is detection.min_duration_s" in shell.refused(
        *base, "--set", "detection.min_duration=3"
    )
    assert "give RUN" in shell.refused("evaluate", "--set", "detection.min_duration_s=3")
    results_of(trained.evaluate(trained.own, "--set", "detection.min_duration_s=3"))
    tuned = read_threshold(trained.run)
    assert tuned is not None and tuned.detection.min_duration_s == 3
    # The threshold belongs to these settings, so the run is used with them from now on.
    assert results_of(trained.evaluate(trained.now))["reused"] is True


def test_predict_uses_a_run_as_it_was_trained_and_says_which_network_it_is(
    trained: Trained, tmp_path: Path
) -> None:
    results_of(trained.evaluate(trained.own))
    edf = sorted(Path(str(trained.settings.data_dir)).rglob("*.edf"))[0]
    written: list[str] = []
    for config in (trained.own, trained.now):
        out = tmp_path / f"{len(written)}.tsv"
        done = trained.shell.type("predict", edf, out, "--config", config)
        assert done.returncode == 0, done.stderr
        written.append(out.read_text())
    assert written[0] == written[1]
    assert "preprocessing.notch_hz: 60 against 50" in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "network tiny" in line]
    tuned = read_threshold(trained.run)
    assert tuned is not None
    for fact in (
        f"run {trained.run.name}: network tiny, trained on tusz (profile small, 3 steps), finished",
        f"the latest of {trained.settings.runs_dir}",
        "operating point tuned on dev: on at logit",
        f"probability {tuned.point.probability:.4g}",
    ):
        assert fact in line
    named = trained.shell.type(
        *("predict", edf, tmp_path / "y.tsv", "--run", trained.run.name, "--config", trained.own)
    )
    assert named.returncode == 0, named.stderr
    assert "the latest of" not in named.stderr


def test_what_cannot_be_used_is_named_by_its_keys(trained: Trained) -> None:
    run = open_run(trained.run)
    fifty = apply_assignments(trained.settings, ["preprocessing.notch_hz=50"])
    with pytest.raises(BrainbrrError, match=r"\(preprocessing\.notch_hz: 60 against 50\)") as error:
        Predictor.of(run, fifty)
    assert "v2_" not in str(error.value)


def test_a_run_of_another_signal_chain_is_no_matter_of_settings(settings: Configuration) -> None:
    values = settings.model_dump(mode="json")
    run = recorded_run(Path("/runs/x"), configuration=values)
    with pytest.raises(BrainbrrError, match="version 1 of the signal chain and this program has"):
        check_version(run, preprocessing_version(settings.preprocessing), settings.preprocessing)


def test_a_run_that_recorded_no_preprocessing_says_so(settings: Configuration) -> None:
    identity = run_values()["identity"] | {"preprocessing_version": "v2_256hz_10-20_000000000000"}
    run = recorded_run(Path("/runs/x"), identity=identity)
    with pytest.raises(BrainbrrError, match="did not record its preprocessing"):
        check_version(run, preprocessing_version(settings.preprocessing), settings.preprocessing)
