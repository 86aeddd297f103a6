"""Checkpoint files: which are kept, and how damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from tests.support.toy_training import (
    same_weights,
    toy_network,
    toy_settings,
    train,
)


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    train(tmp_path, toy_settings(7, checkpoint_every=2, keep_checkpoints=2))
    kept = sorted(path.name for path in tmp_path.glob("checkpoint*"))
    assert kept == [
        "checkpoint-step-00000006.safetensors",
        "checkpoint-step-00000007.safetensors",
        files.CHECKPOINT_NAME,
    ]
    _, header = weight_files.load_tensors(tmp_path / kept[0])
    assert header["step"] == 6
    # A training resumes from an older one that replaces the last.
    straight, _ = train(tmp_path / "other", toy_settings(7))
    (tmp_path / kept[0]).replace(tmp_path / files.CHECKPOINT_NAME)
    again, summary = train(
        tmp_path, toy_settings(7, checkpoint_every=2, keep_checkpoints=0), network=toy_network(9)
    )
    assert summary.resumed_from == 6
    assert same_weights(straight, again)
    assert [path.name for path in tmp_path.glob("checkpoint*")] == [files.CHECKPOINT_NAME]


@pytest.mark.parametrize("damage", ["cut", "text", "foreign"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / files.CHECKPOINT_NAME
    weight_files.save_tensors(
        path,
        {"network/weight": torch.zeros(100)},
        {"step": 1, "settings": {}, "progress": {}, "provenance": {}},
    )
    assert files.read_checkpoint(path).step == 1
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "text":
        path.write_text("not a checkpoint at all")
    else:
        weight_files.save_model(path, toy_network(), {})
    with pytest.raises(weight_files.DamagedFile, match=r"checkpoint\.safetensors") as caught:
        files.read_checkpoint(path)
    assert "\n" not in str(caught.value)
