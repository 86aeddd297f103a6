"""Derivations of the double banana: what they are, and their error against plain float64."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.version import chain_parameters, montage_of, preprocessing_version
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.derivation import derivation_rules, electrodes_of, match_derivations
from brainbrr_core.signal.interpolation import interpolation_weights
from brainbrr_core.signal.montage import derivation_of
from brainbrr_core.signal.quantization import SCALE
from tests.support.bipolar_files import ELECTRODES_OF, write_signals
from tests.support.signal_reference import chain, synthetic_eeg

BANANA = Preprocessing(montage="double-banana")
#: The name of the default version, as releases before this montage had it.
DEFAULT_VERSION = "v2_256hz_10-20_89f91765f0ac"


def stored(path: Path, settings: Preprocessing = BANANA) -> NDArray[np.float64]:
    """What a reader of the store gets, in standard deviations, without the padding."""
    made = Chain(open_edf(path, montage=settings.montage), settings)
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    return blocks.swapaxes(0, 1).reshape(blocks.shape[1], -1)[:, : made.samples] * SCALE


def derived(data: NDArray[np.float64], names: tuple[str, ...] = CHANNELS) -> NDArray[np.float64]:
    """The 18 differences, computed here by name."""
    row = dict(zip(names, data, strict=True))
    return np.array([row[first] - row[second] for first, second in ELECTRODES_OF.values()])


def test_the_montage_has_the_eighteen_derivations_in_order() -> None:
    listed = (
        "Fp1-F7 F7-T7 T7-P7 P7-O1 Fp1-F3 F3-C3 C3-P3 P3-O1 Fz-Cz Cz-Pz "
        "Fp2-F4 F4-C4 C4-P4 P4-O2 Fp2-F8 F8-T8 T8-P8 P8-O2"
    )
    assert tuple(listed.split()) == DOUBLE_BANANA == BANANA.channels
    assert Preprocessing().channels == CHANNELS


def test_the_version_names_the_montage_and_the_default_one_is_that_of_before() -> None:
    assert preprocessing_version(Preprocessing()) == DEFAULT_VERSION
    name = preprocessing_version(BANANA)
    assert name.startswith("v2_256hz_double-banana_")
    assert montage_of(name) == "double-banana"
    assert montage_of(DEFAULT_VERSION) == "10-20"
    for odd in ("v2_256hz_laplacian_0123456789ab", "v2"):
        with pytest.raises(BrainbrrError, match="of no montage of this program"):
            montage_of(odd)


def test_the_rules_of_derivations_shape_their_version_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [chain_parameters(settings) for settings in (Preprocessing(), BANANA)]
    monkeypatch.setattr(
        "brainbrr_core.cache.version.derivation_rules", lambda: derivation_rules() | {"more": 1}
    )
    after = [chain_parameters(settings) for settings in (Preprocessing(), BANANA)]
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize("rate", [250, 256, 400, 512])
def test_derivations_of_a_referential_file_equal_plain_float64(tmp_path: Path, rate: int) -> None:
    # A drift of 2 mV that all electrodes share, and two electrodes that nearly agree.
    data = synthetic_eeg(rate, 61)
    data += 2000 * np.sin(np.arange(data.shape[1]) / rate / 7)
    data[CHANNELS.index("F7")] = data[0] + 1.5 * (data[4] - data[4].mean()) / data[4].std()
    path, written = write_signals(tmp_path / "a.edf", dict(zip(CHANNELS, data, strict=True)), rate)
    expected = chain(derived(np.array([*written.values()])), Fraction(rate))
    error = np.abs(stored(path) - expected)
    assert error.shape == (18, int(written["Fp1"].size * 256 / rate))
    assert error.max() < 0.001


def test_gains_of_electrodes_may_differ(tmp_path: Path) -> None:
    data = dict(zip(CHANNELS, synthetic_eeg(256, 30), strict=True))
    ranges = {"Fp1": (-3276.8, 3276.7), "F7": (-20000.0, 20000.0), "C3": (5000.0, -5000.0)}
    path, written = write_signals(tmp_path / "a.edf", data, 256, ranges=ranges)
    expected = chain(derived(np.array([*written.values()])), Fraction(256))
    assert np.abs(stored(path) - expected).max() < 0.001


def test_interpolated_electrodes_feed_derivations(tmp_path: Path) -> None:
    data = dict(zip(CHANNELS, synthetic_eeg(256, 40), strict=True))
    missing = ("Fz", "Cz", "P3")
    present = {name: row for name, row in data.items() if name not in missing}
    path, written = write_signals(tmp_path / "a.edf", present, 256)
    source = open_edf(path, montage="double-banana")
    assert source.interpolated == ("P3", "Fz", "Cz")
    assert source.missing == ()
    weights = interpolation_weights(("P3", "Fz", "Cz"))
    rows = dict(written)
    made = weights @ np.array([*written.values()])
    rows.update(zip(("P3", "Fz", "Cz"), made, strict=True))
    whole = np.array([rows[name] for name in CHANNELS])
    expected = chain(derived(whole), Fraction(256))
    assert np.abs(stored(path) - expected).max() < 0.001


def test_labels_of_derivations() -> None:
    assert derivation_of("FP1-F7") == ("Fp1", "F7")
    assert derivation_of("EEG T7-P7") == derivation_of("t3-t5") == ("T3", "T5")
    assert derivation_of("T8-P8-0") == derivation_of("T8-P8-1") == ("T4", "T6")
    assert derivation_of("P7-T7") == ("T5", "T3")
    for other in (".", "-", "--0", "--1", "T7-FT9", "FP1-REF", "C3-CS2", "ECG", "F7-F7", "Fp1", ""):
        assert derivation_of(other) is None


@pytest.mark.parametrize("name", ["Fp1", "Fp1-Fp1-F7", "Fp1-A1", "ECG", ""])
def test_what_is_no_derivation_has_no_electrodes(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is not a derivation between two of the 19"):
        electrodes_of(name)
    assert [electrodes_of(name) for name in DOUBLE_BANANA] == list(ELECTRODES_OF.values())


def test_labels_of_a_bipolar_file_are_matched() -> None:
    labels = [name.upper() for name in DOUBLE_BANANA]
    labels[2] = "P7-T7"
    match = match_derivations([*labels, ".", "--0", "T8-P8-1", "ECG"])
    assert list(match.signals) == list(DOUBLE_BANANA)
    assert match.signals["T7-P7"] == (2, "P7-T7", -1.0)
    assert match.signals["Fp1-F7"] == (0, "FP1-F7", 1.0)
    assert match.doubled == {"T8-P8": (20,)}
    assert (match.missing, match.bad, match.unmatched) == ((), (), ())


def test_the_direction_of_the_montage_wins_over_the_other() -> None:
    match = match_derivations(["P7-T7", "T7-P7", "T3-T5"])
    assert match.signals == {"T7-P7": (1, "T7-P7", 1.0)}
    assert match.doubled == {"T7-P7": (2,)}


def test_what_is_marked_bad_is_not_used() -> None:
    labels = ["T8-P8-0", "T8-P8-1", "T7-P7", "P7-T7", "ECG"]
    one = match_derivations(labels, ["T8-P8-0", "T7-P7", "ECG", "F9-F10"])
    assert one.signals == {"T7-P7": (3, "P7-T7", -1.0), "T8-P8": (1, "T8-P8-1", 1.0)}
    assert one.doubled == {}
    assert one.bad == ("T8-P8-0", "T7-P7")
    assert one.unmatched == ("F9-F10",)
    # Without a number it means both.
    assert "T8-P8" in match_derivations(labels, ["T8-P8"]).missing
