"""The store as a script reads it: signals, events and findings, without torch or Dagster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import brainbrr_core
from brainbrr_core import StoredCorpus, open_store, stored_versions
from brainbrr_core.api.stored_corpus import Unit
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.synthesis import write_corpus

#: Standard deviations that one unit of a stored sample stands for: the limit of 10, in 16 bits.
UNIT_SD = 10 / 32767


@pytest.fixture
def stored(master_cache: Configuration) -> StoredCorpus:
    return open_store(master_cache.cache_root)


def samples_of(path: Path, count: int) -> NDArray[np.int16]:
    """All stored samples by Arrow alone, (channels, count)."""
    with pa.ipc.open_file(path) as file:
        blocks = [
            block
            for number in range(file.num_record_batches)
            for block in file.get_batch(number).column(0).to_pylist()
        ]
    signal = np.array(blocks, np.int16).reshape(len(blocks), 19, 2560)
    return np.concatenate(list(signal), axis=1)[:, :count]


def test_signals_are_those_of_the_shard_in_either_unit(
    stored: StoredCorpus, master_cache: Configuration
) -> None:
    key = stored.keys[3]
    header = stored.header(key)
    expected = samples_of(Store.of(master_cache).shard_path(key), header.samples)
    sd = stored.read(key, unit="sd")
    assert sd.dtype == np.float32
    assert sd.shape == (19, header.samples)
    assert np.allclose(sd, expected * UNIT_SD, atol=1e-5)
    microvolts = stored.read(key, 7.3, 12.05)
    assert microvolts.shape == (19, round(12.05 * 256) - round(7.3 * 256))
    part = expected[:, round(7.3 * 256) : round(12.05 * 256)] * UNIT_SD
    scaled = part * np.array(header.deviation)[:, None] + np.array(header.mean)[:, None]
    assert np.allclose(microvolts, scaled, rtol=1e-5, atol=1e-4)
    # What lies outside the recording is left out.
    assert np.array_equal(stored.read(key, -5, 1e9, "sd"), sd)
    assert stored.read(key, 1e6).shape == (19, 0)
    with pytest.raises(BrainbrrError, match=r"the unit 'V' is not known"):
        stored.read(key, unit=cast(Unit, "V"))


def test_an_interval_may_span_the_batches_of_a_shard(
    tmp_path: Path, settings: Configuration
) -> None:
    write_corpus(tmp_path / "long", recordings=3, hours=0.75, seed=2, workers=1)
    longer = settings.model_copy(
        update={"data_dir": str(tmp_path / "long"), "cache_root": tmp_path / "long_cache"}
    )
    build(plan_corpus(longer), longer.preprocessing, workers=1)
    stored = open_store(longer.cache_root)
    key = max(stored, key=lambda key: stored.header(key).samples)
    expected = samples_of(Store.of(longer).shard_path(key), stored.header(key).samples)
    # A batch is six minutes.
    assert stored.header(key).samples > 2 * 360 * 256
    for start, stop in ((355, 366), (360, 361), (359, 725), (100, 300)):
        signal = stored.read(key, start, stop, "sd")
        assert np.allclose(signal, expected[:, start * 256 : stop * 256] * UNIT_SD, atol=1e-5)


def test_the_index_gives_events_and_findings_by_key_or_by_its_end(
    stored: StoredCorpus, master_cache: Configuration
) -> None:
    index = read_index(master_cache.cache_root)
    assert set(stored) == {row.partition_key for row in index if row.signal_reason is None}
    assert len(stored) == len(stored.keys) == 12
    row = next(row for row in index if row.events)
    name = row.partition_key.rpartition("/")[2]
    assert stored.events(name) == stored.events(row.partition_key) == row.events
    assert stored.findings(name) == row.findings
    assert stored.recording(name).patient == row.patient
    with pytest.raises(BrainbrrError, match="no recording nobody"):
        stored.read("nobody")


def test_a_recording_is_known_by_the_path_that_the_index_has(stored: StoredCorpus) -> None:
    key = stored.keys[0]
    path = stored.recording(key).path
    assert stored.recording(path) is stored.recording(Path(path)) is stored.recording(key)
    assert stored.recording(Path(key)) is stored.recording(key)
    with pytest.raises(BrainbrrError, match=r"no recording /nowhere/a.edf in the index"):
        stored.recording("/nowhere/a.edf")


def test_times_outside_are_left_out_and_what_is_no_time_is_refused(stored: StoredCorpus) -> None:
    key = stored.keys[0]
    whole = stored.read(key)
    assert np.array_equal(stored.read(key, float("-inf"), float("inf")), whole)
    of_numpy = (cast(float, np.float32(2)), cast(float, np.int64(3)))
    assert np.array_equal(stored.read(key, *of_numpy), whole[:, 512:768])
    assert stored.read(key, 1e9, 2e9).shape == (19, 0)
    for time in (float("nan"), "5", True):
        for times in ((time,), (0, time)):
            name = "stop_s" if len(times) == 2 else "start_s"
            with pytest.raises(BrainbrrError, match=f"{name} is {time!r}, which is no number"):
                stored.read(key, *cast("tuple[float, float]", times))
    with pytest.raises(BrainbrrError, match="3 names no recording"):
        stored.read(cast(str, 3))


def test_a_file_is_no_root_of_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "cache"
    file.write_text("")
    with pytest.raises(BrainbrrError, match="cache is no folder: give the root of a cache"):
        open_store(file)


def test_mne_gets_volts_positions_and_seizures_but_no_date(stored: StoredCorpus) -> None:
    key = next(key for key in stored if stored.events(key))
    raw = stored.to_mne(key)
    assert np.allclose(raw.get_data() * 1e6, stored.read(key), rtol=1e-6, atol=1e-6)
    assert raw.ch_names == list(stored.header(key).channels)
    assert raw.info["sfreq"] == 256
    assert raw.info["meas_date"] is None
    assert raw.info["subject_info"] is None
    assert raw.get_montage() is not None
    annotated = [
        (row["onset"], row["onset"] + row["duration"], row["description"])
        for row in raw.annotations
    ]
    assert annotated == [
        (pytest.approx(e.start), pytest.approx(e.stop), e.label) for e in stored.events(key)
    ]


def test_a_version_is_chosen_where_there_are_several(built: Configuration) -> None:
    root = built.cache_root
    [name] = stored_versions(root)
    other = "v1_256hz_10-20_0123456789ab"
    shutil.copytree(root / name, root / other)
    marker = next(p for p in (root / other).iterdir() if p.is_file() and name in p.read_text())
    marker.write_text(marker.read_text().replace(name, other))
    assert stored_versions(root) == (other, name)
    with pytest.raises(BrainbrrError, match=f"2 versions: choose one of {other}, {name}"):
        open_store(root)
    assert open_store(root, name).version == name
    with pytest.raises(BrainbrrError, match=r"no version v9: it has"):
        open_store(root, "v9")
    with pytest.raises(BrainbrrError, match=r"none has no version of a cache"):
        open_store(root / "none")
    assert stored_versions(root / "none") == ()


def test_wrong_bytes_and_missing_shards_are_never_signals(built: Configuration) -> None:
    stored = open_store(built.cache_root)
    damaged, missing = stored.keys[:2]
    path = Store.of(built).shard_path(damaged)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkRemains, match=f"the shard of {damaged} is damaged"):
        stored.read(damaged)
    Store.of(built).shard_path(missing).unlink()
    with pytest.raises(WorkRemains, match=f"{missing} is not stored in "):
        stored.read(missing)


def test_reading_the_store_loads_neither_torch_nor_mne_nor_dagster(stored: StoredCorpus) -> None:
    script = (
        "import sys, brainbrr_core\n"
        f"stored = brainbrr_core.open_store({str(stored.root)!r})\n"
        "stored.read(stored.keys[0], 0, 1), brainbrr_core.score_events\n"
        "print(*(name for name in ('torch', 'mne', 'dagster') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_every_public_name_is_importable_and_documented() -> None:
    pages = "".join(
        path.read_text() for path in (Path(__file__).parents[2] / "docs" / "api").glob("*.md")
    )
    for name in brainbrr_core.__all__:
        value = getattr(brainbrr_core, name)
        assert f"{value.__module__}.{name}" in pages or f".{name}\n" in pages, name
    assert set(brainbrr_core.__all__) <= set(dir(brainbrr_core))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        attrgetter("nothing")(brainbrr_core)
