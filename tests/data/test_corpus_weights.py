"""Weights of corpora in the training set: shares of every kind, and nothing else changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.configuration import Sampling
from brainbrr_core.data import BalancedSampling
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.identity import sampling_values

NONE, PARTIAL, FULL = 0, 1, 2
#: Windows of each kind in each patient of two corpora.
WINDOWS = {
    ("tusz", "a"): (900, 60, 30),
    ("tusz", "b"): (300, 30, 0),
    ("chbmit", "c"): (400, 8, 4),
    ("chbmit", "d"): (90, 2, 0),
}


def manifest(windows: Mapping[tuple[str, str], tuple[int, int, int]] = WINDOWS) -> Manifest:
    """Windows of these kinds in one recording of each patient, all in train."""
    recordings, recording, category = [], [], []
    for number, ((corpus, patient), kinds) in enumerate(windows.items()):
        key = f"{corpus}/{patient}/1"
        name = f"{corpus}/{patient}"
        recordings.append(ManifestRecording(key, "train", name, "m", "f", 2560, (), (), corpus))
        for kind, count in enumerate(kinds):
            recording += [number] * count
            category += [kind] * count
    kinds_of_all = np.array(category, np.int8)
    return Manifest(
        profile="by hand",
        version="v",
        source="s",
        window_samples=15_360,
        recordings=tuple(recordings),
        recording=np.array(recording, np.int32),
        start=np.arange(len(recording), dtype=np.int64),
        ictal=np.array([0.0, 0.5, 1.0], np.float32)[kinds_of_all],
        category=kinds_of_all,
        unknown=np.zeros(len(recording), np.float32),
        without_windows={},
        unknown_windows={},
    )


def drawn(made: Manifest, sampling: BalancedSampling, number: int = 0) -> Counter[tuple[str, int]]:
    """How many windows of an epoch are of each corpus and kind."""
    rows = sampling.epoch(0, number).tolist()
    return Counter(
        (made.recordings[made.recording[row]].corpus, int(made.category[row])) for row in rows
    )


def test_each_kind_is_divided_by_the_weights() -> None:
    made = manifest()
    sampling = BalancedSampling.of(made, Sampling(corpus_weights={"tusz": 3, "chbmit": 1}))
    # 100 partly ictal windows, so 250 of background and 30 of 34 wholly ictal ones.
    for number in range(20):
        counts = drawn(made, sampling, number)
        assert sum(counts.values()) == len(sampling) == 380
        assert (counts["tusz", PARTIAL], counts["chbmit", PARTIAL]) == (75, 25)
        # 187.5 and 62.5, 22.5 and 7.5: to within one.
        assert {counts["tusz", NONE], counts["chbmit", NONE]} in ({187, 63}, {188, 62})
        assert {counts["tusz", FULL], counts["chbmit", FULL]} in ({22, 8}, {23, 7})


def test_windows_are_drawn_again_only_where_all_are_drawn() -> None:
    made = manifest()
    sampling = BalancedSampling.of(made, Sampling(corpus_weights={"chbmit": 1}))
    times = np.bincount(sampling.epoch(0, 0), minlength=len(made))
    corpus = np.array([made.recordings[number].corpus for number in made.recording])
    few = (corpus == "chbmit") & (made.category == PARTIAL)
    # 50 draws of 10 windows, and 50 draws of 90: an unnamed corpus has the weight 1.
    assert set(times[few].tolist()) == {5}
    assert times[(corpus == "tusz") & (made.category == PARTIAL)].max() == 1


def test_a_corpus_of_weight_0_is_not_trained_on() -> None:
    made = manifest()
    only = manifest({key: kinds for key, kinds in WINDOWS.items() if key[0] == "tusz"})
    sampling = BalancedSampling.of(made, Sampling(corpus_weights={"chbmit": 0}))
    alone = BalancedSampling.of(only, Sampling())
    assert len(sampling) == len(alone)
    assert {corpus for corpus, _ in drawn(made, sampling)} == {"tusz"}
    assert sampling.positive_fraction == pytest.approx(alone.positive_fraction)


def test_an_unknown_corpus_is_named_with_the_nearest() -> None:
    with pytest.raises(BrainbrrError, match=r"names chbmti.*the nearest is chbmit"):
        BalancedSampling.of(manifest(), Sampling(corpus_weights={"chbmti": 1}))
    one = manifest({("", "a"): (10, 5, 5)})
    with pytest.raises(BrainbrrError, match=r"names tusz.*its only corpus has no name"):
        BalancedSampling.of(one, Sampling(corpus_weights={"tusz": 1}))


def test_without_weights_an_epoch_and_the_name_of_a_run_are_those_of_before() -> None:
    assert "corpus_weights" not in sampling_values(Sampling())
    assert "corpus_weights" in sampling_values(Sampling(corpus_weights={"tusz": 2}))
    made = manifest()
    epoch = BalancedSampling.of(made, Sampling()).epoch(3, 1)
    # As it was drawn before corpora had weights.
    rng = np.random.default_rng([3, 1])
    kinds = [np.flatnonzero(made.category == kind) for kind in (NONE, PARTIAL, FULL)]
    full, background = rng.choice(kinds[FULL], 30, False), rng.choice(kinds[NONE], 250, False)
    assert np.array_equal(
        epoch, rng.permutation(np.concatenate([kinds[PARTIAL], full, background]))
    )


@given(
    weights=st.dictionaries(
        st.sampled_from(["tusz", "chbmit"]), st.floats(0.01, 100), min_size=1, max_size=2
    ),
    balance=st.sampled_from(["windows", "patients"]),
)
@settings(max_examples=15, deadline=None)
def test_on_average_an_epoch_is_as_expected(weights: dict[str, float], balance: str) -> None:
    made = manifest()
    chosen = Sampling.model_validate({"corpus_weights": weights, "balance": balance})
    sampling = BalancedSampling.of(made, chosen)
    expected = sampling.expected_draws(len(made))
    assert expected.sum() == pytest.approx(len(sampling))
    ratio = weights.get("tusz", 1.0) / weights.get("chbmit", 1.0)
    of_corpus = np.array([made.recordings[number].corpus == "tusz" for number in made.recording])
    for kind in (NONE, PARTIAL, FULL):
        of_kind = made.category == kind
        first, second = expected[of_kind & of_corpus].sum(), expected[of_kind & ~of_corpus].sum()
        assert first == pytest.approx(ratio * second)
    epochs = 40
    times = np.zeros(len(made))
    for number in range(epochs):
        epoch = sampling.epoch(0, number)
        assert len(epoch) == len(sampling)
        times += np.bincount(epoch, minlength=len(made))
    # Of a corpus in a kind, each epoch has its expected number to within one.
    for kind in (NONE, PARTIAL, FULL):
        rows = (made.category == kind) & of_corpus
        assert abs(times[rows].sum() - epochs * expected[rows].sum()) < epochs
    ictal = float(times @ made.ictal) / times.sum()
    assert ictal == pytest.approx(sampling.positive_fraction, abs=0.01)
