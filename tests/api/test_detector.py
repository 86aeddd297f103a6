"""A trained network in a script: files, recordings of MNE and arrays."""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import mne
import numpy as np
import pytest
from scipy.special import expit

from brainbrr_core import Detector, Event, load_model, preprocess
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA, MontageName
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.runs.used_versions import RUN
from tests.support.prediction_runs import (
    UNIT,
    digital_eeg,
    random_predictor,
    random_run,
    write_digital,
)
from tests.support.shell import Shell, clean_environment
from tests.support.stored_signals import naive_frames


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", clean_environment())


def spans(events: list[Event]) -> list[tuple[float, float]]:
    return [(event.start, event.stop) for event in events]


def read(path: Path) -> mne.io.BaseRaw:
    return mne.io.read_raw_edf(path, verbose="error")


@pytest.mark.parametrize("montage", ["10-20", "double-banana"])
def test_a_file_has_exactly_the_events_of_the_command_line(
    tmp_path: Path, shell: Shell, montage: MontageName
) -> None:
    folder, config = random_run(tmp_path, montage)
    path = write_digital(tmp_path / "a.edf", digital_eeg(95, 250), 250)
    typed = ("--run", folder, "--threshold", 0.55, "--config", config)
    done = shell.type("predict", path, tmp_path / "a.json", *typed)
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "a.json").read_text())["events"]
    assert len(expected) > 2
    detector = load_model(folder, threshold=0.55, config=config)
    events = detector.predict(path)
    assert [(event.start, event.duration, event.label, event.confidence) for event in events] == [
        (e["onset_s"], e["duration_s"], e["label"], e["confidence"]) for e in expected
    ]
    assert detector.predict(str(path)) == events
    # As MNE or numpy read it: the same times.
    assert spans(detector.predict(read(path))) == spans(events)
    array = digital_eeg(95, 250).astype(np.float64) * UNIT
    assert spans(detector.predict(array, 250, CHANNELS)) == spans(events)


def test_a_detector_says_what_it_is(tmp_path: Path) -> None:
    folder, config = random_run(tmp_path, "double-banana")
    (folder / "threshold.json").unlink(missing_ok=True)
    detector = load_model(folder, config=config)
    assert (detector.run, detector.montage, detector.rate) == ("random", "double-banana", 256)
    assert detector.channels == DOUBLE_BANANA
    assert detector.threshold == pytest.approx(0.5)
    assert detector.version.startswith("v2_256hz_double-banana_")
    assert repr(detector) == "<Detector random: 18 channels, threshold 0.5, on cpu>"
    assert load_model(folder, config=config, threshold=0.8).threshold == pytest.approx(0.8)


def test_a_run_is_named_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = random_run(tmp_path)
    assert load_model("random", config=config).run == "random"
    assert load_model("random", runs_dir=folder.parent).run == "random"
    monkeypatch.chdir(folder.parent)
    assert load_model("random").run == "random"
    with pytest.raises(BrainbrrError, match="no run other: it is neither a folder, nor a run in"):
        load_model("other", config=config)
    with pytest.raises(WorkRemains, match="no finished run"):
        load_model(tmp_path, config=config)
    with pytest.raises(BrainbrrError, match="the device 'gpu' is not known: use cpu or cuda"):
        load_model(folder, device=cast(Any, "gpu"))
    with pytest.raises(BrainbrrError, match="a threshold of 1 is no probability"):
        load_model(folder, threshold=1)
    for threshold in ("0.5", True, float("nan")):
        with pytest.raises(BrainbrrError, match=f"threshold is {threshold!r}, .* no number"):
            load_model(folder, threshold=cast(Any, threshold))
    for batch in (0, 1.5, "4", True):
        with pytest.raises(BrainbrrError, match=f"batch is {batch!r}: give a whole number"):
            load_model(folder, batch=cast(Any, batch))
    assert load_model(folder, threshold=cast(Any, Fraction(1, 4))).threshold == pytest.approx(0.25)


def test_the_device_is_that_of_the_configuration_or_the_one_that_is_named(tmp_path: Path) -> None:
    folder, config = random_run(tmp_path)
    on_gpu = tmp_path / "gpu.yaml"
    on_gpu.write_text("hardware: {device: cuda, precision: bfloat16, card: [NoSuchGpu]}\n")
    with pytest.raises(BrainbrrError, match="GPU"):
        load_model(folder, config=f"{config}:{on_gpu}")
    path = write_digital(tmp_path / "a.edf", digital_eeg(31, 256), 256)
    here = load_model(folder, config=f"{config}:{on_gpu}", device="cpu")
    assert here.predict(path) == load_model(folder, config=config).predict(path)


