"""Files of weights: what they give back, and how damage is noticed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from safetensors import safe_open

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.resumption import find_resumption
from tests.support.toy_training import (
    same_weights,
    toy_network,
)


def test_model_file_gives_back_weights_and_metadata(tmp_path: Path) -> None:
    network = toy_network()
    metadata = {"preset": "tiny", "version": "v1", "seed": "0"}
    first, second = tmp_path / "a" / "model.safetensors", tmp_path / "b.safetensors"
    weight_files.save_model(first, network, metadata)
    weight_files.save_model(second, network, dict(reversed(metadata.items())))
    assert first.read_bytes() == second.read_bytes()
    state, found = weight_files.load_model(first)
    assert found == metadata
    other = toy_network(seed=1)
    other.load_state_dict(state)
    assert same_weights(network, other)
    with safe_open(first, framework="pt") as opened:
        assert set(opened.keys()) == set(network.state_dict())


def test_interrupted_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    weight_files.save_model(path, toy_network(), {"state": "old"})
    before = path.read_bytes()

    def fail(temporary: Path, content: bytes) -> int:
        with temporary.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(WorkRemains, match="No space"):
        weight_files.save_model(path, toy_network(1), {"state": "new"})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_others_may_read_weights_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        weight_files.save_model(tmp_path / "model.safetensors", toy_network(), {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640


def test_a_single_changed_bit_of_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checksum = weight_files.save_model(path, toy_network(), {})
    assert weight_files.load_model(path, checksum)
    other = weight_files.save_model(tmp_path / "other.safetensors", toy_network(1), {})
    assert other != checksum
    with pytest.raises(BrainbrrError, match="weights that its run recorded") as caught:
        weight_files.load_model(tmp_path / "other.safetensors", checksum)
    assert "\n" not in str(caught.value)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrainbrrError, match="checksum"):
        weight_files.load_model(path)


def test_missing_files(tmp_path: Path) -> None:
    assert find_resumption(tmp_path) is None
    with pytest.raises(BrainbrrError, match="does not exist"):
        files.read_checkpoint(tmp_path / files.CHECKPOINT_NAME)
    with pytest.raises(BrainbrrError, match="does not exist"):
        weight_files.load_model(tmp_path / "model.safetensors")
