"""A model folder predicts as its run, says what it is worth, and keeps what is private."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from brainbrr_core.configuration import Configuration, Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.method import method
from brainbrr_core.evaluation.results import RESULTS, report_folder
from brainbrr_core.export.card import Statements
from brainbrr_core.export.use import Use
from brainbrr_core.files.one_process import only_writer
from brainbrr_core.files.state import content_hash
from brainbrr_core.model import build_network
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.run import Run, open_model
from brainbrr_core.runs.weights import load_tensors, save_model, save_tensors
from brainbrr_core.scoring import OperatingPoint
from tests.support.exported_models import (
    SECRET,
    assert_private,
    export,
    secretive_run,
    weights_hash,
)
from tests.support.prediction_runs import digital_eeg, write_digital
from tests.support.shell import Shell
from tests.support.small_evaluation import sample


@pytest.fixture
def named(tmp_path: Path) -> tuple[Run, Configuration]:
    return secretive_run(tmp_path)


def test_the_exported_model_finds_the_events_of_its_run(
    named: tuple[Run, Configuration], tmp_path: Path, shell: Shell
) -> None:
    run, _ = named
    edf = write_digital(tmp_path / "a.edf", digital_eeg(95, 250, 5), 250)
    config = ("--config", f"smoke:cpu:{tmp_path / 'random.yaml'}")
    done = shell.type("model", "export", "random", tmp_path / "model", *config)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    # The weights are those of the run, tensor by tensor, without what its file says beside them.
    ours, theirs = load_file(tmp_path / "model" / MODEL), load_file(run.directory / MODEL)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    found = {}
    # Away from the run, on a machine whose settings are others.
    run.directory.rename(tmp_path / "runs_dir" / "elsewhere")
    (tmp_path / "other.yaml").write_text("detection: {on_threshold: 0.99}\n")
    for name, source, how in (
        ("run", tmp_path / "runs_dir" / "elsewhere", config),
        ("model", tmp_path / "model", ("--config", f"smoke:cpu:{tmp_path / 'other.yaml'}")),
    ):
        out = tmp_path / f"{name}.json"
        done = shell.type("predict", edf, out, "--run", source, *how)
        assert done.returncode == 0, done.stderr
        assert "tuned on dev" in done.stderr
        found[name] = json.loads(out.read_text())
        assert found[name].pop("run") == source.name
    assert found["run"]["operating_point_logits"] == {"on": 0.31, "off": 0.12}
    assert found["run"]["events"]
    assert found["model"] == found["run"]


def test_no_name_and_no_path_leaves_with_the_model(
    named: tuple[Run, Configuration], tmp_path: Path
) -> None:
    run, settings = named
    assert SECRET in (run.directory / "run.json").read_text()
    for path in export(run, settings, tmp_path / "model").iterdir():
        assert_private(path, tmp_path)


def test_the_card_says_what_the_model_is_worth(
    named: tuple[Run, Configuration], tmp_path: Path
) -> None:
    run, settings = named
    results = replace(
        sample("eval"),
        provenance={"weights (BLAKE3)": weights_hash(run)},
        eval_looks=EvalLooks(3, 2),
    )
    report_folder(run.directory, "eval").mkdir()
    (report_folder(run.directory, "eval") / RESULTS).write_text(results.to_json())
    # Of other weights: they are not this model's.
    report_folder(run.directory, "dev").mkdir()
    (report_folder(run.directory, "dev") / RESULTS).write_text(sample("dev").to_json())
    said = Statements(license="cc-by-4.0: no")
    card = (export(run, settings, tmp_path / "model", statements=said) / "README.md").read_text()
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "brainbrr",
        "license": "cc-by-4.0: no",
        "tags": ["eeg", "epilepsy", "seizure-detection", "brainbrr"],
    }
    # One of three seizures is found, with two false alarms in half an hour.
    figure = results.estimates["szcore_event.sensitivity"]
    assert re.search(
        rf"\| SzCORE event sensitivity, pooled \| 0\.333 \| \[{figure.low:.3f}, ", text
    )
    assert "scored 3 times by 2 runs" in text
    assert "On dev" not in text
    assert "nan" not in text
    assert "| train | 5 | 7 | 3.5 | 11 | 0.25 |" in text
    assert "layout of the Siena Scalp EEG Database" in text
    assert "Creative Commons Attribution 4.0 International" in text
    assert "band-pass 0.5 to 120 Hz" in text
    assert "on at logit 0.31 " in text
    assert "tuned on dev; SzCORE event F1 on dev at it: 0.625" in text
    assert "Seed 0, 1 of 1 step;" in text
    assert re.search(r"Preprocessing version: `v2_256hz_10-20_[0-9a-f]{12}`", text)
    assert "It is no medical device." in text
    for heading in ("Intended use", "How to use it", "Data", "Training", "Scores", "Limits"):
        assert f"\n## {heading}\n" in text


def test_the_card_says_where_scores_are_of_another_threshold_than_the_model_has(
    named: tuple[Run, Configuration], tmp_path: Path
) -> None:
    run, settings = named
    use = Use(settings.preprocessing, settings.detection, settings.hardware.precision)
    steps = method(use.preprocessing, use.detection, run.record.identity.windows.length_s)
    report_folder(run.directory, "eval").mkdir()
    said = "of other settings of detection than those above, with the threshold on at logit"
    for number, (point, sentences, another) in enumerate(
        [
            (OperatingPoint(0.31, 0.12), steps, False),
            (OperatingPoint(0.4, 0.12), steps, True),
            # The same threshold after another smoothing.
            (OperatingPoint(0.31, 0.12), steps[:1], True),
        ]
    ):
        results = replace(
            sample("eval"),
            provenance={"weights (BLAKE3)": weights_hash(run)},
            threshold=ThresholdChoice(point, "dev"),
            method=sentences,
        )
        (report_folder(run.directory, "eval") / RESULTS).write_text(results.to_json())
        card = (export(run, settings, tmp_path / f"model{number}") / "README.md").read_text()
        assert "On eval: " in card
        assert (said in card) is another


def test_what_the_user_says_of_the_data_is_on_the_card(
    named: tuple[Run, Configuration], tmp_path: Path
) -> None:
    run, settings = named
    said = Statements(data="Nights of 12 adults, CC0")
    folder = export(run, settings, tmp_path / "model", statements=said)
    text = (folder / "README.md").read_text()
    assert "\nNights of 12 adults, CC0\n" in text
    assert "License of the model: not stated." in text
    assert "None: the run was not evaluated" in text
    assert open_model(folder).corpus_name == "Nights of 12 adults, CC0"


def test_a_damaged_or_foreign_folder_is_one_line(
    named: tuple[Run, Configuration], tmp_path: Path, shell: Shell
) -> None:
    run, settings = named
    edf = write_digital(tmp_path / "a.edf", digital_eeg(12, 256), 256)
    folder = export(run, settings, tmp_path / "model")
    config, weights = folder / "config.json", folder / MODEL

    def refused(*words: object, status: int = 2) -> str:
        return shell.refused(
            *("predict", edf, tmp_path / "o.tsv", "--run", folder, *words), status=status
        )

    whole, tensors = config.read_text(), weights.read_bytes()
    config.write_text(whole.replace('"stride_s": 10', '"stride_s": 20'))
    assert "its checksum is another" in refused()
    config.write_text(whole.replace('"format": 1', '"format": 2', 1))
    assert "another version of the program (format 2, not 1)" in refused()
    config.write_text(whole[:-30])
    assert "is damaged (no JSON)" in refused()
    config.write_text('{"model_type": "bert"}')
    assert "another program wrote" in refused()
    config.write_text("[]")
    assert "another program wrote" in refused()
    config.write_text(whole)
    weights.write_bytes(tensors[:-1] + bytes([tensors[-1] ^ 1]))
    assert f"{weights} is damaged" in refused()
    # Whole weights, and of another network of the same shape.
    (tmp_path / "b").mkdir()
    other, others = secretive_run(tmp_path / "b")
    _scale(other)
    weights.write_bytes((export(other, others, tmp_path / "other") / MODEL).read_bytes())
    assert "does not have the weights that its run recorded" in refused()
    weights.unlink()
    assert f"{weights} does not exist" in refused()
    config.unlink()
    assert "no finished run" in refused(status=1)


def _scale(run: Run) -> None:
    """Change the weights of a run, and its record of them."""
    tensors, _ = load_tensors(run.directory / MODEL)
    checksum = save_tensors(
        run.directory / MODEL, {name: value * 2 for name, value in tensors.items()}, {}
    )
    path = run.directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_blake3": checksum}))
    object.__setattr__(run, "record", open_model(run.directory).record)


def test_what_needs_a_run_says_that_this_is_a_model(
    named: tuple[Run, Configuration], tmp_path: Path, shell: Shell
) -> None:
    run, settings = named
    folder = export(run, settings, tmp_path / "model")
    assert "is a model and not the run" in shell.refused("evaluate", folder)
    assert "is a model and not the run" in shell.refused("model", "export", folder, tmp_path / "x")


def test_an_export_replaces_nothing(
    named: tuple[Run, Configuration], tmp_path: Path, shell: Shell
) -> None:
    run, _ = named
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert f"{out} exists" in shell.refused("model", "export", run.directory, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    assert shell.type("model", "export", run.directory, out, "--json").returncode == 0
    with only_writer(tmp_path / "new", ""):
        said = shell.refused("model", "export", run.directory, tmp_path / "new")
    assert f"another process writes a model to {tmp_path / 'new'}: wait for it" in said
    # Nothing is left beside it where an export fails.
    (run.directory / MODEL).write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    assert "damaged" in shell.refused("model", "export", run.directory, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_of_ones_own_class_needs_the_class_that_was_trained(
    named: tuple[Run, Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "a_network_of_mine.py"
    source.write_text(
        "import torch\n"
        "class Mean(torch.nn.Module):\n"
        "    def __init__(self, channels, samples, rate, width=1):\n"
        "        super().__init__()\n"
        "        self.mix = torch.nn.Conv1d(channels, width, 1)\n"
        "    def forward(self, x):\n"
        "        return self.mix(x).mean(1)\n"
    )
    run, settings = named
    record = json.loads((run.directory / "run.json").read_text())
    identity = {"network": "a_network_of_mine:Mean", "options": {"width": 3}}
    network = build_network(Model.model_validate(identity), 20 * 256, channels=19, seed=1)
    record["identity"]["model"] = identity | {"source": content_hash(source)}
    record["configuration"]["model"] |= identity
    record["model_blake3"] = save_model(run.directory / MODEL, network, {})
    (run.directory / "run.json").write_text(json.dumps(record))
    folder = export(open_model(run.directory), settings, tmp_path / "model")
    assert "Network: a_network_of_mine:Mean, width 3" in (folder / "README.md").read_text()
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".safetensors"}
    loaded = open_model(folder).load_network("torch").state_dict()
    assert (loaded["network.mix.weight"] == network.state_dict()["network.mix.weight"]).all()
    source.write_text(source.read_text().replace("mean(1)", "sum(1)"))
    with pytest.raises(BrainbrrError, match=r"a_network_of_mine\.py has changed"):
        open_model(folder).load_network("torch")
