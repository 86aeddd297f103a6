"""Fixtures of the tests of the graph."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's storage in memory, for one test."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
