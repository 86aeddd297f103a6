"""The physical units of an EDF, also those that are misspelled or missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.corpus.recording import SIGNAL_FINDINGS
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import EdfRecording, open_edf
from tests.support.edf_files import patch_signal, write_edf


def with_unit(
    path: Path, unit: bytes, low: bytes = b"-200", high: bytes = b"200", channels: int = 19
) -> EdfRecording:
    """A recording whose first ``channels`` signals have this unit and range."""
    write_edf(path)
    for index in range(channels):
        patch_signal(path, 96, 8, index, unit)
        patch_signal(path, 104, 8, index, low)
        patch_signal(path, 112, 8, index, high)
    return open_edf(path)


@pytest.mark.parametrize("unit", [b"uV", b"UV", b"\xb5V", b"mV", b"V", b"nV"])
def test_a_unit_that_is_written_as_it_should_be_is_no_finding(tmp_path: Path, unit: bytes) -> None:
    expected = open_edf(write_edf(tmp_path / "b.edf")).read(0, 3000)
    got = with_unit(tmp_path / "a.edf", unit)
    factor = {b"mV": 1e3, b"V": 1e6, b"nV": 1e-3}.get(unit, 1.0)
    assert got.read(0, 3000) == pytest.approx(expected * factor, rel=1e-6)
    assert got.findings == ()


ODD = {
    b"\xc2\xb5V": r"'\xc2\xb5V'",
    b"\xce\xbcV": r"'\xce\xbcV'",
    b"\xe6V": r"'\xe6V'",
    b"microV": "'microV'",
    b"uVolt": "'uVolt'",
    b"mcV": "'mcV'",
}


@pytest.mark.parametrize("unit", ODD)
def test_microvolts_in_other_words_are_read_and_named(tmp_path: Path, unit: bytes) -> None:
    expected = open_edf(write_edf(tmp_path / "b.edf")).read(0, 3000)
    got = with_unit(tmp_path / "a.edf", unit)
    assert np.array_equal(got.read(0, 3000), expected)
    [finding] = got.findings
    assert finding.code == "odd_unit" and finding.code in SIGNAL_FINDINGS
    assert finding.detail == f"{ODD[unit]} on 19 channels"


@pytest.mark.parametrize("unit", [b"", b".V", b"?V"])
def test_a_lost_unit_is_microvolts_where_the_range_is_that_of_an_eeg(
    tmp_path: Path, unit: bytes
) -> None:
    got = with_unit(tmp_path / "a.edf", unit, b"-3276.8", b"3276.7", channels=2)
    assert [finding.code for finding in got.findings] == ["lost_unit"]
    assert got.findings[0].detail == f"{unit.decode()!r} on 2 channels"
    signal = got.read(0, 3000)
    # The other channels have a range of ±200 µV.
    assert signal[0].std() == pytest.approx(20 * 3276.75 / 200, rel=0.1)
    assert signal[5].std() == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high"), [(b"-3.2768", b"3.2767"), (b"-187500", b"187500"), (b"-0.0032", b"0.0032")]
)
@pytest.mark.parametrize("unit", [b"", b".V"])
def test_a_lost_unit_is_not_guessed_at_elsewhere(
    tmp_path: Path, unit: bytes, low: bytes, high: bytes
) -> None:
    with pytest.raises(UnusableEdf) as caught:
        with_unit(tmp_path / "a.edf", unit, low, high)
    assert caught.value.reason == "unknown_unit"
    assert f"{unit.decode()!r} from {float(low):g} to {float(high):g}" in caught.value.detail


def test_the_unit_that_excludes_a_recording_is_named_printably(tmp_path: Path) -> None:
    with pytest.raises(UnusableEdf) as caught:
        with_unit(tmp_path / "a.edf", b"\x1b[2J\xff", channels=1)
    assert caught.value.reason == "unknown_unit"
    assert caught.value.detail == r"EEG FP1-REF: '\x1b[2J\xff'"
    assert caught.value.detail.isprintable()
