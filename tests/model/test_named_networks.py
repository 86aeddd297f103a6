"""Networks by name: what a class must do, and what is made of its output."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import JsonValue, ValidationError

from brainbrr_core.configuration import Model
from brainbrr_core.configuration.settings import DEFAULT_NETWORK, NETWORKS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AdaptedNetwork, build, build_network, check_on_one_batch
from brainbrr_core.model.networks import BUILT_IN

#: A window of 10 s.
SAMPLES = 2560


#: What a user has in a file of her own.
SOURCE = """
import torch
from torch import nn

class OfSteps(nn.Module):
    def __init__(self, channels, samples, rate, *, steps=10):
        super().__init__()
        self.steps = steps
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x[:, 0].view(len(x), self.steps, -1).mean(-1)

class OfWindows(OfSteps):
    def forward(self, x):
        return self.scale * x[:, 0].mean(-1)

class DeclaresWindows(OfSteps):
    resolution = "window"

class DeclaresNonsense(OfSteps):
    resolution = "second"

class Uneven(OfSteps):
    def forward(self, x):
        return self.scale * x[:, 0, :7]

class TwoClasses(OfSteps):
    def forward(self, x):
        return self.scale * x[:, :2, :10]

class Infinite(OfSteps):
    def forward(self, x):
        logits = super().forward(x)
        return torch.where(torch.arange(self.steps) == 0, logits / 0, logits)

class Detached(OfSteps):
    def forward(self, x):
        return super().forward(x).detach()

class Integers(OfSteps):
    def forward(self, x):
        return super().forward(x).round().long()

class Fails(OfSteps):
    def forward(self, x):
        raise KeyError("no such\\nlayer")

class FailsInTraining(OfSteps):
    def forward(self, x):
        if self.training:
            raise KeyError("no such loss")
        return super().forward(x)

class OtherShapeInTraining(OfSteps):
    def forward(self, x):
        logits = super().forward(x)
        return logits[:, :7] if self.training else logits

class KeepsItsGraph(OfSteps):
    last = 0.0

    def forward(self, x):
        logits = super().forward(x) ** 2 + self.last
        self.last = logits
        return logits

class ReplacesItsMean(OfSteps):
    def __init__(self, channels, samples, rate):
        super().__init__(channels, samples, rate)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean()
        return super().forward(x - self.mean)

class Grows(ReplacesItsMean):
    def forward(self, x):
        self.mean = torch.cat([self.mean.flatten(), x.mean()[None]])
        return OfSteps.forward(self, x)

class KeepsItsMean(ReplacesItsMean):
    def forward(self, x):
        if self.training:
            self.mean.copy_(0.9 * self.mean + 0.1 * x.mean())
        return self.scale * (x[:, 0] - self.mean).view(len(x), self.steps, -1).mean(-1)

class Pair(nn.Module):
    def __init__(self, channels, samples, rate):
        super().__init__()

    def forward(self, x):
        return x, x

class NeedsDepth(OfSteps):
    def __init__(self, channels, samples, rate, depth):
        super().__init__(channels, samples, rate)

class NoWindow(nn.Module):
    def __init__(self, channels):
        super().__init__()

class NoNetwork:
    def __init__(self, channels, samples, rate):
        self.channels = channels

class FailsToBuild(OfSteps):
    def __init__(self, channels, samples, rate):
        raise ZeroDivisionError("no channels left")
"""
MODULE = "somebodys_networks"


@pytest.fixture(autouse=True)
def somebodys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file, in the current folder."""
    path = tmp_path / f"{MODULE}.py"
    path.write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    importlib.invalidate_caches()
    yield path
    for name in (MODULE, "fails_on_import"):
        sys.modules.pop(name, None)


def named(kind: str, **options: JsonValue) -> Model:
    return Model(network=f"{MODULE}:{kind}", options=options)


def adapted(kind: str, **options: JsonValue) -> AdaptedNetwork:
    network = build_network(named(kind, **options), SAMPLES)
    assert isinstance(network, AdaptedNetwork)
    return network


def test_the_default_network_is_built_as_before() -> None:
    by_name = build_network(Model(preset="tiny"), SAMPLES, seed=3).state_dict()
    before = build("tiny", seed=3).state_dict()
    assert by_name.keys() == before.keys()
    assert all(torch.equal(by_name[name], value) for name, value in before.items())
    assert Model(preset="tiny").shaping() == {"preset": "tiny"}


def test_every_built_in_name_has_a_class_and_the_other_way_round() -> None:
    assert set(NETWORKS) == {DEFAULT_NETWORK, *BUILT_IN}


