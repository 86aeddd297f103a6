"""Which checkpoint a training resumes from, and what happens to damaged ones."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import JsonValue
from safetensors import safe_open

from brainbrr_core import progress as progress_module
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.progress import PlainProgress, _RichProgress
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.checkpoint import TrainingProgress
from brainbrr_core.training.distributed import SINGLE_PROCESS
from brainbrr_core.training.metrics import MetricsLog
from brainbrr_core.training.report import StepReport
from tests.support.toy_training import (
    Interrupted,
    ScriptedValidation,
    has_weights,
    interrupt_at,
    same_weights,
    toy_network,
    toy_settings,
    train,
)

LAST = files.CHECKPOINT_NAME


def damage(path: Path) -> bytes:
    """Flip a bit in the last tensor; return the file's new content."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 8
    path.write_bytes(content)
    return bytes(content)


def periodic(step: int) -> str:
    return f"checkpoint-step-{step:08d}.safetensors"


# --- which checkpoint


@pytest.mark.parametrize(
    ("damaged", "missing", "resumed_from"),
    [([LAST], [], 6), ([LAST, periodic(6)], [], 4), ([], [LAST], 6), ([periodic(6)], [], 6)],
)
def test_a_training_resumes_from_the_newest_undamaged_checkpoint(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: list[str],
    missing: list[str],
    resumed_from: int,
) -> None:
    settings = toy_settings(9, checkpoint_every=2)
    straight, _ = train(tmp_path / "straight", settings)
    folder = tmp_path / "broken"
    with pytest.raises(Interrupted):
        train(folder, settings, interrupt_at(7))
    content = {}
    for name in damaged:
        # Another file, as a copy between disks makes: two names must not share the damage.
        path = folder / name
        intact = path.read_bytes()
        path.unlink()
        path.write_bytes(intact)
        content[name] = damage(path)
    for name in missing:
        (folder / name).unlink()
    resumed, summary = train(folder, settings, network=toy_network(5))
    said = capsys.readouterr().out.splitlines()
    assert summary.resumed_from == resumed_from
    assert same_weights(straight, resumed)
    if LAST not in damaged + missing:
        # The last one is intact: the others are not read.
        assert said == [f"the training resumes from step {resumed_from}"]
        return
    (line,) = said
    assert f"{folder} is {'damaged' if damaged else 'missing'}" in line
    assert f"resumes from step {resumed_from}, in {periodic(resumed_from)}" in line
    for name in damaged:
        aside = folder / f"{name}.damaged-1"
        assert aside.read_bytes() == content[name]
        assert f"{name} is kept as {aside.name}" in line


def test_where_all_are_damaged_one_line_says_so_and_nothing_changes(tmp_path: Path) -> None:
    settings = toy_settings(6, checkpoint_every=2)
    train(tmp_path, settings)
    for path in tmp_path.glob("checkpoint*"):
        # Names of one file must not be damaged twice, which would undo it.
        intact = path.read_bytes()
        path.unlink()
        path.write_bytes(intact)
        damage(path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BrainbrrError, match=r"every checkpoint in .* is damaged") as caught:
        train(tmp_path, settings)
    for name in (LAST, periodic(4), periodic(6)):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_that_cannot_be_read_does_not_count_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = toy_settings(6, checkpoint_every=2)
    train(tmp_path, settings)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(path: Path, framework: str, device: str) -> object:
        if path.name == LAST:
            raise OSError(errno.EIO, "Input/output error")
        return safe_open(path, framework, device)

    with monkeypatch.context() as patch:
        patch.setattr(weight_files, "safe_open", refuse)
        with pytest.raises(BrainbrrError, match="could not be read") as caught:
            train(tmp_path, settings)
    assert "Input/output error" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("keep", range(6))
def test_as_many_checkpoints_are_kept_as_the_settings_ask_for(tmp_path: Path, keep: int) -> None:
    network = toy_network().state_dict()

    def checkpoint_at(step: int) -> files.Checkpoint:
        return files.Checkpoint(step, {}, TrainingProgress(), {}, network, {}, {}, {})

    for step in range(1, 9):
        files.save_checkpoint(tmp_path, checkpoint_at(step), keep)
        steps = range(max(1, step - keep + 1), step + 1) if keep else ()
        expected = {LAST, *(periodic(kept) for kept in steps)}
        assert {path.name for path in tmp_path.iterdir()} == expected
        assert files.read_checkpoint(tmp_path / LAST).step == step
    # When a user resumes from an older one, later ones stay and do not crowd it out.
    files.save_checkpoint(tmp_path, checkpoint_at(2), keep)
    later = {periodic(step) for step in range(9 - keep, 9)}
    assert {path.name for path in tmp_path.iterdir()} == {LAST, *later, *[periodic(2)][:keep]}
    for step in range(9 - keep, 9):
        assert files.read_checkpoint(tmp_path / periodic(step)).step == step


