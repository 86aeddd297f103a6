"""On a GPU: training, batches that travel there, and ``mamba_ssm``, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from brainbrr_core.configuration import Augmentation, Hardware
from brainbrr_core.data import Batch
from brainbrr_core.data.augmentation import augment, draw
from brainbrr_core.data.device_feed import DeviceFeed, Transfer, host_memory, to_float32
from brainbrr_core.model import build
from brainbrr_core.model.backend import Backend, ssm_layer
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.distributed import SINGLE_PROCESS
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.trainer import Trainer
from tests.support import toy_training
from tests.support.services import HANGS_S
from tests.support.toy_training import (
    FRACTION,
    spoiled_batch,
    toy_batch,
    toy_network,
    toy_settings,
    train,
    training_state,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
needs_kernels = pytest.mark.skipif(
    importlib.util.find_spec("mamba_ssm") is None, reason="needs brainbrr[gpu]"
)
AUGMENTED = Augmentation(
    channel_dropout=0.2, amplitude=0.3, time_shift_s=2, noise_sd=0.1, left_right_flip=0.5
)
PROGRAM = str(toy_training.__file__)


def on_gpu(batch: Batch) -> Batch:
    return replace(batch, signals=batch.signals.cuda(), labels=batch.labels.cuda())


def gpu_trainer(hardware: Hardware) -> Trainer:
    return Trainer(
        build("tiny", hardware.ssm_backend, seed=0),
        toy_settings(50, skipped_steps_limit=3),
        hardware,
        torch.device("cuda", 0),
        FRACTION,
        SINGLE_PROCESS,
    )


# --- training


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("backend", "compiled"),
    [
        ("torch", False),
        # torch's own compiler calls what torch has deprecated.
        pytest.param("torch", True, marks=pytest.mark.filterwarnings("ignore::DeprecationWarning")),
        pytest.param("mamba_ssm", False, marks=needs_kernels),
    ],
)
def test_no_step_waits_for_the_gpu(backend: Backend, compiled: bool, precision: str) -> None:
    values = {"device": "cuda", "batch_size": 4, "compile": compiled}
    hardware = Hardware.model_validate({**values, "precision": precision, "ssm_backend": backend})
    trainer = gpu_trainer(hardware)
    batches = [on_gpu(spoiled_batch(step)) for step in range(8)]
    # What happens once: kernels are compiled and chosen, and the optimizer makes its tensors.
    for step in range(3):
        trainer.train_step(step, batches[step])
    assert len(trainer.fetch_metrics()) == 3
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 8):
            trainer.train_step(step, batches[step])
        with pytest.raises(RuntimeError, match="synchronizing"):
            trainer.fetch_metrics()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_skipped_step_changes_nothing_on_a_gpu() -> None:
    trainer = gpu_trainer(Hardware(device="cuda", batch_size=4))

    def everything() -> dict[str, Tensor]:
        return training_state(trainer.network, trainer.optimizer)

    for step in range(3):
        trainer.train_step(step, on_gpu(spoiled_batch(step)))
    before = everything()
    trainer.train_step(3, on_gpu(spoiled_batch(3)))
    after = everything()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert {float(value) for name, value in after.items() if name.endswith("/step")} == {3.0}
    trainer.train_step(4, on_gpu(spoiled_batch(4)))
    assert [step.finite for step in trainer.fetch_metrics()] == [True, True, True, False, True]
    assert {float(v) for name, v in everything().items() if name.endswith("/step")} == {4.0}


def test_a_gpu_trains_as_a_cpu_does_and_reports_each_step(tmp_path: Path) -> None:
    def sent(first: int) -> Iterator[Batch]:
        for step in range(first, 50):
            yield on_gpu(toy_batch(step))

    settings = toy_settings(25, checkpoint_every=15)
    here: list[StepReport] = []
    there: list[StepReport] = []
    train(tmp_path / "here", settings, here.append)
    hardware = Hardware(device="cuda", batch_size=4)
    _, summary = train(
        tmp_path / "there", settings, there.append, hardware, toy_network().cuda(), sent
    )
    assert [report.step for report in there] == list(range(1, 26))
    assert summary.skipped_steps == ()
    losses = np.array([[report.loss for report in reports] for reports in (here, there)])
    assert np.allclose(losses[0], losses[1], rtol=2e-2)
    assert np.allclose(losses[0, :3], losses[1, :3], rtol=1e-4)
    assert files.read_checkpoint(tmp_path / "there" / files.CHECKPOINT_NAME).step == 25


@pytest.mark.parametrize("backend", ["torch", pytest.param("mamba_ssm", marks=needs_kernels)])
def test_a_deterministic_gpu_gives_the_same_bits(tmp_path: Path, backend: str) -> None:
    """In processes of their own: what is set for it is read once in each."""
    for folder in "ab":
        subprocess.run(
            [sys.executable, PROGRAM, str(tmp_path / folder), "25", "10", "2"],
            env=os.environ | {"TOY_GPU": backend},
            check=True,
            timeout=HANGS_S,
            stdout=subprocess.DEVNULL,
        )
    for name in ("weights.safetensors", files.CHECKPOINT_NAME):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in "ab")
        assert first == second


# --- the kernels


@needs_kernels
@pytest.mark.parametrize("length", [1, 127, 960, 3840])
@pytest.mark.parametrize(
    ("kind", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"]
)
def test_the_layer_equals_the_kernels(length: int, kind: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    ours = ssm_layer("torch", 256, 16, 64).cuda()
    theirs = ssm_layer("mamba_ssm", 256, 16, 64).cuda()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    u = torch.randn(2, length, 256, device="cuda")
    found = []
    for layer in (ours, theirs):
        leaf = u.clone().requires_grad_()
        with torch.autocast("cuda", dtype=kind, enabled=kind is not torch.float32):
            out = layer(leaf)
        torch.autograd.backward(out.float().square().sum())
        gradients = [leaf.grad, *(p.grad for p in layer.parameters())]
        found.append([out.detach(), *gradients])
    for mine, other in zip(*found, strict=True):
        assert mine is not None
        assert other is not None
        scale = float(other.abs().max().float().clamp_min(1e-6))
        assert float((mine.float() - other.float()).abs().max()) < tolerance * scale


@needs_kernels
def test_a_network_moves_from_one_backend_to_the_other() -> None:
    ours, theirs = build("tiny", "torch", seed=0).cuda(), build("tiny", "mamba_ssm").cuda()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 19, 15360, device="cuda")
    with torch.inference_mode():
        assert float((ours.eval()(x) - theirs.eval()(x)).abs().max()) < 1e-3


# --- batches


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Whatever makes this thread wait for the GPU is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def stored_windows(rows: int, seed: int = 0, samples: int = 15360) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-32768, 32768, (rows, 19, samples), generator=generator).to(torch.int16)


def test_a_gpu_widens_and_changes_windows_as_a_cpu_does() -> None:
    every = torch.arange(-32768, 32768).to(torch.int16)
    assert torch.equal(to_float32(every.cuda()).cpu(), to_float32(every))
    stored = stored_windows(12)
    for settings in (None, AUGMENTED.model_copy(update={"noise_sd": 0.0})):
        changes = None if settings is None else draw(settings, 1, 3, range(12))
        assert torch.equal(augment(stored.cuda(), changes).cpu(), augment(stored, changes))


def test_noise_on_a_gpu_is_that_of_a_row_whatever_is_beside_it() -> None:
    stored = stored_windows(12).cuda()
    whole = augment(stored, draw(AUGMENTED, 1, 3, range(12)))
    assert torch.equal(augment(stored, draw(AUGMENTED, 1, 3, range(12))), whole)
    part = augment(stored[1::2], draw(AUGMENTED, 1, 3, range(1, 12, 2)))
    assert torch.equal(part, whole[1::2])
    without = AUGMENTED.model_copy(update={"noise_sd": 0.0})
    noise = (whole - augment(stored, draw(without, 1, 3, range(12)))).double()
    audible = noise[noise.abs().amax(dim=2) > 0]
    assert abs(float(audible.std()) - 0.1) < 1e-3
    assert abs(float(audible.mean())) < 1e-3
    assert not torch.equal(noise[0], noise[1])


def test_batches_arrive_whole_while_the_gpu_is_busy_and_nothing_waits_for_it() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    feed = DeviceFeed(device)
    ring = [host_memory((4, 19, 15360), torch.int16, device) for _ in range(2)]
    assert all(buffer.is_pinned() for buffer in ring)
    work = torch.randn(4096, 4096, device=device)
    sent: list[Transfer | None] = [None, None]
    sums = []
    changes = draw(AUGMENTED, 0, 0, range(4))
    torch.cuda.synchronize()
    for number in range(40):
        slot = number % 2
        before = sent[slot]
        if before is not None:
            before.await_copy()
        ring[slot].copy_(stored_windows(4, number))
        labels = torch.full((4, 15360), float(number)).pin_memory()
        with refusing_to_wait():
            sent[slot] = transfer = feed.send(
                ring[slot], labels, widen=partial(augment, changes=changes)
            )
            for _ in range(4):
                work = (work @ work).clamp_(-1, 1)
            signals, arrived = transfer.receive()
            sums.append((signals.double().sum(), arrived.double().mean(), signals[:, ::5].clone()))
            del signals, arrived
    for number, (total, label, some) in enumerate(sums):
        expected = augment(stored_windows(4, number).to(device), changes)
        assert torch.equal(some, expected[:, ::5])
        assert float(total) == pytest.approx(float(expected.double().sum()), rel=1e-9, abs=1e-3)
        assert float(label) == number
