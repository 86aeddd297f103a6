"""Every processor stores the same bytes: no sum is left to a library that orders it as it likes."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
from blake3 import blake3
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.filters import sections
from brainbrr_core.signal.moments import add_moments
from brainbrr_core.signal.product_width import COLUMNS
from brainbrr_core.signal.products import banded_products, solve, weighted_sums
from brainbrr_core.signal.quantization import to_microvolts
from brainbrr_core.signal.recurrence import filter_in_place
from brainbrr_core.signal.resampling import BlockResampler, design

#: Prints a digest of what is stored of recordings made of whole numbers, with what they are
#: z-scored by. 1999/10 Hz needs a last matrix with fewer columns; two electrodes are interpolated.
STORED = """
from fractions import Fraction
import numpy as np
from blake3 import blake3
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import Chain

class Source:
    def __init__(self, rate, missing):
        self.rate, self.missing, self.samples = rate, missing, int(70 * rate)
        steps = np.random.default_rng(3).integers(-9, 10, (19 - len(missing), self.samples))
        self.data = steps.cumsum(axis=1) % 4001
    def read(self, start, stop):
        return (self.data[:, start:stop] - self.data[:, :1]).astype(np.float32) * np.float32(0.1)

digest = blake3()
for rate, missing in [
    (Fraction(250), ()), (Fraction(256), ("Cz",)), (Fraction(400), ()), (Fraction(512), ()),
    (Fraction(1000), ()), (Fraction(1999, 10), ("Fz", "Pz")), (Fraction(300), ("Fz", "Cz", "Pz")),
]:
    for scale in ("recording_sd", "robust"):
        chain = Chain(Source(rate, missing), Preprocessing(scale=scale))
        digest.update(chain.statistics.mean.tobytes() + chain.statistics.deviation.tobytes())
        for blocks, _ in chain.quantized():
            digest.update(blocks.tobytes())
