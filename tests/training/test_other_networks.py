"""Other networks than the default one: trained, resumed, used and told apart as it is."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brainbrr_core.configuration import Configuration, Model
from brainbrr_core.configuration.settings import DEFAULT_NETWORK, NETWORKS
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AdaptedNetwork
from brainbrr_core.runs.run import open_run
from brainbrr_core.training.fine_tuning import freeze_encoder
from brainbrr_core.training.nonfinite import replay
from brainbrr_core.training.validation import Validation
from tests.support.project import ROOT
from tests.support.shell import Shell
from tests.support.small_run import small_config
from tests.support.toy_training import (
    SMALL_OPTIONS,
    Interrupted,
    interrupt_at,
    other_network,
    same_weights,
    spoiled_batch,
    spoiled_batches,
    toy_batch,
    toy_provenance,
    toy_settings,
    toy_trainer,
    toy_validation,
    train,
)

OTHERS = [name for name in NETWORKS if name != DEFAULT_NETWORK]


@pytest.mark.parametrize("name", OTHERS)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    settings = toy_settings(5, checkpoint_every=2)
    whole, _ = train(tmp_path / "whole", settings, network=other_network(name))
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", settings, interrupt_at(3), network=other_network(name))
    torch.rand(7)
    resumed, summary = train(tmp_path / "parts", settings, network=other_network(name, seed=9))
    assert summary.resumed_from == 2
    assert same_weights(whole, resumed)
    # What a batch norm counts has no average.
    counters = [v for v in resumed.state_dict().values() if not v.is_floating_point()]
    assert all(counter.item() == 5 for counter in counters)
    assert not same_weights(whole, other_network(name))


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "line_length"])
def test_a_frozen_encoder_is_the_same_after_a_training(name: str, tmp_path: Path) -> None:
    """Its weights and the statistics of its norms; and no dropout is in it."""

    def network_of(weights: dict[str, Tensor]) -> AdaptedNetwork:
        network = other_network(name, seed=9)
        network.load_state_dict(weights)
        freeze_encoder(network)
        return network

    def validate(network: nn.Module, step: int) -> Validation:
        scorer = WindowScorer(network, torch.device("cpu"), batch=4)
        scorer.window_scores(list(toy_batch(99).signals.numpy()))
        return toy_validation(step, 0.5)

    settings = toy_settings(
        5, checkpoint_every=2, validate_every=2, start_from="a run", freeze="encoder"
    )
    before = other_network(name).state_dict()
    # As at the end of another training: statistics that are not those of these windows.
    for key, value in before.items():
        if "running_" in key:
            value.fill_(3)
    before = {key: value.clone() for key, value in before.items()}
    trained, _ = train(tmp_path / "whole", settings, network=network_of(before), validate=validate)
    part = encoder(trained)
    of_encoder = {id(value) for value in (*part.parameters(), *part.buffers())}
    frozen = {
        key
        for key, value in (*trained.named_parameters(), *trained.named_buffers())
        if id(value) in of_encoder
    }
    changed = {
        key for key, value in trained.state_dict().items() if not torch.equal(value, before[key])
    }
    assert frozen
    assert changed == before.keys() - frozen
    assert not any(module.training for module in list(part.modules())[1:])
    with pytest.raises(Interrupted):
        train(
            tmp_path / "parts",
            settings,
            interrupt_at(3),
            network=network_of(before),
            validate=validate,
        )
    fresh = network_of(other_network(name, seed=5).state_dict())
    resumed, summary = train(tmp_path / "parts", settings, network=fresh, validate=validate)
    assert summary.resumed_from == 2
    assert same_weights(trained, resumed)


def encoder(network: nn.Module) -> nn.Module:
    assert isinstance(network, AdaptedNetwork)
    part: object = network.network.encoder
    assert isinstance(part, nn.Module)
    return part


def test_a_step_with_a_frozen_encoder_is_replayed_as_it_was(tmp_path: Path) -> None:
    """Statistics of a batch would give another loss, and hide which gradients there were."""
    model = Model(network="unet", options=SMALL_OPTIONS["unet"])
    provenance = toy_provenance().model_copy(update={"model": model})
    settings = toy_settings(6, skipped_steps_limit=0, start_from="a run", freeze="encoder")
    network = other_network("unet")
    freeze_encoder(network)
    with pytest.raises(BrainbrrError, match=r"brainbrr replay (\S+)") as caught:
        train(tmp_path, settings, network=network, batches=spoiled_batches, provenance=provenance)
    [path] = re.findall(r"brainbrr replay (\S+)`", str(caught.value))
    diagnosis, _ = replay(Path(path))
    assert diagnosis.parameters
    assert not any(".down." in parameter for parameter in diagnosis.parameters)


NETWORK = """
import torch
from torch import nn


