"""Ctrl+C in a training: the first saves a checkpoint and says how to resume, the second ends it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from torch import nn

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.stopping import listen
from brainbrr_core.training.validation import Validation
from tests.support.shell import BIN, clean_environment
from tests.support.small_run import small_config
from tests.support.toy_training import (
    ScriptedValidation,
    same_weights,
    toy_settings,
    train,
)

#: Seconds that only a command that hangs takes.
HANGS_S = 120.0


def send_at(step: int) -> Callable[[StepReport], None]:
    """Ctrl+C during the report of a step, so that the next step is the last one."""

    def on_step(report: StepReport) -> None:
        if report.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


def test_ctrl_c_saves_the_step_and_resuming_gives_the_same_weights(tmp_path: Path) -> None:
    # Far from any checkpoint or validation that is due.
    settings = toy_settings(9, checkpoint_every=100)
    whole, _ = train(tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "stopped", settings, send_at(4))
    [note] = stopped.value.__notes__
    assert note == (
        f"step 5 of 9 is saved in {tmp_path / 'stopped'}: run the same command again to resume"
    )
    assert files.read_checkpoint(tmp_path / "stopped" / files.CHECKPOINT_NAME).step == 5
    steps: list[int] = []
    said: list[str] = []
    resumed, summary = train(
        tmp_path / "stopped", settings, lambda report: steps.append(report.step), log=said.append
    )
    assert said == ["the training resumes from step 5"]
    assert (summary.resumed_from, steps) == (5, [6, 7, 8, 9])
    assert same_weights(whole, resumed)


@pytest.mark.parametrize("step", [3, 6])
def test_a_validation_that_is_interrupted_is_done_first_when_it_resumes(
    tmp_path: Path, step: int
) -> None:
    settings = toy_settings(6, checkpoint_every=100, validate_every=3)
    scores = {3: 0.8, 6: 0.5}
    whole, expected = train(tmp_path / "whole", settings, validate=ScriptedValidation(scores))

    def interrupted(network: nn.Module, at: int) -> Validation:
        if at == step:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the validation goes on")
        return ScriptedValidation(scores)(network, at)

    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "stopped", settings, validate=interrupted)
    assert "resume with its validation" in stopped.value.__notes__[0]
    resumed, summary = train(tmp_path / "stopped", settings, validate=ScriptedValidation(scores))
    assert summary.resumed_from == step
    assert [each.step for each in summary.validations] == [3, 6]
    assert summary.best_step == expected.best_step == 3
    assert same_weights(whole, resumed)


@pytest.mark.parametrize(
    ("checkpoint_every", "how"),
    [
        (3, "run the same command again to resume from step 3, the last that is saved"),
        (100, None),
    ],
)
def test_an_interruption_without_a_checkpoint_says_from_where_the_training_goes_on(
    tmp_path: Path, checkpoint_every: int, how: str | None
) -> None:
    settings = toy_settings(9, checkpoint_every=checkpoint_every)

    def twice(report: StepReport) -> None:
        if report.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path, settings, twice)
    reached = "step 5 of 9 was reached"
    assert stopped.value.__notes__ == [
        f"{reached}: {how}"
        if how
        else f"{reached}, and none is saved: the same command begins anew"
    ]
    said: list[str] = []
    _, summary = train(tmp_path, settings, log=said.append)
    assert summary.resumed_from == (3 if how else 0)


def test_a_second_signal_is_passed_on_at_once() -> None:
    received: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with listen() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested and received == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def many_steps(settings: Configuration, tmp_path: Path) -> str:
    """A training of so many steps that only Ctrl+C ends it, with a checkpoint due far away."""
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    path = tmp_path / "long.yaml"
    path.write_text(
        "training: {steps: 1000000, checkpoint_every: 1000000, validate_every: 900000}\n"
    )
    return f"{small_config(tmp_path)}:{path}"


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("presses", [1, 2])
def test_the_command_ends_soon_and_says_how_to_resume(
    many_steps: str, settings: Configuration, presses: int
) -> None:
    training = subprocess.Popen(
        [str(BIN / "brainbrr"), "train", "--config", many_steps],
        env=clean_environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # The first line after the checks is logged right before the first step.
        assert training.stderr is not None
        for line in training.stderr:
            if line.startswith("training set"):
                break
        steps = settings.runs_dir
        while not list(steps.glob("*/steps.jsonl")) or not any(
            path.stat().st_size for path in steps.glob("*/steps.jsonl")
        ):
            assert training.poll() is None
            os.sched_yield()
        for _ in range(presses):
            os.kill(training.pid, signal.SIGINT)
        _, errors = training.communicate(timeout=HANGS_S)
    finally:
        training.kill()
        training.wait()
    assert training.returncode == 130
    last = errors.splitlines()[-1]
    assert "Traceback" not in errors
    if presses == 2:
        assert last.startswith("brainbrr: stopped")
        return
    [run] = [path for path in settings.runs_dir.iterdir() if path.is_dir()]
    saved = files.read_checkpoint(run / files.CHECKPOINT_NAME).step
    assert re.fullmatch(
        rf"brainbrr: stopped: step {saved} of 1000000 is saved in {re.escape(str(run))}: run the "
        r"same command again to resume",
        last,
    )
    shutil.rmtree(run)
