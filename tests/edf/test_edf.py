"""Irregular EDFs: each irregularity has a documented outcome, none is silently accepted."""

from __future__ import annotations

import datetime
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS, SIGNAL_REASONS
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf, recording_start
from brainbrr_core.signal.montage import electrode_of, match_channels
from tests.support.edf_files import cut, patch, patch_signal, restamp, write_edf
from tests.support.examples import examples


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


def unlabel(path: Path, *electrodes: str) -> None:
    for number, name in enumerate(electrodes):
        patch_signal(path, 0, 16, CHANNELS.index(name), b"EEG X%d-REF" % number)


def reverse_digital(path: Path) -> None:
    patch_signal(path, 120, 8, 3, b"2000")
    patch_signal(path, 128, 8, 3, b"-2000")


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
    "no T3 and no F7": (lambda p: unlabel(p, "T3", "F7"), "missing_channels"),
    "a signal without samples": (lambda p: patch_signal(p, 216, 8, 3, b"0"), "uneven_rates"),
    "records that never end": (lambda p: patch(p, 244, b"1e999999", 8), "unreadable"),
    "a record of gigabytes": (lambda p: patch_signal(p, 216, 8, 3, b"99999999"), "unreadable"),
    "a negative record count": (lambda p: set_records(p, b"-7"), "unreadable"),
    "last record cut short": (lambda p: cut(p, lambda size: size - 100), "truncated_file"),
    "digital range empty": (lambda p: patch_signal(p, 120, 8, 3, b"32767"), "no_calibration"),
    "digital range reversed": (reverse_digital, "no_calibration"),
    "physical range not a number": (lambda p: patch_signal(p, 104, 8, 3, b"nan"), "no_calibration"),
    "physical range infinite": (lambda p: patch_signal(p, 104, 8, 3, b"1e999"), "no_calibration"),
    "physical range no figure": (lambda p: patch_signal(p, 104, 8, 3, b"low"), "unreadable"),
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
        "missing_channels": write_edf(
            tmp_path / "ten.edf", labels=[f"EEG {name.upper()}-REF" for name in CHANNELS[:10]]
        ),
        # Behind the ear and across the head, as in SeizeIT2.
        "few_channels": write_edf(tmp_path / "few.edf", labels=["BTEleft SD", "CROSStop SD"]),
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


@pytest.mark.parametrize(("rate", "expected"), [(239, ["low_rate"]), (240, []), (241, [])])
def test_a_rate_has_a_finding_only_below_240_hz(
    tmp_path: Path, rate: float, expected: list[str]
) -> None:
    path = write_edf(tmp_path / "a.edf", rate=rate)
    assert [finding.code for finding in open_edf(path).findings] == expected


