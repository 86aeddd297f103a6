"""Archives of brain-go-brr v2 that cannot be taken: each is refused alone, with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.npz_import import STRIDE, SUFFIX, WINDOW, import_archives
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError


@pytest.fixture
def recording(master_cache: Configuration) -> Recording:
    """A recording of two windows."""
    first = read_index(master_cache.cache_root).recordings[0]
    samples = round((WINDOW + STRIDE) / 256 * first.rate)
    return replace(first, samples=samples)


def windows(count: int = 2) -> NDArray[np.float32]:
    """Windows of a signal of noise, as they overlap in it."""
    length = WINDOW + (count - 1) * STRIDE
    signal = np.random.default_rng(1).standard_normal((19, length)).astype(np.float32)
    return np.stack([signal[:, n * STRIDE : n * STRIDE + WINDOW] for n in range(count)])


def labels(count: int = 2) -> NDArray[np.float32]:
    return np.zeros((count, WINDOW), np.float32)


def refusal(
    tmp_path: Path,
    recordings: tuple[Recording, ...],
    signals: NDArray[np.float32],
    marks: NDArray[np.float32],
) -> str:
    """Why an archive is refused, as it is shown and reported; nothing when it is taken."""
    folder = tmp_path / "old"
    folder.mkdir(exist_ok=True)
    path = folder / f"{Path(recordings[0].partition_key).name}{SUFFIX}"
    np.savez(path, windows=signals, labels=marks)
    shown: list[str] = []
    done = import_archives(
        folder, tmp_path / "root", Index(recordings, "tusz"), ("seiz",), shown.append
    )
    assert shown == [f"{path}: {why}" for why in done.refused.values()]
    stored = Store(tmp_path / "root", done.version).shard_keys()
    assert stored == {one.partition_key for one in done.imported}
    assert len(stored) + len(done.refused) == 1
    return next(iter(done.refused.values()), "")


def test_a_whole_archive_is_taken(tmp_path: Path, recording: Recording) -> None:
    """A control: the cases below differ from it in one thing each."""
    assert refusal(tmp_path, (recording,), windows(), labels()) == ""


def test_windows_of_another_shape_are_refused(tmp_path: Path, recording: Recording) -> None:
    one = (recording,)
    assert refusal(tmp_path, one, windows()[:, :18], labels()) == (
        "windows of shape (2, 18, 15360), not (n, 19, 15360)"
    )
    assert refusal(tmp_path, one, windows()[:, 0], labels()) == (
        "windows of shape (2, 15360), not (n, 19, 15360)"
    )
    assert refusal(tmp_path, one, windows()[:0], labels(0)) == (
        "windows of shape (0, 19, 15360), not (n, 19, 15360)"
    )


def test_labels_of_another_shape_are_refused(tmp_path: Path, recording: Recording) -> None:
    assert refusal(tmp_path, (recording,), windows(), labels(1)) == (
        "labels of shape (1, 15360), not (2, 15360)"
    )
    assert refusal(tmp_path, (recording,), windows(), labels()[:, :60]) == (
        "labels of shape (2, 60), not (2, 15360)"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_refused(
    tmp_path: Path, recording: Recording, value: float
) -> None:
    signals = windows()
    signals[1, 18, -1] = value
    assert refusal(tmp_path, (recording,), signals, labels()) == "a sample is not finite"


def test_an_archive_of_two_recordings_is_refused(tmp_path: Path, recording: Recording) -> None:
    """The name of an archive is that of the EDF alone."""
    stem = Path(recording.partition_key).name
    again = replace(recording, partition_key=f"eval/other/s001_2010/01_tcp_ar/{stem}")
    assert refusal(tmp_path, (recording, again), windows(), labels()) == (
        f"2 recordings have this name, such as {recording.partition_key}"
    )


def test_a_folder_without_archives_is_one_line(tmp_path: Path, recording: Recording) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(BrainbrrError) as error:
        import_archives(tmp_path / "old", tmp_path / "root", Index((recording,), "tusz"), ())
    assert str(error.value).startswith(f"no *_windows.npz below {tmp_path / 'old'}: ")
    assert not (tmp_path / "root").exists()
