"""
Find the seizures of one EDF with a trained network
===================================================

Train a network on a corpus, and use the run to detect the seizures of an EDF. On the command line
this is ``brainbrr train`` and ``brainbrr predict``.
"""

# %%
# A training of seconds is enough for synthetic EEG, whose seizures are easy to see. For a real
# corpus, leave out ``apply_assignments``: the profile then determines the length of the training.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Overrides, apply_assignments, load
from brainbrr_core.constants import CHANNELS, FRAME_HZ
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.scoring import OperatingPoint, RecordingEvents, sigmoid, szcore
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

# %%
# Training never reads an EDF: the shards must be built before.

build(plan_corpus(settings, log=print), settings.preprocessing, workers=1)
manifest = update_manifest(plan_corpus(settings, log=print), settings.manifest_settings).manifest
run = train(settings, log=print)

# %%
# The EDF is from the split ``eval``, of a patient who is not in the training set. The threshold is
# usually tuned on dev, by ``brainbrr evaluate``; here it is set by hand.

recording = next(r for r in read_index(settings.cache_root) if r.split == "eval" and r.events)
predictor = Predictor.of(run, settings)
point = OperatingPoint.of_probability(0.8, 0.9)
prediction = predictor.predict(Path(recording.path), point)
for event in prediction.events:
    print(f"{event.start:.1f} to {event.stop:.1f} s, confidence {event.confidence:.2f}")

# %%
# Against the annotation:

counts = szcore.score_recording(
    RecordingEvents(
        recording.patient, recording.duration_s, recording.events, tuple(prediction.events)
    )
).event
print(f"{counts.detected:.0f} of {counts.reference:.0f} detected, {counts.false:.0f} false")

# %%
# The probability of a seizure for each eighth of a second, above one channel of the stored
# recording. The annotated seizure is red; an event begins where the dashed threshold is reached.

reader = RecordingReader(
    Store.of(settings),
    next(r for r in manifest.recordings if r.partition_key == recording.partition_key),
)
signal = reader.read(0, reader.samples)
[(_, scores)] = predictor.frames([(recording.partition_key, reader)])

figure, (above, below) = plt.subplots(2, figsize=(9, 4), sharex=True, layout="constrained")
above.plot(np.arange(len(scores)) / FRAME_HZ, sigmoid(scores))
above.axhline(point.probability, color="black", linestyle="--", linewidth=0.8)
above.set(ylim=(0, 1), ylabel="probability")
below.plot(
    np.arange(reader.samples) / 256, signal[CHANNELS.index("Cz")], color="black", linewidth=0.4
)
below.set(xlim=(0, recording.duration_s), xlabel="seconds", ylabel="Cz")
for row in (above, below):
    for event in recording.events:
        row.axvspan(event.start, event.stop, color="tab:red", alpha=0.2)
plt.show()

folder.cleanup()