class Spread(nn.Module):
    def __init__(self, channels, samples, rate, width=4):
        super().__init__()
        self.mix = nn.Linear(channels, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 1)
        # The same weight by two names.
        self.again = self.head

    def forward(self, x):
        return self.head(self.norm(torch.relu(self.mix(x.std(-1)))))
"""


@pytest.fixture
def own(
    prepared: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, ...]]:
    """A user's network in the current folder, and the options that choose it."""
    (tmp_path / "own_networks.py").write_text(NETWORK)
    chosen = tmp_path / "own.yaml"
    chosen.write_text(
        'model: {network: "own_networks:Spread", options: {width: 3}}\n'
        f"runs_dir: {tmp_path / 'runs'}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    importlib.invalidate_caches()
    yield ("--config", f"{small_config(prepared.cache_root.parent)}:{chosen}")
    for name in ("own_networks", "own_layers"):
        sys.modules.pop(name, None)


def test_a_network_of_ones_own_is_trained_scored_and_used(
    shell: Shell, own: tuple[str, ...], prepared: Configuration, tmp_path: Path
) -> None:
    trained = shell.type("train", *own)
    assert trained.returncode == 0, trained.stderr
    [folder] = (tmp_path / "runs").glob("*/run.json")
    record = json.loads(folder.read_text())
    assert record["identity"]["model"] == {
        "network": "own_networks:Spread",
        "options": {"width": 3},
        "source": record["identity"]["model"]["source"],
    }
    assert record["parameters"] == 19 * 3 + 3 + 2 * 3 + 3 + 1
    scores = json.loads(shell.type("evaluate", *own, "--json").stdout)
    assert scores["run"] == folder.parent.name
    edf = next(Path(prepared.data_dir or "").glob("edf/eval/**/*.edf"))
    # With another network in the configuration: that of the run is used.
    default = ("--config", small_config(prepared.cache_root.parent))
    done = shell.type("predict", edf, tmp_path / "out", *default, "--run", folder.parent)
    assert done.returncode == 0, done.stderr
    assert "network own_networks:Spread" in done.stdout + done.stderr
    assert "finished already" in shell.type("train", *own).stdout


def test_the_network_of_the_page_is_trained(
    shell: Shell, own: tuple[str, ...], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "networks.md").read_text("utf-8")
    code, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    chosen = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    of_class = next(block for block in chosen if "my_networks" in block)
    (tmp_path / "my_networks.py").write_text(code)
    (tmp_path / "page.yaml").write_text(of_class)
    trained = shell.type("train", own[0], f"{own[1]}:{tmp_path / 'page.yaml'}")
    assert trained.returncode == 0, trained.stderr
    [folder] = (tmp_path / "runs").glob("*/run.json")
    record = json.loads(folder.read_text())
    assert record["identity"]["model"]["options"] == {"width": 16}
    assert record["parameters"] == 19 * 16 + 16 + 16 + 1


def test_other_source_is_another_run_and_the_old_one_says_so(
    shell: Shell, own: tuple[str, ...], tmp_path: Path
) -> None:
    assert shell.type("train", *own).returncode == 0
    [first] = (tmp_path / "runs").iterdir()
    source = tmp_path / "own_networks.py"
    source.write_text(NETWORK.replace("torch.relu", "torch.tanh"))
    sys.modules.pop("own_networks")
    refused = shell.refused("evaluate", first.name, *own)
    assert f"{source} has changed since run {first.name} was trained" in refused
    assert f"restore it from {first / 'network.py'}" in refused
    assert shell.type("train", *own).returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
    source.write_text((first / "network.py").read_text())
    sys.modules.pop("own_networks")
    assert open_run(first).load_network("torch")


def test_a_change_in_a_file_that_the_class_imports_is_another_network(
    shell: Shell, own: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "own_layers.py").write_text("from torch import relu\n")
    source = tmp_path / "own_networks.py"
    source.write_text("from own_layers import relu\n" + NETWORK.replace("torch.relu", "relu"))
    assert shell.type("train", *own).returncode == 0
    [run] = (tmp_path / "runs").iterdir()
    layers = tmp_path / "own_layers.py"
    assert (run / "network" / "own_layers.py").read_bytes() == layers.read_bytes()
    assert (run / "network" / "own_networks.py").read_bytes() == source.read_bytes()
    layers.write_text("from torch import tanh as relu\n")
    for name in ("own_networks", "own_layers"):
        sys.modules.pop(name, None)
    refused = shell.refused("evaluate", run.name, *own)
    assert f"{layers} has changed since run {run.name} was trained" in refused
    assert str(source) not in refused
    assert f"restore it from {run / 'network'}, or train again" in refused
    layers.write_bytes((run / "network" / "own_layers.py").read_bytes())
    sys.modules.pop("own_layers", None)
    assert open_run(run).load_network("torch")


def test_without_its_file_a_network_is_one_line(
    shell: Shell, own: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "own_networks.py").unlink()
    refused = shell.refused("train", *own)
    assert "own_networks cannot be imported (there is no file of a module own_networks)" in refused
    assert not (tmp_path / "runs").exists()


def test_a_network_that_gives_nonsense_ends_before_the_first_step(
    shell: Shell, own: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "own_networks.py").write_text(NETWORK.replace("x.std(-1)", "x.std(-1).log().log()"))
    assert "gives NaN or infinity" in shell.refused("train", *own)
    assert not (tmp_path / "runs").exists()


def test_a_step_that_is_skipped_leaves_the_statistics_of_norms() -> None:
    settings = toy_settings(6, skipped_steps_limit=1).model_copy(update={"learning_rate": 1e-9})
    network = other_network("unet", dropout=0.0)
    before = network.state_dict()["network.down.0.norm.running_mean"].clone()
    trainer = toy_trainer(settings, network=network)
    for step in range(6):
        trainer.train_step(step, spoiled_batch(step))
    trainer.check_weights(6)
    assert [metrics.finite for metrics in trainer.fetch_metrics()].count(False) == 1
    # As if the step had not been there.
    expected = before
    conv = other_network("unet").network.get_submodule("down.0.conv")
    for step in (0, 1, 2, 4, 5):
        seen = conv(toy_batch(step).signals).mean(dim=(0, 2)).detach()
        expected = 0.9 * expected + 0.1 * seen
    statistics = trainer.network.state_dict()
    assert torch.allclose(statistics["network.down.0.norm.running_mean"], expected, atol=1e-5)
    assert statistics["network.down.0.norm.num_batches_tracked"].item() == 5


def test_a_step_of_another_network_that_is_not_finite_is_replayed(
    tmp_path: Path,
) -> None:
    provenance = toy_provenance().model_copy(
        update={"model": Model(network="tcn", options=SMALL_OPTIONS["tcn"])}
    )
    settings = toy_settings(6, skipped_steps_limit=0)
    with pytest.raises(BrainbrrError, match=r"brainbrr replay (\S+)") as caught:
        train(
            tmp_path,
            settings,
            network=other_network("tcn"),
            batches=spoiled_batches,
            provenance=provenance,
        )
    [path] = re.findall(r"brainbrr replay (\S+)`", str(caught.value))
    diagnosis, saved = replay(Path(path))
    assert (saved.step, diagnosis.windows) == (4, (spoiled_batch(3).names[3],))
    assert saved.model is not None and saved.model.network == "tcn"
