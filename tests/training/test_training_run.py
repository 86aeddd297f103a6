"""A run from pre-flight to record: what it checks, logs and records, and how it is loaded."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator
from typer.testing import CliRunner

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Augmentation, Configuration, Hardware
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.provenance import skipped_note
from brainbrr_core.files import room
from brainbrr_core.model import SeizureNetwork
from brainbrr_core.model import backend as backends
from brainbrr_core.model import build as build_network
from brainbrr_core.model.mamba2 import Mamba2
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.record import FitRecord
from brainbrr_core.runs.run import open_run, run_directory
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training import new_run as run_module
from brainbrr_core.training.distributed import ProcessGroup
from brainbrr_core.training.new_run import training_batches
from brainbrr_core.training.preflight import check_space, checkpoint_bytes
from brainbrr_core.training.provenance import code_version
from brainbrr_core.training.run import train, train_on
from tests.support.toy_training import toy_batch, toy_provenance, toy_settings
from tests.support.toy_training import train as toy_train


def quiet(_line: str) -> None:
    """Log nothing."""


@pytest.fixture
def ready(prepared: Configuration, tmp_path: Path) -> Configuration:
    """The same with the test's own folder for runs."""
    return prepared.model_copy(update={"runs_dir": tmp_path / "runs"})


def training(settings: Configuration, **values: Any) -> Configuration:
    changed = settings.training.model_copy(update=values)
    return settings.model_copy(update={"training": changed})


def hardware(settings: Configuration, **values: Any) -> Configuration:
    changed = settings.hardware.model_copy(update=values)
    return settings.model_copy(update={"hardware": changed})


