"""An exported graph gives the network's probabilities, and an EDF its events, without brainbrr."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import edfio
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from brainbrr_core.annotation import szcore
from brainbrr_core.constants import RATE, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.export.graphs import write_graphs
from brainbrr_core.export.standalone import electrodes
from brainbrr_core.model import AdaptedNetwork
from brainbrr_core.model.networks import BUILT_IN
from brainbrr_core.prediction.predictor import Predictor, threshold_of
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.runs.own_settings import with_network_settings
from brainbrr_core.runs.run import Run, open_run
from brainbrr_core.scoring import sigmoid
from brainbrr_core.signal.montage import label_rules
from tests.support.edf_files import restamp, write_edf
from tests.support.exported_models import assert_private, export, secretive_run
from tests.support.prediction_runs import (
    WINDOW_S,
    digital_eeg,
    random_run,
    random_settings,
    write_digital,
)
from tests.support.shell import clean_environment
from tests.support.toy_training import other_network

#: Runs a script in a process that has no brainbrr and no torch.
WITHOUT_BRAINBRR = """\
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("brainbrr_core", "brainbrr_pipeline", "torch", "mne"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run, and its model with both graphs."""
    place = tmp_path_factory.mktemp("graphs")
    run, settings = secretive_run(place)
    return run, export(run, settings, place / "model", "onnx", "torch-export")


def windows(count: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 19, WINDOW_S * RATE)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_graphs_give_the_networks_logits_for_any_number_of_windows(
    model: tuple[Run, Path], count: int
) -> None:
    run, folder = model
    signals = windows(count)
    with torch.inference_mode():
        expected = run.load_network("torch")(torch.from_numpy(signals)).numpy()
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    logits, probabilities = session.run(["logits", "probabilities"], {"signals": signals})
    # The network is not indifferent to what it sees.
    assert expected.std() > 0.05
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities, sigmoid(expected), atol=1e-4)
    of_torch = torch.export.load(folder / "model.pt2").module()(torch.from_numpy(signals))
    np.testing.assert_allclose(of_torch[0].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(of_torch[1].numpy(), sigmoid(expected), atol=1e-4)


@pytest.mark.slow
def test_nothing_private_is_in_the_graphs(model: tuple[Run, Path]) -> None:
    run, folder = model
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "model.safetensors", "README.md", "model.onnx", "model.pt2"),
        *("signal_chain.json", "predict.py"),
    }
    for path in folder.iterdir():
        assert_private(path, run.directory.parents[1])


def without_brainbrr(script: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_BRAINBRR, str(script), *map(str, words)],
        env=clean_environment(),
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def prediction(edf: Path, run: Run, place: Path, montage: MontageName = "10-20") -> Prediction:
    """What the program itself makes of an EDF."""
    settings = with_network_settings(random_settings(place, montage), run).configuration
    point, _ = threshold_of(run, settings.detection, "float32")
    return Predictor.of(run, settings).predict(edf, point)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "seconds"), [(256, 95), (250, 65), (333, 41), (256, 12)])
def test_an_edf_has_the_same_probabilities_and_events_without_brainbrr(
    model: tuple[Run, Path], tmp_path: Path, rate: int, seconds: int
) -> None:
    run, folder = model
    edf = write_digital(tmp_path / "a.edf", digital_eeg(seconds, rate, 5), rate)
    done = without_brainbrr(
        folder / "predict.py", edf, tmp_path / "theirs.tsv", tmp_path / "theirs.npy"
    )
    assert done.returncode == 0, done.stderr
    ours = prediction(edf, run, tmp_path)
    assert ours.probabilities.std() > 0.01
    np.testing.assert_allclose(np.load(tmp_path / "theirs.npy"), ours.probabilities, atol=1e-4)
    # What `brainbrr score` reads of it.
    read = szcore.read(tmp_path / "theirs.tsv")
    assert read.usable
    assert read.duration_s == pytest.approx(ours.duration_s, abs=5e-3)
    lines = (tmp_path / "theirs.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines if "\tbckg\t" not in line]
    assert len(lines) == max(len(rows), 1)
    assert ours.events or seconds == 12
    assert len(rows) == len(ours.events) == len(read.events)
    for row, event in zip(rows, ours.events, strict=True):
        assert float(row[0]) == pytest.approx(event.start, abs=1e-3)
        assert float(row[1]) == pytest.approx(event.duration, abs=1e-3)
        assert event.confidence is not None
        assert float(row[3]) == pytest.approx(event.confidence, abs=2e-4)


@pytest.mark.slow
def test_a_recording_without_events_has_a_row_of_background_without_brainbrr(
    model: tuple[Run, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model[1], folder)
    chain = json.loads((folder / "signal_chain.json").read_text())
    chain["operating_point_logits"] = {"on": 1e9, "off": 1e9}
    (folder / "signal_chain.json").write_text(json.dumps(chain))
    edf = write_digital(tmp_path / "a.edf", digital_eeg(12, 256, 5), 256)
    done = without_brainbrr(folder / "predict.py", edf, tmp_path / "a.tsv")
    assert done.returncode == 0, done.stderr
    read = szcore.read(tmp_path / "a.tsv")
    assert (read.usable, read.events, read.duration_s) == (True, (), 12.0)
    assert [(row.start, row.stop) for row in read.background] == [(0.0, 12.0)]


@pytest.mark.slow
def test_derivations_are_computed_without_brainbrr_too(tmp_path: Path) -> None:
    folder, _ = random_run(tmp_path, "double-banana")
    run = open_run(folder)
    out = export(run, random_settings(tmp_path, "double-banana"), tmp_path / "model", "onnx")
    edf = write_digital(tmp_path / "a.edf", digital_eeg(30, 256, 5), 256)
    done = without_brainbrr(out / "predict.py", edf, tmp_path / "a.tsv", tmp_path / "a.npy")
    assert done.returncode == 0, done.stderr
    ours = prediction(edf, run, tmp_path, "double-banana")
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), ours.probabilities, atol=1e-4)


@pytest.mark.slow
def test_an_edf_that_lacks_an_electrode_is_one_line_without_brainbrr(
    model: tuple[Run, Path], tmp_path: Path
) -> None:
    _, folder = model
    edf = write_digital(tmp_path / "a.edf", digital_eeg(12, 256, channels=18), 256)
    done = without_brainbrr(folder / "predict.py", edf, tmp_path / "a.tsv")
    assert done.returncode == 1
    assert done.stderr == f"predict.py: {edf} lacks Fz: use brainbrr\n"


@pytest.mark.parametrize(
    ("labels", "unit", "onsets", "line"),
    [
        (["Fp1", "EEG FP1-REF"], "uV", None, "has two signals of Fp1: use brainbrr"),
        (["Fp1"], "n/a", None, "has a unit 'n/a' of Fp1: use brainbrr"),
        (["Fp1"], "uV", ["+0", "+60"], "has gaps between its data records: use brainbrr"),
    ],
)
def test_what_brainbrr_excludes_is_refused_without_it(
    tmp_path: Path, labels: list[str], unit: str, onsets: list[str] | None, line: str
) -> None:
    edf = write_edf(
        tmp_path / "a.edf", labels=labels, unit=unit, seconds=2, stamped=onsets is not None
    )
    if onsets is not None:
        restamp(edf, b"EDF+D", onsets)
    with pytest.raises(SystemExit) as refused:
        electrodes(str(edf), str(label_rules()["label"]), {"FP1": "Fp1"})
    assert str(refused.value) == f"predict.py: {edf} {line}"


@pytest.mark.parametrize(
    ("seconds", "value", "line"),
    [
        (9, None, "is shorter than 10 s"),
        (12, 0.0, "has a constant value on every electrode"),
        (12, 30.0, "has a constant value on every electrode"),
    ],
)
def test_a_recording_without_a_signal_has_no_events_file_without_brainbrr(
    tmp_path: Path, seconds: int, value: float | None, line: str
) -> None:
    """A file without events would say that nothing was found."""
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(
            rng.normal(scale=20, size=256 * seconds).clip(-90, 90)
            if value is None
            else np.full(256 * seconds, value),
            256,
            label=name,
            physical_dimension="uV",
            physical_range=(-100, 100),
        )
        for name in ("Fp1", "F3")
    ]
    edf = tmp_path / "a.edf"
    edfio.Edf(signals).write(edf)
    with pytest.raises(SystemExit) as refused:
        electrodes(str(edf), str(label_rules()["label"]), {"FP1": "Fp1", "F3": "F3"})
    assert str(refused.value) == f"predict.py: {edf} {line}"


@pytest.mark.parametrize(
    "name",
    [name if name == "eegnet" else pytest.param(name, marks=pytest.mark.slow) for name in BUILT_IN],
)
def test_any_network_by_name_has_a_graph(name: str, tmp_path: Path) -> None:
    network = other_network(name, seed=1).eval()
    seconds = network.samples // RATE
    write_graphs(tmp_path, network, seconds, ["onnx", "torch-export"])
    shape = (3, network.channels, network.samples)
    signals = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    logits, probabilities = session.run(["logits", "probabilities"], {"signals": signals})
    with torch.inference_mode():
        expected = network(torch.from_numpy(signals)).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities, sigmoid(expected), atol=1e-4)
    of_torch = torch.export.load(tmp_path / "model.pt2").module()(torch.from_numpy(signals))
    np.testing.assert_allclose(of_torch[0].numpy(), expected, atol=1e-4)


class Counting(torch.nn.Module):
    """A network that looks at its input's values to decide what to do."""

    channels = 19

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1) if float(x.max()) > 0 else x.sum(1)


def test_a_network_without_a_graph_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = AdaptedNetwork(Counting(), "mine:Counting", 19, 10 * RATE)
    with pytest.raises(BrainbrrError, match="torch makes no graph of this network") as raised:
        write_graphs(tmp_path, network, 10, ["torch-export"])
    assert "\n" not in str(raised.value)
    monkeypatch.setattr("brainbrr_core.export.graphs.find_spec", lambda _name: None)
    with pytest.raises(BrainbrrError, match=r"pip install 'brainbrr\[onnx\]'"):
        write_graphs(tmp_path, network, 10, ["onnx"])
    assert list(tmp_path.iterdir()) == []
