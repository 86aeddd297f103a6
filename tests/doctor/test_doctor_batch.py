"""``brainbrr doctor --batch``: the largest batch that fits, tried on a GPU, calculated on a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from brainbrr_core.benchmark.network_cost import peak_bytes
from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.configuration import Hardware, Model, Overrides, Training, load
from brainbrr_core.configuration.settings import NETWORKS
from brainbrr_core.doctor import batch
from brainbrr_core.doctor.batch import (
    Capacity,
    Fitting,
    TrainingStep,
    Trial,
    Tried,
    attempt,
    capacity,
    in_own_process,
    largest,
)
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.memory import OutOfMemory
from tests.support.shell import Shell


@given(most=st.integers(0, 5000), start=st.integers(1, 3000))
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_largest_number_is_found_to_an_eighth_in_few_tries(most: int, start: int) -> None:
    tries: list[int] = []

    def fits(windows: int) -> str | None:
        tries.append(windows)
        return f"{windows} windows" if windows <= most else None

    result = largest(fits, start, 1024)
    assert len(tries) == len(set(tries))
    assert len(tries) <= 10 + 4
    assert min(tries) >= 1 and max(tries) <= 1024
    if most == 0:
        assert result is None
        return
    assert result is not None
    number, figures = result
    assert figures == f"{number} windows"
    assert number <= most
    assert number >= min(most, 1024) * 8 / 9 or number == most


def a_gpu() -> TrainingStep:
    """The training step of the profile full on an H100."""
    settings = load(Overrides(config="full:h100"), {})
    return TrainingStep(settings.model, settings.hardware, settings.training)


def with_memory(monkeypatch: pytest.MonkeyPatch, windows: Callable[[Trial], float]) -> list[Trial]:
    """A GPU on which as many windows fit as ``windows`` returns; the trials made on it."""
    tried: list[Trial] = []

    def in_own_process(
        _function: object, argument: Trial | Hardware
    ) -> tuple[dict[str, str], float] | Tried | None:
        if not isinstance(argument, Trial):
            return {"device": "cuda", "name": "NVIDIA H100"}, 79.0
        tried.append(argument)
        if argument.windows > windows(argument):
            return None
        slow = 0.75 if argument.hardware.recompute_activations else 1.0
        return Tried(argument.windows * 0.2, slow * 400)

    monkeypatch.setattr(batch, "in_own_process", in_own_process)
    return tried


def test_a_gpu_is_tried_with_and_without_recomputation_at_every_length(
    monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    tried = with_memory(
        monkeypatch,
        lambda t: 60 / t.window_s * (240 if t.hardware.recompute_activations else 40),
    )
    command = ["doctor", "--batch", "--config", "full:h100", "--minutes", "1", "--minutes", "4"]
    values = json.loads(shell.type(*command, "--json").stdout)
    rows = {(r["window_s"], r["recompute_activations"]): r["windows"] for r in values["rows"]}
    assert rows[60, False] == 40
    assert 240 * 8 / 9 <= rows[60, True] <= 240
    assert 9 <= rows[240, False] <= 10
    # Steps of 64 windows as configured, in as few parts as fit, by the faster way.
    assert values["hardware"]["60"] == {
        "batch_size": 64,
        "accumulate": 2,
        "recompute_activations": False,
    }
    assert values["hardware"]["240"]["accumulate"] == 8
    assert {t.hardware.ssm_backend for t in tried} == {"mamba_ssm"}
    assert {t.hardware.accumulate for t in tried} == {1}
    assert {t.model.preset for t in tried} == {"base"}
    text = shell.type(*command).stdout
    assert "hardware: {batch_size: 64, accumulate: 2, recompute_activations: false}" in text
    assert "Another batch_size makes another training" in text


def test_windows_that_fit_only_with_recomputation_are_advised_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_memory(monkeypatch, lambda t: 16 if t.hardware.recompute_activations else 0)
    fitting = capacity(a_gpu(), [60], log=lambda _line: None)
    assert [row.windows for row in fitting.rows] == [0, 16]
    advised = fitting.advice(60, 64)
    assert advised is not None
    assert (advised.accumulate, advised.recompute_activations) == (4, True)
    with_memory(monkeypatch, lambda _t: 0)
    assert capacity(a_gpu(), [60], log=lambda _line: None).advice(60, 64) is None


def test_parts_divide_the_batch() -> None:
    row = Fitting(60, False, 7, 1.0, 1.0)
    advised = Capacity({}, 1.0, (row,)).advice(60, 15)
    assert advised is not None
    assert (advised.batch_size, advised.accumulate) == (15, 3)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch computes with two threads, on however many processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _peak_gb(windows: int) -> float:
    """The peak memory of this process, which trains two threads' steps of so many windows."""
    torch.set_num_threads(2)
    attempt(Trial(Model(preset="tiny"), Hardware(), Training(), 60, windows))
    return peak_mb() / 1000