def test_a_logit_of_a_step_holds_for_its_samples() -> None:
    network = adapted("OfSteps")
    x = torch.randn(3, 19, SAMPLES)
    logits = network(x)
    assert logits.shape == (3, SAMPLES)
    for step in range(10):
        of_step = slice(256 * step, 256 * (step + 1))
        expected = x[:, 0, of_step].mean(-1, keepdim=True).expand(-1, 256)
        assert torch.allclose(logits[:, of_step], expected)
    # The gradient of each step's logit is that of its samples together.
    logits[:, 256:].sum().backward()
    assert network.network.scale.grad == pytest.approx(float(x[:, 0, 256:].sum().item()), rel=1e-3)


def test_a_logit_of_a_window_holds_for_all_of_it() -> None:
    x = torch.randn(3, 19, SAMPLES)
    logits = adapted("OfWindows")(x)
    assert torch.allclose(logits, x[:, 0].mean(-1, keepdim=True).expand(-1, SAMPLES))


def test_logits_of_samples_are_not_touched() -> None:
    x = torch.randn(2, 19, SAMPLES)
    assert torch.equal(adapted("OfSteps", steps=SAMPLES)(x), x[:, 0])


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 19, 2560\), got \(1, 19, 5120\)"):
        adapted("OfSteps")(torch.zeros(1, 19, 2 * SAMPLES))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("DeclaresWindows", r"declares resolution 'window' and gives \(2, 10\)"),
        ("DeclaresNonsense", "declares resolution 'second': write sample, step or window"),
        ("Uneven", r"it gives \(2, 7\) for 2 windows of 2560 samples: give one logit per sample"),
        ("TwoClasses", r"it gives \(2, 2, 10\) for 2 windows"),
        ("Infinite", "gives NaN or infinity for 10% of the samples"),
        ("Detached", "cannot be trained: no parameter"),
        ("Integers", "gives torch.int64"),
        (
            "Fails",
            r"KeyError: 'no such\\nlayer' \(.*somebodys_networks.py, line",
        ),
        ("Pair", "it gives tuple, not a tensor"),
        ("FailsInTraining", r"fails in training on a batch .* KeyError: 'no such loss'"),
        ("OtherShapeInTraining", r"fails in training .*it gives \(2, 7\) for 2 windows"),
        ("KeepsItsGraph", "fails in training .*backward through the graph a second time"),
        ("ReplacesItsMean", "another tensor as its buffer mean after a batch.*with copy_"),
        ("Grows", "another tensor as its buffer mean after a batch"),
    ],
)
def test_a_network_that_does_not_keep_to_the_contract_is_one_line(kind: str, said: str) -> None:
    network = adapted(kind)
    before = torch.get_rng_state()
    with pytest.raises(BrainbrrError, match=said) as caught:
        check_on_one_batch(network)
    assert "\n" not in str(caught.value)
    assert f"model.network {MODULE}:{kind}" in str(caught.value)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["OfSteps", "KeepsItsMean"])
def test_a_network_that_keeps_to_it_is_left_as_it_was(kind: str) -> None:
    network = adapted(kind)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_on_one_batch(network)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Model(network="no_such_module:Net"), "no_such_module cannot be imported"),
        (Model(network=f"{MODULE}:Nothing"), "has no class Nothing"),
        (named("OfSteps", stpes=3), "no such option, the nearest is steps; it has steps"),
        (named("NeedsDepth"), "needs the option depth: set model.options.depth"),
        (named("NoWindow"), r"takes \(channels\): the first parameters"),
        (named("NoNetwork"), "makes NoNetwork, which is no torch.nn.Module"),
        (named("FailsToBuild"), "ZeroDivisionError: no channels left .*somebodys_networks.py"),
        (Model(network="eegnet", options={"f1": 3}), "the nearest is F1; it has segment_s, F1, D"),
        (Model(network="eegnet", options={"F1": 3.5}), "model.options.F1 is 3.5"),
        (Model(network="eegnet", options={"segment_s": 7}), "segments of 7 s do not divide"),
        (named("OfSteps", ssm_backend="torch"), "no such option"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_line(model: Model, said: str) -> None:
    with pytest.raises(BrainbrrError, match=said) as caught:
        build_network(model, SAMPLES)
    assert "\n" not in str(caught.value)


def test_what_only_the_default_network_can_do_is_said() -> None:
    with pytest.raises(BrainbrrError, match="eegnet cannot recompute activations"):
        build_network(Model(network="eegnet"), SAMPLES, recompute_activations=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": "egnet"}, "the nearest is eegnet: use one of bimamba2, dcrnn, eegnet"),
        ({"network": "a b:C"}, "there is no such network"),
        ({"options": {"layers": 3}}, "bimamba2 has no options: its size is model.preset"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_settings(
    values: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Model.model_validate(values)


def test_a_module_that_fails_on_import_is_one_line(somebodys_file: Path) -> None:
    (somebodys_file.parent / "fails_on_import.py").write_text("import torch\n\n1 / 0\n")
    importlib.invalidate_caches()
    with pytest.raises(BrainbrrError, match=r"division by zero .*fails_on_import.py, line 3"):
        build_network(Model(network="fails_on_import:Net"), SAMPLES)
