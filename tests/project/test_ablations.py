"""Settings that a study turns on one at a time: what each does, and that off it is not there."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import Manifest, ManifestRecording, make_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.configuration import (
    Augmentation,
    Configuration,
    Hardware,
    Overrides,
    Sampling,
    Training,
    apply_assignments,
    load,
)
from brainbrr_core.constants import RATE
from brainbrr_core.data import UNKNOWN_LABEL, BalancedSampling, Batch
from brainbrr_core.data.augmentation import draw
from brainbrr_core.data.device_batches import move_labels
from brainbrr_core.data.weighting import equal_seizures
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import digest
from brainbrr_core.model import build
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training import trainer
from brainbrr_core.training.loss import balanced_loss, loss_of
from brainbrr_core.training.new_run import training_windows
from brainbrr_core.training.nonfinite import replay
from brainbrr_core.training.report import StepReport
from tests.support.examples import examples
from tests.support.toy_training import (
    FRACTION,
    same_weights,
    toy_batch,
    toy_network,
    toy_settings,
    train,
)

Windows = tuple[Plan, Manifest]
WINDOW_S = 60
LATER = ("seizure_weight", "label_smoothing")
#: Of the settings of a training, before there was any of the settings below.
IDENTITIES = {
    "smoke:cpu": "6e0f805094af89ed123c11f3726feb10a03033eb32ae480039d987798981330c",
    "full:a100": "66a2a843fbbd40d3965ef7f9ce8fff1633f8a981982a54af0b689f1cc4e8a142",
}


@pytest.fixture
def windows(settings: Configuration) -> Windows:
    build_shards(plan_corpus(settings), settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    return plan, make_manifest(plan, settings.manifest_settings)


def by_hand(
    seizures: Sequence[tuple[str, int, Sequence[tuple[float, float]]]], split: str = "train"
) -> Manifest:
    """Windows of 60 s every 10 s of recordings (patient, seconds, seizures), counted second by
    second in quarters."""
    recordings, of, starts, ictal = [], [], [], []
    for number, (patient, seconds, events) in enumerate(seizures):
        quarters = np.zeros(4 * seconds)
        for begin, end in events:
            quarters[round(4 * begin) : round(4 * end)] = 1
        key = f"{split}/{patient}/{number}"
        events_of = tuple((begin, end, "fnsz") for begin, end in events)
        samples = seconds * RATE
        recordings.append(ManifestRecording(key, split, patient, "m", "f", samples, events_of))
        for start in range(0, seconds - WINDOW_S + 1, 10):
            of.append(number)
            starts.append(start * RATE)
            ictal.append(quarters[4 * start : 4 * (start + WINDOW_S)].mean())
    shares = np.array(ictal, np.float32)
    return Manifest(
        profile="by hand",
        version="v",
        source="s",
        window_samples=WINDOW_S * RATE,
        recordings=tuple(recordings),
        recording=np.array(of, np.int32),
        start=np.array(starts, np.int64),
        ictal=shares,
        category=np.where(shares >= 0.99, 2, np.where(shares > 0, 1, 0)).astype(np.int8),
        unknown=np.zeros(len(of), np.float32),
        without_windows={},
        unknown_windows={},
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A few patients of a few recordings, at least one with a seizure."""
    recordings = []
    for number in range(draw(st.integers(2, 6))):
        seconds = draw(st.integers(6, 40)) * 10
        cuts = sorted(draw(st.lists(st.integers(0, 4 * seconds), max_size=6, unique=True)))
        pairs = list(pairwise(cuts))[::2]
        if number == 0 and not pairs:
            pairs = [(40, 100)]
        patient = f"p{draw(st.integers(0, 3))}"
        recordings.append((patient, seconds, [(a / 4, b / 4) for a, b in pairs]))
    return by_hand(recordings)


def marked(manifest: Manifest, row: int) -> list[NDArray[np.bool_]]:
    """Which samples of a window each seizure of its recording covers."""
    start = int(manifest.start[row])
    times = np.arange(start, start + manifest.window_samples) / RATE
    seizures = manifest.recordings[manifest.recording[row]].seizures
    return [(times >= begin) & (times < end) for begin, end, _ in seizures]


