"""
From a folder to a score in Python
==================================

Index a folder of EDFs, build its cache, train a small network and score it on whole recordings. On
the command line these are ``brainbrr index``, ``cache build``, ``manifest``, ``train`` and
``evaluate``.
"""

# %%
# A synthetic corpus in the layout of TUSZ stands in for a real one. To use your own, set
# ``data_dir`` to a folder with ``train``, ``dev`` and ``eval``. The empty ``environment`` keeps the
# variables of your shell out of this example.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.configuration import Overrides, apply_assignments, load
from brainbrr_core.evaluation.evaluate import evaluate
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.run import train

folder = TemporaryDirectory()
data = Path(folder.name) / "tusz"
write_corpus(data, recordings=12, hours=0.5, seed=5, workers=1)
settings = load(
    Overrides(
        config="smoke:cpu",
        data_dir=str(data),
        cache_root=f"{folder.name}/cache",
        runs_dir=f"{folder.name}/runs",
    ),
    environment={},
)

# %%
# A training of seconds is enough for synthetic seizures. For a real corpus, leave this out.

settings = apply_assignments(
    settings,
    [
        "training.steps=50",
        "training.warmup_steps=10",
        "hardware.batch_size=8",
        "windows.length_s=20",
    ],
)

# %%
# The plan compares the corpus with the cache. The build makes what is missing, and nothing else.

plan = plan_corpus(settings, log=print)
print(f"{len(plan.items)} recordings, {len(plan.to_build)} shards to build")
summary = build(plan, settings.preprocessing, workers=1)

plan = plan_corpus(settings, log=print)
print(f"built {len(summary.built)}; now {plan.count(State.FRESH)} are fresh")

# %%
# The manifest lists the windows. The training checks that cache and manifest are fresh, and never
# opens an EDF.

manifest = update_manifest(plan, settings.manifest_settings).manifest
print(f"{len(manifest)} windows")
run = train(settings, log=print)

# %%
# Scores are those of events on whole recordings. The threshold is tuned on dev, and frozen from
# then on. Scoring ``eval`` must be allowed explicitly, and every time is recorded.

evaluate(settings, "dev", log=print)
allowed = apply_assignments(settings, ["evaluation.allow_eval=true"])
results = evaluate(allowed, "eval", log=print).results
for rule in ("szcore_event", "szcore_sample", "nedc_ovlp", "nedc_taes"):
    figures = results.headline[rule]
    print(
        f"{rule:14} sensitivity {figures.sensitivity:.2f}, precision {figures.precision:.2f}, "
        f"F1 {figures.f1:.2f}"
    )

# %%
# Every figure has an interval over patients. With a single patient, as here, it is undefined.

f1 = results.estimates["szcore_event.f1"]
print(f"F1 {f1.value:.2f}, interval: {f1.method}, {f1.patients} patient with seizures")

# %%
# What was annotated and what was detected in each recording of ``eval``:

recordings = results.recordings
figure, axes = plt.subplots(
    len(recordings), figsize=(9, 1 + len(recordings)), squeeze=False, layout="constrained"
)
for row, recording in zip(axes[:, 0], recordings, strict=True):
    for events, height, color in (
        (recording.reference, 1, "tab:red"),
        (recording.hypothesis, 0, "tab:blue"),
    ):
        spans = [(event.start, event.duration) for event in events]
        row.broken_barh(spans, (height + 0.1, 0.8), color=color)
    row.set(xlim=(0, recording.duration_s), ylim=(0, 2), title=recording.partition_key)
    row.set_yticks([0.5, 1.5], ["detected", "annotated"])
axes[-1, 0].set_xlabel("seconds")
plt.show()

folder.cleanup()
