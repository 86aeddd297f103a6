"""A build for what needs every recording: one that fails ends it, and the others are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.cache.complete_build import build_completely
from brainbrr_core.cache.plan import State, limited, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import WorkRemains


def test_one_recording_that_fails_is_named_and_the_others_are_built(
    settings: Configuration,
) -> None:
    plan = limited(plan_corpus(settings), 3)
    bad = plan.to_build[1].recording
    content = Path(bad.path).read_bytes()
    Path(bad.path).write_bytes(content[:-1000])
    with pytest.raises(WorkRemains) as failure:
        build_completely(plan, settings.preprocessing, workers=1)
    message = str(failure.value)
    assert message.startswith(
        f"1 recording of the corpus could not be built, such as {bad.partition_key} ("
    )
    assert message.endswith("): run the same command again")
    stored = {item.recording.partition_key for item in plan.to_build if item.recording is not bad}
    after = plan_profile(settings)
    assert {
        item.recording.partition_key for item in after.items if item.state is State.FRESH
    } == stored
    # The same command completes it once the EDF is whole.
    Path(bad.path).write_bytes(content)
    build_completely(limited(plan_corpus(settings), 1), settings.preprocessing, workers=1)
    assert plan_profile(settings).count(State.FRESH) == 3
