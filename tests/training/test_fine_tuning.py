"""A training that begins with the weights of a run or an exported model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import Tensor

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration, Model, apply_values
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build_network
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.run import Run, open_run
from brainbrr_core.runs.weights import load_tensors
from brainbrr_core.training.fine_tuning import freeze_encoder
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.run import train
from tests.support.exported_models import export
from tests.support.shell import Shell
from tests.support.small_run import small_config


@pytest.fixture(scope="module")
def trained(
    master_cache: Configuration, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Configuration, Run]:
    """A corpus that is ready for training, and a run on it."""
    place = tmp_path_factory.mktemp("fine-tuning")
    settings = master_cache.model_copy(update={"runs_dir": place / "runs"})
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    return settings, train(settings, log=lambda _line: None)


def weights(run: Run) -> dict[str, Tensor]:
    return load_tensors(run.directory / "model.safetensors")[0]


def tuned(settings: Configuration, start: object, **values: object) -> Configuration:
    """The settings of a training on the same recordings that begins with other weights."""
    given = {"training.start_from": str(start), "training.seed": 7} | {
        f"training.{key}": value for key, value in values.items()
    }
    return apply_values(settings, given, "the test")


def test_a_training_begins_with_the_weights_of_a_run_and_leaves_a_frozen_part_alone(
    trained: tuple[Configuration, Run], tmp_path: Path
) -> None:
    settings, run = trained
    lines: list[str] = []
    first = weights(run)
    # So slow that every weight stays close to where it began.
    slow = {"learning_rate": 1e-9, "weight_decay": 0.0}
    near = weights(train(tuned(settings, run.name, **slow), log=lines.append))
    assert all((near[name] - first[name]).abs().max() < 1e-6 for name in first)
    assert any(f"starts from the weights of {run.name} " in line for line in lines)
    # The same from a model that was exported from it: the same run, wherever the weights are.
    model = export(run, settings, tmp_path / "model")
    again = train(tuned(settings, model, **slow), log=lines.append)
    assert again.reused
    identity = json.loads((again.directory / "run.json").read_text())["identity"]
    assert identity["start"] == {"weights": run.record.model_blake3}
    assert str(tmp_path) not in json.dumps(identity)
    frozen = weights(train(tuned(settings, model, freeze="encoder"), log=lines.append))
    same = {name for name in first if (frozen[name] == first[name]).all()}
    assert {name for name in first if name.startswith("down.")} <= same
    assert "head.weight" not in same and "layers.0.forwards.A_log" not in same
    assert "606,848 parameters are trained" in lines[-1] or any(
        " of 606,848 parameters are trained" in line for line in lines
    )


def test_an_interrupted_fine_tuning_resumes_to_the_same_weights(
    trained: tuple[Configuration, Run], tmp_path: Path
) -> None:
    settings, run = trained
    model = export(run, settings, tmp_path / "model")
    settings = settings.model_copy(update={"runs_dir": tmp_path / "whole"})
    wanted = tuned(settings, model, freeze="encoder", checkpoint_every=1)
    whole = weights(train(wanted, log=lambda _line: None))

    def interrupt(step: StepReport) -> None:
        if step.step == 2:
            raise InterruptedError

    parts = wanted.model_copy(update={"runs_dir": tmp_path / "parts"})
    with pytest.raises(InterruptedError):
        train(parts, on_step=interrupt, log=lambda _line: None)
    resumed = train(parts, log=lambda _line: None)
    assert resumed.record.fit.resumed_from == 2
    both = weights(resumed)
    assert all((both[name] == whole[name]).all() for name in whole)


def test_without_a_start_nothing_of_it_is_in_the_identity(settings: Configuration) -> None:
    shaping = TrainingSettings.of(settings).shaping()
    assert "start" not in shaping
    training = shaping["training"]
    assert isinstance(training, dict)
    assert not {"start_from", "freeze"} & set(training)


def test_another_network_or_montage_is_one_line(
    trained: tuple[Configuration, Run], tmp_path: Path
) -> None:
    settings, run = trained
    start = TrainingSettings.of(tuned(settings, run.name)).start
    assert start is not None
    version = run.record.identity.preprocessing_version
    start.check(settings.model, version)
    with pytest.raises(BrainbrrError, match="is of the network tiny and this training of small"):
        start.check(Model(preset="small"), version)
    with pytest.raises(BrainbrrError, match="montage 10-20 and this training of double-banana"):
        start.check(settings.model, version.replace("10-20", "double-banana"))
    # Before it is said that its cache is not built.
    banana = apply_values(
        tuned(settings, run.name), {"preprocessing.montage": "double-banana"}, "the test"
    )
    with pytest.raises(BrainbrrError, match="montage 10-20 and this training of double-banana"):
        train(banana, log=lambda _line: None)
    with pytest.raises(BrainbrrError, match=f"no run {tmp_path / 'none'}"):
        TrainingSettings.of(tuned(settings, tmp_path / "none"))
    with pytest.raises(BrainbrrError, match="freeze keeps the weights of start_from"):
        apply_values(settings, {"training.freeze": "encoder"}, "the test")
    network = build_network(Model(network="line_length"), 2560, channels=19)
    with pytest.raises(BrainbrrError, match="the network line_length has no encoder"):
        freeze_encoder(network)


def test_the_command_takes_a_model(
    trained: tuple[Configuration, Run], tmp_path: Path, shell: Shell
) -> None:
    settings, run = trained
    model = export(run, settings, tmp_path / "model")
    config = small_config(settings.cache_root.parent)
    folders = ("--config", config, "--runs-dir", tmp_path / "runs")
    done = shell.type("train", "--from", model, "--freeze", "encoder", *folders, "--json")
    assert done.returncode == 0, done.stderr
    made = open_run(Path(json.loads(done.stdout)["run"]))
    assert made.record.identity.as_written()["start"] == {"weights": run.record.model_blake3}
    assert "training.start_from: " in shell.refused(
        *("train", "--from", model, *folders, "--config"),
        f"{config}:{_preset(tmp_path)}",
    )
    assert "freeze keeps the weights" in shell.refused("train", "--freeze", "encoder", *folders)


def _preset(place: Path) -> Path:
    path = place / "preset.yaml"
    path.write_text("model: {preset: small}\n")
    return path
