"""The probability of a seizure as a file: tables, and a signal beside the EEG."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import edfio
import mne
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from brainbrr_core import load_model
from brainbrr_core.annotation import Event
from brainbrr_core.edf import records as edf_records
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.files import targets
from brainbrr_core.prediction.formats import Origin
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.prediction.traces import TRACES, check_traces
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal.statistics import Statistics
from tests.support.edf_files import patch, write_edf
from tests.support.prediction_runs import digital_eeg, random_run, write_digital
from tests.support.shell import Shell, clean_environment

ORIGIN = Origin("run", "v2", OperatingPoint(0.0, -0.25), "the whole recording's")
#: Bytes 8 to 168 of a header: patient and recording.
IDENTITY = slice(8, 168)


def prediction(probabilities: NDArray[np.float64], duration_s: float) -> Prediction:
    scores = np.log(probabilities / (1 - probabilities)).astype(np.float32)
    statistics = Statistics(np.zeros(19), np.ones(19))
    return Prediction([Event(1, 5)], duration_s, None, (), statistics, scores)


def written(path: Path, given: Prediction, trace: str = "edf") -> Path:
    target = path.with_name(path.stem + TRACES[trace].suffix)
    target.write_bytes(b"".join(TRACES[trace].pieces(path, given, ORIGIN)))
    return target


@pytest.mark.parametrize("record_s", [1, 0.25, 0.1, 2.5, 1.2])
@pytest.mark.parametrize("stamped", [False, True])
def test_the_eeg_stays_bit_for_bit_and_the_probability_lies_beside_it(
    tmp_path: Path, record_s: float, stamped: bool
) -> None:
    seconds = 30
    path = write_edf(
        tmp_path / "a.edf",
        labels=["EEG FP1-REF", "EEG O2-REF", "EKG", "SpO2"],
        rate=100,
        rates={"SpO2": 20},
        seconds=seconds,
        stamped=stamped,
        record_s=record_s,
    )
    # Another value in each frame.
    values = np.linspace(0.01, 0.99, 8 * seconds)
    copy = edfio.read_edf(written(path, prediction(values, seconds)))
    source = edfio.read_edf(path)
    assert copy.labels == (*source.labels, "Seizure prob")
    for one, other in zip(source.signals, copy.signals, strict=False):
        assert np.array_equal(one.digital, other.digital)
        assert (one.sampling_frequency, one.physical_range, one.digital_range) == (
            other.sampling_frequency,
            other.physical_range,
            other.digital_range,
        )
        assert one.physical_dimension == other.physical_dimension
    assert copy.annotations == ()
    assert copy.duration == source.duration
    added = copy.signals[-1]
    # 8 Hz where the data records allow it, otherwise a little more.
    assert 8 <= added.sampling_frequency <= max(8 / record_s, 1) * 10
    assert record_s in (0.1, 1.2) or added.sampling_frequency == 8
    step_s = Fraction(seconds, len(added.data))
    expected = values[[int((n + Fraction(1, 2)) * step_s * 8) for n in range(len(added.data))]]
    assert np.abs(added.data - expected).max() < 1e-5


def test_mne_shows_it_at_the_right_time(tmp_path: Path) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(20, 256), 256)
    values = np.full(160, 0.01)
    values[8 * 12 : 8 * 15] = 0.95
    raw = mne.io.read_raw_edf(written(path, prediction(values, 20)), verbose="error")
    [row] = raw.get_data(["Seizure prob"])
    assert np.flatnonzero(row > 0.9).min() / 256 == pytest.approx(12, abs=1 / 8)
    assert np.flatnonzero(row > 0.9).max() / 256 == pytest.approx(15, abs=1 / 8)


def test_nothing_of_the_patient_is_written(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", patient="Doe_Jane", seconds=20, stamped=True)
    edf = edfio.read_edf(path)
    edf.patient = edfio.Patient(code="MRN0042", sex="F", name="Doe_Jane")
    edf.recording = edfio.Recording(hospital_administration_code="H7", equipment_code="AmpX")
    edf.add_annotations([edfio.EdfAnnotation(3, None, "Jane says hello")])
    edf.signals[0].transducer_type = "Jane's cap"
    edf.write(path)
    patch(path, 8 + 80 + 80, b"04.05.20", 8)
    patch(path, 8 + 80 + 80 + 8, b"13.02.05", 8)
    content = written(path, prediction(np.full(160, 0.5), 20)).read_bytes()
    for word in (b"Jane", b"Doe", b"MRN", b"H7", b"AmpX"):
        assert word in path.read_bytes() and word not in content
    assert content[IDENTITY].decode().split() == [
        *("X", "X", "X", "X"),
        *("Startdate", "04-MAY-2020", "X", "X", "X"),
    ]
    assert content[168:184] == b"04.05.2013.02.05"


def test_a_long_recording_is_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(50, 256), 256)
    given = prediction(np.linspace(0.1, 0.9, 400), 50)
    whole = written(path, given).read_bytes()
    monkeypatch.setattr(edf_records, "_CHUNK_BYTES", 70_000)
    pieces = list(TRACES["edf"].pieces(path, given, ORIGIN))
    assert len(pieces) == 1 + 50 // 7 + 1
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) < 80_000


def test_tables_have_a_row_for_each_frame(tmp_path: Path) -> None:
    values = np.linspace(0.001, 0.999, 163)
    path = tmp_path / "night 1.edf"
    given = prediction(values, 20.3)
    header, *rows = written(path, given, "tsv").read_text().splitlines()
    assert header == "time_s\tprobability"
    numbers = np.array([row.split("\t") for row in rows], float)
    assert np.array_equal(numbers[:, 0], np.arange(163) / 8)
    assert np.abs(numbers[:, 1] - values).max() < 2e-6
    table = pq.read_table(written(path, given, "parquet"))
    assert table.column_names == ["time_s", "probability"]
    assert np.array_equal(table["time_s"].to_numpy(), np.arange(163) / 8)
    assert np.allclose(table["probability"].to_numpy(), values, atol=1e-6)
    assert table.schema.metadata == {
        b"recording": b"night 1",
        b"run": b"run",
        b"preprocessing_version": b"v2",
        b"on_threshold": b"0.5",
        b"mean_and_deviation": b"the whole recording's",
    }


class Predicting:
    def __init__(self, place: Path, shell: Shell) -> None:
        self.run, self.config = random_run(place)
        self.shell = shell

    def predict(self, *words: object) -> str:
        done = self.shell.type("predict", *words, "--config", self.config)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def predicting(tmp_path: Path, shell: Shell) -> Predicting:
    return Predicting(tmp_path, shell)


ALL = ("--probabilities", "tsv", "--probabilities", "parquet", "--probabilities", "edf")


def test_predict_writes_them_beside_the_events(
    predicting: Predicting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    one = write_digital(folder / "p" / "a.edf", digital_eeg(45, 200), 200)
    write_digital(folder / "b.b.edf", digital_eeg(31, 256), 256)
    values = json.loads(predicting.predict(folder, tmp_path / "out", *ALL, "--json"))
    names = {Path(name).relative_to(tmp_path / "out").as_posix() for name in values["files"]}
    endings = (".tsv", *(trace.suffix for trace in TRACES.values()))
    assert names == {f"{stem}{ending}" for stem in ("p/a", "b.b") for ending in endings}
    monkeypatch.setattr("os.environ", clean_environment())
    expected = load_model(predicting.run, config=predicting.config).probabilities(one)
    table = pq.read_table(tmp_path / "out" / "p" / "a.probabilities.parquet")
    assert np.array_equal(table["probability"].to_numpy(), expected)
    # Among the recordings they are no recordings.
    predicting.predict(folder, folder, *ALL)
    assert targets(folder, tmp_path / "out", []).files.keys() == {one, folder / "b.b.edf"}
    # Beside one named file.
    predicting.predict(one, tmp_path / "x.annotations.edf", "--probabilities", "edf")
    assert edfio.read_edf(tmp_path / "x.probabilities.edf").num_signals == 20
    predicting.predict(one, tmp_path / "y.csv_bi", "--probabilities", "tsv")
    assert (tmp_path / "y.probabilities.tsv").is_file()


def test_they_are_no_events_of_a_detector(
    predicting: Predicting, tmp_path: Path, shell: Shell
) -> None:
    folder = tmp_path / "in"
    for name in ("a", "b"):
        write_digital(folder / f"{name}.edf", digital_eeg(31, 256), 256)
    predicting.predict(folder, tmp_path / "reference", "--format", "csv_bi")
    for form in ("csv_bi", "tsv", "edf"):
        predicting.predict(folder, tmp_path / form, "--format", form, *ALL)
        done = shell.type("score", tmp_path / "reference", tmp_path / form)
        assert done.returncode == 0, done.stderr
        assert "2 recordings" in done.stdout


def test_what_is_not_possible_is_one_line(predicting: Predicting, tmp_path: Path) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(12, 200), 200)
    words = (path, tmp_path / "o.tsv", "--config", predicting.config)
    refused = predicting.shell.refused("predict", *words, "--probabilities", "xml")
    assert "'xml' is not one of 'tsv', 'parquet', 'edf'" in refused
    stream = ("predict", path, "--stream", "--probabilities", "edf", "--config", predicting.config)
    assert "leave --probabilities out" in predicting.shell.refused(*stream)
    with pytest.raises(BrainbrrError, match=r"a\.bdf is no EDF that a signal can be added to"):
        check_traces(["edf"], [path, tmp_path / "a.bdf"])
    check_traces(["tsv"], [tmp_path / "a.bdf"])
    with pytest.raises(BrainbrrError, match="'xml' is not known"):
        check_traces(["xml"], [path])
    recording = write_digital(tmp_path / "b.probabilities.edf", digital_eeg(12, 200), 200)
    with pytest.raises(BrainbrrError, match="is a recording"):
        targets(recording, tmp_path / "b.tsv", [], ["edf"])


def test_an_eeg_that_cannot_be_copied_fails_alone(predicting: Predicting, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_digital(folder / "a.edf", digital_eeg(12, 200), 200)
    other = write_edf(folder / "b.edf", labels=None, seconds=12)
    # A signal that is no electrode and whose range is no number does not keep events from being
    # found, but no header can be made of it.
    content = bytearray(
        write_edf(other, labels=[*edfio.read_edf(other).labels, "EKG"], seconds=12).read_bytes()
    )
    start = 256 + 20 * (16 + 80 + 8) + 8 * 19
    content[start : start + 8] = b"unknown "
    other.write_bytes(content)
    done = predicting.shell.type(
        "predict", folder, tmp_path / "out", *ALL, "--config", predicting.config
    )
    assert done.returncode == 1
    assert f"failed: {other}: the file is not a readable EDF" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.stem == "a") == [
        "a.tsv"
    ]
    assert (tmp_path / "out" / "a.probabilities.edf").is_file()
