"""Predictions as files, over one recording and many; the run, the targets, what goes wrong."""

from __future__ import annotations

import csv
import datetime
import io
import json
import shutil
import warnings
from collections.abc import Generator, Iterable
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import edfio
import mne
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from brainbrr_core.annotation import Event, tuh
from brainbrr_core.annotation.edf_plus import format_edf_plus
from brainbrr_core.annotation.szcore import format_tsv
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import detect
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.prediction.files import predict_files, targets
from brainbrr_core.prediction.formats import FORMATS, Origin
from brainbrr_core.prediction.normalization import (
    Normalization,
    read_statistics,
    write_statistics,
)
from brainbrr_core.prediction.predictor import Predictor, threshold_of
from brainbrr_core.prediction.recording import ForwardReader, Prediction, open_source
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.run import open_run
from brainbrr_core.runs.used_versions import RUN
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.statistics import Statistics
from tests.support.examples import examples
from tests.support.prediction_runs import (
    digital_eeg,
    random_predictor,
    random_run,
    random_settings,
    write_digital,
)
from tests.support.stored_signals import InMemory

Tag = TypeVar("Tag")
POINT = OperatingPoint.of_probability(0.55, 0.99)
ORIGIN = Origin("run", "v1", OperatingPoint(0.0, -0.25), "the whole recording's")


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """Events as ``detect`` gives them: sorted, apart, in frames of 1/8 s, within the recording."""
    edges = draw(st.lists(st.integers(0, 8 * 90_000), max_size=12, unique=True))
    edges = sorted(edges)[: len(edges) // 2 * 2]
    events = [
        Event(a / 8, b / 8, "seiz", draw(st.floats(0, 1)))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]
    last = events[-1].stop if events else 10.0
    samples = int(last * 256) + draw(st.integers(0, 5000))
    start = draw(
        st.none() | st.datetimes(datetime.datetime(1985, 1, 1), datetime.datetime(2084, 12, 31))
    )
    statistics = Statistics(np.zeros(19), np.ones(19))
    scores = np.linspace(-9, 9, -(-samples // 32), dtype=np.float32)
    return Prediction(events, samples / 256, start, (), statistics, scores)


def times(rows: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    return [(round(a, 4), round(b, 4), round(c, 4)) for a, b, c in rows]


def expected(prediction: Prediction) -> list[tuple[float, float, float]]:
    return times([(e.start, e.stop, e.confidence) for e in prediction.events])


@examples(100)
@given(prediction=predictions())
def test_the_tsv_says_what_was_predicted(prediction: Prediction) -> None:
    text = FORMATS["tsv"].encode(prediction, "name", ORIGIN).decode()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert rows
    if not prediction.events:
        [row] = rows
        assert row["eventType"] == "bckg"
        assert float(row["duration"]) == pytest.approx(prediction.duration_s, abs=1e-4)
        rows = []
    found = [
        (float(r["onset"]), float(r["onset"]) + float(r["duration"]), float(r["confidence"]))
        for r in rows
    ]
    assert times(found) == expected(prediction)
    for row in csv.DictReader(io.StringIO(text), delimiter="\t"):
        assert float(row["recordingDuration"]) == pytest.approx(prediction.duration_s, abs=1e-4)
        stated = prediction.start or datetime.datetime(1985, 1, 1)
        # The benchmark's reader takes whole seconds alone; a part of one is written where it is.
        form = "%Y-%m-%d %H:%M:%S" + (".%f" if stated.microsecond else "")
        assert datetime.datetime.strptime(row["dateTime"], form) == stated
        assert row["channels"] == "n/a"


@examples(100)
@given(prediction=predictions())
def test_the_csv_bi_covers_the_recording(prediction: Prediction) -> None:
    text = FORMATS["csv_bi"].encode(prediction, "aaaaaaac_s001_t000", ORIGIN).decode()
    lines = text.splitlines()
    # As NEDC's reader takes it apart: key = value in comments, one header row, then rows.
    comments = dict(line.lstrip("# ").split(" = ", 1) for line in lines if " = " in line)
    assert comments["version"] == "csv_v1.0.0"
    assert comments["bname"] == "aaaaaaac_s001_t000"
    duration = float(comments["duration"].removesuffix(" secs"))
    assert duration == pytest.approx(prediction.duration_s, abs=1e-4)
    rows = [line.split(",") for line in lines if line and not line.startswith("#")]
    assert rows[0] == ["channel", "start_time", "stop_time", "label", "confidence"]
    assert {row[0] for row in rows[1:]} == {"TERM"}
    assert {row[3] for row in rows[1:]} <= {"seiz", "bckg"}
    # No gap, no overlap, from 0 to the end.
    edges = [(float(row[1]), float(row[2])) for row in rows[1:]]
    assert edges[0][0] == 0
    assert edges[-1][1] == duration
    assert all(a[1] == b[0] for a, b in pairwise(edges))
    seizures = [(float(r[1]), float(r[2]), float(r[4])) for r in rows[1:] if r[3] == "seiz"]
    assert times(seizures) == expected(prediction)
    parsed = tuh.parse(text, "a.csv_bi")
    assert parsed.usable
    assert not parsed.findings


@examples(40)
@given(prediction=predictions())
def test_the_annotations_are_read_by_edfio(prediction: Prediction) -> None:
    content = FORMATS["edf"].encode(prediction, "name", ORIGIN)
    edf = edfio.read_edf(content)
    found, ends = [], []
    for annotation in edf.annotations:
        if annotation.text == "Recording ends":
            ends.append(annotation.onset)
            continue
        name, _, confidence = annotation.text.partition(", confidence ")
        assert name == "Seizure"
        length = annotation.duration or 0.0
        found.append((annotation.onset, annotation.onset + length, float(confidence)))
    assert times(found) == expected(prediction)
    assert ends == [pytest.approx(prediction.duration_s, abs=1e-4)]
    if prediction.start is not None:
        assert edf.startdatetime == prediction.start
    assert edf.local_patient_identification == "X X X X"


def test_the_annotations_are_read_by_mne(tmp_path: Path) -> None:
    start = datetime.datetime(2012, 3, 4, 13, 2, 5)
    events = [Event(1.125, 11.25, "seiz", 0.9312), Event(3600.5, 3660.0, "seiz", 0.5)]
    path = tmp_path / "a.edf"
    path.write_bytes(format_edf_plus(events, 7200.0, start))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = mne.read_annotations(path)
    assert read.onset.tolist() == [1.125, 3600.5, 7200.0]
    assert read.duration.tolist() == [10.125, 59.5, 0.0]
    assert list(read.description) == [
        "Seizure, confidence 0.9312",
        "Seizure, confidence 0.5000",
        "Recording ends",
    ]


@examples(50)
@given(prediction=predictions())
def test_the_json_holds_the_events_unrounded(prediction: Prediction) -> None:
    values = json.loads(FORMATS["json"].encode(prediction, "name", ORIGIN))
    found = [
        Event(e["onset_s"], e["onset_s"] + e["duration_s"], e["label"], e["confidence"])
        for e in values["events"]
    ]
    assert found == prediction.events
    assert values["duration_s"] == prediction.duration_s
    assert (values["run"], values["on_threshold"]) == ("run", 0.5)
    assert values["operating_point_logits"] == {"on": 0.0, "off": -0.25}


def test_timescoring_reads_the_tsv_as_events() -> None:
    annotations = pytest.importorskip("timescoring.annotations")
    text = format_tsv([Event(5, 12.5), Event(40, 50)], 60)
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    spans = [(float(r["onset"]), float(r["onset"]) + float(r["duration"])) for r in rows]
    read = annotations.Annotation(spans, 8, int(float(rows[0]["recordingDuration"]) * 8))
    assert read.events == [(5.0, 12.5), (40.0, 50.0)]


def folder_of_recordings(place: Path) -> Path:
    """Three recordings of different lengths and rates, one without Fz, and a broken one."""
    folder = place / "in"
    write_digital(folder / "a" / "one.edf", digital_eeg(95, 256, 1), 256)
    write_digital(folder / "b" / "two.EDF", digital_eeg(31, 200, 2), 200)
    write_digital(folder / "short.edf", digital_eeg(12, 250, 3, channels=18), 250)
    (folder / "broken.edf").write_bytes(b"nothing")
    return folder


def test_a_folder_is_mirrored_in_every_format(tmp_path: Path) -> None:
    folder = folder_of_recordings(tmp_path)
    where = targets(folder, tmp_path / "out", ["tsv", "edf", "json", "csv_bi"])
    lines: list[str] = []
    written = predict_files(random_predictor(tmp_path), where, ORIGIN, log=lines.append)
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in written.files) == sorted(
        f"{stem}{suffix}"
        for stem in ("a/one", "b/two", "short")
        for suffix in (".tsv", ".annotations.edf", ".json", ".csv_bi")
    )
    assert list(written.failed) == [folder / "broken.edf"]
    assert "not a readable EDF" in written.failed[folder / "broken.edf"]
    assert (written.recordings, written.eeg_s) == (3, pytest.approx(95 + 31 + 12))
    assert lines == ["two.EDF: low_rate (content ends at 100 Hz)", *lines[1:]]
    assert "short.edf: interpolated_channel (Fz)" in lines
    assert written.events > 0
    # A second time, annotations among the recordings are no recordings.
    inside = targets(folder, folder, ["edf"])
    predict_files(random_predictor(tmp_path), inside, ORIGIN, log=lines.append)
    assert targets(folder, folder, ["edf"]).files.keys() == where.files.keys()


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_batches_over_recordings_give_what_evaluation_gives(tmp_path: Path, batch: int) -> None:
    folder = folder_of_recordings(tmp_path)
    predictor = random_predictor(tmp_path, batch)
    shares: list[float] = []
    outcomes = dict(
        predictor.predict_all(sorted(folder.rglob("*.[eE][dD][fF]")), POINT, None, shares.append)
    )
    assert len(outcomes) == 4
    assert sum(shares) == pytest.approx(4)
    alone = random_predictor(tmp_path)
    for path, outcome in outcomes.items():
        if path.name == "broken.edf":
            assert isinstance(outcome, BrainbrrError)
            continue
        assert isinstance(outcome, Prediction)
        chain = Chain(open_source(path), alone.preprocessing)
        stored = np.concatenate([blocks for blocks, _ in chain.quantized()])
        signal = InMemory(stored.transpose(1, 0, 2).reshape(19, -1)[:, : chain.samples])
        [(_, frames)] = alone.frames([(None, signal)])
        events = detect(frames, chain.samples / 256, alone.detection, POINT)
        assert [(e.start, e.stop) for e in outcome.events] == [(e.start, e.stop) for e in events]
        if batch == 1:
            assert outcome.events == events


@pytest.mark.parametrize("batch", [1, 4])
def test_a_recording_that_fails_half_way_fails_alone(tmp_path: Path, batch: int) -> None:
    lengths = {"a": 50, "b": 300, "c": 65}
    paths = [
        write_digital(tmp_path / f"{name}.edf", digital_eeg(seconds, 256, seed), 256)
        for seed, (name, seconds) in enumerate(lengths.items())
    ]
    # With a given mean and deviation a file is read piece by piece, while its windows are scored.
    given = Normalization(Statistics(np.zeros(19), np.full(19, 40.0)))
    alone = dict(random_predictor(tmp_path).predict_all(paths, POINT, given))
    predictor = random_predictor(tmp_path, batch)
    scored: list[int] = []
    predictor.network.register_forward_pre_hook(
        # A batch is filled up with windows of zeros.
        lambda _network, inputs: scored.append(int(inputs[0].any(dim=-1).any(dim=-1).sum()))
    )
    shares: list[float] = []

    def remove_after_its_first_window(share: float) -> None:
        shares.append(share)
        # Windows of 20 s every 10 s: four of the first recording, then those of the second.
        if len(shares) == 5:
            paths[1].unlink()

    outcomes = dict(predictor.predict_all(paths, POINT, given, remove_after_its_first_window))
    assert list(outcomes) == paths
    failure = outcomes[paths[1]]
    assert isinstance(failure, BrainbrrError)
    assert str(failure) == (
        f"{paths[1]} cannot be read (No such file or directory): correct the path, or make it "
        "readable"
    )
    for path in (paths[0], paths[2]):
        outcome, whole = outcomes[path], alone[path]
        assert isinstance(outcome, Prediction) and isinstance(whole, Prediction)
        assert [(e.start, e.stop) for e in outcome.events] == [
            (e.start, e.stop) for e in whole.events
        ]
    # Each recording counts once, the failed one as well, and no window is scored for nothing but
    # those that threads had begun.
    assert sum(shares) == pytest.approx(3)
    assert 0 <= sum(scored) - (len(shares) - 1) <= min(8, torch.get_num_threads()) * batch


class OneBatchBehind(WindowScorer):
    """A scorer that takes a batch before it gives the scores of the one before, as on a GPU."""

    def scores(
        self, batches: Iterable[tuple[Tensor, Tag]]
    ) -> Generator[tuple[NDArray[np.float32], Tag], None, None]:
        computing: tuple[NDArray[np.float32], Tag] | None = None
        for scores, tag in super().scores(batches):
            if computing is not None:
                yield computing
            computing = scores.copy(), tag
        if computing is not None:
            yield computing


class PredictorOneBatchBehind(Predictor):
    @cached_property
    def scorer(self) -> WindowScorer:
        return OneBatchBehind.of(self.network, self.hardware, self.device, self.batch)


def test_a_recording_that_fails_while_its_windows_are_computed_fails_alone(tmp_path: Path) -> None:
    # Windows of 20 s every 10 s, two in a batch: a has 3, b has 29, c has 5.
    lengths = {"a": 40, "b": 300, "c": 60}
    paths = [
        write_digital(tmp_path / f"{name}.edf", digital_eeg(seconds, 256, seed), 256)
        for seed, (name, seconds) in enumerate(lengths.items())
    ]
    given = Normalization(Statistics(np.zeros(19), np.full(19, 40.0)))
    synchronous = random_predictor(tmp_path, 2)
    predictor = PredictorOneBatchBehind(
        synchronous.network,
        synchronous.version,
        synchronous.preprocessing,
        synchronous.detection,
        synchronous.hardware,
        synchronous.device,
        synchronous.window_s,
        synchronous.batch,
    )
    # The network computes a batch of two windows of a recording, then the next batch is read.
    batches: list[int] = []

    def remove_while_its_windows_are_computed(_network: nn.Module, _inputs: object) -> None:
        batches.append(len(batches))
        if len(batches) == 3:
            paths[1].unlink()

    expected_outcomes = dict(synchronous.predict_all(paths, POINT, given))
    predictor.network.register_forward_pre_hook(remove_while_its_windows_are_computed)
    shares: list[float] = []
    outcomes = list(predictor.predict_all(paths, POINT, given, shares.append))
    # Each recording has one outcome: windows of the failed one that are computed give no second.
    assert sorted(path for path, _ in outcomes) == paths
    by_path = dict(outcomes)
    assert isinstance(by_path[paths[1]], BrainbrrError)
    for path in (paths[0], paths[2]):
        outcome, undisturbed = by_path[path], expected_outcomes[path]
        assert isinstance(outcome, Prediction) and isinstance(undisturbed, Prediction)
        assert outcome.events == undisturbed.events
    # The share of the failed recording is completed once, not once more for its late windows.
    assert sum(shares) == pytest.approx(3)


def test_a_recording_for_which_the_network_gives_no_number_fails_alone(tmp_path: Path) -> None:
    """As one does that divides by the spread of a flat channel."""
    quiet, loud = tmp_path / "quiet.edf", tmp_path / "loud.edf"
    write_digital(quiet, digital_eeg(60, 256) // 500, 256)
    write_digital(loud, digital_eeg(60, 256), 256)
    predictor = random_predictor(tmp_path, 2)
    given = Normalization(Statistics(np.zeros(19), np.full(19, 40.0)))
    [(_, expected)] = predictor.predict_all([loud], POINT, given)

    def divide(_network: nn.Module, windows: tuple[Tensor], logits: Tensor) -> Tensor:
        return torch.where(windows[0].abs().amax((1, 2))[:, None] < 1, torch.nan, logits)

    predictor.network.register_forward_hook(divide)
    outcomes = dict(predictor.predict_all([quiet, loud], POINT, given))
    refused, other = outcomes[quiet], outcomes[loud]
    assert isinstance(refused, BrainbrrError)
    assert str(refused).startswith(f"{quiet}: the network gives NaN or infinity for 480 of 480 ")
    assert isinstance(other, Prediction) and isinstance(expected, Prediction)
    assert other.events == expected.events


def test_a_forward_reader_gives_what_the_chain_stores(tmp_path: Path) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(65, 200), 200)
    chain = Chain(open_source(path), random_predictor(tmp_path).preprocessing)
    stored = np.concatenate([blocks for blocks, _ in chain.quantized()])
    whole = stored.transpose(1, 0, 2).reshape(19, -1).astype(np.float32) * np.float32(SCALE)
    reader = ForwardReader(chain)
    for start, stop in ((0, 9000), (2560, 7680), (2561, 7681), (11000, chain.samples)):
        assert np.array_equal(reader.read(start, stop), whole[:, start:stop])
    with pytest.raises(ValueError, match="passed"):
        reader.read(0, 100)


def test_targets_name_what_does_not_fit(tmp_path: Path) -> None:
    one = write_digital(tmp_path / "in" / "one.edf", digital_eeg(10, 200), 200)
    shutil.copy(one, one.with_suffix(".EDF"))
    single = targets(one, tmp_path / "x.json", []).files
    assert single == {one: [("json", tmp_path / "x.json")]}
    assert targets(one, tmp_path / "x.edf", []).files == {one: [("edf", tmp_path / "x.edf")]}
    for name in ("X.TSV", "x.annotations.edf", "x.csv_bi"):
        files = targets(one, tmp_path / name, []).files
        assert files == {one: [(name.lower().rpartition(".")[2], tmp_path / name)]}
    assert targets(one, tmp_path, []).files == {one: [("tsv", tmp_path / "one.tsv")]}
    (dotted := tmp_path / "out.2").mkdir()
    assert targets(one, dotted, []).files == {one: [("tsv", dotted / "one.tsv")]}
    for source, out, formats, message in (
        (one, tmp_path / "o", ["xml"], "'xml' is not known"),
        (one, tmp_path / "x.tsv", ["json"], "ends as tsv does"),
        (one.parent, tmp_path / "x.tsv", [], "must be a folder"),
        # Not a folder of that name.
        (one, tmp_path / "x.txt", [], "end it in one of .tsv, .csv_bi, .edf, .json; or, if it is"),
        (one, one, [], "is a recording"),
        (one.parent, tmp_path / "o", [], "would both be written"),
        (tmp_path / "none", tmp_path / "o", [], "no EDF at"),
    ):
        with pytest.raises(BrainbrrError, match=message) as error:
            targets(source, out, formats)
        assert "\n" not in str(error.value)


def test_statistics_are_kept_exactly_and_belong_to_a_version(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    statistics = Statistics(rng.standard_normal(19), rng.random(19) * 1e-3)
    versions = [f"v2_256hz_10-20_00000000000{n}" for n in (1, 2)]
    path = tmp_path / "s.json"
    write_statistics(path, statistics, versions[0])
    read = read_statistics(path, versions[0])
    assert np.array_equal(read.mean, statistics.mean)
    assert np.array_equal(read.deviation, statistics.deviation)
    with pytest.raises(BrainbrrError, match=f"is of {versions[0]} and the run of {versions[1]}"):
        read_statistics(path, versions[1])
    for content in ("{}", "[1", path.read_text().replace("0.", "-0."), "\x00"):
        path.write_text(content)
        with pytest.raises(BrainbrrError, match="no file of means") as error:
            read_statistics(path, versions[0])
        assert "\n" not in str(error.value)
    with pytest.raises(BrainbrrError, match="does not exist"):
        read_statistics(tmp_path / "none", versions[0])


def test_a_recordings_own_statistics_given_back_change_nothing_but_rounding(
    tmp_path: Path,
) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(95, 256), 256)
    predictor = random_predictor(tmp_path)
    [(_, own)] = predictor.predict_all([path], POINT)
    assert isinstance(own, Prediction)
    [(_, again)] = predictor.predict_all([path], POINT, Normalization(own.statistics))
    assert isinstance(again, Prediction)
    # At 256 Hz nothing is resampled, so that not even a bit differs.
    assert again.events == own.events
    [(_, first)] = predictor.predict_all([path], POINT, Normalization(first_s=30.0))
    assert isinstance(first, Prediction)
    source = open_source(path)
    assert source.rate == Fraction(256)
    assert not np.allclose(first.statistics.deviation, own.statistics.deviation)


def test_a_damaged_run_is_one_line(tmp_path: Path) -> None:
    folder, _ = random_run(tmp_path)
    assert open_run(folder).load_network("torch")
    with pytest.raises(BrainbrrError, match="is a file"):
        open_run(folder / RUN)
    with pytest.raises(WorkRemains, match="no finished run"):
        open_run(tmp_path)
    (folder / "threshold.json").write_text('{"on_threshold": 0.')
    with pytest.raises(BrainbrrError, match="is damaged"):
        threshold_of(open_run(folder), Detection(), "float32")
    values = json.loads((folder / RUN).read_text())
    values["identity"]["model"]["preset"] = "small"
    (folder / RUN).write_text(json.dumps(values))
    with pytest.raises(BrainbrrError, match="are not those of the network"):
        open_run(folder).load_network("torch")
    (folder / MODEL).unlink()
    with pytest.raises(BrainbrrError, match="does not exist"):
        open_run(folder).load_network("torch")
    (folder / RUN).write_text("{}")
    with pytest.raises(BrainbrrError, match="is damaged"):
        open_run(folder)


def test_a_network_trained_with_kernels_runs_without_them(tmp_path: Path) -> None:
    folder, _ = random_run(tmp_path)
    values = json.loads((folder / RUN).read_text())
    values["ssm_backend"] = "mamba_ssm"
    (folder / RUN).write_text(json.dumps(values))
    predictor = Predictor.of(open_run(folder), random_settings(tmp_path))
    assert (predictor.batch, predictor.window_s) == (4, 20)
