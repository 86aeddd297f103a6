"""
Index a folder and look at a recording
======================================

Which recordings of a folder are usable, what is unusual about them, and what one of them looks like
before and after the signal chain. On the command line this is ``brainbrr index`` and
``brainbrr inspect``.
"""

# %%
# A synthetic corpus in the layout of TUSZ stands in for a real one. Set ``data`` to a folder of
# your own instead: the layout is recognized, and nothing is written to it.

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.corpus.index import scan
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.inspection.picture import picture
from brainbrr_core.synthesis import write_corpus

folder = TemporaryDirectory()
data = Path(folder.name) / "tusz"
write_corpus(data, recordings=8, hours=0.3, seed=1, workers=1)

# %%
# One of its files is truncated, as an interrupted copy would be.

broken = sorted(data.rglob("*.edf"))[0]
broken.write_bytes(broken.read_bytes()[:100_000])

# %%
# :func:`~brainbrr_core.corpus.index.scan` reads headers and annotations, not whole signals. A
# recording is usable, or excluded for one reason. Anything unusual about it is a finding.

index = scan(data)
for recording in index:
    outcome = recording.reason or f"usable, {recording.seizure_s:.0f} s of seizure"
    print(f"{recording.partition_key:45} {recording.duration_s:5.0f} s  {outcome}")

# %%
# One recording with a seizure: every channel, raw and preprocessed, with its findings.

recording = next(r for r in index if r.reason is None and r.events)
seen = inspect_recording(Path(recording.path), Preprocessing(), recording)
for event in seen.events:
    print(f"{event.label} from {event.start:.1f} to {event.stop:.1f} s")
for finding in seen.findings:
    print(finding)

figure, axes = plt.subplots(figsize=(11, 8), layout="constrained")
axes.imshow(plt.imread(BytesIO(picture(seen))))
axes.axis("off")
plt.show()

folder.cleanup()
