"""What each fold trains on, of all folds of a corpus at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from brainbrr_core.annotation import Event
from brainbrr_core.cache import fold_digests
from brainbrr_core.cache.manifest import around_split
from brainbrr_core.cache.plan import Item, Plan, plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration, Overrides, apply_values, load
from brainbrr_core.errors import BrainbrrError
from tests.support.bids import write_bids

PATIENTS, RECORDINGS = 9, 25


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    home = tmp_path_factory.mktemp("folds")
    write_bids(home / "data", ["sub-01"])
    folders = {"data_dir": str(home / "data"), "cache_root": str(home / "cache")}
    return load(Overrides(config="full:cpu", **folders), environment={})


@pytest.fixture(scope="module")
def plan(configuration: Configuration) -> Plan:
    """Recordings of nine patients, two of whom have seizures; some cannot be used."""
    made = plan_corpus(configuration, lambda _line: None)
    (item,) = made.items
    return replace(made, items=tuple(recording(item, number) for number in range(RECORDINGS)))


def recording(item: Item, number: int) -> Item:
    patient = number % PATIENTS
    seizures = patient % 4 if patient else 0
    return replace(
        item,
        fingerprint=f"{number:064x}",
        recording=replace(
            item.recording,
            partition_key=f"p{patient}/{number}",
            # One patient in two spellings.
            patient=f"{'P' if number == PATIENTS else 'p'}{patient}",
            label_reason="no_annotation" if number % 7 == 6 else None,
            events=tuple(Event(10.0 * n, 10.0 * n + 3, "seiz") for n in range(seizures)),
        ),
    )


@pytest.fixture(params=[("kfold", 3), ("leave_one_patient_out", PATIENTS)], ids=lambda p: p[0])
def cache(request: pytest.FixtureRequest, configuration: Configuration) -> ProfileCache:
    scheme, folds = request.param
    values = {"corpus.split.scheme": scheme, "corpus.split.folds": folds}
    return ProfileCache.of(apply_values(configuration, values, "test"))


def test_a_digest_is_that_of_the_trainings_of_its_fold(cache: ProfileCache, plan: Plan) -> None:
    digests = cache.fold_digests(plan)
    made = [digests.digest(fold + 1) for fold in range(len(digests.folds))]
    assert len(set(made)) == len(made) == cache.split.folds
    for fold, digest in enumerate(made, start=1):
        chosen = cache.with_fold(fold)
        assert digest == chosen.training_source(chosen.in_fold(plan))
    with pytest.raises(BrainbrrError, match="there is no fold 0"):
        digests.digest(0)


def test_the_totals_of_a_fold_are_those_of_its_recordings(cache: ProfileCache, plan: Plan) -> None:
    folds = cache.fold_digests(plan).folds
    for fold in range(1, len(folds) + 1):
        in_fold = cache.with_fold(fold).in_fold(plan)
        used = [item.recording for item in in_fold.items if item.recording.reason is None]
        totals = folds.totals(fold)
        for split in ("train", "dev", "eval"):
            own = [one for one in used if one.split == split]
            assert totals[split].patients == len({one.patient.lower() for one in own})
            assert totals[split].recordings == len(own)
            assert totals[split].seconds == pytest.approx(sum(one.duration_s for one in own))
            assert totals[split].seizures == sum(len(one.events) for one in own)
        assert sum(total.recordings for total in totals.values()) == len(used)


def test_each_recording_is_written_once_for_all_folds(
    cache: ProfileCache, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Counter[str] = Counter()

    def counted(item: Item) -> tuple[str, str]:
        written[item.recording.partition_key] += 1
        return around_split(item)

    monkeypatch.setattr(fold_digests, "around_split", counted)
    digests = cache.fold_digests(plan)
    for fold in range(len(digests.folds)):
        digests.digest(fold + 1)
    assert set(written.values()) == {1}