def test_a_date_with_colons_is_accepted(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf")
    patch(path, 168, b"01:01:85", 8)
    assert open_edf(path).samples == 12 * 256
    assert [f.code for f in open_edf(path).findings] == ["colon_date"]
    assert recording_start(path) == datetime.datetime(1985, 1, 1)
    patch(path, 168, b"31.12.84", 8)
    patch(path, 176, b"23.59.58", 8)
    assert recording_start(path) == datetime.datetime(2084, 12, 31, 23, 59, 58)
    assert not open_edf(path).findings
    for impossible in (b"99.99.99", b"30.02.10", b"", b"1 Jan 10"):
        patch(path, 168, impossible, 8)
        assert recording_start(path) is None
        assert [f.code for f in open_edf(path).findings] == ["impossible_date"]


SECONDS = [f"+{second}" for second in range(12)]


@pytest.mark.parametrize(
    ("kind", "onsets", "detail"),
    [
        (b"EDF+D", [*SECONDS[:5], *(f"+{n + 30}" for n in range(5, 12))], "1 gaps of 30 s in all"),
        (b"EDF+D", [*SECONDS[:5], "+4.5", *SECONDS[6:]], "2 gaps of 1 s in all"),
        (b"EDF+D", ["+0", "", *SECONDS[2:]], "1 data records have no time stamp"),
        # A file that claims to be without gaps, but has one.
        (b"EDF+C", [*SECONDS[:11], "+600"], "1 gaps of 589 s in all, the first at 11 s"),
    ],
)
def test_gaps_anywhere_are_refused(
    tmp_path: Path, kind: bytes, onsets: list[str], detail: str
) -> None:
    path = write_edf(tmp_path / "a.edf", stamped=True)
    restamp(path, kind, onsets)
    with pytest.raises(UnusableEdf, match="discontinuous") as error:
        open_edf(path)
    assert detail in error.value.detail
    assert error.value.facts.discontinuous
    assert error.value.facts.samples == 12 * 256


def test_a_discontinuous_file_without_gaps_is_read_as_any_other(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", stamped=True)
    expected = open_edf(path).read(0, 3000)
    # A file may start within a second, and its stamps may be rounded.
    restamp(path, b"EDF+D", [f"+{second}.2501" for second in range(12)])
    recording = open_edf(path)
    assert (recording.samples, recording.findings) == (12 * 256, ())
    assert np.array_equal(recording.read(0, 3000), expected)
    restamp(path, b"EDF+C", [""] * 12)
    assert [f.code for f in open_edf(path).findings] == ["no_time_stamps"]
    plain = write_edf(tmp_path / "b.edf")
    patch(plain, 192, b"EDF+D", 5)
    with pytest.raises(UnusableEdf, match="no time stamps"):
        open_edf(plain)


def test_a_file_with_only_annotations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    edfio.Edf([], annotations=[edfio.EdfAnnotation(3, 2, "seizure")]).write(path)
    with pytest.raises(UnusableEdf) as error:
        open_edf(path)
    assert error.value.reason == "annotations_only"
    assert error.value.reason in SIGNAL_REASONS


def flatten(path: Path, channels: list[int], records: slice = slice(None)) -> None:
    """Make some of the 19 channels constant in these records."""
    header = 256 * 20
    content = path.read_bytes()
    data = np.frombuffer(content[header:], "<i2").reshape(-1, 19, 256).copy()
    data[records, channels] = 77
    path.write_bytes(content[:header] + data.tobytes())


def test_a_flat_channel_is_named_and_a_flat_recording_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=200)
    flatten(path, [3, 11])
    # Nearly flat is not flat: this one varies only in records that are not sampled.
    flatten(path, [5], slice(0, 40))
    flatten(path, [5], slice(41, None))
    recording = open_edf(path)
    assert [f.detail for f in recording.findings if f.code == "flat_channel"] == ["P3", "Fp2"]
    assert not recording.read(0, 1000)[3].any()
    flatten(path, list(range(19)))
    with pytest.raises(UnusableEdf, match="flat_signal"):
        open_edf(path)


def test_a_reversed_physical_range_is_a_reversed_polarity(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf")
    expected = open_edf(path).read(0, 1000)[3]
    patch_signal(path, 104, 8, 3, b"200")
    patch_signal(path, 112, 8, 3, b"-200")
    recording = open_edf(path)
    assert [(f.code, f.detail) for f in recording.findings] == [("inverted_channel", "P3")]
    assert np.allclose(recording.read(0, 1000)[3], -expected, atol=1e-4)


def test_missing_midline_is_to_be_interpolated(tmp_path: Path) -> None:
    labels = [f"EEG {n.upper()}-REF" for n in CHANNELS if n not in ("Fz", "Pz")]
    recording = open_edf(write_edf(tmp_path / "a.edf", labels=labels))
    assert recording.missing == ("Fz", "Pz")
    assert recording.read(0, 10).shape == (17, 10)
    assert sum(f.code == "interpolated_channel" for f in recording.findings) == 2


def test_labels_are_matched_in_the_usual_spellings() -> None:
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


HEADER = 256 * 21
#: Places of the fields that decide about memory and time, and their widths.
FIELDS = [
    (168, 8),
    (184, 8),
    (192, 5),
    (236, 8),
    (244, 8),
    (252, 4),
    *((256 + 20 * 216 + 8 * n, 8) for n in (0, 3, 18, 19)),
    *((256 + 20 * column, 8) for column in (96, 104, 112, 120, 128)),
]
figures = st.one_of(
    st.integers(-(10**7), 10**8 - 1).map(str),
    st.floats(allow_nan=True).map(lambda value: f"{value:.1e}"),
    st.sampled_from(
        ["", "-1", "1_000", "9e999999", "1/3", "1e-99999", "inf", "nan", "\u0661", "+5"]
    ),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an EDF+C of 19 channels, 12 s."""
    path = write_edf(tmp_path_factory.mktemp("fuzz") / "sound.edf", stamped=True)
    # Memory of modules that the first call imports does not count.
    opened_or_refused(path)
    return path.read_bytes()


def opened_or_refused(path: Path) -> None:
    try:
        recording = open_edf(path)
    except UnusableEdf as error:
        assert error.reason in SIGNAL_REASONS
    else:
        assert np.isfinite(recording.read(0, 256)).all()
        assert all(finding.code in SIGNAL_FINDINGS for finding in recording.findings)


FUZZ = examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(FIELDS), figures), min_size=1, max_size=4))
def test_no_number_in_a_header_breaks_the_reader(
    tmp_path: Path, sound: bytes, edits: list[tuple[tuple[int, int], str]]
) -> None:
    content = bytearray(sound)
    for (place, width), figure in edits:
        content[place : place + width] = figure.encode()[:width].ljust(width)
    path = tmp_path / "fuzzed.edf"
    path.write_bytes(content)
    tracemalloc.start()
    opened_or_refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A small multiple of the file, whatever its header says.
    assert peak < 10 * len(sound)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, HEADER - 1), st.binary(min_size=1, max_size=12))),
    st.integers(0, 3 * HEADER),
)
def test_no_bytes_in_a_header_break_the_reader(
    tmp_path: Path, sound: bytes, edits: list[tuple[int, bytes]], size: int
) -> None:
    content = bytearray(sound)
    for place, junk in edits:
        content[place : place + len(junk)] = junk
    path = tmp_path / "fuzzed.edf"
    path.write_bytes(content[:size] if size < HEADER else content)
    opened_or_refused(path)


@FUZZ
@given(st.binary(max_size=3000))
def test_any_bytes_are_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.edf"
    for content in (junk, b"0       " + junk):
        path.write_bytes(content)
        with pytest.raises(UnusableEdf):
            open_edf(path)


def test_the_readers_own_files_have_documented_outcomes(real: Path) -> None:
    outcomes = {}
    for path in sorted((real / "readers").rglob("*.edf")):
        try:
            outcomes[path.stem] = str(open_edf(path).rate)
        except UnusableEdf as error:
            outcomes[path.stem] = error.reason
    assert outcomes == {
        "SC4001EC-Hypnogram": "annotations_only",
        "short_psg": "few_channels",
        "duplicate_channel_labels": "few_channels",
        "test_stim_channel": "few_channels",
        "test_uneven_samp": "few_channels",
        "test_subsecond": "few_channels",
        "test_utf8": "few_channels",
        "bipolar": "too_short",
        "unipolar": "too_short",
    }


def test_a_real_recording_with_bad_midline(real: Path) -> None:
    (path,) = (real / "seizure-scalp").glob("*.edf")
    recording = open_edf(path, bad_channels_of(path))
    assert recording.rate == 200
    assert recording.duration_s == 236
    assert recording.missing == ("Fz", "Cz", "Pz")
    assert [f.detail for f in recording.findings if f.code == "bad_channel"] == ["Fz", "Cz", "Pz"]
    assert dict(recording.match.signals)["T3"][1] == "EEG T7-Ref"
