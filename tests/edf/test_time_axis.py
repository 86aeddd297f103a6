"""The time axis: time stamps decide about gaps, drift and clock times in every command."""

from __future__ import annotations

import csv
import datetime
import json
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.edf.header import EdfHeader, EdfSignal, UnusableEdf, read_header
from brainbrr_core.edf.reader import open_edf, recording_start
from brainbrr_core.edf.source import Digital, LocalEdf
from brainbrr_core.edf.timestamps import RecordClock
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.prediction.formats import FORMATS, Origin
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.prediction.recording import Prediction, growing_pieces, growing_source
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal.statistics import Statistics
from tests.support.edf_files import restamp, write_edf
from tests.support.examples import examples
from tests.support.prediction_runs import digital_eeg, random_predictor, random_run, write_digital
from tests.support.shell import Shell

SECONDS = 40
ORIGIN = Origin("run", "version", OperatingPoint(0.0, -0.2), "whole recording")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return random_predictor(tmp_path_factory.mktemp("run"))


def evenly(step: float, count: int = SECONDS) -> list[str]:
    return [f"+{n * step:.8g}" for n in range(count)]


def shifted(*shifts: tuple[int, float]) -> list[str]:
    """Stamps one second apart, shifted by some seconds from some records on."""
    return [f"+{n + sum(s for at, s in shifts if n >= at):.6g}" for n in range(SECONDS)]


#: The reserved field, the stamps, the seconds of a record, and the reason with a part of its
#: detail; no reason: the recording is used.
FILES: dict[str, tuple[bytes, list[str], float, tuple[str, str] | None]] = {
    "drift of an EDF+D": (b"EDF+D", evenly(1.0015), 1, ("clock_drift", "0.0585 s ahead")),
    "drift of an EDF+C": (b"EDF+C", evenly(1.0015), 1, ("clock_drift", "0.0585 s ahead")),
    "stamps closer than records": (b"EDF+C", evenly(0.9976), 1, ("clock_drift", "0.0936 s behind")),
    "the same of an EDF+D": (b"EDF+D", evenly(0.9976), 1, ("clock_drift", "0.0936 s behind")),
    "drift of short records": (b"EDF+D", evenly(0.10015, 400), 0.1, ("clock_drift", "0.05985 s")),
    "the same of an EDF+C": (b"EDF+C", evenly(0.10015, 400), 0.1, ("clock_drift", "0.05985 s")),
    "short records without": (b"EDF+D", evenly(0.1, 400), 0.1, None),
    # Up to 19 ms away, but back at the end.
    "a drift that returns": (
        b"EDF+C",
        [f"+{n + 0.001 * min(n, 39 - n):.6g}" for n in range(SECONDS)],
        1,
        ("clock_drift", "0.019 s ahead"),
    ),
    "two gaps that cancel": (b"EDF+C", shifted((10, 60), (30, -60)), 1, ("discontinuous", "120 s")),
    "a step back": (b"EDF+D", shifted((20, -0.5)), 1, ("discontinuous", "0.5 s in all")),
    "gap, blank field": (b"", shifted((20, 60)), 1, ("discontinuous", "60 s in all")),
    "gap, small letters": (b"edf+d", shifted((20, 60)), 1, ("discontinuous", "60 s in all")),
    "gap, shifted field": (b" EDF+D", shifted((20, 60)), 1, ("discontinuous", "60 s in all")),
    "gap, another field": (b"Export 3", shifted((20, 60)), 1, ("discontinuous", "60 s in all")),
    "gap that cancels, blank field": (b"", shifted((20, 60), (22, -60)), 1, ("discontinuous", "")),
    "drift, blank field": (b"", evenly(1.0015), 1, ("clock_drift", "0.0585 s ahead")),
    "no gap, blank field": (b"", shifted(), 1, None),
    "starts within a second": (b"EDF+D", shifted((0, 0.753)), 1, None),
    "stamps that are rounded": (b"EDF+D", shifted((0, 0.25), (20, 0.001), (21, -0.001)), 1, None),
    "the same, small letters": (b"edf+d", ["", *shifted()[1:]], 1, ("discontinuous", "1 data")),
    "the same, blank field": (b"", ["", *shifted()[1:]], 1, None),
    "a record without a stamp": (b"EDF+D", ["", *shifted()[1:]], 1, ("discontinuous", "1 data")),
}


def made(path: Path, name: str) -> Path:
    kind, stamps, record_s, _ = FILES[name]
    write_edf(path, rate=250, seconds=SECONDS, stamped=True, record_s=record_s)
    restamp(path, kind, stamps)
    return path


