"""The networks of the program and those of braindecode: what each computes, by other means."""

from __future__ import annotations

import inspect
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from brainbrr_core.configuration import Model
from brainbrr_core.configuration.settings import NETWORKS
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AdaptedNetwork, build_network, check_on_one_batch
from brainbrr_core.model.networks import DCRNN, TCN, EEGNet, LineLength, SeizureTransformer, UNet
from brainbrr_core.model.networks.braindecode import Adapted
from brainbrr_core.model.networks.dcrnn import DiffusionConvolution, GraphGRU, LogSpectrum
from brainbrr_core.model.networks.electrode_graph import distance_graph, positions
from brainbrr_core.model.networks.seizure_transformer import sinusoids

#: A window of 10 s, and one of 60 s.
SAMPLES, MINUTE = 2560, 15360


def built(name: str, options: dict[str, JsonValue] | None = None) -> AdaptedNetwork:
    network = build_network(Model(network=name, options=options or {}), SAMPLES, seed=0)
    assert isinstance(network, AdaptedNetwork)
    return network


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def values(module: nn.Module, path: str) -> Tensor:
    """A tensor of a network, by its path, as it is used: after its norm, if it has one."""
    *parts, name = path.split(".")
    for part in parts:
        module = module.get_submodule(part)
    value = getattr(module, name)
    assert isinstance(value, Tensor)
    return value.detach()


def eeg(windows: int = 2, samples: int = SAMPLES, channels: int = 19) -> Tensor:
    return torch.randn(windows, channels, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "seizure_transformer"])
@pytest.mark.parametrize("channels", [19, 18])
def test_every_network_gives_a_logit_for_each_sample_of_either_montage(
    name: str, channels: int
) -> None:
    model = Model.model_validate({"network": name, "preset": "tiny"})
    network = build_network(model, SAMPLES, channels=channels, seed=0)
    logits = network(eeg(channels=channels))
    assert logits.shape == (2, SAMPLES)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "seizure_transformer"])