def logged_steps(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def test_a_run_records_where_it_comes_from(ready: Configuration) -> None:
    lines: list[str] = []
    run = train(ready, log=lines.append)
    manifest = check(ProfileCache.of(ready)).manifest
    values: dict[str, Any] = json.loads((run.directory / "run.json").read_text())
    assert values["preprocessing_version"] == manifest.version
    assert values["manifest"] == manifest.source
    assert values["seed"] == ready.training.seed
    assert values["code_version"] == code_version()
    assert values["ssm_backend"] == run.trained_with == "torch"
    assert values["hardware"]["device"] == "cpu"
    assert values["configuration"]["training"]["steps"] == 3
    # What is printed before the first batch: root, version, hits and misses.
    said = "\n".join(lines)
    assert str(ready.cache_root) in said
    assert manifest.version in said
    assert "12 fresh, 0 to build" in said
    # The checkpoint says the same.
    checkpoint = files.read_checkpoint(run.directory / files.CHECKPOINT_NAME)
    for key, value in checkpoint.provenance.items():
        assert values[key] == value, key
    # One validation, at the last step, and its weights are the run's.
    assert [row["step"] for row in values["fit"]["validations"]] == [3]
    best, _ = weight_files.load_tensors(run.directory / files.BEST_NAME)
    loaded = run.load_network("torch").state_dict()
    assert all(torch.equal(best[name], value) for name, value in loaded.items())
    json.loads((run.directory / "run.json").read_text(), parse_constant=pytest.fail)


def test_a_training_needs_a_checked_cache_and_its_settings_alone(
    ready: Configuration, tmp_path: Path
) -> None:
    whole = train(ready, log=quiet)
    alone = train_on(
        check(ProfileCache.of(ready)),
        TrainingSettings(
            model=ready.model,
            training=ready.training,
            windows=ready.windows,
            sampling=ready.sampling,
            detection=ready.detection,
            hardware=ready.hardware,
        ),
        tmp_path / "elsewhere",
        log=quiet,
    )
    assert alone.directory == tmp_path / "elsewhere" / whole.name
    assert alone.record.model_blake3 == whole.record.model_blake3
    assert alone.record.configuration == {}


def test_a_run_says_which_steps_it_skipped(
    ready: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run_module.training_batches

    def spoiled(*arguments: Any) -> Callable[[int], Iterator[Batch]]:
        read = usual(*arguments)

        def batches(first: int) -> Iterator[Batch]:
            for step, batch in enumerate(read(first), start=first + 1):
                if step == 2:
                    batch.signals[0, 0, 0] = math.inf
                yield batch

        return batches

    monkeypatch.setattr(run_module, "training_batches", spoiled)
    lines: list[str] = []
    run = train(training(ready, skipped_steps_limit=1), log=lines.append)
    assert run.record.fit.skipped_steps == (2,)
    (named,) = [
        line for line in lines if line.startswith("step 2 is skipped (1 so far, at most 1)")
    ]
    (step,) = [row for row in logged_steps(run.directory) if row["skipped"]]
    assert (step["step"], step["loss"]) == (2, None)
    assert step["skipped"][0] in named
    assert "1 of 3 steps were skipped because their loss or gradient was not finite: 2" in lines
    assert skipped_note(run.record.fit) == ", 1 of them skipped (loss or gradient not finite)"
    board = event_accumulator.EventAccumulator(str(run.directory / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("training/loss")] == [1, 3]
    # A run of an earlier version does not record it.
    earlier = run.record.fit.as_written()
    del earlier["skipped_steps"]
    assert skipped_note(FitRecord.model_validate(earlier)) == ""
    # How many may be skipped changes no weight: it is the same run.
    assert train(ready, log=quiet).reused


def test_tensorboard_has_the_curves(ready: Configuration) -> None:
    run = train(ready, log=quiet)
    board = event_accumulator.EventAccumulator(str(run.directory / "tensorboard")).Reload()
    steps = logged_steps(run.directory)
    for name in ("loss", "gradient_norm", "windows_per_s", "data_wait_share", "spread"):
        events = board.Scalars(f"training/{name}")
        assert [event.step for event in events] == [1, 2, 3]
        assert [event.value for event in events] == pytest.approx([step[name] for step in steps])
    validated = run.record.fit.validations[0]
    assert board.Scalars("validation/auroc")[0].value == pytest.approx(validated.auroc)
    assert 0 <= run.record.fit.data_wait_share < 1


def test_wandb_only_when_asked(ready: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = training(ready, wandb="seizures")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BrainbrrError, match="wandb is not installed"):
        train(asked, log=quiet)
    logged: list[tuple[dict[str, float], int]] = []
    ends: list[int] = []
    started: dict[str, Any] = {}

    def init(**values: Any) -> SimpleNamespace:
        started.update(values)
        return SimpleNamespace(
            log=lambda values, step: logged.append((values, step)),
            finish=lambda exit_code: ends.append(exit_code),
        )

    fake = ModuleType("wandb")
    vars(fake)["init"] = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = train(asked, log=quiet)
    assert started["project"] == "seizures"
    assert started["name"] == run.name
    # No folder or address, and no list of patients, leaves this machine.
    assert set(started["config"]) == {
        *("preprocessing", "labels", "windows", "sampling", "selection"),
        *("model", "training", "detection", "hardware"),
    }
    assert started["config"]["training"]["steps"] == 3
    assert sorted({step for _, step in logged}) == [1, 2, 3]
    assert ends == [0]
    # It changes no weight, so it is the same run without it.
    assert train(ready, log=quiet).reused


def test_the_backend_is_chosen_where_a_run_is_used(
    ready: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def layer(kind: str, d_model: int, d_state: int, headdim: int) -> torch.nn.Module:
        asked.append(kind)
        return Mamba2(d_model, d_state=d_state, headdim=headdim)

    asked: list[str] = []
    monkeypatch.setattr("brainbrr_core.model.network.ssm_layer", layer)
    elsewhere = hardware(ready, ssm_backend="mamba_ssm")
    run = train(elsewhere, log=quiet)
    assert asked[-1] == "mamba_ssm"
    assert asked.count("mamba_ssm") == 2 * 3
    assert run.trained_with == "mamba_ssm"
    # A machine without the kernels has the same run.
    monkeypatch.setattr("brainbrr_core.model.network.ssm_layer", backends.ssm_layer)
    again = train(ready, log=quiet)
    assert again.reused
    assert again.directory == run.directory
    assert again.load_network("torch")
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    with pytest.raises(BrainbrrError, match="mamba_ssm cannot be imported"):
        again.load_network("mamba_ssm")


def test_other_weights_than_the_recorded_ones_are_refused(ready: Configuration) -> None:
    run = train(ready, log=quiet)
    network = run.load_network("torch")
    assert isinstance(network, SeizureNetwork)
    with torch.no_grad():
        network.head.weight[0, 0, 0] += 1e-6
    weight_files.save_model(run.directory / "model.safetensors", network, {})
    with pytest.raises(BrainbrrError, match="weights that its run recorded") as caught:
        open_run(run.directory).load_network("torch")
    assert "\n" not in str(caught.value)


def test_a_full_disk_and_another_device_stop_before_the_first_batch(
    ready: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = 4 * sum(p.numel() for p in train(ready, log=quiet).load_network("torch").parameters())
    needed = checkpoint_bytes(weights, 2)
    assert needed == weights * (5 * (2 + 2) + 4)
    other = training(ready, seed=5)
    for free in (needed - 1, needed):
        with monkeypatch.context() as patch:
            patch.setattr(room, "free_bytes", lambda _path, free=free: free)
            if free == needed:
                check_space(other.runs_dir, weights, 2)
                continue
            with pytest.raises(BrainbrrError, match="GB free and the checkpoints"):
                train(other, log=quiet)
    manifest = check(ProfileCache.of(other)).manifest
    assert not run_directory(other.runs_dir, TrainingSettings.of(other), manifest).exists()
    bound = ready.model_copy(update={"hardware": Hardware(name="a100", device="cuda")})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BrainbrrError, match="a100 needs an NVIDIA GPU"):
        train(training(bound, seed=6), log=quiet)


AUGMENTED = Augmentation(
    channel_dropout=0.2, amplitude=0.2, time_shift_s=5, noise_sd=0.1, left_right_flip=0.5
)


def test_processes_share_each_batch_and_its_random_numbers(ready: Configuration) -> None:
    settings = training(ready, augmentation=AUGMENTED)
    preflight = check(ProfileCache.of(settings))
    manifest, store = preflight.manifest, preflight.plan.store
    sampling = BalancedSampling.of(manifest, settings.sampling)

    def first_batch(group: ProcessGroup, first: int) -> Batch:
        dataset = WindowDataset(manifest, store, kind="int16", ring=2)
        feed = DeviceFeed(CPU)
        batches = training_batches(
            dataset, sampling, settings.training, settings.hardware, feed, group
        )
        return next(batches(first))

    whole = first_batch(ProcessGroup(), 2)
    rows = next(sampling.batches(4, 0, 2))
    plain = WindowDataset(manifest, store).fetch(rows)
    assert whole.names == plain.names
    assert not torch.equal(whole.signals, plain.signals)
    for rank in range(2):
        part = first_batch(ProcessGroup(rank, 2, rank), 2)
        assert part.names == whole.names[rank::2]
        assert torch.equal(part.signals, whole.signals[rank::2])
        assert torch.equal(part.labels, whole.labels[rank::2])
        assert part.known == whole.known[rank::2]


def test_a_full_profile_trains_with_its_augmentations(ready: Configuration) -> None:
    plain = train(ready, log=quiet)
    changed = train(
        training(ready, augmentation=Augmentation(time_shift_s=5, channel_dropout=0.5)), log=quiet
    )
    assert plain.name != changed.name
    assert plain.record.fit.last_loss != changed.record.fit.last_loss


def test_steps_logged_after_the_last_checkpoint_are_logged_once(
    ready: Configuration,
) -> None:
    settings = training(ready, checkpoint_every=2)
    straight = train(settings, log=quiet)
    lines = (straight.directory / "steps.jsonl").read_text().splitlines()
    # As after a kill: the checkpoint of step 2, three steps logged, the last line half.
    (straight.directory / "run.json").unlink()
    second = straight.directory / "checkpoint-step-00000002.safetensors"
    second.replace(straight.directory / files.CHECKPOINT_NAME)
    (straight.directory / "steps.jsonl").write_text("\n".join([*lines, lines[0][:20]]))
    again = train(settings, log=quiet)
    assert again.record.fit.resumed_from == 2
    logged = logged_steps(again.directory)
    assert [row["step"] for row in logged] == [1, 2, 3]
    assert [row["loss"] for row in logged] == [json.loads(line)["loss"] for line in lines]
    board = event_accumulator.EventAccumulator(str(again.directory / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("training/loss")] == [1, 2, 3]
    assert again.record.model_blake3 == straight.record.model_blake3


def test_the_log_has_every_step_of_a_checkpoint_before_it_is_there(ready: Configuration) -> None:
    """The file's content at a step is what a process that is killed then leaves."""
    settings = training(ready, checkpoint_every=1)
    manifest = check(ProfileCache.of(settings)).manifest
    directory = run_directory(settings.runs_dir, TrainingSettings.of(settings), manifest)
    logged: list[list[int]] = []

    def look(_report: object) -> None:
        lines = (directory / "steps.jsonl").read_text().splitlines()
        logged.append([json.loads(line)["step"] for line in lines])

    train(settings, on_step=look, log=quiet)
    assert logged == [[1], [1, 2], [1, 2, 3]]


def test_a_command_replays_a_saved_step(ready: Configuration) -> None:
    def spoiled(first: int) -> Any:
        batch = toy_batch(first)
        batch.signals[2, 4, 100] = float("nan")
        yield batch

    network = build_network("tiny", seed=0)
    with pytest.raises(BrainbrrError) as caught:
        toy_train(
            ready.runs_dir,
            toy_settings(3),
            network=network,
            batches=spoiled,
            provenance=toy_provenance("tiny"),
        )
    path = ready.runs_dir / "nonfinite-step-1.safetensors"
    assert f"brainbrr replay {path}" in str(caught.value)
    done = CliRunner().invoke(app, ["replay", str(path)])
    assert done.exit_code == 1
    assert "not finite  recording-0-2 at 0 s" in done.output
    assert "the first layer whose output is not finite: down.0.0" in done.output
    values = json.loads(CliRunner().invoke(app, ["replay", str(path), "--json"]).output)
    assert values["finite"] is False
    assert values["windows"] == ["recording-0-2 at 0 s"]
