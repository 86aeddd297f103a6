"""Any EEG prepared as the store has it: what MNE reads, and arrays."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import mne
import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core import open_store, preprocess
from brainbrr_core.api.in_memory import montage_signal
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA, MontageName
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.chain import Chain
from tests.support.bipolar_files import CHBMIT_LABELS, bipolar_signals, electrodes, write_signals
from tests.support.signal_reference import chain, synthetic_eeg

#: What one step of the 16-bit samples is in standard deviations.
STEP = 10 / 32767


def read(path: Path, *, preload: bool = False) -> mne.io.BaseRaw:
    return mne.io.read_raw_edf(path, preload=preload, verbose="error")


def check_same(
    prepared: NDArray[np.float32], stored: NDArray[np.float32], montage: MontageName = "10-20"
) -> None:
    """The same samples; of the electrodes, a few are rounded to the next of the 16-bit steps."""
    assert prepared.dtype == np.float32
    assert prepared.shape == stored.shape
    steps = np.rint((prepared.astype(np.float64) - stored) / STEP).astype(int)
    assert np.abs(steps).max() <= 1
    assert (steps != 0).mean() <= (0.001 if montage == "10-20" else 0)


@pytest.mark.parametrize("preload", [False, True])
def test_an_edf_that_mne_reads_gives_the_samples_of_its_shard(
    master_cache: Configuration, preload: bool
) -> None:
    stored = open_store(master_cache.cache_root)
    for key in stored.keys[:3]:
        raw = read(Path(stored.recording(key).path), preload=preload)
        settings = master_cache.preprocessing
        check_same(preprocess(raw, settings=settings), stored.read(key, unit="sd"))
        microvolts = preprocess(raw, settings=settings, unit="uV")
        step_uv = STEP * np.array(stored.header(key).deviation)[:, None]
        assert (np.abs(microvolts - stored.read(key)) < 1.01 * step_uv).all()


def as_built(path: Path, settings: Preprocessing, bad: tuple[str, ...] = ()) -> NDArray[np.float32]:
    """What the build stores of an EDF, in standard deviations."""
    made = Chain(open_edf(path, bad, None, settings.montage), settings)
    blocks = np.concatenate([blocks for blocks, _ in made.quantized()])
    whole = blocks.transpose(1, 0, 2).reshape(blocks.shape[1], -1)[:, : made.samples]
    return whole.astype(np.float32) * np.float32(STEP)


def referential(path: Path, rate: float) -> Path:
    signals = electrodes(rate, 31)
    order = [*reversed(CHANNELS), "Oz"]
    return write_signals(path, {f"EEG {n.upper()}-REF": signals[n] for n in order}, rate)[0]


@pytest.mark.parametrize("rate", [200, 250, 256, 512])
@pytest.mark.parametrize("montage", ["10-20", "double-banana"])
def test_other_rates_orders_and_bad_electrodes_are_treated_as_in_the_build(
    tmp_path: Path, rate: int, montage: MontageName
) -> None:
    path = referential(tmp_path / "a.edf", rate)
    raw = read(path)
    settings = Preprocessing(montage=montage, notch_hz=50)
    check_same(preprocess(raw, settings=settings), as_built(path, settings), montage)
    raw.info["bads"] = ["EEG C3-REF", "EEG OZ-REF"]
    expected = as_built(path, settings, ("C3", "P4"))
    check_same(preprocess(raw, settings=settings, bads=["P4"]), expected, montage)
    assert not np.allclose(expected, as_built(path, settings), atol=0.1)


def test_a_bipolar_file_of_mne_gives_the_double_banana(tmp_path: Path) -> None:
    path, _ = write_signals(
        tmp_path / "a.edf", bipolar_signals(CHBMIT_LABELS, electrodes(256, 31)), 256
    )
    raw = read(path)
    # MNE numbers the labels that the file has twice.
    assert "T8-P8-1" in raw.ch_names
    prepared = preprocess(raw, montage="double-banana")
    settings = Preprocessing(montage="double-banana")
    check_same(prepared, as_built(path, settings), "double-banana")
    changed = raw.copy().load_data()
    changed._data[changed.ch_names.index("T8-P8-1"), 700] += 2e-6
    with pytest.raises(BrainbrrError, match=r"duplicate_channel: T8-P8: .* differ"):
        preprocess(changed, montage="double-banana")
    with pytest.raises(BrainbrrError, match="double-banana may read them"):
        preprocess(raw)


def test_two_channels_of_one_electrode_are_refused_as_in_the_build(tmp_path: Path) -> None:
    signals = electrodes(256, 12)
    labels = [(f"EEG {name.upper()}-REF", signals[name]) for name in (*CHANNELS, "Fp1")]
    raw = read(write_signals(tmp_path / "a.edf", labels, 256)[0])
    with pytest.raises(BrainbrrError, match="duplicate_channel: Fp1"):
        preprocess(raw)


def test_an_array_is_in_microvolts_and_gives_what_plain_scipy_gives() -> None:
    data = synthetic_eeg(256, 40)
    expected = chain(data, Fraction(256))
    order = [*range(18, -1, -1)]
    prepared = preprocess(data[order], 256, [CHANNELS[n] for n in order])
    assert prepared.shape == expected.shape
    assert np.abs(prepared - expected).max() < 2e-3
    # The z-score takes a factor out; µV do not.
    microvolts = preprocess(10 * data, 256.0, CHANNELS, unit="uV")
    mean_uv = microvolts[:, 512:].std(axis=1)
    assert np.allclose(
        preprocess(data, 256, CHANNELS, unit="uV")[:, 512:].std(axis=1) * 10, mean_uv, rtol=1e-3
    )
    integers = np.rint(100 * data).astype(np.int32)
    assert np.abs(preprocess(integers, 256, CHANNELS) - expected).max() < 5e-3
    # The caller's array is only read.
    kept = data.copy()
    preprocess(data, 256, CHANNELS)
    assert np.array_equal(data, kept)


def test_a_recording_of_mne_is_read_where_it_lies_and_stays_as_it_was(tmp_path: Path) -> None:
    path = referential(tmp_path / "a.edf", 256)
    raw = read(path)
    preprocess(raw)
    assert not raw.preload
    cut = raw.copy().crop(tmin=5.0)
    assert cut.first_samp > 0
    data = raw.get_data()[:, 5 * 256 :] * 1e6
    check_same(preprocess(cut), preprocess(data, 256, raw.ch_names))


Call = Callable[[NDArray[np.float64]], object]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: preprocess(x, channels=CHANNELS), "does not say its sampling rate"),
        (lambda x: preprocess(x, 256), "does not say its channels"),
        (lambda x: preprocess(x.T, 256, CHANNELS), r"\(3072, 19\) .*: transpose it"),
        (lambda x: preprocess(x, 256, CHANNELS[:5]), "name each row once"),
        (lambda x: preprocess(x, 256, "Fp1"), "channels as a list of names, not .* type str"),
        (lambda x: preprocess(x, 256, cast(Any, set(CHANNELS))), "names, not .* the type set"),
        (lambda x: preprocess(x, 256, cast(Any, frozenset(CHANNELS))), "the type frozenset"),
        (lambda x: preprocess(x, 256, cast(Any, 19)), "names, not .* the type int"),
        (lambda x: preprocess(x, 256, cast(Any, [*range(19)])), "channels has 0, .* no name"),
        (lambda x: preprocess(x, 256, CHANNELS, bads="Cz"), "bads as a list of names"),
        (lambda x: preprocess(x, 256, CHANNELS, bads=cast(Any, None)), "bads as a list of names"),
        (lambda x: preprocess(x, 256, CHANNELS, bads=cast(Any, [3])), "bads has 3, .* no name"),
        (lambda x: preprocess(x[0], 256, CHANNELS), r"the shape \(3072,\)"),
        (lambda x: preprocess(x + 1j, 256, CHANNELS), "complex128 is no signal"),
        (lambda x: preprocess(cast(Any, x.tolist()), 256, CHANNELS), "list is no signal"),
        (lambda x: preprocess(x, 0, CHANNELS), "a rate of 0 Hz is not possible"),
        (lambda x: preprocess(x, Fraction(0), CHANNELS), "a rate of 0 Hz is not possible"),
        (lambda x: preprocess(x, float("inf"), CHANNELS), "a rate of inf Hz is not possible"),
        (lambda x: preprocess(x, Fraction(-256), CHANNELS), "a rate of -256 Hz is not possible"),
        (lambda x: preprocess(x, float("nan"), CHANNELS), "rate is nan, which is no number"),
        (lambda x: preprocess(x, cast(Any, "256"), CHANNELS), "rate is '256', .* no number"),
        (lambda x: preprocess(x, True, CHANNELS), "rate is True, .* no number"),
        (
            lambda x: preprocess(x, 256, CHANNELS, settings=cast(Any, {})),
            "settings is a dict: give a Preprocessing",
        ),
        (lambda x: preprocess(x, 99, CHANNELS), "unsupported_rate: 99 Hz"),
        (lambda x: preprocess(x[:, :2559], 256, CHANNELS), "too_short"),
        (lambda x: preprocess(x[:, :0], 256, CHANNELS), "no_samples"),
        (lambda x: preprocess(0 * x, 256, CHANNELS), "flat_signal"),
        (lambda x: preprocess(x[:15], 256, CHANNELS[:15]), "missing_channels: .*F8, T4, T6, O2"),
        (lambda x: preprocess(x[:5], 256, CHANNELS[:5]), "few_channels: 5 of 19"),
        (lambda x: preprocess(x, 256, CHANNELS, bads=["Cz9"]), "no channel is named Cz9"),
        (
            lambda x: preprocess(
                x, 256, CHANNELS, bads=["Cz"], rules=ChannelRules(interpolate_at_most=0)
            ),
            "missing_channels: Cz",
        ),
        (
            lambda x: preprocess(x, 256, CHANNELS, montage=cast(MontageName, "10-10")),
            "the montage '10-10' is not known",
        ),
        (lambda x: preprocess(x, 256, CHANNELS, unit=cast(Any, "V")), "the unit 'V' is not known"),
        (
            lambda x: preprocess(
                x, 256, CHANNELS, unit="uV", settings=Preprocessing(zscore_minutes=1)
            ),
            "each block has its own scale",
        ),
    ],
)
def test_a_mistake_is_one_line(call: Call, message: str) -> None:
    with pytest.raises(BrainbrrError, match=message) as error:
        call(synthetic_eeg(256, 12))
    assert "\n" not in str(error.value)


def test_what_is_no_number_is_named_with_its_time() -> None:
    data = synthetic_eeg(256, 12)
    data[4, 512] = np.nan
    with pytest.raises(BrainbrrError, match="'F7' has no number at 2 s"):
        preprocess(data, 256, CHANNELS)
    # As a bad channel it is not read.
    assert np.isfinite(preprocess(data, 256, CHANNELS, bads=["F7"])).all()


def test_what_is_masked_has_no_number() -> None:
    data = synthetic_eeg(256, 12)
    masked = np.ma.masked_array(data, mask=np.zeros(data.shape, bool))
    expected = preprocess(data, 256, CHANNELS)
    assert np.array_equal(preprocess(masked, 256, CHANNELS), expected)
    masked[4, 768:1024] = np.ma.masked
    with pytest.raises(BrainbrrError, match="'F7' has no number at 3 s"):
        preprocess(masked, 256, CHANNELS)


def test_a_value_that_float32_cannot_hold_is_named_with_its_time() -> None:
    data = synthetic_eeg(256, 12)
    data[4, 640] = 1e39
    with pytest.raises(BrainbrrError, match=r"'F7' has 1e\+39 µV at 2.5 s"):
        preprocess(data, 256, CHANNELS)


def test_numbers_names_and_arrays_of_numpy_are_taken() -> None:
    data = synthetic_eeg(256, 12)
    expected = preprocess(data, 256, CHANNELS)
    for rate in (np.float32(256), np.int16(256), Fraction(256)):
        assert np.array_equal(preprocess(data, cast(float, rate), CHANNELS), expected)
    assert np.array_equal(preprocess(data, 256, cast(Any, np.array(CHANNELS))), expected)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(data)
    assert np.array_equal(preprocess(matrix, 200, CHANNELS), preprocess(data, 200, CHANNELS))
    for order in (">f8", "<f8"):
        assert np.array_equal(preprocess(data.astype(order), 256, CHANNELS), expected)


def test_only_channels_in_volts_are_taken_from_mne() -> None:
    data = synthetic_eeg(256, 12) * 1e-6
    kinds = ["misc" if name == "Cz" else "eeg" for name in CHANNELS]
    raw = mne.io.RawArray(data, mne.create_info(list(CHANNELS), 256, kinds), verbose="error")
    with pytest.raises(BrainbrrError, match=r"'Cz' is a channel of the type 'misc'"):
        preprocess(raw)
    with pytest.raises(BrainbrrError, match="leave rate and channels out"):
        preprocess(raw, 256)


@pytest.mark.parametrize("has_date", [True, False])
def test_a_recording_of_mne_with_a_gap_is_refused_as_its_file_is(has_date: bool) -> None:
    """Filters and windows would run over the jump."""
    info = mne.create_info(list(CHANNELS), 256, "eeg")
    one = mne.io.RawArray(synthetic_eeg(256, 30) * 1e-6, info, first_samp=512, verbose="error")
    if has_date:
        one.set_meas_date(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    joined = mne.concatenate_raws([one.copy(), one.copy()], verbose="error")
    with pytest.raises(BrainbrrError, match=r"shows? gaps.*1 gap, the first at 30 s.*: crop it"):
        preprocess(joined)
    with pytest.raises(BrainbrrError, match="the first at 19 s"):
        preprocess(joined.copy().crop(11))
    for part in (joined.copy().crop(0, 29.99), joined.copy().crop(30)):
        assert preprocess(part).shape[0] == 19
    skipped = one.copy().set_annotations(mne.Annotations([5.0], [2.0], ["BAD_ACQ_SKIP"]))
    with pytest.raises(BrainbrrError, match=r"1 gap, the first at [57] s"):
        preprocess(skipped)


def test_what_is_odd_about_a_signal_is_a_finding() -> None:
    data = synthetic_eeg(200, 12)
    data[0] = 3.0
    labels = [f"{name}-{'A1' if n < 8 else 'A2'}" for n, name in enumerate(CHANNELS)]
    source = montage_signal(data, 200, labels, bads=["Cz"])
    assert [str(finding) for finding in source.findings] == [
        "the array: bad_channel (Cz)",
        "the array: mixed_references (A2 for 10, A1 for 8)",
        "the array: low_rate (content ends at 100 Hz)",
        "the array: interpolated_channel (Cz)",
        "the array: flat_channel (Fp1)",
    ]


def test_preprocessing_an_array_loads_neither_torch_nor_mne_nor_dagster() -> None:
    script = (
        "import sys, numpy, brainbrr_core\n"
        "from brainbrr_core.constants import CHANNELS\n"
        "noise = numpy.random.default_rng(0).normal(size=(19, 3000))\n"
        "assert brainbrr_core.preprocess(noise, 256, CHANNELS).shape == (19, 3000)\n"
        "heavy = ('torch', 'mne', 'dagster')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_both_montages_have_their_channels_in_order() -> None:
    data = dict(zip(CHANNELS, synthetic_eeg(256, 20), strict=True))
    old = {"T7": "T3", "P7": "T5", "T8": "T4", "P8": "T6"}
    prepared = preprocess(np.array([*data.values()]), 256, CHANNELS, montage="double-banana")
    for row, name in zip(prepared, DOUBLE_BANANA, strict=True):
        first, second = (old.get(part, part) for part in name.split("-"))
        expected = chain((data[first] - data[second])[None], Fraction(256))
        assert np.abs(row - expected[0]).max() < 2e-3