def streamed(path: Path) -> NDArray[np.float32]:
    return np.concatenate(list(growing_pieces(path, growing_source(path), 0)), axis=1)


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("name", FILES)
def test_every_reader_of_a_file_gives_the_same_reason(
    name: str, tmp_path: Path, settings: Configuration, predictor: Predictor
) -> None:
    path = made(
        tmp_path / "in" / "train" / "p1" / "s001_2020" / "01_tcp_ar" / "p1_s001_t000.edf", name
    )
    expected = FILES[name][3]
    # Index.
    [row] = scan(tmp_path / "in").recordings
    reason = expected and expected[0]
    assert row.signal_reason == reason
    assert row.duration_s == SECONDS
    assert row.discontinuous == (reason == "discontinuous")
    # Build.
    own = {"data_dir": str(tmp_path / "in"), "cache_root": tmp_path / "own"}
    plan = plan_corpus(settings.model_copy(update=own), lambda _line: None)
    assert build(plan, settings.preprocessing, workers=1).failed == []
    [item] = plan_corpus(settings.model_copy(update=own), lambda _line: None).items
    assert item.state is (State.FRESH if reason is None else State.EXCLUDED)
    # Inspect.
    reasons = inspect_recording(path, Preprocessing(), row).reasons
    assert [r for r, _ in reasons if r in SIGNAL_REASONS] == ([] if reason is None else [reason])
    # Predict, and predict while it grows.
    [(_, outcome)] = predictor.predict_all(
        [path], OperatingPoint.of_probability(0.5, 0.99), Normalization(first_s=10)
    )
    if expected is None:
        assert isinstance(outcome, Prediction)
        assert streamed(path).shape == (19, SECONDS * 250)
        return
    assert isinstance(outcome, BrainbrrError)
    [finding] = [finding for finding in row.findings if finding.code == reason]
    assert expected[1] in finding.detail
    with pytest.raises(BrainbrrError) as refused:
        streamed(path)
    for message in (str(outcome), str(refused.value)):
        assert message == f"{path}: {SIGNAL_REASONS[expected[0]]} ({reason}: {finding.detail})"


def test_a_stream_ends_at_the_gap_with_one_line(tmp_path: Path, shell: Shell) -> None:
    path = made(tmp_path / "a.edf", "gap, blank field")
    _, config = random_run(tmp_path)
    words = ("predict", path, "--stream", "--idle", 0, "--config", config)
    assert "60 s in all, the first at 20 s" in shell.refused(*words)
    assert "60 s in all, the first at 20 s" in shell.refused(
        "predict", path, tmp_path / "a.tsv", "--config", config
    )


