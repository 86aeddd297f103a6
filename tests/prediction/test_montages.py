"""A run of the double-banana montage: what it predicts, and what it refuses by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from brainbrr_core.cache.version import montage_of, preprocessing_version
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.runs.own_settings import check_version
from brainbrr_core.runs.run import open_run
from brainbrr_core.runs.used_versions import RUN
from tests.support.bipolar_files import CHBMIT_LABELS, bipolar_signals, write_signals
from tests.support.prediction_runs import UNIT, digital_eeg, random_run
from tests.support.shell import Shell

SETTINGS = """\
profile: small
preprocessing: {montage: double-banana}
hardware: {batch_size: 4}
training: {steps: 3, warmup_steps: 1, augmentation: {left_right_flip: 0.5}}
detection: {on_threshold: 0.5}
evaluation: {split: eval, allow_eval: true}
"""


def potentials(seconds: int = 60) -> dict[str, NDArray[np.float64]]:
    """Electrodes whose amplitude changes, so that a network has something to find."""
    names = (*CHANNELS, "FT9", "FT10")
    rows = digital_eeg(seconds, 256, 600, len(names)) * UNIT
    return dict(zip(names, rows, strict=True))


def referential(path: Path) -> Path:
    data = potentials()
    return write_signals(path, {f"EEG {n}-REF": data[n] for n in CHANNELS}, 256)[0]


def bipolar(path: Path) -> Path:
    return write_signals(path, bipolar_signals(CHBMIT_LABELS, potentials()), 256)[0]


#: Where the scores of the network of random weights cross it.
THRESHOLD = ("--threshold", "0.75")


class Predicting:
    """Types ``brainbrr predict`` with a run of random weights."""

    def __init__(self, folder: Path, shell: Shell, config: str) -> None:
        self.folder, self._shell, self._config = folder, shell, config

    def events(self, path: Path) -> list[dict[str, object]]:
        """Events of an EDF."""
        out = self.folder / "out.json"
        done = self._shell.type(
            "predict", path, out, "--format", "json", *THRESHOLD, "--config", self._config
        )
        assert done.returncode == 0, done.stderr
        events: list[dict[str, object]] = json.loads(out.read_text())["events"]
        return events

    def streamed(self, *words: object, stdin: bytes = b"") -> list[tuple[float, float]]:
        """Start and duration of the events of a stream."""
        done = self._shell.type(
            "predict", *words, "--stream", *THRESHOLD, "--config", self._config, stdin=stdin
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [(x["onset_s"], x["duration_s"]) for x in lines if x["kind"] == "event"]

    def refused(self, *words: object) -> str:
        return self._shell.refused("predict", *words, "--config", self._config)


@pytest.fixture
def banana(tmp_path: Path, shell: Shell) -> Predicting:
    folder = tmp_path / "banana"
    folder.mkdir()
    return Predicting(folder, shell, random_run(folder, "double-banana")[1])


def test_a_referential_and_a_bipolar_file_give_the_same_events(
    banana: Predicting, tmp_path: Path
) -> None:
    one = banana.events(referential(tmp_path / "a.edf"))
    other = banana.events(bipolar(tmp_path / "b.edf"))
    assert len(one) > 2
    # Both files were rounded to 0.1 µV: a frame at a threshold may fall on its other side.
    assert abs(len(one) - len(other)) <= 2


def test_a_stream_of_electrodes_is_derived(banana: Predicting, tmp_path: Path) -> None:
    path = referential(tmp_path / "a.edf")
    growing = banana.streamed(path, "--idle", "0")
    assert len(growing) > 2
    assert len(banana.streamed(bipolar(tmp_path / "b.edf"), "--idle", "0")) > 2
    # The digital samples of the same file, as a pipe gives them.
    from brainbrr_core.edf.reader import open_edf

    source = open_edf(path)
    samples = source.read(0, source.samples)
    piped = banana.streamed("-", "--rate", "256", stdin=samples.T.astype("<f4").tobytes())
    assert piped == growing


def test_statistics_of_another_montage_are_refused(
    banana: Predicting, tmp_path: Path, shell: Shell
) -> None:
    path, stats = referential(tmp_path / "a.edf"), tmp_path / "stats.json"
    assert len(banana.events(path)) > 2
    other = Predicting(tmp_path, shell, random_run(tmp_path)[1])
    saved = shell.type(
        "predict", path, tmp_path / "o.tsv", "--save-stats", stats, "--config", other._config
    )
    assert saved.returncode == 0
    assert "v2_256hz_10-20_" in banana.refused(path, tmp_path / "o.tsv", "--stats", stats)


def test_a_referential_run_refuses_a_bipolar_file_by_name(tmp_path: Path, shell: Shell) -> None:
    folder, config = random_run(tmp_path)
    predicting = Predicting(folder, shell, config)
    refusal = predicting.refused(bipolar(tmp_path / "b.edf"), tmp_path / "o.tsv")
    assert "bipolar_montage: 20 derivations" in refusal
    assert "preprocessing.montage: double-banana" in refusal


@pytest.mark.parametrize(
    ("trained", "configured"), [("double-banana", "10-20"), ("10-20", "double-banana")]
)
def test_a_run_keeps_its_montage_and_refuses_signals_of_another_by_name(
    tmp_path: Path, shell: Shell, trained: MontageName, configured: MontageName
) -> None:
    folder, config = random_run(tmp_path, trained)
    other = tmp_path / "other.yaml"
    other.write_text(f"preprocessing: {{montage: {configured}}}\n")
    # What a run does not record stays as in the configuration.
    values = json.loads((folder / RUN).read_text())
    values["configuration"] = {"preprocessing": {"montage": trained}}
    (folder / RUN).write_text(json.dumps(values))
    path = referential(tmp_path / "a.edf")
    words = ("predict", path, tmp_path / "o.json", "--run", folder)
    done = shell.type(*words, "--config", f"{config}:{other}")
    assert done.returncode == 0, done.stderr
    assert f"preprocessing.montage: {trained}" in done.stderr
    settings = Preprocessing(montage=configured)
    with pytest.raises(BrainbrrError, match=f"preprocessing.montage.*{trained}"):
        check_version(open_run(folder), preprocessing_version(settings), settings)


def type_all(shell: Shell, commands: Sequence[Sequence[object]]) -> None:
    for words in commands:
        done = shell.type(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.mark.usefixtures("one_worker")
def test_from_bipolar_files_to_a_report(tmp_path: Path, shell: Shell) -> None:
    data, path = tmp_path / "data", tmp_path / "small.yaml"
    folders = {
        "data_dir": data,
        "cache_root": tmp_path / "cache",
        "runs_dir": tmp_path / "runs",
        "dagster_home": tmp_path / "dagster",
    }
    path.write_text(SETTINGS + "".join(f"{key}: {value}\n" for key, value in folders.items()))
    config = ("--config", f"smoke:cpu:{path}")
    made = ("synth", data, "--recordings", 12, "--hours", 0.3, "--bipolar", "--workers", 1)
    steps = [("index",), ("cache", "build"), ("manifest",), ("train",), ("evaluate",)]
    type_all(shell, [made, *([*step, *config] for step in steps)])
    (folder,) = (tmp_path / "runs").glob("small-*")
    run = open_run(folder)
    assert montage_of(run.record.identity.preprocessing_version) == "double-banana"
    network = run.load_network("torch")
    assert isinstance(network, SeizureNetwork)
    assert network.channels == 18
    with safe_open(folder / "model.safetensors", framework="np") as file:
        header = json.loads(file.metadata()["brainbrr"])["header"]
    assert "_double-banana_" in header["identity"]["preprocessing_version"]
    report = (folder / "report-eval" / "report.html").read_text()
    assert "18 bipolar derivations of the double-banana montage" in report
    assert all(name in report for name in DOUBLE_BANANA)
