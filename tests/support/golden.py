"""Digests of everything that a small run computes, to compare two checkouts on one machine.

    python -m tests.support.golden

It writes a synthetic corpus, builds its cache, trains for a few steps and evaluates, in a temporary
folder, and prints one line for each of these. They depend on the processor and on the releases of
numpy and torch, so that only checkouts on one machine, with the same releases, can be compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from blake3 import blake3

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.evaluation.evaluate import evaluate
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.run import train
from tests.support.small_run import small_settings


def golden(folder: Path) -> dict[str, str]:
    """The digests by name. Everything is written below ``folder``."""
    write_corpus(folder / "tusz", recordings=12, hours=0.4, seed=5, workers=1)
    configuration = small_settings(folder, folder / "tusz")
    plan = plan_corpus(configuration, _ignore)
    failed = build(plan, configuration.preprocessing, workers=1).failed
    assert failed == []
    plan = plan_corpus(configuration, _ignore)
    manifest = update_manifest(plan, configuration.manifest_settings).manifest
    shards = blake3()
    for key in sorted(plan.store.shard_keys()):
        shards.update(key.encode())
        shards.update(plan.store.shard_path(key).read_bytes())
    run = train(configuration, log=_ignore)
    results = evaluate(configuration, log=_ignore).results
    scores = "\n".join(f"{name} {estimate}" for name, estimate in sorted(results.estimates.items()))
    return {
        "version": plan.store.version,
        "shards": shards.hexdigest(),
        "manifest": _manifest_digest(manifest),
        "run": run.directory.name,
        "weights": run.record.model_blake3,
        "scores": blake3(scores.encode()).hexdigest(),
    }


def _manifest_digest(manifest: Manifest) -> str:
    """A digest of the windows and of the recordings that they are cut from."""
    digest = blake3()
    for recording in manifest.recordings:
        digest.update(repr(recording).encode())
    for column in (
        manifest.recording,
        manifest.start,
        manifest.ictal,
        manifest.category,
        manifest.unknown,
    ):
        digest.update(f"{column.dtype} {column.shape}\n".encode())
        digest.update(column.tobytes())
    return digest.hexdigest()


def _ignore(_line: str) -> None:
    """No remarks."""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="brainbrr-golden-") as temporary:
        for name, digest in golden(Path(temporary)).items():
            print(f"{name:<9} {digest}")
