"""The device: the right one, or one line that says what is there instead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.device import check_device, describe_device


def pretend_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str, gigabytes: float, major: int, minor: int
) -> None:
    properties = SimpleNamespace(
        name=name, total_memory=int(gigabytes * 1e9), major=major, minor=minor
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


A100 = Hardware(
    name="a100",
    device="cuda",
    card=("A100",),
    memory_gb=38,
    compute_capability=(8, 0),
    precision="bfloat16",
)


def test_the_cpu_needs_no_check() -> None:
    assert check_device(Hardware()) == torch.device("cpu")
    described = describe_device(torch.device("cpu"))
    assert described.threads == str(torch.get_num_threads())
    # In a line of text, a number has its unit.
    assert f"{described.threads} thread" in str(described)
    assert f"torch {torch.__version__}" in str(described)


def test_without_a_gpu_nothing_runs_on_the_cpu_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BrainbrrError, match="a100 needs an NVIDIA GPU"):
        check_device(A100)


@pytest.mark.parametrize("gigabytes", [42.4, 85.1])
def test_both_sizes_of_an_a100_are_taken(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    pretend_gpu(monkeypatch, "NVIDIA A100-SXM4-40GB", gigabytes, 8, 0)
    device = check_device(A100)
    assert device == torch.device("cuda", 0)
    described = describe_device(device)
    assert described.name == "NVIDIA A100-SXM4-40GB"
    assert described.memory_gb == f"{gigabytes}"
    assert f"NVIDIA A100-SXM4-40GB, {gigabytes} GB, compute capability 8.0, torch " in str(
        described
    )


@pytest.mark.parametrize(
    ("name", "gigabytes", "major", "minor", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 25.2, 8, 9, "a GPU named A100"),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20.0, 8, 0, "38 GB"),
        ("NVIDIA A100 imitation", 42.0, 7, 5, "compute capability 8.0"),
    ],
)
def test_another_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    gigabytes: float,
    major: int,
    minor: int,
    expected: str,
) -> None:
    pretend_gpu(monkeypatch, name, gigabytes, major, minor)
    with pytest.raises(BrainbrrError) as caught:
        check_device(A100)
    message = str(caught.value)
    assert expected in message
    assert name in message
    assert "\n" not in message


def test_bfloat16_on_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, "Tesla T4", 15.8, 7, 5)
    with pytest.raises(BrainbrrError, match="bfloat16"):
        check_device(Hardware(name="t4", device="cuda", precision="bfloat16"))
