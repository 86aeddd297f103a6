"""
Read windows of the store as a torch Dataset
============================================

The store holds each second of EEG once, as 16-bit samples at 256 Hz. Windows are slices of it, with
a label for each sample; a network of your own can be trained on them without anything else of
brainbrr.
"""

# %%
# First a small synthetic corpus, and the settings of a small run. Where the folders are is all that
# has to be said.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from torch.utils.data import DataLoader

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Overrides, load
from brainbrr_core.constants import CHANNELS
from brainbrr_core.data import BalancedSampling, WindowDataset
from brainbrr_core.synthesis import write_corpus

folder = TemporaryDirectory()
data = Path(folder.name) / "tusz"
write_corpus(data, recordings=12, hours=0.4, seed=5, workers=1)
settings = load(
    Overrides(config="smoke:cpu", data_dir=str(data), cache_root=f"{folder.name}/cache"),
    environment={},
)

# %%
# The plan says which recordings have no shard yet, and the build makes these alone: a second time,
# there is nothing to do.

plan = plan_corpus(settings, log=print)
summary = build(plan, settings.preprocessing, workers=1)
print(f"{len(summary.built)} shards built, {len(summary.failed)} failed")

plan = plan_corpus(settings, log=print)
print(f"{len(plan.to_build)} left to build")

# %%
# The manifest lists every window of the profile, with the share of it that is seizure.

manifest = update_manifest(plan, settings).manifest
for split in ("train", "dev", "eval"):
    rows = manifest.rows_of(split)
    print(f"{split:5} {len(rows):4} windows, {(manifest.ictal[rows] > 0).sum()} with a seizure")

# %%
# A :class:`~brainbrr_core.data.WindowDataset` reads them. It fetches a batch as a whole, so that
# the loader has nothing to collate.

dataset = WindowDataset(manifest, plan.store, manifest.rows_of("train"))
loader = DataLoader(dataset, batch_size=4, shuffle=True, collate_fn=lambda batch: batch)
batch = next(iter(loader))
print(tuple(batch.signals.shape), batch.signals.dtype, tuple(batch.labels.shape))

# %%
# Few windows of a corpus have a seizure. The training of brainbrr draws from them what
# ``sampling`` says: here one epoch of it.

sampling = BalancedSampling.of(manifest, settings.sampling)
rows = sampling.epoch(seed=0, number=0)
print(f"{len(rows)} windows, {sampling.positive_fraction:.2f} of their samples seizure")

# %%
# A window in which a seizure begins. Signals are in standard deviations of their channel, and a
# label is 1 in a seizure, 0 in background and -1 where nobody knows.

begins = next(row for row in rows if 0.2 < manifest.ictal[row] < 0.8)
window = dataset.fetch(np.array([begins]))
signal, label = window.signals[0].numpy(), window.labels[0].numpy()
seconds = np.arange(signal.shape[1]) / 256

figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
axes.plot(seconds, signal.T / 6 - np.arange(len(CHANNELS)), color="black", linewidth=0.4)
axes.fill_between(seconds, -len(CHANNELS), 1, where=label == 1, color="tab:red", alpha=0.2)
axes.set(xlim=(0, seconds[-1]), ylim=(-len(CHANNELS), 1), xlabel="seconds", title=window.names[0])
axes.set_yticks(-np.arange(len(CHANNELS)), CHANNELS)
plt.show()

folder.cleanup()
