"""EDFs as they really are: each oddity has a documented outcome, none is silently accepted."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest
from edf_files import cut, patch, patch_signal, write_edf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainbrr_core.corpus.edf import open_edf, recording_start
from brainbrr_core.corpus.edf_header import UnusableEdf
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.signal.montage import CHANNELS, electrode_of, match_channels


def test_signal_is_read_in_microvolts_in_the_order_of_the_montage(tmp_path: Path) -> None:
    shuffled = [f"EEG {name.upper()}-LE" for name in reversed(CHANNELS)]
    path = write_edf(tmp_path / "a.edf", labels=["EEG EKG1-REF", *shuffled], seconds=11)
    recording = open_edf(path)
    assert (recording.rate, recording.samples) == (Fraction(256), 11 * 256)
    got = recording.read(100, 900)
    edf = edfio.read_edf(path)
    for row, name in zip(got, CHANNELS, strict=True):
        data = edf.get_signal(f"EEG {name.upper()}-LE").data
        assert np.allclose(row, data[100:900] - data[0], atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1e3), ("V", 1e6), ("uV", 1.0)])
def test_units_are_scaled(tmp_path: Path, unit: str, factor: float) -> None:
    path = write_edf(tmp_path / "a.edf", unit=unit, scale=1 / factor)
    assert open_edf(path).read(0, 2560).std(axis=1).mean() == pytest.approx(20, rel=0.05)


def set_records(path: Path, text: bytes) -> None:
    patch(path, 236, text, 8)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty file": (lambda p: p.write_bytes(b""), "unreadable"),
    "text file": (lambda p: p.write_text("not an EDF" * 100), "unreadable"),
    "BDF": (lambda p: patch(p, 0, b"\xffBIOSEMI", 8), "bdf_file"),
    "header only": (lambda p: cut(p, lambda _: 256 * 20), "no_samples"),
    "header cut short": (lambda p: cut(p, lambda _: 256 * 19), "unreadable"),
    "negative samples": (lambda p: patch_signal(p, 216, 8, 3, b"-256"), "unreadable"),
    "truncated": (lambda p: cut(p, lambda size: size * 2 // 3), "truncated_file"),
    "promises too much": (lambda p: set_records(p, b"500"), "truncated_file"),
    "signals not a number": (lambda p: patch(p, 252, b"many", 4), "unreadable"),
    "physical range empty": (lambda p: patch_signal(p, 112, 8, 3, b"-200"), "no_calibration"),
    "unknown unit": (lambda p: patch_signal(p, 96, 8, 3, b"mmHg"), "unknown_unit"),
    "same label twice": (lambda p: patch_signal(p, 0, 16, 3, b"EEG FP1-REF"), "duplicate_channel"),
    "no T3": (
        lambda p: patch_signal(p, 0, 16, CHANNELS.index("T3"), b"EEG X1-REF"),
        "missing_channels",
    ),
    "record of no length": (lambda p: patch(p, 244, b"0", 8), "no_samples"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_their_reason(tmp_path: Path, name: str) -> None:
    damage, reason = BROKEN[name]
    path = write_edf(tmp_path / "a.edf")
    damage(path)
    with pytest.raises(UnusableEdf) as error:
        open_edf(path)
    assert error.value.reason == reason
    assert reason in SIGNAL_REASONS


def test_short_uneven_and_bipolar_recordings_are_refused(tmp_path: Path) -> None:
    cases = {
        "too_short": write_edf(tmp_path / "short.edf", seconds=9),
        "uneven_rates": write_edf(tmp_path / "uneven.edf", rates={"EEG F3-REF": 128}),
        "bipolar_montage": write_edf(
            tmp_path / "bipolar.edf", labels=["FP1-F7", "F7-T7", "T7-P7", "P7-O1"]
        ),
        "missing_channels": write_edf(tmp_path / "few.edf", labels=["EEG FP1-REF", "EEG O2-REF"]),
    }
    for reason, path in cases.items():
        with pytest.raises(UnusableEdf) as error:
            open_edf(path)
        assert error.value.reason == reason


def test_odd_but_usable_files_are_accepted_with_a_finding(tmp_path: Path) -> None:
    unknown = write_edf(tmp_path / "unknown.edf")
    set_records(unknown, b"-1")
    extra = write_edf(tmp_path / "extra.edf")
    set_records(extra, b"11")
    ragged = write_edf(tmp_path / "ragged.edf")
    ragged.write_bytes(ragged.read_bytes() + b"\0" * 100)
    slow = write_edf(tmp_path / "slow.edf", rate=200)
    found = {path.stem: open_edf(path) for path in (unknown, extra, ragged, slow)}
    codes = {name: [f.code for f in recording.findings] for name, recording in found.items()}
    assert codes == {
        "unknown": ["record_count_unknown"],
        "extra": ["extra_records"],
        "ragged": ["partial_last_record"],
        "slow": ["low_rate"],
    }
    assert found["extra"].samples == 11 * 256


def test_the_colon_date_of_the_corpus_is_no_obstacle(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf")
    patch(path, 168, b"01:01:85", 8)
    assert open_edf(path).samples == 12 * 256
    patch(path, 168, b"99.99.99", 8)
    assert recording_start(path) is None


def test_missing_midline_is_to_be_interpolated(tmp_path: Path) -> None:
    labels = [f"EEG {n.upper()}-REF" for n in CHANNELS if n not in ("Fz", "Pz")]
    recording = open_edf(write_edf(tmp_path / "a.edf", labels=labels))
    assert recording.missing == ("Fz", "Pz")
    assert recording.read(0, 10).shape == (17, 10)
    assert sum(f.code == "interpolated_channel" for f in recording.findings) == 2


def test_labels_are_matched_as_the_field_writes_them() -> None:
    for label in (
        "EEG FP1-REF",
        "EEG FP1-LE",
        "EEG Fp1-Ref",
        "FP1",
        "Fp1",
        "Fp1-Avg",
        "EEG FP1-AR",
    ):
        assert electrode_of(label) == "Fp1"
    assert [electrode_of(x) for x in ("EEG T7-REF", "P8", "T3")] == ["T3", "T6", "T3"]
    for label in ("FP1-F7", "EEG EKG1-REF", "POL E", "", "EEG", "IBI", "EEG A1-REF"):
        assert electrode_of(label) is None
    assert match_channels(["FP1", "Fz"], bad=["FZ"]).missing[:2] == ("F3", "C3")
    assert "Fz" in match_channels(["FP1", "Fz"], bad=["FZ"]).missing


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, 256 * 20 - 1), st.binary(min_size=1, max_size=12))),
    st.integers(0, 60_000),
)
def test_a_damaged_header_never_does_worse_than_be_refused(
    tmp_path: Path, edits: list[tuple[int, bytes]], size: int
) -> None:
    original = tmp_path / "good.edf"
    if not original.is_file():
        write_edf(original)
    content = bytearray(original.read_bytes())
    for place, junk in edits:
        content[place : place + len(junk)] = junk
    path = tmp_path / "fuzzed.edf"
    path.write_bytes(bytes(content[: size * 3]))
    try:
        recording = open_edf(path)
    except UnusableEdf as error:
        assert error.reason in SIGNAL_REASONS
    else:
        assert np.isfinite(recording.read(0, 256)).all()
