"""Which recordings a profile uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from brainbrr_core.cache.manifest import settings_digest
from brainbrr_core.cache.selection import select
from brainbrr_core.configuration import Overrides, load
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.corpus.index_file import update_index


def test_few_patients_of_train_are_chosen_with_seizures_first_and_dev_and_eval_stay(
    corpus: Path, tmp_path: Path
) -> None:
    recordings = list(update_index(str(corpus), tmp_path))
    ictal = {r.patient for r in recordings if r.split == "train" and r.events}
    everyone = {r.patient for r in recordings if r.split == "train"}
    orders = set()
    for seed in range(4):
        previous: set[str] = set()
        order: list[str] = []
        for count in range(1, 1 + len(everyone)):
            chosen = select(recordings, Selection(train_patients=count, seed=seed))
            patients = {r.patient for r in chosen if r.split == "train"}
            assert len(patients) == count and previous < patients
            assert {r.partition_key for r in chosen} == {
                r.partition_key for r in recordings if r.split != "train" or r.patient in patients
            }
            order += patients - previous
            previous = patients
        assert set(order[: len(ictal)]) == ictal
        orders.add(tuple(order))
    assert len(orders) > 1


def test_a_selection_of_all_patients_has_the_digest_that_it_had() -> None:
    """Manifests of before the setting train_patients stay current; this is the digest of one."""
    settings = load(Overrides(config="full:cpu"), {}).manifest_settings
    assert settings_digest(settings).startswith("2547e9058718004797e47684579d2f91")
    few = replace(settings, selection=Selection(train_patients=2))
    assert settings_digest(few) != settings_digest(settings)
