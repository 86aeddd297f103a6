"""What an inspection shows is what the file has, even if the recording is excluded."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.typing import NDArray
from typer.testing import CliRunner

from brainbrr_core.annotation import Event
from brainbrr_core.annotation.tuh import format_csv_bi
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.display.times import clock
from brainbrr_core.edf.header import EdfSignal, read_header
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.channels import PreprocessedSignal, RawSignal
from brainbrr_core.inspection.envelope import EnvelopeBuilder, finest
from brainbrr_core.inspection.inspection import Inspection, inspect_recording
from brainbrr_core.inspection.page import page
from brainbrr_core.inspection.picture import picture, round_below
from brainbrr_core.inspection.quality import SampleStatistics
from tests.support.edf_files import cut, patch, patch_signal, write_edf
from tests.support.examples import examples
from tests.support.signal_reference import chain

PNG = b"\x89PNG\r\n\x1a\n"


def look(path: Path, **options: Any) -> Inspection:
    return inspect_recording(path, Preprocessing(), **options)


def raw_of(inspection: Inspection, row: int) -> RawSignal:
    signal = inspection.channels[row].raw
    assert signal is not None
    return signal


def preprocessed_of(inspection: Inspection, row: int) -> PreprocessedSignal:
    signal = inspection.channels[row].preprocessed
    assert signal is not None
    return signal


def data_of(html: str) -> dict[str, Any]:
    """What the page's script reads."""
    match = re.search(r'<script type="application/json" id="recording">(.*?)</script>', html)
    assert match is not None
    parsed: dict[str, Any] = json.loads(match[1])
    return parsed


