"""The settings of torch and the environment that make a training deterministic."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.training.determinism import fixed_arithmetic, prepare_environment

GPU = Hardware(device="cuda", deterministic=True)


def test_the_environment_is_set_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    prepare_environment(Hardware(device="cuda"))
    prepare_environment(Hardware(device="cpu", deterministic=True))
    assert environment == {}
    prepare_environment(GPU)
    wanted = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "MAMBA_DETERMINISTIC": "1"}
    assert environment == wanted
    # Set in time, it does not matter who has read it since.
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setitem(sys.modules, "mamba_ssm", ModuleType("mamba_ssm"))
    prepare_environment(GPU)
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    prepare_environment(GPU)
    assert environment["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    for name, value in wanted.items():
        environment.update(wanted)
        del environment[name]
        with pytest.raises(BrainbrrError, match=f"run `export {name}={value}`") as caught:
            prepare_environment(GPU)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "deterministic", "fixed"),
    [("cpu", False, True), ("cpu", True, True), ("cuda", False, False), ("cuda", True, True)],
)
def test_torch_is_configured_as_asked(device: str, deterministic: bool, fixed: bool) -> None:
    cudnn = torch.backends.cudnn

    def told() -> tuple[bool, bool, bool, bool]:
        algorithms = torch.are_deterministic_algorithms_enabled()
        return algorithms, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    before = told()
    hardware = Hardware(device="cuda", deterministic=deterministic)
    with fixed_arithmetic(hardware, torch.device(device)):
        assert told() == ((True, True, False, False) if fixed else (*before[:3], False))
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    assert told() == before


def test_new_memory_is_not_filled_for_the_sake_of_the_same_bits() -> None:
    memory: Any = torch.utils.deterministic
    before = memory.fill_uninitialized_memory
    with (
        fixed_arithmetic(Hardware(), torch.device("cpu")),
        torch.profiler.profile() as profile,
    ):
        torch.empty(8)
    assert memory.fill_uninitialized_memory == before
    operations = {event.key for event in profile.key_averages()}
    assert "aten::empty" in operations
    assert "aten::fill_" not in operations
