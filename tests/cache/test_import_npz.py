"""Archives of brain-go-brr v2 become shards of their own version, or the reason is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache import gc
from brainbrr_core.cache.manifest import make_manifest
from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.shard import Shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.stored_settings import stored_settings
from brainbrr_core.cache.version import imported_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.data import WindowDataset
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.training.run import train
from tests.support.shell import Shell
from tests.support.small_run import small_config


def archive(folder: Path, stem: str, samples: int, seed: int) -> NDArray[np.float32]:
    """Write windows of noise as brain-go-brr v2 did; the signal that they cover."""
    signal = np.random.default_rng(seed).standard_normal((19, samples)).astype(np.float32)
    count = (samples - 15360) // 2560 + 1
    windows = np.stack([signal[:, n * 2560 : n * 2560 + 15360] for n in range(count)])
    folder.mkdir(exist_ok=True)
    np.savez_compressed(
        folder / f"{stem}_windows.npz",
        windows=windows,
        labels=np.zeros((count, 15360), np.float32),
    )
    return signal[:, : (count - 1) * 2560 + 15360]


Archives = tuple[Path, dict[str, NDArray[np.float32]]]


@pytest.fixture(scope="module")
def master_archives(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """One archive for each of the corpus's recordings: the folder, and signals by partition key."""
    folder = tmp_path_factory.mktemp("archives") / "old"
    index = update_index(str(master_corpus), tmp_path_factory.mktemp("index"))
    return folder, {
        r.partition_key: archive(
            folder, Path(r.partition_key).name, int(r.samples * 256 / r.rate), number
        )
        for number, r in enumerate(index)
    }


@pytest.fixture
def archives(
    master_archives: Archives, settings: Configuration, tmp_path: Path
) -> dict[str, NDArray[np.float32]]:
    """The signals of the archives in ``tmp_path / "old"``, which a test may change."""
    folder, signals = master_archives
    shutil.copytree(folder, tmp_path / "old")
    update_index(settings.data_dir, settings.cache_root)
    return signals


def imported(shell: Shell, tmp_path: Path) -> dict[str, Any]:
    config = ("--config", small_config(tmp_path))
    done = shell.type("cache", "import-npz", tmp_path / "old", "--json", *config)
    assert "Traceback" not in done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if values["refused"] else 0)
    return values


def plan_of(settings: Configuration) -> tuple[Configuration, Plan]:
    named = settings.model_copy(update={"version": imported_version()})
    return named, plan_profile(named)


def test_archives_become_shards_that_are_used_only_when_named(
    shell: Shell,
    settings: Configuration,
    archives: dict[str, NDArray[np.float32]],
    tmp_path: Path,
) -> None:
    values = imported(shell, tmp_path)
    assert (values["imported"], values["refused"]) == (12, {})
    assert values["version"] == imported_version()
    before, after = values["bytes_before"], values["bytes_after"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert before == sum(path.stat().st_size for path in (tmp_path / "old").iterdir())
    assert after < before
    seizures = sum(
        event.duration
        for r in update_index(settings.data_dir, settings.cache_root)
        for event in r.events
        if event.stop <= archives[r.partition_key].shape[1] / 256
    )
    # The archives say that nothing is a seizure: every second of one differs.
    assert values["seconds_with_other_labels"] >= seizures - 1 > 0

    named, plan = plan_of(settings)
    assert plan.count(State.FRESH) == 12
    for key, signal in archives.items():
        shard = Shard(plan.store.shard_path(key))
        stored = np.concatenate(list(shard.blocks(0, shard.header.blocks)), axis=1) * SCALE
        assert shard.header.samples == signal.shape[1]
        assert np.abs(stored[:, : signal.shape[1]] - signal).max() < 0.001
    stale = plan_profile(settings)
    assert stale.count(State.STALE) == 12
    # With which settings archives were made is not known.
    assert stored_settings(stale, settings.preprocessing) == []
    manifest = make_manifest(plan, named.manifest_settings)
    batch = WindowDataset(manifest, plan.store).fetch(np.array([3]))
    first = manifest.recordings[manifest.recording[3]]
    start = int(manifest.start[3])
    expected = archives[first.partition_key][:, start : start + 15360]
    assert np.abs(batch.signals[0].numpy() - expected).max() < 0.001


def test_a_model_trained_on_it_says_so(
    shell: Shell,
    settings: Configuration,
    archives: dict[str, NDArray[np.float32]],
    tmp_path: Path,
) -> None:
    assert archives
    imported(shell, tmp_path)
    named, _ = plan_of(settings)
    config = ("--config", small_config(tmp_path), "--cache-version", imported_version())
    assert shell.type("manifest", *config).returncode == 0
    made = train(named, log=lambda _line: None)
    assert made.record.identity.preprocessing_version == imported_version()
    plan = plan_profile(settings)
    kept = [item.path for item in gc.find(plan)]
    assert Store(settings.cache_root, imported_version()).folder not in kept


def test_what_cannot_be_taken_is_refused_alone(
    shell: Shell,
    settings: Configuration,
    archives: dict[str, NDArray[np.float32]],
    tmp_path: Path,
) -> None:
    assert settings.cache_root
    keys = sorted(archives)
    folder = tmp_path / "old"
    paths = [folder / f"{Path(key).name}_windows.npz" for key in keys]
    with np.load(paths[0]) as held:
        windows, labels = held["windows"].copy(), held["labels"]
    windows[1, 4, 100] += 0.5
    np.savez_compressed(paths[0], windows=windows, labels=labels)
    paths[1].write_bytes(paths[1].read_bytes()[:5000])
    with np.load(paths[2]) as held:
        np.savez_compressed(paths[2], windows=held["windows"][:-1], labels=held["labels"][:-1])
    archive(folder, "stranger_s001_t000", 20_000, 99)
    (folder / "again").mkdir()
    paths[3].with_name("again").joinpath(paths[3].name).write_bytes(paths[3].read_bytes())
    refused = imported(shell, tmp_path)["refused"]
    assert isinstance(refused, dict)
    by_name = {Path(path).name: why for path, why in refused.items()}
    assert "disagree" in by_name[paths[0].name]
    assert "no readable" in by_name[paths[1].name]
    assert "windows where the recording has" in by_name[paths[2].name]
    assert "no recording" in by_name["stranger_s001_t000_windows.npz"]
    assert "two archives" in by_name[paths[3].name]
    assert len(refused) == 6
    _, plan = plan_of(settings)
    assert plan.count(State.FRESH) == 8
    assert plan.reasons() == {"excluded: not imported": 4}


def test_a_version_that_is_neither_derived_nor_imported_is_refused(
    settings: Configuration,
) -> None:
    with pytest.raises(BrainbrrError, match="neither imported nor"):
        Store.of(settings.model_copy(update={"version": "v1_256hz_10-20_000000000000"}))