@pytest.mark.parametrize("balance", ["windows", "patients"])
@examples(25)
@given(made=manifests())
def test_every_seizure_weighs_the_same_in_an_epoch_and_a_sample_one_on_average(
    balance: str, made: Manifest
) -> None:
    sampling = BalancedSampling.of(made, Sampling.model_validate({"balance": balance}))
    draws = sampling.expected_draws(len(made))
    weights = equal_seizures(made, draws)
    assert [len(w) for w in weights] == [len(r.seizures) for r in made.recordings]
    # Sample by sample, as often as each window is drawn.
    total: Counter[tuple[int, int]] = Counter()
    shown = 0.0
    for row in map(int, np.flatnonzero(draws)):
        number = int(made.recording[row])
        for seizure, inside in enumerate(marked(made, row)):
            total[number, seizure] += draws[row] * inside.sum() * weights[number][seizure]
            shown += draws[row] * inside.sum()
    parts = [part for part in total.values() if part]
    assert parts == pytest.approx([parts[0]] * len(parts))
    assert sum(parts) == pytest.approx(shown)


def test_the_weight_of_a_seizure_is_the_mean_length_by_its_own() -> None:
    """Where windows cover all of them six times, weights are those of their lengths."""
    made = by_hand([("a", 600, [(100, 110), (300, 340)]), ("b", 300, [(120, 130)])])
    sampling = BalancedSampling.of(made, Sampling())
    weights = equal_seizures(made, sampling.expected_draws(len(made)))
    assert weights[0] == pytest.approx((20 / 10, 20 / 40))
    assert weights[1] == pytest.approx((20 / 10,))


def test_a_seizure_in_no_epoch_does_not_enter_the_mean() -> None:
    """One begins after the last window, one lies in windows that are never drawn."""
    made = by_hand(
        [("a", 600, [(100, 110), (300, 340)]), ("b", 67, [(62, 66)]), ("c", 60, [(0, 60)])]
    )
    sampling = BalancedSampling.of(made, Sampling(full_ratio=0))
    weights = equal_seizures(made, sampling.expected_draws(len(made)))
    assert weights == (pytest.approx((25 / 10, 25 / 40)), (1.0,), (1.0,))


@examples(25)
@given(made=manifests(), seed=st.integers(0, 9))
def test_draws_are_expected_as_often_as_they_are_made(made: Manifest, seed: int) -> None:
    for balance in ("windows", "patients"):
        sampling = BalancedSampling.of(made, Sampling.model_validate({"balance": balance}))
        draws = sampling.expected_draws(len(made))
        assert draws.sum() == pytest.approx(len(sampling))
        assert draws @ made.ictal / draws.sum() == pytest.approx(sampling.positive_fraction)
        counts = np.zeros(len(made))
        for number in range(60):
            np.add.at(counts, sampling.epoch(seed, number), 1)
        # The standard error of 60 draws of between 0 and 1 beside the whole ones.
        assert np.abs(counts / 60 - draws).max() < 5 * 0.5 / math.sqrt(60)


@examples(40)
@given(made=manifests(), seed=st.integers(0, 9), number=st.integers(0, 9))
def test_patients_are_drawn_equally_often_of_each_kind(
    made: Manifest, seed: int, number: int
) -> None:
    settings = Sampling(balance="patients")
    sampling = BalancedSampling.of(made, settings)
    plain = BalancedSampling.of(made, Sampling())
    rows = sampling.epoch(seed, number)
    assert np.array_equal(rows, sampling.epoch(seed, number))
    # As long as without, and as many of each kind.
    assert len(rows) == len(sampling) == len(plain)
    kinds = Counter(made.category[rows].tolist())
    assert kinds == Counter(made.category[plain.epoch(seed, number)].tolist())
    patient = np.array([made.recordings[n].patient for n in made.recording])
    for kind in kinds:
        drawn = Counter(patient[rows[made.category[rows] == kind]].tolist())
        those = set(patient[made.category == kind].tolist())
        counts = [drawn[one] for one in those]
        assert max(counts) - min(counts) <= 1
        for one in those:
            own = np.flatnonzero((made.category == kind) & (patient == one))
            times = np.bincount(rows, minlength=len(made))[own]
            # None twice before all were drawn once.
            assert times.max() - times.min() <= 1


def test_a_batch_has_the_weights_of_its_seizures(windows: Windows) -> None:
    plan, manifest = windows
    sampling = BalancedSampling.of(manifest, Sampling())
    plain = training_windows(manifest, plan.store, Training(), sampling)
    settings = Training(seizure_weight="events")
    weighted = training_windows(manifest, plan.store, settings, sampling)
    expected = equal_seizures(manifest, sampling.expected_draws(len(manifest)))
    assert len({w for one in expected for w in one}) > 2
    rows = sampling.epoch(0, 0)[:12]
    assert plain.fetch(rows).weights is None
    batch = weighted.fetch(rows)
    assert batch.weights is not None
    assert torch.equal(batch.labels, plain.fetch(rows).labels)
    for place, row in enumerate(rows.tolist()):
        wanted = np.ones(manifest.window_samples, np.float32)
        for weight, inside in zip(
            expected[manifest.recording[row]], marked(manifest, row), strict=True
        ):
            wanted[inside] = weight
        # A boundary may round to the sample beside it.
        assert np.count_nonzero(batch.weights[place].numpy() != wanted) <= 4
        ictal = batch.labels[place] == 1
        assert bool((batch.weights[place][~ictal] == 1).all())


