"""
Read windows of the store as a torch Dataset
============================================

The cache stores each second of EEG once, as 16-bit samples at 256 Hz. Windows are slices of it,
with a label for each sample. You can train your own network on them, without the rest of brainbrr.
"""

# %%
# First a small synthetic corpus, and the settings of a small run. Only the folders have to be
# given.

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
# The plan lists the recordings that have no shard yet, and the build makes only these. The second
# time, there is nothing to do.

plan = plan_corpus(settings, log=print)
summary = build(plan, settings.preprocessing, workers=1)
print(f"{len(summary.built)} shards built, {len(summary.failed)} failed")

plan = plan_corpus(settings, log=print)
print(f"{len(plan.to_build)} left to build")

# %%
# The manifest lists every window of the profile, with its share of seizure.

manifest = update_manifest(plan, settings.manifest_settings).manifest
for split in ("train", "dev", "eval"):
    rows = manifest.rows_of(split)
    print(f"{split:5} {len(rows):4} windows, {(manifest.ictal[rows] > 0).sum()} with a seizure")

# %%
# A :class:`~brainbrr_core.data.WindowDataset` reads them. It fetches a whole batch at once, so the
# loader has nothing to collate.

dataset = WindowDataset(manifest, plan.store, manifest.rows_of("train"))
loader = DataLoader(dataset, batch_size=4, shuffle=True, collate_fn=lambda batch: batch)
batch = next(iter(loader))
print(tuple(batch.signals.shape), batch.signals.dtype, tuple(batch.labels.shape))

# %%
# Few windows of a corpus have a seizure. brainbrr trains on a selection that the settings in
# ``sampling`` determine. This is one epoch:

sampling = BalancedSampling.of(manifest, settings.sampling)
rows = sampling.epoch(seed=0, number=0)
print(f"{len(rows)} windows, {sampling.positive_fraction:.2f} of their samples seizure")

# %%
# A window in which a seizure begins. Signals are in standard deviations of their channel, and a
# label is 1 in a seizure, 0 in background and -1 if it is unknown.

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
