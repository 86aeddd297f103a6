"""A small run computes the same each time.

Digests of earlier releases are not kept here: even the synthetic recordings may differ in a last
bit between processors. ``tests/cache/test_equal_bytes.py`` has a digest that holds on all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.golden import golden


@pytest.mark.slow
def test_a_small_run_computes_the_same_twice(tmp_path: Path) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    first, second = map(golden, folders)
    assert first == second
    assert list(first) == ["version", "shards", "manifest", "run", "weights", "scores"]
    assert len(set(first.values())) == len(first)