def test_resuming_from_an_older_one_keeps_the_later_ones(tmp_path: Path) -> None:
    settings = toy_settings(9, checkpoint_every=2, keep_checkpoints=3)
    train(tmp_path, settings)
    (tmp_path / periodic(6)).replace(tmp_path / LAST)
    with pytest.raises(Interrupted):
        train(tmp_path, settings, interrupt_at(8))
    names = {path.name for path in tmp_path.glob("checkpoint-*")}
    # The earlier step 9 is not deleted, and does not crowd out step 8.
    assert names == {periodic(8), periodic(9)}


# --- the best weights


SCORES = {2: 0.5, 4: 0.9, 6: 0.3, 8: 0.2, 9: 0.1}


def test_damaged_best_weights_are_noticed_at_once_and_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = toy_settings(9, validate_every=2)
    straight, _ = train(tmp_path / "a", settings, validate=ScriptedValidation(SCORES))
    with pytest.raises(Interrupted):
        train(tmp_path / "b", settings, interrupt_at(5), validate=ScriptedValidation(SCORES))
    best = tmp_path / "b" / files.BEST_NAME
    whole = best.read_bytes()
    damaged = damage(best)
    capsys.readouterr()
    said_before_a_step: list[str] = []

    def listen(_report: StepReport) -> None:
        said_before_a_step.append(capsys.readouterr().out)

    resumed, summary = train(
        tmp_path / "b",
        settings,
        listen,
        validate=ScriptedValidation(SCORES),
        network=toy_network(7),
    )
    assert f"{best} is damaged: it is kept as best.safetensors.damaged-1" in said_before_a_step[0]
    assert (summary.resumed_from, summary.best_step) == (4, 4)
    assert same_weights(straight, resumed)
    assert best.read_bytes() == whole
    assert best.with_name("best.safetensors.damaged-1").read_bytes() == damaged


@pytest.mark.parametrize("write", [files.BEST_NAME, LAST])
@pytest.mark.parametrize("same_score", [True, False])
def test_best_weights_and_checkpoint_are_of_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, same_score: bool
) -> None:
    """Interrupted between two files of step 4; on a GPU the same step may get another score."""
    settings = toy_settings(9, validate_every=2)
    straight, _ = train(tmp_path / "a", settings, validate=ScriptedValidation(SCORES))
    saved = weight_files.save_tensors

    def end(path: Path, tensors: weight_files.Tensors, header: Mapping[str, JsonValue]) -> str:
        if path.name == write and header["step"] == 4:
            raise Interrupted
        return saved(path, tensors, header)

    for module in (weight_files, files):
        monkeypatch.setattr(module, "save_tensors", end)
    first = ScriptedValidation(SCORES)
    with pytest.raises(Interrupted):
        train(tmp_path / "b", settings, validate=first)
    monkeypatch.undo()
    again = ScriptedValidation(SCORES if same_score else {**SCORES, 4: 0.4})
    resumed, summary = train(tmp_path / "b", settings, validate=again, network=toy_network(7))
    assert summary.best_step is not None
    assert has_weights(resumed, {**first.weights, **again.weights}[summary.best_step])
    weights, header = weight_files.load_tensors(tmp_path / "b" / files.BEST_NAME)
    assert header["step"] == summary.best_step
    assert has_weights(resumed, weights)
    if same_score:
        assert same_weights(straight, resumed)


def without_best(folder: Path) -> None:
    """Make the checkpoint one of an earlier version, without the best weights in it."""
    tensors, header = weight_files.load_tensors(folder / LAST)
    rest = {name: value for name, value in tensors.items() if not name.startswith("best/")}
    weight_files.save_tensors(folder / LAST, rest, header)


@pytest.mark.parametrize("what", ["intact", "damaged", "missing", "of another step"])
def test_a_training_resumes_from_a_checkpoint_of_an_earlier_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    settings = toy_settings(9, validate_every=2)
    straight, _ = train(tmp_path / "a", settings, validate=ScriptedValidation(SCORES))
    folder = tmp_path / "b"
    with pytest.raises(Interrupted):
        train(folder, settings, interrupt_at(5), validate=ScriptedValidation(SCORES))
    without_best(folder)
    best = folder / files.BEST_NAME
    if what == "damaged":
        damage(best)
    elif what == "missing":
        best.unlink()
    elif what == "of another step":
        weights, header = weight_files.load_tensors(best)
        weight_files.save_tensors(best, weights, {**header, "step": 2})
    capsys.readouterr()
    validate = ScriptedValidation(SCORES)
    resumed, summary = train(folder, settings, validate=validate, network=toy_network(7))
    if what == "intact":
        assert same_weights(straight, resumed)
        assert capsys.readouterr().out == "the training resumes from step 4\n"
        return
    assert "the best weights, of step 4, are lost" in capsys.readouterr().out
    assert summary.best_step == 6
    assert has_weights(resumed, validate.weights[6])
    assert [row.step for row in summary.validations] == [2, 4, 6, 8, 9]


