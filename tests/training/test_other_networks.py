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
from pydantic import JsonValue

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration, Model
from brainbrr_core.configuration.settings import DEFAULT_NETWORK, NETWORKS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AnyNetwork, build_network
from brainbrr_core.runs.run import open_run
from brainbrr_core.training.nonfinite import replay
from tests.support.project import ROOT
from tests.support.shell import Shell
from tests.support.small_run import small_config, small_settings
from tests.support.toy_training import (
    SAMPLES,
    Interrupted,
    interrupt_at,
    same_weights,
    spoiled_batch,
    spoiled_batches,
    toy_provenance,
    toy_settings,
    train,
)

#: Options with which each network is small, and its windows may be of 2 s.
SMALL: dict[str, dict[str, JsonValue]] = {
    "eegnet": {"segment_s": 1, "F1": 4},
    "line_length": {"step_s": 0.25, "smooth_s": 0.75},
    "seizure_transformer": {"width": 32, "layers": 2, "feedforward": 64},
    "tcn": {"width": 8, "levels": 3},
    "tcn_bimamba": {"width": 32, "layers": 1, "headdim": 16, "d_state": 4},
    "unet": {"width": 4, "depth": 3},
}
OTHERS = [name for name in NETWORKS if name != DEFAULT_NETWORK]


def small(name: str, seed: int = 0) -> AnyNetwork:
    return build_network(Model(network=name, options=SMALL[name]), SAMPLES, seed=seed)


@pytest.mark.parametrize("name", OTHERS)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    settings = toy_settings(5, checkpoint_every=2)
    whole, _ = train(tmp_path / "whole", settings, network=small(name))
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", settings, interrupt_at(3), network=small(name))
    torch.rand(7)
    resumed, summary = train(tmp_path / "parts", settings, network=small(name, seed=9))
    assert summary.resumed_from == 2
    assert same_weights(whole, resumed)
    # What a batch norm counts has no average.
    counters = [v for v in resumed.state_dict().values() if not v.is_floating_point()]
    assert all(counter.item() == 5 for counter in counters)
    assert not same_weights(whole, small(name))


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


@pytest.fixture(scope="module")
def prepared(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A built cache with a current manifest, which the tests only read."""
    settings = small_settings(tmp_path_factory.mktemp("prepared"), master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    return settings


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
    sys.modules.pop("own_networks", None)


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


def test_a_step_of_another_network_that_is_not_finite_is_replayed(
    tmp_path: Path,
) -> None:
    provenance = toy_provenance().model_copy(
        update={"model": Model(network="tcn", options=SMALL["tcn"])}
    )
    settings = toy_settings(6, skipped_steps_limit=0)
    with pytest.raises(BrainbrrError, match=r"brainbrr replay (\S+)") as caught:
        train(
            tmp_path, settings, network=small("tcn"), batches=spoiled_batches, provenance=provenance
        )
    [path] = re.findall(r"brainbrr replay (\S+)`", str(caught.value))
    diagnosis, saved = replay(Path(path))
    assert (saved.step, diagnosis.windows) == (4, (spoiled_batch(3).names[3],))
    assert saved.model is not None and saved.model.network == "tcn"