def test_weights_move_with_the_labels() -> None:
    batch = toy_batch(0)
    labels = batch.labels.clone()
    moved = replace(batch, weights=labels * 3 + 1)
    move_labels(moved, draw(Augmentation(time_shift_s=1.0), 0, 0, range(len(labels))))
    assert not torch.equal(moved.labels, labels)
    assert moved.weights is not None
    assert torch.equal(moved.weights, moved.labels * 3 + 1)


NUMBERS = st.floats(-6, 6, width=32)


@examples(60)
@given(
    logits=st.lists(NUMBERS, min_size=12, max_size=12),
    labels=st.lists(st.sampled_from([0.0, 1.0, UNKNOWN_LABEL]), min_size=12, max_size=12),
    weights=st.lists(st.floats(0.125, 9, width=32), min_size=12, max_size=12) | st.none(),
    fraction=st.floats(0.02, 0.9),
    smoothing=st.sampled_from([0.0, 0.05, 0.3]),
    gamma=st.sampled_from([0.0, 2.0]),
)
def test_the_loss_is_the_one_written_out_by_hand(
    logits: list[float],
    labels: list[float],
    weights: list[float] | None,
    fraction: float,
    smoothing: float,
    gamma: float,
) -> None:
    costs = []
    for n, (x, y) in enumerate(zip(logits, labels, strict=True)):
        if y == UNKNOWN_LABEL:
            continue
        p = 1 / (1 + math.exp(-x))
        target = y * (1 - smoothing) + smoothing / 2
        cost = -target * math.log(p) - (1 - target) * math.log(1 - p)
        cost *= (1 - p if y else p) ** gamma
        cost *= 0.5 / fraction if y else 0.5 / (1 - fraction)
        costs.append(cost * (weights[n] if weights else 1.0))
    expected = sum(costs) / len(costs) if costs else 0.0
    found = balanced_loss(
        torch.tensor([logits]),
        torch.tensor([labels]),
        fraction,
        gamma,
        smoothing=smoothing,
        weights=torch.tensor([weights]) if weights else None,
    )
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_a_smoothed_label_is_answered_by_the_smoothed_probability(fraction: float) -> None:
    """The cost is least there for seizure and background, whatever the share of seizure."""
    labels = torch.tensor([[1.0, 0.0]])
    at = torch.logit(torch.tensor([[0.95, 0.05]])).requires_grad_()
    balanced_loss(at, labels, fraction, smoothing=0.1).backward()
    assert at.grad is not None
    assert float(at.grad.abs().max()) < 1e-6


def test_off_the_loss_is_the_one_before_bit_for_bit() -> None:
    batch = toy_batch(3)
    logits = torch.randn(batch.labels.shape, generator=torch.Generator().manual_seed(1))
    ratio = torch.tensor((1 - FRACTION) / FRACTION)
    plain = functional.binary_cross_entropy_with_logits(logits, batch.labels, pos_weight=ratio)
    expected = plain / (2 * (1 - FRACTION))
    assert torch.equal(loss_of(Training(), FRACTION)(logits, batch.labels), expected)


def weighted_batches(first: int) -> Iterator[Batch]:
    """The toy's batches, in which a seizure weighs 1, 2 or 3 by turns."""
    for step in itertools.count(first):
        batch = toy_batch(step)
        yield replace(batch, weights=1 + batch.labels * (step % 3))


def test_a_weighted_batch_in_parts_is_the_same_batch(tmp_path: Path) -> None:
    settings = toy_settings(6, label_smoothing=0.1)
    whole, _ = train(tmp_path / "whole", settings, batches=weighted_batches)
    in_two = Hardware(batch_size=4, accumulate=2)
    parts, _ = train(tmp_path / "parts", settings, hardware=in_two, batches=weighted_batches)
    plain, _ = train(tmp_path / "plain", settings)
    other = parts.state_dict()
    differences = [float((v - other[n]).abs().max()) for n, v in whole.state_dict().items()]
    assert 0 < max(differences) < 1e-5
    assert not same_weights(whole, plain)