# --- what a disk may refuse


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"])
def test_a_file_system_without_hard_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(*_names: object) -> None:
        raise OSError(getattr(errno, code), code)

    monkeypatch.setattr(os, "link", refuse)
    train(tmp_path, toy_settings(6, checkpoint_every=2))
    kept = [tmp_path / LAST, tmp_path / periodic(4), tmp_path / periodic(6)]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert [files.read_checkpoint(path).step for path in kept] == [6, 4, 6]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to make a file larger than so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_previous_checkpoint_intact(tmp_path: Path) -> None:
    settings = toy_settings(9, checkpoint_every=2)
    straight, _ = train(tmp_path / "a", settings)
    folder = tmp_path / "b"
    with pytest.raises(Interrupted):
        train(folder, settings, interrupt_at(4))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        largest_file(len(before[LAST]) // 2),
        pytest.raises(WorkRemains, match="could not be written") as caught,
    ):
        train(folder, settings)
    assert caught.value.exit_status == 1
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    resumed, summary = train(folder, settings)
    assert summary.resumed_from == 4
    assert same_weights(straight, resumed)


def test_a_log_that_the_disk_refuses_ends_the_training_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = toy_settings(6, checkpoint_every=2)
    with (
        pytest.raises(WorkRemains, match=r"steps\.jsonl could not be written") as caught,
        MetricsLog(tmp_path, SINGLE_PROCESS, 1) as log,
        largest_file(100),
    ):
        train(tmp_path, settings, step_log=log)
    # TensorBoard's thread prints no traceback either.
    assert capsys.readouterr().err == ""
    assert "File too large" in str(caught.value)
    assert "\n" not in str(caught.value)
    # No checkpoint covers steps that are not in the log.
    assert not (tmp_path / LAST).exists()


# --- the time left


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_the_time_left_counts_no_step_of_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    bar = PlainProgress("train", 1000, "steps")
    bar.resume_from(500)
    for _ in range(5):
        clock.now += 2.0
        bar.advance()
    # Five steps in ten seconds, 495 to go.
    said = capsys.readouterr().err
    assert said == "train: 505 of 1000 steps, 0.5 steps/s, 990 s left\n"


def test_the_bar_of_a_terminal_takes_steps_of_before_for_no_speed() -> None:
    with _RichProgress("train", 1000, "steps") as bar:
        bar.resume_from(500)
        task = bar._bar.tasks[0]
        assert (task.completed, task.total, task.speed) == (500, 1000, None)


def test_the_command_says_the_time_left_of_a_resumed_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)

    def resumed(*_: object, on_step: Callable[[StepReport], None], **_others: object) -> object:
        for step in range(501, 504):
            clock.now += 4.0
            on_step(StepReport(step, 1000, 0.5, 1e-3, 1.0, 0.1, 2.0, 0.0, 4.0 * (step - 500), 500))
        return SimpleNamespace(directory=tmp_path, reused=False)

    monkeypatch.setattr("brainbrr_core.training.run.train", resumed)
    from brainbrr_core.cli.train import train as command

    settings = tmp_path / "settings.yaml"
    settings.write_text("training: {steps: 1000}\n")
    assert command(config=f"smoke:cpu:{settings}", runs_dir=str(tmp_path)) == 0
    said = capsys.readouterr().err.splitlines()
    assert "503 of 1000 steps, 0.25 steps/s, 1988 s left" in said[-2]
    assert said[-1].startswith("next: brainbrr evaluate ")


def test_a_report_says_the_time_left_at_the_rate_of_this_process(tmp_path: Path) -> None:
    settings = toy_settings(8, checkpoint_every=4)
    with pytest.raises(Interrupted):
        train(tmp_path, settings, interrupt_at(4))
    reports: list[StepReport] = []
    train(tmp_path, settings, reports.append)
    assert [report.step for report in reports] == [5, 6, 7, 8]
    for done, report in enumerate(reports, start=1):
        assert report.left_s() == pytest.approx(report.elapsed_s / done * (4 - done))
