"""What shapes the signal is in the preprocessing version."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from brainbrr_core.cache import version
from brainbrr_core.cache.version import chain_parameters
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.files.canonical import digest
from brainbrr_core.signal import edges, interpolation, statistics

ROBUST = Preprocessing(scale="robust")


def test_the_constants_of_the_chain_are_in_the_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = {digest(chain_parameters(Preprocessing()))}

    def other_rules() -> dict[str, JsonValue]:
        return {"electrodes": {"T7": "T4"}}

    changes = [
        (interpolation, "POSITIONS", interpolation.POSITIONS | {"Cz": (0.0, 0.0, 1.0)}),
        (version, "label_rules", other_rules),
        (edges, "CONSTANTS", edges.CONSTANTS | {"edge_s": 2}),
        (statistics, "CONSTANTS", statistics.CONSTANTS | {"settling_s": 3}),
    ]
    for module, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            digests.add(digest(chain_parameters(Preprocessing())))
    assert len(digests) == 5


def test_the_default_scale_is_not_in_the_version() -> None:
    default, robust = (
        chain_parameters(settings)["chain"] for settings in (Preprocessing(), ROBUST)
    )
    assert isinstance(default, dict)
    assert isinstance(robust, dict)
    assert "scale" not in default
    assert robust["scale"] == "robust"
