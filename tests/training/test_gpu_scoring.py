"""Scores on a GPU: batches on their way there and back, precisions and compilations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from brainbrr_core.configuration.settings import Compilation, Precision
from brainbrr_core.detection.recordings import recording_frames
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build
from tests.support.stored_signals import InMemory, naive_frames, noise

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

WINDOW, STRIDE = 5120, 2560
LENGTHS = (30_000, 2_000, 5_120, 17_777, 41_000, 9_999)


def frames_of(scorer: WindowScorer, recordings: list[InMemory]) -> list[NDArray[np.float32]]:
    found = dict(recording_frames(scorer, enumerate(recordings), WINDOW, STRIDE))
    return [found[number] for number in range(len(recordings))]


def recordings() -> list[InMemory]:
    return [InMemory(noise(samples, samples)) for samples in LENGTHS]


# Convolutions of float32 may use TF32, products of bfloat16 have 8 bits.
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-2), ("bfloat16", 6e-2)])
@pytest.mark.parametrize("batch", [1, 4, 7, 64])
def test_scores_are_those_of_the_cpu(precision: Precision, tolerance: float, batch: int) -> None:
    network = build("tiny", seed=1).eval()
    wanted = [naive_frames(network, one.stored, WINDOW, STRIDE) for one in recordings()]
    scorer = WindowScorer(network.cuda(), torch.device("cuda", 0), batch, precision)
    # Twice: the memory that scores come back to is used again.
    first, second = (frames_of(scorer, recordings()) for _ in range(2))
    scale = max(float(np.abs(one).max()) for one in wanted)
    for frames, again, expected in zip(first, second, wanted, strict=True):
        assert np.abs(frames - expected).max() < tolerance * scale
        np.testing.assert_allclose(frames, again, atol=1e-3 * scale)


# torch's own compiler calls what torch has deprecated.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("compilation", [True, "cuda_graphs"])
def test_a_compiled_network_scores_alike(compilation: Compilation) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network, device = build("tiny", seed=1).eval().cuda(), torch.device("cuda", 0)
    plain = frames_of(WindowScorer(network, device, 4, "bfloat16"), recordings())
    scorer = WindowScorer(network, device, 4, "bfloat16", compilation)
    first = frames_of(scorer, recordings())
    compilations = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    again = frames_of(scorer, recordings())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compilations > 0
    scale = max(float(np.abs(one).max()) for one in plain)
    for frames, second, expected in zip(first, again, plain, strict=True):
        assert np.abs(frames - expected).max() < 3e-2 * scale
        assert np.abs(second - expected).max() < 3e-2 * scale


def test_what_came_before_an_unreadable_recording_is_given() -> None:
    network = build("tiny", seed=1).eval().cuda()
    scorer = WindowScorer(network, torch.device("cuda", 0), 4, "bfloat16")
    broken = [InMemory(noise(30_000)), InMemory(noise(9_000)), InMemory(noise(20_000), broken=9)]
    given = []
    with pytest.raises(BrainbrrError, match="sample 9 is damaged"):
        for key, _ in recording_frames(scorer, enumerate(broken), WINDOW, STRIDE):
            given.append(key)
    assert given == [0, 1]


def test_windows_of_a_recording_that_is_no_shard_are_scored() -> None:
    network = build("tiny", seed=1).eval()
    windows = list(np.random.default_rng(0).normal(size=(3, 19, WINDOW)).astype(np.float32))
    wanted = WindowScorer(network, torch.device("cpu"), 1)
    expected = np.concatenate([wanted.window_scores([window]) for window in windows])
    scorer = WindowScorer(network.cuda(), torch.device("cuda", 0), 4)
    found = scorer.window_scores(windows)
    # They are the caller's own: later ones are not written to them.
    for window in windows:
        scorer.window_scores([window])
    assert found.shape == (3, WINDOW)
    assert np.abs(found - expected).max() < 1e-2 * float(np.abs(expected).max())
