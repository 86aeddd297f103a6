"""The speed that a build is estimated with: measured on a chain that is ready, as a build's is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.doctor import estimate
from brainbrr_core.doctor.estimate import find_edfs, measured_speed, recorded_speed
from brainbrr_core.edf.reader import EdfRecording


def test_the_first_preprocessing_which_compiles_does_not_count(
    corpus: Path, settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    durations: list[float] = []

    class Slow:
        """A chain whose first use takes 10 s, and every other 0.05 s."""

        def __init__(self, source: EdfRecording, _settings: object) -> None:
            durations.append(float(source.samples / source.rate))

        def quantized(self) -> Iterator[NDArray[np.int16]]:
            clock[0] += 10.0 if len(durations) == 1 else 0.05
            return iter(())

    monkeypatch.setattr(estimate, "Chain", Slow)
    monkeypatch.setattr(estimate, "perf_counter", lambda: clock[0])
    edfs, _ = find_edfs(corpus)
    speed = measured_speed(edfs, settings.preprocessing)
    assert speed == pytest.approx(durations[0] / 0.05)


def test_records_of_earlier_builds_count_without_the_first_of_each_process(
    built: Configuration,
) -> None:
    store = Store.of(built)
    index = read_index(built.cache_root)
    records = store.records()
    usable = [recording for recording in index if recording.partition_key in records]
    renewed: list[BuildRecord] = []
    for number, recording in enumerate(usable):
        seconds = recording.duration_s / 5000 + (2.0 if number < 2 else 0.0)
        renewed.append(records[recording.partition_key]._replace(seconds=seconds))
    store.append_records(renewed)
    assert recorded_speed(store, index) == pytest.approx(5000)