def test_a_stream_gives_the_samples_before_the_gap(tmp_path: Path) -> None:
    path = made(tmp_path / "a.edf", "gap, blank field")
    content = path.read_bytes()
    record = 2 * (19 * 250 + 8)
    header = 256 * 21
    sizes = iter([header + 20 * record, header + 21 * record])
    path.write_bytes(content[: header + 5 * record])

    def sleep(_seconds: float) -> None:
        path.write_bytes(content[: next(sizes)])

    pieces = growing_source(path).pieces(60, sleep)
    assert [next(pieces).shape[1] // 250, next(pieces).shape[1] // 250] == [5, 15]
    with pytest.raises(UnusableEdf, match="the first at 20 s"):
        next(pieces)


class Counting:
    """An EDF that counts the bytes that are read from it."""

    def __init__(self, path: Path) -> None:
        self._file = LocalEdf(path)
        self.name, self.read = path.name, 0

    def size(self) -> int:
        return self._file.size()

    def head(self, count: int) -> bytes:
        self.read += count
        return self._file.head(count)

    def samples(self, offset: int, count: int, sample_bytes: int = 2) -> NDArray[Digital]:
        self.read += sample_bytes * count
        return self._file.samples(offset, count, sample_bytes)


def test_only_some_stamps_of_a_good_edf_plus_c_are_read(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=300, stamped=True)
    file = Counting(path)
    open_edf(file)
    assert file.read < 0.03 * path.stat().st_size
    # Without that promise, every stamp is read.
    restamp(path, b"EDF+D", evenly(1, 300))
    file = Counting(path)
    open_edf(file)
    assert file.read > path.stat().st_size


def header_of(kind: str, record_s: Fraction) -> EdfHeader:
    stamped = EdfSignal("EDF Annotations", 0, 20, "", ("", "", "", ""))
    return EdfHeader((stamped,), -1, 512, record_s, kind, None, "")


@examples(150)
@given(
    rate=st.sampled_from([100, 200, 256, 500, 1000]),
    record_ms=st.sampled_from([100, 1000, 10_000]),
    shifts_ms=st.lists(st.integers(-6, 6), min_size=2, max_size=60),
    pieces=st.integers(1, 7),
)
def test_a_record_may_be_shifted_by_at_most_half_a_sample(
    rate: int, record_ms: int, shifts_ms: list[int], pieces: int
) -> None:
    clock = RecordClock(header_of("EDF+D", Fraction(record_ms, 1000)), Fraction(rate))
    stamps = [1000 + n * record_ms + shift for n, shift in enumerate(shifts_ms)]
    rows = np.array(
        [
            np.frombuffer(f"+{s // 1000}.{s % 1000:03d}\x14\x14".encode().ljust(40, b"\0"), "<i2")
            for s in stamps
        ]
    )
    for first in range(0, len(rows), pieces):
        clock.add(first, rows[first : first + pieces])
    off = max(abs(shift - shifts_ms[0]) for shift in shifts_ms)
    if off <= max(500 / rate, 1000 / 512):
        clock.check()
        return
    with pytest.raises(UnusableEdf) as refused:
        clock.check()
    assert refused.value.reason in ("clock_drift", "discontinuous")


@pytest.mark.parametrize(("first", "micro"), [("+0.753", 753_000), ("+0.0005", 500), ("+0", 0)])
def test_clock_times_are_right_within_a_second(tmp_path: Path, first: str, micro: int) -> None:
    path = write_edf(tmp_path / "a.edf", stamped=True)
    restamp(path, b"EDF+C", [f"+{n}{first[2:]}" for n in range(12)])
    with path.open("r+b") as file:
        file.seek(88)
        file.write(b"Startdate 02-MAR-2020 X X X".ljust(80) + b"02.03.2010.00.00")
    start = recording_start(path)
    assert start == datetime.datetime(2020, 3, 2, 10, 0, 0, micro)
    assert start == edfio.read_edf(path).startdatetime
    assert read_header(LocalEdf(path)).start == datetime.datetime(2020, 3, 2, 10)


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D", b""])
def test_every_format_has_the_time_of_an_event_to_the_millisecond(
    tmp_path: Path, predictor: Predictor, kind: bytes
) -> None:
    digital = digital_eeg(60, 256, 600)
    plain = edfio.read_edf(write_digital(tmp_path / "plain.edf", digital, 256))
    path = tmp_path / "a.edf"
    edf = edfio.Edf(
        plain.signals,
        recording=edfio.Recording(startdate=datetime.date(2020, 3, 2)),
        starttime=datetime.time(10),
        data_record_duration=1,
        annotations=[edfio.EdfAnnotation(0, None, "start")],
    )
    edf.write(path)
    restamp(path, kind, [f"+{n}.753" for n in range(60)])
    [(_, outcome)] = predictor.predict_all(
        [path], OperatingPoint.of_probability(0.55, 0.99), Normalization(first_s=30)
    )
    assert isinstance(outcome, Prediction)
    assert outcome.events
    onset = outcome.events[0].start
    true = datetime.datetime(2020, 3, 2, 10, 0, 0, 753_000) + datetime.timedelta(seconds=onset)
    encoded = {name: FORMATS[name].encode(outcome, "a", ORIGIN) for name in FORMATS}
    values = json.loads(encoded["json"])
    row = next(csv.DictReader(encoded["tsv"].decode().splitlines(), delimiter="\t"))
    annotated = edfio.read_edf(encoded["edf"])
    times = {
        "json": datetime.datetime.fromisoformat(values["start"])
        + datetime.timedelta(seconds=values["events"][0]["onset_s"]),
        "tsv": datetime.datetime.fromisoformat(row["dateTime"])
        + datetime.timedelta(seconds=float(row["onset"])),
        "edf": annotated.startdatetime + datetime.timedelta(seconds=annotated.annotations[0].onset),
    }
    for name, time in times.items():
        assert abs((time - true).total_seconds()) < 0.001, name
    assert row["dateTime"] == "2020-03-02 10:00:00.753"
    assert values["start"] == "2020-03-02T10:00:00.753"


def test_a_whole_second_is_written_without_a_fraction() -> None:
    start = datetime.datetime(2020, 3, 2, 10)
    figures = Statistics(np.zeros(19), np.ones(19))
    prediction = Prediction([Event(5, 12.5)], 60, start, (), figures, np.zeros(480, np.float32))
    tsv = FORMATS["tsv"].encode(prediction, "a", ORIGIN).decode()
    assert "\t2020-03-02 10:00:00\t" in tsv
    assert json.loads(FORMATS["json"].encode(prediction, "a", ORIGIN))["start"] == (
        "2020-03-02T10:00:00"
    )
