"""Trainings in separate processes: killed and resumed, or several that train together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.distributed import ProcessGroup, join_process_group
from brainbrr_core.training.schedule import ema_decay
from tests.support import toy_training
from tests.support.services import HANGS_S, free_port

PROGRAM = str(toy_training.__file__)


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, words)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> list[list[float]]:
    out, _ = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def largest_difference(first: Path, second: Path) -> float:
    one, _ = weight_files.load_model(first / "weights.safetensors")
    other, _ = weight_files.load_model(second / "weights.safetensors")
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[float]]]:
    """Twelve steps in one process without a break: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, finished(start(folder, 12, 5, 1))


Whole = tuple[Path, list[list[float]]]


def test_a_killed_training_resumes_to_the_same_bits(whole: Whole, tmp_path: Path) -> None:
    unbroken, straight = whole
    broken = tmp_path / "broken"
    # Killed in the middle of the epoch, two steps after a checkpoint.
    with start(broken, 12, 5, 1, 7) as first:
        assert first.stdout is not None
        assert [json.loads(first.stdout.readline())[0] for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    assert not (broken / "weights.safetensors").exists()
    rest = finished(start(broken, 12, 5, 1))
    assert rest == straight[5:]
    names = ("weights.safetensors", files.CHECKPOINT_NAME)
    assert all((unbroken / name).read_bytes() == (broken / name).read_bytes() for name in names)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_as_one(whole: Whole, tmp_path: Path, accumulate: int) -> None:
    folder, alone = whole
    together = two_processes(tmp_path / "together", accumulate)
    assert [row[0] for row in together] == [row[0] for row in alone]
    # The same loss and gradient at every step, to rounding, though both began with other weights.
    assert np.allclose(np.array(together), np.array(alone), rtol=1e-4, atol=1e-6)
    assert largest_difference(folder, tmp_path / "together") < 1e-4


def test_two_processes_with_other_shares_of_unknown_samples_train_as_one(tmp_path: Path) -> None:
    """The first of one process's two parts has no known sample at all."""
    alone = finished(start(tmp_path / "alone", 12, 5, 1, TOY_MASKED="yes"))
    together = two_processes(tmp_path / "together", 2, TOY_MASKED="yes")
    assert len(alone) == 12
    assert np.allclose(np.array(together), np.array(alone), rtol=1e-4, atol=1e-6)
    assert largest_difference(tmp_path / "alone", tmp_path / "together") < 1e-4


def test_two_processes_skip_a_step_together(tmp_path: Path) -> None:
    """The NaN is in the second process's share."""
    alone = finished(start(tmp_path / "alone", 12, 5, 1, TOY_SPOILED="yes"))
    together = two_processes(tmp_path / "together", 2, TOY_SPOILED="yes")
    assert [row[0] for row in together if not np.isfinite(row).all()] == [4]
    assert np.allclose(np.array(together), np.array(alone), rtol=1e-4, atol=1e-6, equal_nan=True)
    assert largest_difference(tmp_path / "alone", tmp_path / "together") < 1e-4


def test_two_processes_train_batch_norms_as_one_where_their_windows_are_alike(
    tmp_path: Path,
) -> None:
    alone = finished(start(tmp_path / "alone", 12, 5, 1, TOY_NETWORK="unet", TOY_TWINS="yes"))
    together = two_processes(tmp_path / "together", 1, TOY_NETWORK="unet", TOY_TWINS="yes")
    assert len(alone) == 12
    assert np.allclose(np.array(together), np.array(alone), rtol=1e-3, atol=1e-6)


def test_statistics_of_batch_norms_are_those_of_all_processes(tmp_path: Path) -> None:
    """Each normalizes by its own windows; what is validated and saved is the same in all."""
    two_processes(tmp_path, 1, steps=1, TOY_NETWORK="unet")
    of_main, of_other = weights(tmp_path), weights(tmp_path, "weights-1")
    assert all(torch.equal(value, of_other[name]) for name, value in of_main.items())
    network = toy_training.other_network("unet", dropout=0.0)
    seen = network.network.get_submodule("down.0.conv")(toy_training.toy_batch(0).signals)
    # A tenth of what was seen, and of that what the average over steps takes of the first.
    expected = (1 - ema_decay(0)) * 0.1 * seen.mean(dim=(0, 2)).detach()
    mean = of_main["network.down.0.norm.running_mean"]
    assert torch.allclose(mean, expected, atol=1e-6)


@pytest.mark.slow
def test_two_processes_with_batch_norms_resume_to_the_same_bits(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    whole = two_processes(unbroken, 2, TOY_NETWORK="unet")
    both = started_together(broken, (12, 5, 2, 7), TOY_NETWORK="unet")
    with both[0] as main, both[1] as other:
        assert main.stdout is not None
        assert [json.loads(main.stdout.readline())[0] for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
        for process in (main, other):
            process.kill()
    assert two_processes(broken, 2, TOY_NETWORK="unet") == whole[5:]
    first, second = weights(unbroken), weights(broken)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def weights(folder: Path, name: str = "weights") -> dict[str, torch.Tensor]:
    return weight_files.load_model(folder / f"{name}.safetensors")[0]


def two_processes(
    folder: Path, accumulate: int, steps: int = 12, **variables: str
) -> list[list[float]]:
    """What the main one of two processes prints that train together; the other prints nothing."""
    both = started_together(folder, (steps, 5, accumulate), **variables)
    main, other = finished(both[0]), finished(both[1])
    assert other == []
    return main


def started_together(
    folder: Path, words: tuple[int, ...], **variables: str
) -> list[subprocess.Popen[str]]:
    port = str(free_port())
    return [
        start(
            folder,
            *words,
            RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_RANK=str(rank),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            **variables,
        )
        for rank in range(2)
    ]


def test_a_process_reads_its_rank_from_the_environment() -> None:
    single = ProcessGroup.from_environment({})
    assert single == ProcessGroup(0, 1, 0)
    assert ProcessGroup.from_environment(
        {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    ) == ProcessGroup(3, 4, 1)
    assert single.gather({"a": 1}) == {"a": 1}
    assert float(single.mean(torch.tensor(3.0))) == 3.0


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(BrainbrrError, match="make it a multiple of 6"),
        join_process_group(Hardware(batch_size=16, accumulate=2)),
    ):
        pytest.fail("it joined the group")