def test_off_a_training_is_the_one_before_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _ = train(tmp_path / "now", toy_settings(6))

    def before(_settings: Training, fraction: float) -> Callable[..., torch.Tensor]:
        def loss(logits: torch.Tensor, labels: torch.Tensor, *_: object, **__: object) -> Any:
            ratio = torch.tensor((1 - fraction) / fraction)
            plain = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=ratio)
            return plain / (2 * (1 - fraction))

        return loss

    monkeypatch.setattr(trainer, "loss_of", before)
    again, _ = train(tmp_path / "before", toy_settings(6))
    assert same_weights(trained, again)
    assert not same_weights(trained, toy_network())


def test_off_the_training_set_is_drawn_as_before(windows: Windows) -> None:
    _, manifest = windows
    sampling = BalancedSampling.of(manifest, Sampling())
    rng = np.random.default_rng([3, 1])
    rows = manifest.rows_of("train")
    of_kind = [rows[manifest.category[rows] == kind] for kind in range(3)]
    drawn = [
        of_kind[1],
        rng.choice(of_kind[2], sampling.full_count, replace=False),
        rng.choice(of_kind[0], sampling.background_count, replace=False),
    ]
    assert np.array_equal(sampling.epoch(3, 1), rng.permutation(np.concatenate(drawn)))


def test_finished_runs_are_found_under_todays_settings() -> None:
    """A change of these means that every finished run is trained again: bump on purpose."""
    configurations = {name: load(Overrides(config=name), {}) for name in IDENTITIES}
    found = {name: digest(TrainingSettings.of(c).shaping()) for name, c in configurations.items()}
    assert found == IDENTITIES


def test_each_ablation_is_another_run() -> None:
    settings = load(Overrides(config="smoke:cpu"), {})
    changes = (
        "training.seizure_weight=events",
        "training.label_smoothing=0.1",
        "sampling.balance=patients",
    )
    names = {
        digest(TrainingSettings.of(apply_assignments(settings, [one])).shaping()) for one in changes
    }
    assert len(names | {IDENTITIES["smoke:cpu"]}) == 4


def refusal(name: str, written: object, wanted: object) -> str:
    return re.escape(f"written with training.{name} {written}, this run has {wanted}")


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [("seizure_weight", "events", "seconds"), ("label_smoothing", 0.1, 0.0)],
)
def test_a_checkpoint_of_another_ablation_is_refused(
    tmp_path: Path, name: str, value: object, default: object
) -> None:
    on, off = toy_settings(6, checkpoint_every=2, **{name: value}), toy_settings(6)
    train(tmp_path / "on", on)
    with pytest.raises(BrainbrrError, match=refusal(name, value, default)):
        train(tmp_path / "on", off)
    train(tmp_path / "off", off)
    with pytest.raises(BrainbrrError, match=refusal(name, default, value)):
        train(tmp_path / "off", on)


def test_a_checkpoint_of_before_is_continued(tmp_path: Path) -> None:
    """It says nothing of settings that came later."""
    settings = toy_settings(6, checkpoint_every=3)
    straight, _ = train(tmp_path / "straight", settings)
    with pytest.raises(StopIteration):
        train(tmp_path / "broken", settings, end_at(4))
    recorded = files.read_checkpoint(tmp_path / "broken" / files.CHECKPOINT_NAME).settings
    assert not {f"training.{name}" for name in LATER} & set(recorded)
    resumed, summary = train(tmp_path / "broken", settings)
    assert summary.resumed_from == 3
    assert same_weights(straight, resumed)


def test_a_weighted_step_that_goes_wrong_is_done_again_with_its_weights(tmp_path: Path) -> None:
    def spoiled(first: int) -> Iterator[Batch]:
        for batch in weighted_batches(first):
            assert batch.weights is not None
            batch.weights[1, 7] = math.inf
            yield batch

    with pytest.raises(BrainbrrError, match="the loss of step 1 is not finite"):
        train(tmp_path, toy_settings(3), network=build("tiny", seed=0), batches=spoiled)
    path = tmp_path / "nonfinite-step-1.safetensors"
    tensors, header = weight_files.load_tensors(path)
    header["preset"] = "tiny"
    weight_files.save_tensors(path, tensors, header)
    diagnosis, _ = replay(path)
    assert not math.isfinite(diagnosis.loss)


def end_at(step: int) -> Callable[[StepReport], None]:
    def look(report: StepReport) -> None:
        if report.step == step:
            raise StopIteration

    return look