def test_the_logits_of_a_window_do_not_depend_on_the_others(name: str) -> None:
    network = build_network(
        Model.model_validate({"network": name, "preset": "tiny"}), SAMPLES, seed=0
    ).eval()
    x = eeg(3)
    with torch.no_grad():
        together, alone = network(x), network(x[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_the_sizes_are_those_of_the_papers() -> None:
    assert size(built("line_length")) == 3
    # Two layers of 64 with walks of 0, 1 and 2 steps, from 128 frequencies; and the head.
    gru = [3 * before * 192 + 192 + 3 * 64 * 192 for before in (128, 64)]
    assert size(built("dcrnn")) == sum(gru) + 65
    # Wu et al.: about 41 million with a table of 6000 positions of 512 features.
    transformer = SeizureTransformer(19, MINUTE, 256)
    assert size(transformer) + 6000 * 512 == pytest.approx(41e6, rel=0.01)
    # Lawhern et al., table 2, with 19 channels, 5 s at 256 Hz, F1 8, D 2, F2 16: kernels, norms
    # and the dense layer on 20 steps of 16 features.
    expected = 8 * 128 + 2 * 8 + 16 * 19 + 2 * 16 + 16 * 16 + 16 * 16 + 2 * 16 + 16 * 20 + 1
    assert size(EEGNet(19, MINUTE, 256)) == expected


def test_line_length_is_the_mean_absolute_difference() -> None:
    network = LineLength(19, SAMPLES, 256, step_s=1.0, smooth_s=3.0)
    x = eeg(1)
    logits = network(x)[0]
    signal = x[0].numpy().astype(np.float64)
    difference = np.abs(np.diff(signal, axis=1))
    difference = np.concatenate([difference[:, :1], difference], axis=1)
    for step in range(10):
        around = difference[:, 256 * max(step - 1, 0) : 256 * min(step + 2, 10)]
        level = np.log(around.mean(axis=1) + 1e-4)
        expected = level.mean() + level.max() + 2.0
        assert logits[step].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("causal", "sees"), [(True, False), (False, True)])
def test_a_step_of_the_tcn_sees_later_ones_only_where_it_may(causal: bool, sees: bool) -> None:
    network = TCN(19, SAMPLES, 256, causal=causal).eval()
    x = eeg(1).requires_grad_()
    network(x)[0, 100].backward()
    assert x.grad is not None
    later = x.grad[0, :, 8 * 101 :]
    assert bool(later.abs().max() > 0) is sees
    # Its reach: twice (kernel - 1) * dilation steps of each block.
    reach = 2 * 6 * sum(2**level for level in range(6))
    first = 8 * (100 - (reach if causal else reach // 2))
    assert first < 0 or bool(x.grad[0, :, :first].abs().max() == 0)


def test_the_tcn_is_the_one_written_out() -> None:
    network = TCN(2, 64, 256, stride=1, width=3, kernel=3, levels=2, dropout=0.0).double()
    x = torch.randn(1, 2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    features = network.front(x)[0].detach().numpy()
    for level in range(2):
        branch = features
        for conv in ("first", "second"):
            weight = values(network, f"blocks.{level}.{conv}.weight").numpy()
            bias = values(network, f"blocks.{level}.{conv}.bias").numpy()
            padded = np.pad(branch, ((0, 0), (2 * 2**level, 0)))
            out = np.zeros_like(branch)
            for tap in range(3):
                shifted = padded[:, tap * 2**level : tap * 2**level + 64]
                out += weight[:, :, tap] @ shifted
            branch = np.maximum(out + bias[:, None], 0)
        features = np.maximum(branch + features, 0)
    expected = values(network, "head.weight").numpy()[0, :, 0] @ features
    expected += values(network, "head.bias").item()
    assert np.allclose(network(x)[0].detach().numpy(), expected)


def test_segments_are_classified_by_themselves() -> None:
    network = EEGNet(19, SAMPLES, 256, segment_s=2).eval()
    x = eeg(1)
    with torch.no_grad():
        whole = network(x)[0]
        alone = EEGNet(19, 512, 256, segment_s=2).eval()
        alone.load_state_dict(network.state_dict())
        each = [alone(x[:, :, 512 * n : 512 * (n + 1)]).item() for n in range(5)]
    assert whole.tolist() == pytest.approx(each, abs=1e-5)


def test_weights_of_eegnet_stay_within_their_norms() -> None:
    network = EEGNet(19, SAMPLES, 256)
    with torch.no_grad():
        values(network, "spatial.parametrizations.weight.original").mul_(100)
        values(network, "head.parametrizations.weight.original").mul_(100)
    spatial = values(network, "spatial.weight")
    assert spatial.flatten(1).norm(dim=1).max().item() == pytest.approx(1.0)
    assert values(network, "head.weight").norm().item() == pytest.approx(0.25)


def test_a_position_is_coded_by_sines_and_cosines() -> None:
    code = sinusoids(5, 4)
    for step in range(5):
        slow = step / 10000**0.5
        expected = [math.sin(step), math.cos(step), math.sin(slow), math.cos(slow)]
        assert code[step].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_skips_of_the_u_net_reach_the_logits() -> None:
    network = UNet(19, SAMPLES, 256, width=4, depth=3).eval()
    x = eeg(1)
    with torch.no_grad():
        before = network(x)
        # What the stages below give no longer arrives: only the first stage's skip is left.
        values(network, "up.1.conv.weight")[:, :-4].zero_()
        first_only = network(x)
        network.bottom.conv.weight.zero_()
        assert torch.equal(network(x), first_only)
    assert not torch.allclose(before, first_only)


def test_electrodes_are_where_the_10_20_system_has_them() -> None:
    where = dict(zip(CHANNELS, positions(CHANNELS).numpy(), strict=True))
    assert where["Cz"] == pytest.approx([0, 0, 1])
    # Ears are to the sides, the nose is ahead; the left mirrors the right.
    assert where["T4"] == pytest.approx([1, 0, 0]) and where["T3"] == pytest.approx([-1, 0, 0])
    for left, right in (("F7", "F8"), ("Fp1", "Fp2"), ("P3", "P4"), ("O1", "O2"), ("C3", "C4")):
        assert where[left] * [-1, 1, 1] == pytest.approx(where[right])
    # Half of the way between its neighbors, on the arc over it.
    along = where["Fz"] + where["Pz"]
    assert along / np.linalg.norm(along) == pytest.approx(where["Cz"])
    between = where["F7"] + where["Fz"]
    assert np.arccos(where["F3"] @ between / np.linalg.norm(between)) < np.radians(1)
    middle = positions(["C3-Cz", "T7-P7"]).numpy()
    assert middle[0] == pytest.approx([-math.sin(math.pi / 8), 0, math.cos(math.pi / 8)])
    assert np.linalg.norm(middle, axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("channels", [19, 18])
def test_neighbors_on_the_head_are_connected(channels: int) -> None:
    graph = distance_graph(channels, 0.9).numpy()
    labels = CHANNELS if channels == 19 else DOUBLE_BANANA
    where = positions(labels).numpy()
    distances = [
        [math.dist(first, second) for second in where.tolist()] for first in where.tolist()
    ]
    pairs = [distances[i][j] for i in range(channels) for j in range(i)]
    for i in range(channels):
        for j in range(channels):
            near = math.exp(-((distances[i][j] / np.std(pairs)) ** 2))
            assert graph[i, j] == pytest.approx(near if distances[i][j] <= 0.9 else 0.0)
    # Every channel is reached from every other one.
    assert (np.linalg.matrix_power(graph, channels) > 0).all()
    if channels == 19:
        of_cz = {CHANNELS[j] for j in np.flatnonzero(graph[CHANNELS.index("Cz")])}
        assert of_cz == {"Cz", "Fz", "Pz", "C3", "C4"}


def test_a_diffusion_convolution_is_the_one_written_out() -> None:
    graph = distance_graph(19, 0.9)
    convolution = DiffusionConvolution(graph, 2, 3, 4).double()
    x = torch.randn(2, 19, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    weight, bias = values(convolution, "mix.weight").numpy(), values(convolution, "mix.bias")
    transition = graph.numpy() / graph.numpy().sum(axis=1)[:, None]
    expected = np.zeros((2, 19, 4)) + bias.numpy()
    for window in range(2):
        reached = x[window].numpy()
        for walk in range(3):
            expected[window] += reached @ weight[:, 3 * walk : 3 * walk + 3].T
            reached = transition @ reached
    assert np.allclose(convolution(x).detach().numpy(), expected, atol=1e-6)


def test_a_graph_gru_is_a_gru_where_no_node_is_connected() -> None:
    """Without neighbors every node is a GRU of torch by itself."""
    cell = GraphGRU(torch.eye(5), 0, 3, 4)
    gru = nn.GRU(3, 4, batch_first=True)
    with torch.no_grad():
        values(gru, "weight_ih_l0").copy_(values(cell, "of_input.mix.weight"))
        values(gru, "bias_ih_l0").copy_(values(cell, "of_input.mix.bias"))
        values(gru, "weight_hh_l0").zero_()
        values(gru, "bias_hh_l0").zero_()
        values(gru, "weight_hh_l0")[:8].copy_(values(cell, "gates.mix.weight"))
        # Torch resets after this product, which is here before it: the same for one that is 0.
        values(cell, "candidate.mix.weight").zero_()
    x = torch.randn(2, 7, 5, 3, generator=torch.Generator().manual_seed(5))
    out = cell(x)
    for node in range(5):
        assert torch.allclose(out[:, :, node], gru(x[:, :, node])[0], atol=1e-6)
    # And the product of the candidate, after the reset, by hand for one node and two times.
    with torch.no_grad():
        weight = values(cell, "candidate.mix.weight").normal_(
            generator=torch.Generator().manual_seed(6)
        )
    given = cell.of_input(x)[0, :, 0].detach()
    state = torch.zeros(4)
    for time in range(2):
        gates = torch.sigmoid(given[time, :8] + values(cell, "gates.mix.weight") @ state)
        candidate = torch.tanh(given[time, 8:] + weight @ (gates[:4] * state))
        state = gates[4:] * state + (1 - gates[4:]) * candidate
    assert torch.allclose(cell(x)[0, 1, 0], state, atol=1e-6)


def test_the_spectrum_of_a_step_is_that_of_numpy() -> None:
    x = eeg(1, 256)[0]
    spectrum = np.abs(np.fft.rfft(x.numpy().astype(np.float64)))[:, :128] / 16
    expected = np.log(np.sqrt(spectrum**2 + 1e-6))
    assert np.allclose(LogSpectrum(256)(x).numpy(), expected, atol=1e-4)


def test_a_step_of_the_dcrnn_sees_itself_earlier_ones_and_other_channels() -> None:
    network = DCRNN(19, SAMPLES, 256, hidden=8, layers=1, diffusion=1).eval()
    x = eeg(1).requires_grad_()
    network(x)[0, 4].backward()
    assert x.grad is not None
    by_step = x.grad[0].unflatten(-1, (10, 256)).abs().amax(dim=-1)
    assert bool((by_step[:, 5:] == 0).all())
    assert bool((by_step[:, 4] > 0).sum() > 1) and bool((by_step[:, 0] > 0).any())
    # One step to the reset gate of a neighbor, and one from what that has left of its state.
    graph = distance_graph(19, 0.9)
    assert bool((by_step[:, 4] > 0).sum() <= (graph @ graph > 0).sum(dim=1).max())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dcrnn", {"step_s": 3}, "segments of 3 s do not divide"),
        ("dcrnn", {"step_s": 10}, "must be shorter than a window"),
        ("dcrnn", {"layers": 0}, "must be at least 1"),
        ("tcn", {"stride": 7}, "steps of 7 samples do not divide"),
        ("tcn", {"levels": 0}, "must be at least 1"),
        ("unet", {"depth": 7}, "do not divide a window of 10 s evenly"),
        ("unet", {"kernel": 4}, "kernel odd"),
        ("line_length", {"step_s": 3}, "steps of 3 s do not divide"),
        ("line_length", {"smooth_s": 30}, "longer than a window"),
        ("seizure_transformer", {"width": 100}, "not a multiple of 16"),
        ("tcn_bimamba", {"width": 12}, "not a multiple of 8"),
        ("tcn_bimamba", {"width": 32, "headdim": 24}, "headdim 24 does not divide"),
        ("tcn_bimamba", {"ssm_backend": "torch"}, "has no such option"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line(
    name: str, options: dict[str, JsonValue], said: str
) -> None:
    with pytest.raises(BrainbrrError, match=said) as caught:
        built(name, options)
    assert "\n" not in str(caught.value)


class LikeBraindecode(nn.Module):
    """A class with the constructor of braindecode's: a score of its segment for each class."""

    def __init__(
        self,
        n_chans: int | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        sfreq: float | None = None,
        *,
        depth: int = 1,
        dense: bool = False,
    ) -> None:
        super().__init__()
        assert (n_chans, n_outputs, sfreq) == (19, 1, 256)
        self.n_times, self.dense = n_times, dense
        self.weight = nn.Parameter(torch.full((depth,), 1.0 / depth))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1:] == (19, self.n_times)
        steps = x.unflatten(-1, (2, -1)) if self.dense else x[:, :, None]
        return steps.mean(dim=(1, 3))[:, None].squeeze(-1) * self.weight.sum()


def test_a_class_like_braindecodes_classifies_segments() -> None:
    adapted = Adapted(LikeBraindecode)
    names = list(inspect.signature(adapted).parameters)
    assert names == ["channels", "samples", "rate", "segment_s", "depth", "dense"]
    x = eeg(3)
    network = adapted(19, SAMPLES, 256, segment_s=2, depth=3)
    expected = x.view(3, 19, 5, 512).mean(dim=(1, 3))
    assert torch.allclose(network(x), expected, atol=1e-6)
    by_half = adapted(19, SAMPLES, 256, segment_s=2, dense=True)(x)
    assert torch.allclose(by_half, x.view(3, 19, 10, 256).mean(dim=(1, 3)), atol=1e-6)


@pytest.fixture
def braindecode() -> None:
    """Skips where the package, or a part of it, cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pytest.importorskip("braindecode.models", exc_type=ImportError)
        except OSError as error:
            pytest.skip(f"braindecode cannot be imported: {error}")


@pytest.mark.usefixtures("braindecode")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["EEGNet", "ShallowFBCSPNet", "SPARCNet"])
def test_a_network_of_braindecode_is_built_and_keeps_to_the_contract(name: str) -> None:
    network = built(f"braindecode:{name}", {"segment_s": 5})
    check_on_one_batch(network)
    with torch.no_grad():
        logits = network.eval()(eeg())
    # Two segments of 5 s.
    assert [len(row.unique()) for row in logits] == [2, 2]


@pytest.mark.usefixtures("braindecode")
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Model(network="braindecode:NoNet"), "braindecode has no network NoNet"),
        (
            Model(network="braindecode:EEGNet", options={"f1": 3}),
            "the nearest is F1; it has segment_s,",
        ),
    ],
)
def test_what_braindecode_does_not_have_is_one_line(model: Model, said: str) -> None:
    with pytest.raises(BrainbrrError, match=said):
        build_network(model, SAMPLES)


def test_without_braindecode_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    with pytest.raises(BrainbrrError, match=r"pip install 'brainbrr\[braindecode\]'"):
        build_network(Model(network="braindecode:EEGNet"), SAMPLES)
