"""A small machine and its archive, which tests of transfers only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.configuration import Configuration, Overrides, load
from tests.support.machines import (
    export_to,
    machine,
    with_all_recordings,
    write_shards,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A machine with four shards of 100 kB, which the tests only read."""
    place = tmp_path_factory.mktemp("small")
    settings = load(Overrides(config="full:cpu", cache_root=str(place / "x")), {})
    made = machine(with_all_recordings(settings), place)
    write_shards(made, 4)
    return made


@pytest.fixture(scope="module")
def exported(small: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "good.tar.zst"
    export_to(small, path)
    return path
