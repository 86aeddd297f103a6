"""The model that comes with the package: found without a run, and said to be what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brainbrr_core import load_model
from brainbrr_core.configuration import Model
from brainbrr_core.constants import MONTAGES, RATE, MontageName
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build_network
from brainbrr_core.runs.record import PRETRAINED
from brainbrr_core.runs.run import open_model
from brainbrr_core.runs.starting_point import find_starting_point
from brainbrr_core.training.fine_tuning import load_starting_weights
from tests.support.prediction_runs import digital_eeg, random_run, write_digital
from tests.support.shell import Shell, clean_environment


def test_without_a_run_the_network_is_the_one_of_the_package(tmp_path: Path, shell: Shell) -> None:
    edf = write_digital(tmp_path / "a.edf", digital_eeg(95, 250), 250)
    done = shell.type("predict", edf, tmp_path / "a.tsv", "--runs-dir", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "comes with brainbrr" in done.stderr and "simulated EEG alone" in done.stderr
    assert str(PRETRAINED["pretrained"] / "README.md") in done.stderr
    named = shell.type("predict", edf, tmp_path / "b.tsv", "--run", "pretrained")
    assert named.returncode == 0, named.stderr
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


def test_only_settings_that_somebody_set_are_said_not_to_count(
    tmp_path: Path, shell: Shell
) -> None:
    edf = write_digital(tmp_path / "a.edf", digital_eeg(95, 250), 250)
    mine = tmp_path / "mine.yaml"
    mine.write_text("preprocessing: {notch_hz: 50}\nhardware: {report_every: 7}\n")

    def said(*words: object, environment: dict[str, str] | None = None) -> list[str]:
        words = ("predict", edf, tmp_path / "a.tsv", "--runs-dir", tmp_path / "runs", *words)
        done = shell.type(*words, environment=environment)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if "own settings" in line]

    # The windows and the detection of a configuration that nobody named are others, too.
    assert said() == []
    expected = [
        "run pretrained is used with its own settings; those of the configuration differ: "
        "preprocessing.notch_hz: 60 against 50"
    ]
    assert said("--config", f"full:cpu:{mine}") == expected
    assert said(environment={"BRAINBRR_CONFIG": f"full:cpu:{mine}"}) == expected
    assert said("--config", "full:cpu") == []


def test_a_run_comes_before_it(tmp_path: Path, shell: Shell) -> None:
    edf = write_digital(tmp_path / "a.edf", digital_eeg(40, 250), 250)
    folder, config = random_run(tmp_path)
    typed = ("predict", edf, tmp_path / "a.tsv", "--config", config)
    done = shell.type(*typed, "--runs-dir", folder.parent)
    assert done.returncode == 0, done.stderr
    assert folder.name in done.stderr and "comes with brainbrr" not in done.stderr


@pytest.mark.parametrize("name", PRETRAINED)
def test_it_is_small_and_its_card_says_what_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", clean_environment())
    detector = load_model(name, device="cpu")
    montage: MontageName = "double-banana" if "banana" in name else "10-20"
    assert detector.channels == MONTAGES[montage] and 0 < detector.threshold < 1
    folder = PRETRAINED[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15e6
    card = (folder / "README.md").read_text("utf-8")
    for words in ("Simulated scalp EEG alone", "no medical device", "apache-2.0", f"--run {name}"):
        assert words in card, words
    # Neither a path of a machine nor a recording of a person.
    for text in (card, (folder / "config.json").read_text("utf-8")):
        assert not any(root in text for root in ("/tmp", "/home", "/work"))


def test_a_bipolar_recording_is_read_by_the_network_of_derivations(
    tmp_path: Path, shell: Shell
) -> None:
    labels = [name.upper() for name in MONTAGES["double-banana"]]
    signal = digital_eeg(95, 256)[: len(labels)]
    edf = write_digital(tmp_path / "a.edf", signal, 256, labels)
    refused = shell.type("predict", edf, tmp_path / "a.tsv", "--run", "pretrained")
    assert refused.returncode != 0 and "pretrained-double-banana" in refused.stderr
    done = shell.type("predict", edf, tmp_path / "a.tsv", "--run", "pretrained-double-banana")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.tsv").is_file()


def test_a_training_begins_with_it_on_its_montage_and_with_any_window(tmp_path: Path) -> None:
    start = find_starting_point("pretrained", tmp_path)
    assert start is not None and start.directory == PRETRAINED["pretrained"]
    identity = start.record.identity
    tiny, version = Model(preset="tiny"), identity.preprocessing_version
    # Its own windows are of 30 s.
    assert identity.windows.length_s == 30
    network = build_network(tiny, 60 * RATE, seed=3)
    load_starting_weights(network, start, tiny, version)
    pretrained = open_model(PRETRAINED["pretrained"]).load_network("torch").state_dict()
    assert all(torch.equal(value, pretrained[key]) for key, value in network.state_dict().items())
    banana = version.replace("10-20", "double-banana")
    with pytest.raises(BrainbrrError, match="montage 10-20 and this training of double-banana"):
        load_starting_weights(network, start, tiny, banana)
    with pytest.raises(BrainbrrError, match="network tiny and this training of dcrnn"):
        load_starting_weights(network, start, Model(network="dcrnn"), version)
