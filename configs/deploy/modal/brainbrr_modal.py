"""brainbrr on Modal: fill a volume once, verify it, train from it.

    modal run configs/deploy/modal/brainbrr_modal.py --action populate-cache \
        --url s3://BUCKET/brainbrr --profile full
    modal run configs/deploy/modal/brainbrr_modal.py --action verify-cache
    modal run --detach configs/deploy/modal/brainbrr_modal.py --action train --profile full

The volume is mounted at /results and outlives every container: a cache that is already full costs
seconds. Credentials for S3 come from the Modal secret ``brainbrr-aws`` (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION), never from a file of this project.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import modal

RESULTS = "/results"
FOLDERS = {
    "BRAINBRR_CACHE_ROOT": f"{RESULTS}/cache",
    "BRAINBRR_RUNS_DIR": f"{RESULTS}/runs",
    "DAGSTER_HOME": f"{RESULTS}/dagster",
}
GPU = "A100-40GB"
DEVICE = "a100"
DAY_S = 24 * 60 * 60
#: In a container this file lies elsewhere, and the project is installed.
_PARENTS = Path(__file__).resolve().parents
PROJECT = _PARENTS[3] if len(_PARENTS) > 3 else Path.cwd()
_LEFT_OUT = [".git", ".venv", ".brainbrr", "**/__pycache__", "docs"]


def _installed(image: modal.Image) -> modal.Image:
    """The project in an image, with the versions it is tested with, and its folders."""
    return (
        image.add_local_dir(PROJECT, "/src", copy=True, ignore=_LEFT_OUT)
        .run_commands("pip install --constraint /src/constraints.txt /src")
        .env(FOLDERS)
    )


app = modal.App("brainbrr")
volume = modal.Volume.from_name("brainbrr-results", create_if_missing=True)
credentials = modal.Secret.from_name("brainbrr-aws")
cpu_image = _installed(modal.Image.debian_slim(python_version="3.11"))
# mamba-ssm is built against the installed torch, which takes a compiler and a matching nvcc.
gpu_image = _installed(
    modal.Image.from_registry("nvidia/cuda:12.8.1-devel-ubuntu22.04", add_python="3.11")
).run_commands(
    "pip install wheel ninja packaging",
    "pip install --no-build-isolation causal-conv1d mamba-ssm==2.3.2.post1",
    gpu=GPU,
)


def _brainbrr(*arguments: str) -> None:
    """Run a command of this project; its one line says what is wrong, its status ends the run."""
    subprocess.run(["brainbrr", *arguments], check=True)


@app.function(
    image=cpu_image, volumes={RESULTS: volume}, secrets=[credentials], cpu=8, timeout=DAY_S
)
def populate_cache(url: str, profile: str = "full") -> None:
    """S3 to the volume: what the profile lacks, verified; nothing where it is full."""
    try:
        _brainbrr("cache", "pull", url, "--profile", profile)
        _brainbrr("manifest", "--profile", profile)
    finally:
        # What was verified stays, whatever happened to the rest.
        volume.commit()


@app.function(image=cpu_image, volumes={RESULTS: volume}, cpu=8, timeout=DAY_S)
def verify_cache(profile: str = "full") -> None:
    """Every byte of every shard; what fails goes to quarantine, and populate fetches it again."""
    try:
        _brainbrr("cache", "verify")
        _brainbrr("cache", "status", "--profile", profile)
    finally:
        volume.commit()


@app.function(image=gpu_image, volumes={RESULTS: volume}, gpu=GPU, cpu=8, timeout=DAY_S)
def train(profile: str = "full") -> None:
    """Train from the volume; a run that was cut off goes on from its last checkpoint."""
    config = f"{profile}:{DEVICE}"
    try:
        _brainbrr("manifest", "--config", config)
        _brainbrr("train", "--config", config)
        _brainbrr("evaluate", "--config", config)
    finally:
        volume.commit()


ACTIONS: dict[str, Callable[[str, str], None]] = {
    "populate-cache": lambda url, profile: populate_cache.remote(url, profile),
    "verify-cache": lambda _url, profile: verify_cache.remote(profile),
    "train": lambda _url, profile: train.remote(profile),
}


@app.local_entrypoint()
def main(action: str, url: str = "", profile: str = "full") -> None:
    """One of populate-cache, verify-cache and train."""
    if action not in ACTIONS:
        raise SystemExit(f"--action {action} is none of {', '.join(ACTIONS)}")
    if action == "populate-cache" and not url:
        raise SystemExit("populate-cache needs --url, such as s3://BUCKET/brainbrr")
    ACTIONS[action](url, profile)