print(digest.hexdigest())
"""


def stored(**environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", STORED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return result.stdout.strip()


def test_the_kernels_of_openblas_change_no_byte() -> None:
    made = {core: stored(OPENBLAS_CORETYPE=core) for core in ("Haswell", "Zen", "SkylakeX")}
    assert set(made.values()) == {DIGEST}, made


def test_what_numpy_finds_in_a_processor_changes_no_byte() -> None:
    old = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512_SKX"
    assert stored(NPY_DISABLE_CPU_FEATURES=old) == DIGEST


@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="these are processors of x86-64")
@pytest.mark.parametrize("processor", ["haswell", "znver2", "skylake-avx512"])
def test_the_width_of_vectors_changes_no_byte(
    processor: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("compiled")
    assert stored(NUMBA_CPU_NAME=processor, NUMBA_CACHE_DIR=str(folder)) == DIGEST


#: What every processor prints. Whoever changes it makes every store in the world stale: a person
#: bumps the algorithm version.
DIGEST = "5281a67a9f7a7f796bd093f712e0f36aabc51a6402d16546463adf65b70b8c56"


class WholeNumbers:
    """A recording of whole numbers, which no processor rounds."""

    def __init__(self, rate: int, samples: int) -> None:
        self.rate, self.samples, self.missing = Fraction(rate), samples, ("Cz",)
        steps = np.random.default_rng(rate).integers(-9, 10, (18, samples))
        self.data = steps.cumsum(axis=1) % 4001

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return (self.data[:, start:stop] - self.data[:, :1]).astype(np.float32) * np.float32(0.1)


@pytest.mark.parametrize(
    ("rate", "digest"),
    [
        (200, "9970513a0811da6462a0eeea62608904"),
        (250, "e694d16cb6fa6fcbe285f9958dba7373"),
        (256, "334db30cdadb38bd075804b7641c5696"),
        (400, "480d68bccf6422538075a9a8deca34e2"),
        (500, "ecc3ef8c71e7ce272e48de1da9b42932"),
        (512, "3522594948385c48d086122e30d0e43c"),
        (1000, "6fb7ec9e2381b4c4dccb86ed21d3c95a"),
    ],
)
def test_recordings_of_any_length_are_stored_as_ever(rate: int, digest: str) -> None:
    """The digests are those of the first release of version 2 of the signal chain."""
    made = blake3()
    for samples in (10 * rate, 10 * rate + 1, 61 * rate + 7, 127 * rate + rate // 3):
        chain = Chain(WholeNumbers(rate, samples), Preprocessing())
        made.update(chain.statistics.mean.tobytes() + chain.statistics.deviation.tobytes())
        for blocks, clipped in chain.quantized():
            made.update(blocks.tobytes() + clipped.tobytes())
    assert made.hexdigest()[:32] == digest


def test_an_output_of_the_filters_is_computed_step_by_step() -> None:
    """Each operation is rounded to float64; more channels than are filtered side by side."""
    sos = sections(Preprocessing())
    samples = np.random.default_rng(6).standard_normal((23, 523)).astype(np.float32)
    state = np.random.default_rng(7).standard_normal((len(sos), 23, 2))
    expected, kept = samples.astype(np.float64), state.copy()
    for section, (b0, b1, b2, _, a1, a2) in enumerate(sos):
        one, two = kept[section].T
        for t in range(expected.shape[1]):
            x = expected[:, t].copy()
            y = b0 * x + one
            one, two = b1 * x - a1 * y + two, b2 * x - a2 * y
            expected[:, t] = y
        kept[section] = np.stack([one, two], axis=1)
    filter_in_place(samples, sos, state)
    assert np.array_equal(samples, expected.astype(np.float32))
    assert np.array_equal(state, kept)


@pytest.mark.parametrize("count", [0, 5, 16, 333])
def test_moments_are_sums_of_every_16th_sample(count: int) -> None:
    samples = np.random.default_rng(8).standard_normal((3, count)).astype(np.float32)
    sums = np.ones((3, 2))
    add_moments(samples, sums)
    for channel, row in enumerate(samples.astype(np.float64)):
        for column, values in enumerate((row, row * row)):
            partial = [0.0] * 16
            for t, value in enumerate(values):
                partial[t % 16 if t < count // 16 * 16 else 0] += float(value)
            # One after the other: Python's own sum rounds only once from version 3.12 on.
            assert sums[channel, column] == 1.0 + reduce(add, partial)


def test_samples_of_data_records_become_microvolts() -> None:
    records = np.random.default_rng(9).integers(-(2**15), 2**15, (4, 30)).astype(np.int16)
    offsets, zeros = np.array([20, 0]), np.array([-32768, 32767], np.float32)
    gains = np.array([0.1, -3.0], np.float32)
    out = np.empty((2, 33), np.float32)
    to_microvolts(records, offsets, 10, 3, zeros, gains, out)
    for row, offset, zero, gain in zip(out, offsets, zeros, gains, strict=True):
        digital = records[:, offset : offset + 10].reshape(-1)[3:36].astype(np.float32)
        assert np.array_equal(row, (digital - zero) * gain)


def test_products_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((3, 400)).astype(np.float32)
    matrix = rng.standard_normal((50, COLUMNS)).astype(np.float32)
    for width in (COLUMNS, 5):
        out = np.full((3, 7, 20), np.nan, np.float32)
        banded_products(signal, 4, 33, matrix, width, out, 2)
        for channel in range(3):
            for period in range(7):
                start = 4 + 33 * period
                inputs = signal[channel, start : start + 50].astype(float)
                expected = inputs @ matrix[:, :width].astype(float)
                assert out[channel, period, 2 : 2 + width] == pytest.approx(expected, abs=1e-4)
        # Nothing is written beside them.
        assert np.isnan(out[:, :, :2]).all() and np.isnan(out[:, :, 2 + width :]).all()


def test_an_output_is_the_sum_from_its_first_input_to_its_last() -> None:
    """In float32, each product added without being rounded first."""
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((1, 64)).astype(np.float32)
    matrix = rng.standard_normal((64, COLUMNS)).astype(np.float32)
    out = np.empty((1, 1, COLUMNS), np.float32)
    banded_products(signal, 0, 1, matrix, COLUMNS, out, 0)
    for column in range(COLUMNS):
        total = np.float32(0.0)
        for x, weight in zip(signal[0], matrix[:, column], strict=True):
            # Exact in rational numbers, rounded once.
            exact = Fraction(float(x)) * Fraction(float(weight)) + Fraction(float(total))
            total = rounded(exact)
        assert out[0, 0, column] == total


def rounded(exact: Fraction) -> np.float32:
    """The float32 nearest to a rational number: the better of the two around it."""
    near = np.float32(float(exact))
    others = (np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf)))
    return min(others, key=lambda value: abs(Fraction(float(value)) - exact))


def test_weighted_sums_are_those_of_numpy() -> None:
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((3, 16))
    signal = rng.standard_normal((16, 1200)).astype(np.float32)
    out = np.empty((3, 1200), np.float32)
    weighted_sums(weights, signal, out)
    assert np.abs(out - weights @ signal).max() < 1e-5


def test_a_system_is_solved_as_numpy_solves_it() -> None:
    rng = np.random.default_rng(5)
    system, right = rng.standard_normal((20, 20)), rng.standard_normal((20, 3))
    # Without pivots it would be divided by zero.
    system[0, 0] = 0.0
    assert solve(system, right) == pytest.approx(np.linalg.solve(system, right), abs=1e-9)


@pytest.mark.parametrize("rate", [200, 250, 300, 512, 1000])
def test_an_output_does_not_depend_on_what_is_made_with_it(rate: int) -> None:
    blocks = BlockResampler(design(Fraction(rate)))
    start, stop = blocks.input_range(0, 6 * blocks.period)
    signal = np.random.default_rng(4).standard_normal((19, stop - start)).astype(np.float32)
    together = blocks.apply(signal, 6 * blocks.period)
    first, last = blocks.input_range(0, 5)
    alone = blocks.apply(signal[7:8, : last - first].copy(), 5)
    assert np.array_equal(alone, together[7:8, :5])
