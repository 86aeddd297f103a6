"""How two sets of settings differ, key by key."""

from __future__ import annotations

from typing import Any

from brainbrr_core.configuration import Overrides, apply_assignments, load
from brainbrr_core.configuration.differences import setting_differences


def dumped(*assignments: str) -> dict[str, Any]:
    settings = load(Overrides(config="smoke:cpu"), environment={})
    return apply_assignments(settings, assignments).model_dump(mode="json")


def test_only_what_differs_is_named_by_its_key() -> None:
    a = dumped("preprocessing.notch_hz=50", "detection.max_duration_s=600", "training.seed=1")
    assert [*map(str, setting_differences(a, dumped()))] == [
        "preprocessing.notch_hz: 50 against 60",
        "training.seed: 1 against 0",
        "detection.max_duration_s: 600.0 against null",
    ]
    assert [*map(str, setting_differences(a, dumped(), ["training"]))] == [
        "training.seed: 1 against 0"
    ]
    assert setting_differences(a, a) == []


def test_a_setting_that_an_earlier_version_did_not_have_counts_as_the_default() -> None:
    earlier = dumped()
    del earlier["training"]["seizure_weight"]
    assert setting_differences(earlier, dumped()) == []
    [one] = setting_differences(earlier, dumped("training.seizure_weight=events"))
    assert (one.key, one.a, one.b) == ("training.seizure_weight", "seconds", "events")