def test_probabilities_are_those_of_the_frames_that_evaluation_scores(tmp_path: Path) -> None:
    folder, config = random_run(tmp_path)
    seconds = 31.3
    digital = digital_eeg(seconds, 250)
    array = digital.astype(np.float64) * UNIT
    detector = load_model(folder, config=config, threshold=0.55)
    outcome = detector.analyze(array, 250, CHANNELS)
    probabilities = detector.probabilities(array, 250, CHANNELS)
    assert probabilities.shape == (int(np.ceil(digital.shape[1] / 250 * 8)),)
    assert np.array_equal(probabilities, outcome.probabilities)
    prepared = preprocess(array, 250, CHANNELS)
    stored = np.rint(prepared * 3276.7).astype(np.int16)
    predictor = random_predictor(tmp_path)
    frames = naive_frames(predictor.network, stored, predictor.window, predictor.stride)
    assert np.allclose(probabilities, expit(frames), atol=1e-4)
    assert outcome.events == detector.predict(array, 250, CHANNELS)
    assert outcome.duration_s == digital.shape[1] / 250


@pytest.mark.parametrize("has_date", [True, False])
@pytest.mark.parametrize("first_s", [0, 7])
def test_annotations_lie_where_the_events_are(tmp_path: Path, has_date: bool, first_s: int) -> None:
    folder, config = random_run(tmp_path)
    detector = load_model(folder, config=config, threshold=0.55)
    data = digital_eeg(65, 256).astype(np.float64) * UNIT * 1e-6
    info = mne.create_info(list(CHANNELS), 256, "eeg")
    raw = mne.io.RawArray(data, info, first_samp=first_s * 256, verbose="error")
    date = datetime.datetime(2020, 3, 2, 10, tzinfo=datetime.UTC) if has_date else None
    raw.set_meas_date(date)
    if has_date:
        # Annotations of its own, and a cut: neither shifts the events.
        raw.set_annotations(mne.Annotations([1 + first_s], [2], ["own"], orig_time=date))
        raw.crop(tmin=4.5)
    events = detector.predict(raw)
    assert len(events) > 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        annotations = detector.annotate(raw)
        assert annotations.orig_time == date
        raw.set_annotations(raw.annotations + annotations)
    # Where MNE itself looks for what is annotated.
    marked, _ = mne.events_from_annotations(raw, {"seiz": 1}, verbose="error")
    assert (marked[:, 0] - raw.first_samp).tolist() == [round(e.start * 256) for e in events]
    lengths = [row["duration"] for row in raw.annotations if row["description"] == "seiz"]
    assert np.allclose(lengths, [event.duration for event in events], atol=1e-3)
    started = detector.analyze(raw).start
    expected_start = datetime.datetime(2020, 3, 2, 10, 0, first_s + 4, 500000)
    assert started == (expected_start if has_date else None)


def test_bad_channels_of_mne_and_findings_reach_the_prediction(tmp_path: Path) -> None:
    folder, config = random_run(tmp_path)
    detector = load_model(folder, config=config, threshold=0.55)
    path = write_digital(tmp_path / "a.edf", digital_eeg(65, 256), 256)
    raw = read(path)
    raw.info["bads"] = ["EEG CZ-REF"]
    outcome = detector.analyze(raw, bads=["P4"])
    assert [str(finding) for finding in outcome.findings] == [
        "the recording: bad_channel (Cz)",
        "the recording: bad_channel (P4)",
        "the recording: interpolated_channel (Cz)",
        "the recording: interpolated_channel (P4)",
    ]
    assert not np.allclose(outcome.probabilities, detector.probabilities(path), atol=1e-3)


Call = Callable[[Detector, Path], object]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, p: d.predict(p / "no.edf"), r"no\.edf cannot be read \(No such file"),
        (lambda d, p: d.predict(p / "text.edf"), "not a readable EDF"),
        (lambda d, p: d.predict(p), "is a folder: give the path of a recording"),
        (lambda d, _: d.predict("."), r"\. is a folder: give the path of a recording"),
        (lambda d, _: d.predict(Path("/")), "/ is a folder: give the path of a recording"),
        (lambda d, p: d.predict(p / "text.edf", 256), "leave rate, channels and bads out"),
        (lambda d, _: d.predict(np.zeros((19, 5000))), "give rate, in Hz"),
        (lambda d, _: d.predict(cast(Any, 3)), "int is no signal"),
        (lambda d, _: d.annotate(np.zeros((19, 5000))), "ndarray is no recording of MNE"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, call: Call, message: str) -> None:
    folder, config = random_run(tmp_path)
    (tmp_path / "text.edf").write_text("nothing")
    with pytest.raises(BrainbrrError, match=message) as error:
        call(load_model(folder, config=config), tmp_path)
    assert "\n" not in str(error.value)


def test_a_network_of_imported_signals_is_refused_at_once(tmp_path: Path) -> None:
    folder, config = random_run(tmp_path)
    values = json.loads((folder / RUN).read_text())
    values["identity"]["preprocessing_version"] = "v0-npz_256hz_10-20_0123456789ab"
    (folder / RUN).write_text(json.dumps(values))
    with pytest.raises(BrainbrrError, match="whose signal chain is not known"):
        load_model(folder, config=config)