def unpacked(packed: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest values, by adding up the differences one by one."""
    planes = zlib.decompress(base64.b64decode(packed["data"]), 31)
    count = len(planes) // 4
    low, high, value = [], [], 0
    for i in range(count):
        zigzag = planes[i] + 256 * planes[count + i]
        value += zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2
        value = (value + 32768) % 65536 - 32768
        low.append(value)
        high.append(value + planes[2 * count + i] + 256 * planes[3 * count + i])
    return np.array(low), np.array(high)


@examples(60)
@given(
    rate=st.sampled_from([Fraction(256), Fraction(250), Fraction(1, 2), Fraction(1999, 10)]),
    bins=st.sampled_from([256, 64, 4, 1]),
    first=st.integers(0, 300),
    count=st.integers(1, 900),
    parts=st.lists(st.integers(1, 400), max_size=6),
    gain=st.sampled_from([0.25, -0.25]),
    seed=st.integers(0, 1000),
)
def test_an_envelope_has_the_lowest_and_highest_value_of_each_step(
    rate: Fraction, bins: int, first: int, count: int, parts: list[int], gain: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32768, 32768, 1300, dtype=np.int16) // rng.integers(1, 3000)
    builder = EnvelopeBuilder(rate, first, first + count, bins)
    position = 0
    for size in [*parts, 1300]:
        builder.add(samples[position : position + size], position)
        position = min(position + size, 1300)
    got = builder.envelope(gain, 3.0, "µV")
    assert got.bins_per_s == min(Fraction(bins), rate)
    wanted = samples[first : first + count].astype(float) * gain + 3.0
    step = [int(n / rate * got.bins_per_s) for n in range(len(wanted))]
    for number in range(len(got.low)):
        inside = [value for value, n in zip(wanted, step, strict=True) if n == number]
        assert got.low[number] * got.step + got.center == pytest.approx(
            min(inside), abs=got.step / 2 + 1e-9
        )
        assert got.high[number] * got.step + got.center == pytest.approx(
            max(inside), abs=got.step / 2 + 1e-9
        )
    assert len(got.low) == step[-1] + 1


@examples(50)
@given(
    runs=st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 30)), min_size=1, max_size=30),
    parts=st.lists(st.integers(1, 60), max_size=10),
)
def test_figures_of_a_raw_signal_do_not_depend_on_the_chunks(
    runs: list[tuple[int, int]], parts: list[int]
) -> None:
    signal = EdfSignal("Fz", 0, 10, "uV", ("-1", "1", "-3", "3"))
    samples = np.array([value for value, size in runs for _ in range(size)], np.int16)
    figures = SampleStatistics(signal, Fraction(10))
    position = 0
    for size in [*parts, len(samples)]:
        if position < len(samples):
            figures.add(samples[position : position + size])
        position += size
    assert figures.mean == pytest.approx(samples.mean())
    assert figures.deviation == pytest.approx(samples.std())
    assert figures.at_range_end == pytest.approx(np.mean(np.abs(samples) == 3))
    flat = {
        n
        for start in range(len(samples) - 9)
        if np.ptp(samples[start : start + 10].astype(int)) <= 1
        for n in range(start, start + 10)
    }
    assert figures.quality.flat_s == pytest.approx(len(flat) / 10)
    assert figures.quality.saturated_s == pytest.approx(np.count_nonzero(np.abs(samples) == 3) / 10)


def test_the_page_has_the_signal_of_the_file(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=25, rate=250, unit="mV", scale=1e-3)
    shown = data_of(page(look(path), 10.0))
    assert [channel["name"] for channel in shown["channels"]] == list(CHANNELS)
    edf = edfio.read_edf(path)
    raw = np.array([edf.get_signal(f"EEG {name.upper()}-REF").data * 1e3 for name in CHANNELS])
    filtered = chain(raw, Fraction(250))
    for row in (0, 7, 18):
        for kind, samples in (("raw", raw[row]), ("preprocessed", filtered[row])):
            packed = shown["channels"][row][kind]
            low, high = unpacked(packed)
            centre = np.median((low + high) / 2) * packed["step"]
            drawn = np.array([low[0], high[0], low[-1], high[-1]]) * packed["step"]
            rate = 250 if kind == "raw" else 256
            assert packed["rate"] == rate
            wanted = samples[[0, 0, -1, -1]] - np.median(samples)
            assert np.allclose(drawn - centre, wanted, atol=2 * packed["step"])
            # Fine enough to be seen: a row of 30 pixels is as high as the range of a second.
            assert packed["step"] < np.ptp(samples[:rate]) / 40


def test_figures_are_those_of_the_signal(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=20)
    header = read_header(LocalEdf(path))
    content = np.fromfile(path, np.uint8)
    records = content[header.header_bytes :].view("<i2").reshape(20, -1)
    records[3:8, header.signals[4].offset : header.signals[4].offset + 256] = 7
    records[9, header.signals[5].offset] = 32767
    content.tofile(path)
    inspection = look(path)
    samples = edfio.read_edf(path).get_signal("EEG F3-REF").data
    channel = inspection.channels[1]
    raw = raw_of(inspection, 1)
    assert (channel.match, channel.label, raw.rate) == ("matched", "EEG F3-REF", 256.0)
    assert raw.mean == pytest.approx(samples.mean(), abs=1e-6)
    assert raw.deviation == pytest.approx(samples.std(), rel=1e-9)
    assert raw_of(inspection, 4).flat_s == pytest.approx(5, abs=0.01)
    assert raw.flat_s == 0
    assert raw_of(inspection, 5).at_range_end == pytest.approx(1 / 5120)
    assert 0 < raw_of(inspection, 5).deviation != preprocessed_of(inspection, 5).deviation
    # 32767 stands for 200 µV, which is within ten standard deviations.
    assert preprocessed_of(inspection, 5).clipped == 0


def test_the_progress_is_of_the_length_of_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read twice, raw and preprocessed."""
    inspect_recording(write_edf(tmp_path / "a.edf", seconds=72), Preprocessing())
    assert "inspect: 0.02 of 0.02 hours" in capsys.readouterr().err.splitlines()[-1]


def test_an_artifact_is_counted_as_clipped(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=60)
    header = read_header(LocalEdf(path))
    content = np.fromfile(path, np.uint8)
    records = content[header.header_bytes :].view("<i2").reshape(60, -1)
    own = slice(header.signals[2].offset, header.signals[2].offset + 256)
    records[:, own] //= 100
    records[30, header.signals[2].offset + 5] = 32000
    content.tofile(path)
    inspection = look(path)
    clipped = [preprocessed_of(inspection, row).clipped for row in range(len(CHANNELS))]
    assert 0 < clipped[2] < 0.001
    assert sum(fraction > 0 for fraction in clipped) == 1


def test_missing_midline_is_shown_as_interpolated(tmp_path: Path) -> None:
    names = [name for name in CHANNELS if name != "Cz"]
    path = write_edf(tmp_path / "a.edf", labels=[f"EEG {name.upper()}-REF" for name in names])
    inspection = look(path)
    cz = inspection.channels[CHANNELS.index("Cz")]
    assert cz.interpolated and cz.raw is None and cz.preprocessed is not None
    assert cz.preprocessed.deviation > 1
    assert any(finding.code == "interpolated_channel" for finding in inspection.findings)
    html = page(inspection, 10.0)
    assert "missing: interpolated" in html and "interpolated_channel" in html


def drawn(inspection: Inspection, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that a picture is made from."""
    figures: list[Figure] = []
    save = Figure.savefig

    def noted(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Figure, "savefig", noted)
        picture(inspection)
    return figures[0]


@pytest.mark.parametrize("seconds", [12, 40])
def test_the_picture_has_a_scale_of_microvolts(
    seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=seconds)
    samples = edfio.read_edf(path).signals[4].data
    # All that is drawn first, below it ten seconds of it.
    for axes in drawn(look(path), monkeypatch).axes[::2]:
        *traces, bar = axes.lines
        heights = np.asarray(traces[4].get_ydata(), float)
        start, stop = axes.get_xlim()
        shown = samples[int(256 * start) : int(256 * stop)]
        [label] = [text.get_text() for text in axes.texts if text.get_text().endswith("µV")]
        top, bottom = np.asarray(bar.get_ydata(), float)
        per_row = float(label.removesuffix(" µV")) / (top - bottom)
        assert np.ptp(heights) * per_row == pytest.approx(np.ptp(shown), rel=0.01)
        assert 0.8 <= top - bottom <= 2
        assert per_row * (top - bottom) in (20, 50, 100, 200, 500)


@pytest.mark.parametrize("power", range(-6, 6))
def test_the_scale_of_a_picture_is_a_round_number_whatever_the_unit(power: int) -> None:
    for factor, after in ((1, 2), (2, 5), (5, 10)):
        size = factor * 10.0**power
        halfway = (factor + after) / 2 * 10.0**power
        for value in (size, np.nextafter(size, 0), np.nextafter(size, np.inf), halfway):
            assert round_below(float(value)) == pytest.approx(size, rel=1e-12)


def test_the_picture_says_what_an_asterisk_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"EEG {name.upper()}-REF" for name in CHANNELS]
    for labels, note in (
        (names, None),
        (names[:8] + names[9:], "* interpolated from other electrodes, not recorded"),
    ):
        figure = drawn(look(write_edf(tmp_path / "a.edf", labels=labels)), monkeypatch)
        assert (figure.get_supxlabel() or None) == note


def bad_neighbors(path: Path) -> None:
    path.with_name("a_channels.tsv").write_text("name\tstatus\nF7\tbad\nT3\tbad\n")


def senseless_table(path: Path) -> None:
    path.with_name("a_channels.tsv").write_text("label\tstatus\nFz\tbad\n")


EXCLUDED: dict[str, tuple[dict[str, Any], Callable[[Path], object], str, int]] = {
    "bipolar": ({"labels": ["FP1-F7", "F7-T7", "T7-P7"]}, lambda _: None, "bipolar_montage", 3),
    "few": ({"labels": ["EEG FP1-REF", "EKG"]}, lambda _: None, "few_channels", 2),
    "short": ({"seconds": 4}, lambda _: None, "too_short", 19),
    "truncated": ({}, lambda p: cut(p, lambda size: size // 2), "truncated_file", 19),
    "truncated with time stamps": (
        {"stamped": True},
        lambda p: cut(p, lambda size: size // 2),
        "truncated_file",
        19,
    ),
    "uneven": ({"rates": {"EEG F3-REF": 128}}, lambda _: None, "uneven_rates", 19),
    "unit": ({}, lambda p: patch_signal(p, 96, 8, 3, b"mmHg"), "unknown_unit", 19),
    "no range": ({}, lambda p: patch_signal(p, 112, 8, 3, b"-200"), "no_calibration", 19),
    "twice": ({}, lambda p: patch_signal(p, 0, 16, 3, b"EEG FP1-REF"), "duplicate_channel", 19),
    "table": ({}, senseless_table, "bad_channel_table", 19),
    "marked bad": ({}, bad_neighbors, "missing_channels", 19),
}


@pytest.mark.parametrize("name", EXCLUDED)
def test_excluded_recordings_are_drawn_with_their_reason(tmp_path: Path, name: str) -> None:
    options, damage, reason, drawn = EXCLUDED[name]
    path = write_edf(tmp_path / "a.edf", **options)
    damage(path)
    inspection = look(path)
    assert [code for code, _ in inspection.reasons] == [reason, "no_annotation"]
    assert not inspection.preprocessed
    html = page(inspection, 10.0)
    assert f"Excluded: {reason}." in html
    with_signal = [row for row in data_of(html)["channels"] if row["raw"] is not None]
    assert len(with_signal) == drawn
    assert all(len(unpacked(row["raw"])[0]) > 0 for row in with_signal)
    assert picture(inspection).startswith(PNG)


@pytest.mark.parametrize("content", [b"", b"no EDF at all" * 100, b"0" + b" " * 255])
def test_an_unreadable_file_gives_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(content)
    with pytest.raises(BrainbrrError) as error:
        look(path)
    assert "cannot be inspected: unreadable" in str(error.value)
    assert "\n" not in str(error.value)


def not_a_number(name: str) -> None:
    raise AssertionError(f"{name} in the page")


@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*range(184, 256), *range(256, 256 * 4)]),
            st.sampled_from(
                [b"0", b"9", b"-", b"1e30", b"nan", b"inf", b" ", b".", b"1e-999", b"FP1"]
            ),
        ),
        max_size=4,
    )
)
def test_a_damaged_header_is_shown_or_refused(
    tmp_path: Path, edits: list[tuple[int, bytes]]
) -> None:
    original = tmp_path / "good.edf"
    if not original.is_file():
        write_edf(original, labels=["FP1", "F3", "X"], seconds=3)
    content = bytearray(original.read_bytes())
    for place, junk in edits:
        content[place : place + len(junk)] = junk
    path = tmp_path / "fuzzed.edf"
    path.write_bytes(bytes(content))
    try:
        html = page(look(path), 10.0)
    except BrainbrrError as error:
        assert "cannot be inspected" in str(error)
    else:
        text = re.search(r'id="recording">(.*?)</script>', html)
        assert text is not None
        json.loads(text[1], parse_constant=not_a_number)


def test_only_labels_of_the_header_are_shown(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", patient="Roe_Jane", labels=["FP1", "</script><b>x"])
    patch(path, 88, b"Startdate 02-MAR-1999 X Dr_Miller X", 80)
    patch_signal(path, 16, 80, 0, b"electrode of Jane")
    patch_signal(path, 136, 80, 0, b"filtered by Jane")
    inspection = look(path)
    html = page(inspection, 10.0)
    for text in ("Jane", "Roe", "Miller", "1999", "MRN0042"):
        assert text not in html
        assert text.encode() not in picture(inspection)
    # A label is shown as text, whatever characters it has.
    assert "</script><b>" not in html
    assert [row["name"] for row in data_of(html)["channels"]][-1] == "</script><b>x"


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    inspection = look(write_edf(tmp_path / "a.edf"))
    html = page(inspection, 10.0)
    assert "default-src 'none'" in html
    links = re.findall(r'<[a-z][^>]*\s(?:src|href|action)="([^"]*)"', html)
    assert links == ["#tables"]
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", html)
    assert html == page(inspection, 10.0)
    assert picture(inspection) == picture(inspection)


def test_an_interval_is_drawn_finer_and_its_figures_are_of_the_whole_recording(
    tmp_path: Path,
) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=30)
    everything, interval = look(path), look(path, start_s=20.0, seconds=5.0)
    assert (interval.start_s, interval.stop_s) == (20.0, 25.0)
    assert raw_of(interval, 3).mean == raw_of(everything, 3).mean
    whole, own = raw_of(everything, 3).envelope, raw_of(interval, 3).envelope
    assert len(own.low) == 5 * 256
    taken = whole.low[20 * 256 : 25 * 256] * whole.step + whole.center
    assert np.allclose(own.low * own.step + own.center, taken, atol=whole.step + own.step)
    with pytest.raises(BrainbrrError, match="--start before its end"):
        look(path, start_s=30.0)


def test_a_page_stays_small_however_long_the_recording() -> None:
    for hours in (0.01, 0.3, 1, 6, 24):
        assert 2 * 38 * 3600 * hours * finest(38, 3600 * hours) <= 12_000_000
    assert finest(38, 20 * 60) == 64
    assert finest(38, 60 * 60) == 32


def test_times_are_read_as_hours_minutes_and_seconds() -> None:
    assert [clock(59.6), clock(3599.999, 2), clock(61.25, 2), clock(90000)] == [
        "0:01:00",
        "1:00:00.00",
        "0:01:01.25",
        "25:00:00",
    ]


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["inspect", *arguments])
    assert result.exception is None or isinstance(result.exception, (SystemExit, BrainbrrError)), (
        result.exception
    )
    return result.exit_code, result.stdout


def test_a_file_next_to_its_annotations_needs_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_edf(tmp_path / "a.edf", seconds=20)
    path.with_suffix(".csv_bi").write_text(format_csv_bi([Event(4, 9)], 20, "a"))
    status, text = command(str(path), "--json", "--cache-root", str(tmp_path / "none"))
    assert status == 0
    values = json.loads(text)
    assert values["reasons"] == []
    assert [(e["start"], e["stop"], e["label"]) for e in values["events"]] == [(4, 9, "seiz")]
    assert values["files"] == ["inspect-a.html", "inspect-a.png"]
    shown = data_of(Path("inspect-a.html").read_text())
    assert shown["events"] == [{"start": 4.0, "stop": 9.0, "label": "seiz"}]
    assert Path("inspect-a.png").read_bytes().startswith(PNG)
    assert command(str(path), "--out", "b.png")[0] == 0
    assert Path("b.png").is_file() and not Path("b.html").exists()


def test_a_recording_of_the_index_is_found_by_its_key(
    settings: Configuration, tmp_path: Path
) -> None:
    update_index(settings.data_dir, settings.cache_root)
    row = next(row for row in read_index(settings.cache_root) if row.events)
    root = ("--cache-root", str(settings.cache_root))
    out = tmp_path / "recording.html"
    assert command(row.partition_key, "--out", str(out), *root)[0] == 0
    html = out.read_text()
    assert row.partition_key in html
    shown = data_of(html)
    assert [event["label"] for event in shown["events"]] == [e.label for e in sorted(row.events)]
    assert command(row.path, "--out", str(tmp_path / "path.html"), *root)[0] == 0
    assert (tmp_path / "path.html").read_text() == html
    wrong = CliRunner().invoke(app, ["inspect", row.partition_key[:-1], *root])
    assert isinstance(wrong.exception, BrainbrrError)
    assert row.partition_key in str(wrong.exception)


def test_real_files_of_every_kind_are_shown_or_refused_in_one_line(real: Path) -> None:
    files = sorted((real / "readers").rglob("*.edf")) + sorted(
        (real / "seizure-scalp").glob("*edf")
    )
    files += sorted((real / "tuh-layout").rglob("*.edf"))[::40]
    refused = []
    for path in files:
        try:
            html = page(look(path), 10.0)
        except BrainbrrError as error:
            refused.append(path.name)
            assert "\n" not in str(error)
        else:
            assert any(channel["raw"] for channel in data_of(html)["channels"])
    assert refused == ["SC4001EC-Hypnogram.edf"]
