"""A sweep: trials are runs, resumed, pruned and drawn the same way each time."""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import pytest
from torch import nn

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Overrides, load
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.one_process import one_process
from brainbrr_core.runs.run import Run, open_run
from brainbrr_core.sweep.space import Space, Value, read_space
from brainbrr_core.sweep.study import LOCK, SweepReport, TrialTraining, run_sweep, show_sweep
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.validation import Validation, Validator
from tests.support.project import ROOT
from tests.support.run_records import fit_values, recorded_run
from tests.support.shell import Shell
from tests.support.small_run import small_config, small_settings

SPACE = """\
settings:
  training.learning_rate: {log: [1e-4, 1e-2]}
  training.augmentation.noise_sd: {float: [0, 0.3]}
  training.loss: {choice: [weighted_bce, focal]}
objective: auprc
trials: 3
startup_trials: 1
"""


@pytest.fixture(scope="module")
def prepared(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``--config`` takes for a built cache with a manifest and trainings of four steps."""
    place = tmp_path_factory.mktemp("prepared")
    settings = small_settings(place, master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    steps = "training: {steps: 4, validate_every: 2, checkpoint_every: 1}\n"
    (place / "steps.yaml").write_text(steps)
    return f"{small_config(place)}:{place / 'steps.yaml'}"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def trials_of(shell: Shell, *words: object) -> list[dict[str, object]]:
    """The trials that ``brainbrr sweep`` prints as JSON."""
    done = shell.type("sweep", *words, "--json")
    assert done.returncode == 0, done.stderr
    trials: list[dict[str, object]] = json.loads(done.stdout)["trials"]
    return trials


def test_trials_are_runs_and_the_best_settings_are_a_configuration(
    prepared: str, space: Path, tmp_path: Path, shell: Shell
) -> None:
    words = ("--config", prepared, "--runs-dir", tmp_path / "runs")
    trials = trials_of(shell, space, *words, "--trials", "2")
    assert [trial["state"] for trial in trials] == ["finished", "finished"]
    for trial in trials:
        record = open_run(tmp_path / "runs" / str(trial["run"])).record
        of_best = [v for v in record.fit.validations if v.step == record.fit.best_step]
        assert [v.step for v in record.fit.validations] == [2, 4]
        assert trial["value"] == of_best[0].auprc
        assert isinstance(trial["settings"], dict)
        written = record.configuration["training"]
        assert isinstance(written, dict)
        assert written["learning_rate"] == trial["settings"]["training.learning_rate"]
        assert 1e-4 <= trial["settings"]["training.learning_rate"] <= 1e-2
    best = max(trials, key=lambda trial: str(trial["value"]))
    layer = tmp_path / "runs" / "sweep-space" / "best.yaml"
    chosen = shell.type("train", "--config", f"{prepared}:{layer}", *words[2:])
    assert f"finished already: {tmp_path / 'runs' / str(best['run'])}" in chosen.stdout
    # Nothing is trained again; one more trial is added to the two.
    shown = shell.type("sweep", space, *words, "--show")
    assert "2 trials in" in shown.stdout
    assert f"best: trial {best['number']}, auprc" in shown.stdout
    more = trials_of(shell, space, *words)
    assert more[:2] == trials
    assert len(more) == 3


def test_an_interrupted_sweep_goes_on_as_if_it_had_not_been(
    prepared: str, space: Path, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (space, "--config", prepared, "--trials", "2", "--runs-dir")
    whole = trials_of(shell, *words, tmp_path / "whole")
    validate = Validator.__call__
    calls: list[int] = []

    def interrupted(self: Validator, network: nn.Module, step: int) -> Validation:
        calls.append(step)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return validate(self, network, step)

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "__call__", interrupted)
        patch.setattr("brainbrr_core.cli.interruption.leave", sys.exit)
        done = shell.type("sweep", *words, tmp_path / "parts")
    assert done.returncode == 130
    assert "1 of 2 trials are done: the same command resumes trial 1" in done.stderr
    shown = trials_of(shell, *words, tmp_path / "parts", "--show")
    assert [trial["state"] for trial in shown] == ["finished", "unfinished"]
    assert shown[1]["step"] == 2
    assert trials_of(shell, *words, tmp_path / "parts") == whole
    resumed = open_run(tmp_path / "parts" / str(whole[1]["run"])).record
    assert resumed.fit.resumed_from == 4


class FakeTraining:
    """Trainings of 4 steps, validated after each, whose figures follow from the drawn settings."""

    def __init__(self, folder: Path, figures: Callable[[int, float], list[float]]) -> None:
        self.folder, self.figures = folder, figures
        #: Settings and validations of each training.
        self.trained: list[tuple[dict[str, Value], list[float]]] = []
        self.fails: dict[int, Exception] = {}

    def name(self, values: Mapping[str, Value]) -> str:
        return f"run-{values['x']}"

    def train(
        self,
        values: Mapping[str, Value],
        on_validation: Callable[[Validation], None],
        on_step: Callable[[StepReport], None],
    ) -> Run:
        number, x = len(self.trained), float(str(values["x"]))
        done: list[float] = []
        self.trained.append((dict(values), done))
        if number in self.fails:
            raise self.fails[number]
        validations = []
        for step, figure in enumerate(self.figures(number, x), start=1):
            one = Validation(
                *(),
                step=step,
                rule="",
                score=figure,
                sensitivity=0,
                false_per_day=0,
                threshold=0,
                f1=figure,
                auroc=figure,
                auprc=figure,
                hours=1,
            )
            done.append(figure)
            validations.append(one)
            on_validation(one)
            on_step(StepReport(step, 4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        best = max(validations, key=lambda one: one.score)
        record = [
            one.model_dump(include={"step", "rule", "score", "f1", "auroc", "auprc"})
            for one in validations
        ]
        return recorded_run(
            self.folder / self.name(values), fit=fit_values(best_step=best.step, validations=record)
        )

    def sweep(self, space: Space, trials: int, identity: str = "same") -> SweepReport:
        training = TrialTraining(self.name, self.train)
        return run_sweep(space, self.folder, identity, training, trials, log=lambda _line: None)


def space_of(tmp_path: Path, more: str = "") -> Space:
    path = tmp_path / "x.yaml"
    path.write_text(f"settings:\n  x: {{float: [0, 1]}}\nsampler: random\n{more}")
    return read_space(path)


def rising(_number: int, x: float) -> list[float]:
    """A training that gets better all the time, the more so the larger x is."""
    return [x * step / 4 for step in (1, 2, 3, 4)]


def test_a_training_worse_than_the_median_at_the_same_step_is_given_up(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path / "s", rising)
    report = training.sweep(space_of(tmp_path, "startup_trials: 3\n"), 20)
    before: list[list[float]] = []
    pruned = 0
    for row, (values, figures) in zip(report.trials, training.trained, strict=True):
        assert row.settings == values
        expected = 4
        for step in (1, 2, 3):
            others = [other[step - 1] for other in before if len(other) == 4]
            if len(others) >= 3 and figures[step - 1] < statistics.median(others):
                expected = step
                break
        assert len(figures) == expected
        assert row.state == ("finished" if expected == 4 else "pruned")
        assert (row.value, row.step) == (figures[-1], None if expected == 4 else expected)
        pruned += expected < 4
        before.append(list(figures))
    assert 3 < pruned < 17
    assert report.best is not None
    assert report.best.value == max(figures[3] for figures in before if len(figures) == 4)
    all_trained = FakeTraining(tmp_path / "t", rising)
    all_trained.sweep(space_of(tmp_path, "pruner: none\n"), 8)
    assert [len(figures) for _, figures in all_trained.trained] == [4] * 8


def test_a_sweep_that_ended_before_it_wrote_its_best_settings_writes_them(tmp_path: Path) -> None:
    space, training = space_of(tmp_path), FakeTraining(tmp_path / "s", rising)
    layer = training.sweep(space, 2).best_layer
    written = layer.read_text()
    layer.unlink()
    training.sweep(space, 2)
    assert layer.read_text() == written
    assert len(training.trained) == 2


def test_a_last_step_is_never_given_up_and_the_best_weights_count(tmp_path: Path) -> None:
    def falling(number: int, _x: float) -> list[float]:
        return [0.5, 0.9, 0.8, 0.7] if number < 2 else [0.95, 0.96, 0.97, 0.1]

    training = FakeTraining(tmp_path / "s", falling)
    report = training.sweep(space_of(tmp_path, "startup_trials: 1\n"), 3)
    assert [(row.state, row.value) for row in report.trials] == [
        ("finished", 0.9),
        ("finished", 0.9),
        ("finished", 0.97),
    ]


def test_the_settings_of_a_trial_do_not_depend_on_how_often_the_sweep_was_resumed(
    tmp_path: Path,
) -> None:
    for sampler in ("random", "tpe"):
        spaces = space_of(tmp_path, "pruner: none\n")
        text = spaces.path.read_text().replace("sampler: random", f"sampler: {sampler}")
        spaces.path.write_text(text)
        at_once = FakeTraining(tmp_path / f"{sampler}-once", rising)
        at_once.sweep(read_space(spaces.path), 12)
        in_parts = FakeTraining(tmp_path / f"{sampler}-parts", rising)
        for trials in (1, 7, 12):
            in_parts.sweep(read_space(spaces.path), trials)
        drawn = [values["x"] for values, _ in at_once.trained]
        assert [values["x"] for values, _ in in_parts.trained] == drawn
        assert len(set(drawn)) == 12
        other_seed = FakeTraining(tmp_path / f"{sampler}-seed", rising)
        spaces.path.write_text(f"{text}seed: 1\n")
        other_seed.sweep(read_space(spaces.path), 3)
        assert not {values["x"] for values, _ in other_seed.trained} & set(drawn)


def test_a_failed_training_is_one_trial_and_three_in_a_row_end_the_sweep(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path / "s", rising)
    training.fails = {1: BrainbrrError("not finite"), 3: BrainbrrError("a"), 4: BrainbrrError("b")}
    report = training.sweep(space_of(tmp_path), 6)
    assert [row.state for row in report.trials] == [
        *("finished", "failed", "finished", "failed", "failed", "finished")
    ]
    assert report.trials[1].remark == "not finite"
    training.fails = {number: BrainbrrError(f"cause {number}") for number in (6, 7, 8)}
    with pytest.raises(BrainbrrError, match="3 trials in a row failed, the last with: cause 8"):
        training.sweep(space_of(tmp_path), 20)


def test_work_that_remains_leaves_the_trial_to_be_resumed(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path / "s", rising)
    training.fails = {1: WorkRemains("the disk is full")}
    with pytest.raises(WorkRemains, match="disk"):
        training.sweep(space_of(tmp_path), 3)
    shown = show_sweep(tmp_path / "s", space_of(tmp_path))
    assert [row.state for row in shown.trials] == ["finished", "unfinished"]
    training.fails = {}
    report = training.sweep(space_of(tmp_path), 3)
    assert [row.state for row in report.trials] == ["finished"] * 3
    assert training.trained[1][0] == training.trained[2][0]


def test_a_sweep_of_another_space_or_in_another_process_is_refused(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path / "s", rising)
    training.sweep(space_of(tmp_path), 1)
    with pytest.raises(BrainbrrError, match=r"are of another space.*rename x\.yaml"):
        training.sweep(space_of(tmp_path), 2, identity="other")
    path = tmp_path / "s" / LOCK
    with one_process(path, ""), pytest.raises(BrainbrrError, match="another process"):
        training.sweep(space_of(tmp_path), 2)
    assert len(training.trained) == 1
    with pytest.raises(WorkRemains, match="no sweep in"):
        show_sweep(tmp_path / "none", space_of(tmp_path))


def test_the_journal_is_one_that_optuna_reads(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path / "s", rising)
    report = training.sweep(space_of(tmp_path), 4)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "s" / "trials.log"))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))
    assert report.best is not None
    assert study.best_trial.number == report.best.number
    assert study.best_value == report.best.value


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BrainbrrError, match=r"brainbrr\[sweep\]"):
        FakeTraining(tmp_path / "s", rising).sweep(space_of(tmp_path), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings must say what is searched"),
        ("settings: {}", "settings must say what is searched"),
        ("setting: {a: {int: [1, 2]}}", "unknown key setting: the nearest valid key is settings"),
        ("settings: {training.steps: 3}", "training.steps: write one of float, log, int, choice"),
        ("settings: {training.steps: {ints: [1, 2]}}", "ints is none of.*the nearest is int"),
        ("settings: {training.steps: {int: [1, 2, 3]}}", r"takes the lowest and the highest"),
        ("settings: {training.steps: {int: [2, 1]}}", "2 is not below 1"),
        ("settings: {training.steps: {int: [1, 2.5]}}", "int takes whole numbers"),
        ("settings: {training.steps: {int: [a, 2]}}", "'a' is not a number"),
        ("settings: {training.steps: {float: [.nan, 2]}}", "nan is not a number"),
        ("settings: {training.learning_rate: {log: [0, 1]}}", "log takes numbers above 0"),
        ("settings: {training.loss: {choice: [focal]}}", "at least two values"),
        ("settings: {training.loss: {choice: [focal, focal]}}", "a value is there twice"),
        ("settings: {training.loss: {choice: [focal, [a]]}}", "is no number, text"),
        ("settings: {training.loss: {choice: [focal, hinge]}}", "training.loss is 'hinge'"),
        ("settings: {training.los: {choice: [focal, b]}}", "nearest valid key is training.loss"),
        ("settings: {training.steps: {int: [0, 5]}}", "training.steps is 0"),
        ("settings: {training.steps: {float: [1, 5.5]}}", "training.steps is 5.5"),
        ("settings: {windows.length_s: {choice: [30, 60]}}", "needs another cache or manifest"),
        ("settings: {training.keep_checkpoints: {int: [1, 5]}}", "shapes no run"),
        ("settings: {detection.on_threshold: {float: [0.1, 0.5]}}", "shapes no run"),
        ("settings: {training.steps: {int: [1, 5]}}\nobjective: F1", "it must be one of score, f1"),
        ("settings: {training.steps: {int: [1, 5]}}\ntrials: 0", "a whole number from 1"),
        ("settings: {training.steps: {int: [1, 5]}}\nseed: -1", "a whole number from 0"),
        ("settings: {training.steps: {int: [1, 5]}}\nsampler: tpee", "one of tpe, random"),
        ("- a", "must contain a mapping"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    tmp_path: Path, shell: Shell, text: str, message: str
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    line = shell.refused("sweep", path, "--config", "smoke:cpu", "--cache-root", tmp_path)
    assert str(path) in line
    assert re.search(message, line), line


def test_the_file_of_the_page_is_accepted_and_its_commands_are_there(
    prepared: str, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text("utf-8")
    file, commands, evaluation = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    # One trial instead of 30, in batches that are small.
    small = file.replace("trials: 30", "trials: 1").replace("[8, 32]", "[2, 4]")
    Path("space.yaml").write_text(small)
    environment = {"BRAINBRR_CONFIG": prepared, "BRAINBRR_RUNS_DIR": "runs"}
    for line in commands.splitlines():
        program, *words = line.partition("#")[0].replace("--trials 40", "--trials 2").split()
        assert program == "brainbrr"
        done = shell.type(*words, environment=environment)
        assert done.returncode == 0, done.stderr
    assert "2 trials in" in done.stdout
    assert "next: brainbrr evaluate --config" not in done.stdout
    layer = re.search(r"runs/sweep-space/best.yaml", evaluation)
    assert layer is not None
    assert Path(layer[0]).is_file()
    load(Overrides(config=f"{prepared}:{layer[0]}"), {})
