"""The settings of a small run."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.configuration import Configuration, Overrides, load

SMALL = """\
profile: small
hardware: {batch_size: 4}
training: {steps: 3, warmup_steps: 1}
detection: {on_threshold: 0.5}
evaluation: {split: eval, allow_eval: true}
"""


def small_settings(place: Path, data_dir: Path) -> Configuration:
    """A tiny network and three steps of training, all folders below ``place``."""
    path = place / "small.yaml"
    folders = {
        "data_dir": data_dir,
        "cache_root": place / "cache",
        "runs_dir": place / "runs",
        "dagster_home": place / "dagster",
    }
    path.write_text(SMALL + "".join(f"{key}: {value}\n" for key, value in folders.items()))
    return load(Overrides(config=small_config(place)), environment={})


def small_config(place: Path) -> str:
    """What ``BRAINBRR_CONFIG`` holds for :func:`small_settings`."""
    return f"smoke:cpu:{place / 'small.yaml'}"
