"""
A look into a shard and a report
================================

What the store keeps of a recording, how a shard proves that it is whole, and the tables that a
report is drawn from. Both can be read without brainbrr: a shard is an Arrow file, and the tables of
a report are Parquet and CSV.
"""

# %%
# First a small corpus, its cache, and a short training that is scored on dev.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.shard import DamagedShard, Shard
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
settings = apply_assignments(
    settings,
    [
        "training.steps=50",
        "training.warmup_steps=10",
        "hardware.batch_size=8",
        "windows.length_s=20",
    ],
)
build(plan_corpus(settings, log=print), settings.preprocessing, workers=1)
plan = plan_corpus(settings, log=print)

# %%
# The path of a shard follows from the preprocessing version and the recording's identity, and from
# nothing else.

item = next(item for item in plan.items if item.recording.events)
path = plan.store.shard_path(item.recording.partition_key)
print(path.relative_to(settings.cache_root))

# %%
# Its header says what the samples were computed from. The fingerprint is a hash of the EDF's
# content and of every parameter: if it differs from the one that the plan expects, the shard is
# stale.

shard = Shard(path)
header = shard.header
print(f"{header.samples / header.rate:.0f} s at {header.rate} Hz, {len(header.channels)} channels")
print(f"stored as {header.blocks} blocks of 10 s")
print(f"fingerprint as planned: {header.fingerprint == item.fingerprint}")
for name, deviation in list(zip(header.channels, header.deviation, strict=True))[:3]:
    print(f"{name}: standard deviation {deviation:.1f} µV before the z-score")

# %%
# Each batch of blocks has a checksum. A single changed bit is noticed, before anything is computed
# from it.

print(f"{shard.verify()} clipped samples, every checksum matches")
damaged = Path(folder.name) / "damaged.arrow"
content = bytearray(path.read_bytes())
content[len(content) // 2] ^= 1
damaged.write_bytes(content)
try:
    Shard(damaged).verify()
except DamagedShard as error:
    print(f"a changed bit: {error}")

# %%
# Any program that reads Arrow can read it: one row per block, 19 x 2,560 samples of 16 bits.

table = pa.ipc.open_file(path).read_all()
print(table.schema.names, table.num_rows, "rows")

# %%
# The report of an evaluation is a folder: a page, and the tables behind it.

update_manifest(plan, settings.manifest_settings)
train(settings, log=print)
report = evaluate(settings, "dev", log=print).report.parent
for file in sorted(report.iterdir()):
    print(file.name)

# %%
# The table ``seizures`` has a row for each annotated seizure, with what was detected of it.

seizures = pq.read_table(report / "seizures.parquet")
print(seizures.schema.names)
for row in seizures.to_pylist():
    print(row)

# %%
# The beginning of the shard as it is stored, in standard deviations of each channel.

block = next(shard.blocks(0, 1)).astype(np.float32)
signal = block / np.abs(block).max()
figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
seconds = np.arange(signal.shape[1]) / header.rate
axes.plot(seconds, signal.T - np.arange(len(header.channels)), color="black", linewidth=0.4)
axes.set(xlim=(0, seconds[-1]), xlabel="seconds", title=item.recording.partition_key)
axes.set_yticks(-np.arange(len(header.channels)), header.channels)
plt.show()

folder.cleanup()
