"""With which settings the shards of another version were built, as a refusal names them."""

from __future__ import annotations

import os
import shutil

import pytest

from brainbrr_core.cache import stored_settings as module
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.stored_settings import stored_settings
from brainbrr_core.configuration import Configuration, apply_assignments
from brainbrr_core.signal.chain import ALGORITHM_VERSION

NEWER = "v1_256hz_10-20_0123456789ab"


@pytest.fixture
def changed(built: Configuration) -> Configuration:
    """A configuration with another notch filter than the one that the cache was built with."""
    return apply_assignments(built, ["preprocessing.notch_hz=50"])


def test_another_version_of_the_signal_chain_is_named(
    changed: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_profile(changed)
    told = [str(each) for each in stored_settings(plan, changed.preprocessing)]
    assert told == ["preprocessing.notch_hz: 60 against 50"]
    monkeypatch.setattr(module, "chain_parameters", lambda _settings: {"algorithm": "99"})
    told = [str(each) for each in stored_settings(plan, changed.preprocessing)]
    assert told == [
        "preprocessing.notch_hz: 60 against 50",
        f"signal_chain_version: {ALGORITHM_VERSION} against 99",
    ]


def test_where_the_newest_version_is_damaged_the_one_before_it_tells(
    built: Configuration, changed: Configuration
) -> None:
    store, newer = Store.of(built), Store(built.cache_root, NEWER)
    newer.create()
    key = plan_profile(changed).items[0].recording.partition_key
    newer.shard_path(key).parent.mkdir(parents=True)
    shutil.copy(store.shard_path(key), newer.shard_path(key))
    os.utime(store.marker, (100, 100))
    os.utime(newer.marker, (200, 200))
    plan = plan_profile(changed)
    told = stored_settings(plan, changed.preprocessing)
    for damage in (lambda shard: shard.write_bytes(b"damaged"), lambda shard: shard.unlink()):
        damage(newer.shard_path(key))
        assert stored_settings(plan, changed.preprocessing) == told != []
    store.shard_path(key).write_bytes(b"damaged")
    assert stored_settings(plan, changed.preprocessing) == []