@pytest.mark.usefixtures("two_threads")
def test_on_a_cpu_the_batch_is_calculated_and_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    monkeypatch.setattr(batch, "usable_memory", lambda: 8_000_000_000)
    monkeypatch.setattr(batch, "in_own_process", lambda *_: pytest.fail("a process was started"))
    values = json.loads(shell.type("doctor", "--batch", "--config", "smoke:cpu", "--json").stdout)
    plain, sparing = values["rows"]
    # Two threads have four windows each, and a batch of 1,024 is stored beside them.
    each = 1.25 * peak_bytes(Model(preset="tiny"), 60)
    parameters, stored = 0.6e6, 20 * 4 * 60 * 256
    assert plain["windows"] == sparing["windows"] == 1024
    fixed = 0.45e9 + (20 + 2 * 4) * parameters
    assert plain["memory_gb"] == pytest.approx((fixed + 8 * each + 1024 * stored) / 1e9, rel=0.01)
    assert sparing["memory_gb"] < plain["memory_gb"]
    assert plain["windows_per_s"] is None
    assert values["hardware"]["60"]["accumulate"] == 1
    # With less memory, each thread has fewer windows, down to none.
    for windows in (3, 1, 0):
        free = (fixed + 2 * (windows + 0.5) * each) / 0.9
        monkeypatch.setattr(batch, "usable_memory", lambda free=free: free)
        done = shell.type("doctor", "--batch", "--config", "smoke:cpu", "--json")
        told = json.loads(done.stdout)
        assert told["rows"][0]["windows"] == windows
        if windows:
            assert told["rows"][0]["memory_gb"] == pytest.approx(
                (fixed + 2 * windows * each) / 1e9, rel=0.01
            )


@pytest.mark.usefixtures("two_threads")
def test_the_memory_that_is_calculated_is_that_of_a_training() -> None:
    """Of the process, with as many windows as are computed at the same time, and with more."""
    step = TrainingStep(Model(preset="tiny"), Hardware(batch_size=16), Training())
    [plain, _] = capacity(step, [60], log=lambda _line: None).rows
    assert plain.memory_gb is not None
    stored = 20 * 4 * 60 * 256 / 1e9
    for windows in (16, 32):
        calculated = plain.memory_gb - (plain.windows - windows) * stored
        assert in_own_process(_peak_gb, windows) == pytest.approx(calculated, rel=0.15)


def test_another_network_has_a_row_of_its_own_size(
    monkeypatch: pytest.MonkeyPatch, shell: Shell, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "usable_memory", lambda: 8_000_000_000)
    rows = {}
    for name in NETWORKS:
        chosen = tmp_path / f"{name}.yaml"
        chosen.write_text(f"model: {{network: {name}}}\n")
        told = json.loads(
            shell.type("doctor", "--batch", "--config", f"smoke:cpu:{chosen}", "--json").stdout
        )
        assert told["preset"] == ("tiny" if name == "bimamba2" else name)
        rows[name] = [(row["recompute_activations"], row["windows"]) for row in told["rows"]]
        # Only the default network can recompute activations.
        expected = [False, True] if name == "bimamba2" else [False]
        assert [recompute for recompute, _ in rows[name]] == expected
    # The more a network keeps for its gradient, the fewer windows fit.
    largest = ["line_length", "tcn", "seizure_transformer", "tcn_bimamba"]
    fitting = [rows[name][0][1] for name in largest]
    assert fitting == sorted(fitting, reverse=True) and min(fitting) > 0


def test_real_steps_are_run_and_too_little_memory_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(Model(preset="tiny"), Hardware(), Training(), 10, 2)
    tried = attempt(trial)
    assert tried is not None
    assert tried.windows_per_s > 0

    def fails(error: Exception) -> Callable[..., None]:
        def fit(*_arguments: object, **_others: object) -> None:
            raise error

        return fit

    monkeypatch.setattr(batch, "fit", fails(OutOfMemory("the memory is too small")))
    assert attempt(trial) is None
    monkeypatch.setattr(batch, "fit", fails(RuntimeError("an index is too large\nand more")))
    with pytest.raises(BrainbrrError, match=r"2 windows of 10 s fails: an index is too large$"):
        attempt(trial)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "--minutes", "0.1"], "multiple of 10"),
        (["--batch", "--minutes", "0"], "multiple of 10"),
        (["--minutes", "1"], "add --batch"),
    ],
)
def test_impossible_lengths_are_refused(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.refused("doctor", "--config", "smoke:cpu", *words)


def test_a_machine_without_the_gpu_is_refused_in_one_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "in_own_process", lambda function, argument: function(argument))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    said = shell.refused("doctor", "--batch", "--config", "full:h100")
    assert "finds none" in said
    assert len(said.strip().splitlines()) == 1
