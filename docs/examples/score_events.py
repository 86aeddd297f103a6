"""
Score detections against annotations
====================================

Score the events of any detector by the rules of SzCORE and NEDC. Only times are needed, in seconds
from the beginning of each recording.
"""

# %%
# Two recordings of an hour, with annotated seizures (``reference``) and detections
# (``hypothesis``). The last ten minutes of the first one are unknown, so they are not scored.

from dataclasses import replace

import matplotlib.pyplot as plt

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.event_scores import score_events
from brainbrr_core.scoring import RecordingEvents, figures, nedc, szcore, total

recordings = [
    RecordingEvents(
        subject="A",
        duration_s=3600,
        reference=(Event(600, 660), Event(1500, 1800)),
        hypothesis=(Event(590, 640), Event(1400, 1580), Event(2400, 2430), Event(3200, 3260)),
        unknown=((3000, 3600),),
    ),
    RecordingEvents(
        subject="B",
        duration_s=3600,
        reference=(Event(900, 960), Event(2700, 2760)),
        hypothesis=(Event(980, 1010),),
    ),
]

# %%
# :func:`szcore.score_recording <brainbrr_core.scoring.szcore.score_recording>` counts events (a
# detection may be 30 s early and 60 s late) and seconds. Counts of recordings are added, and
# figures are computed from the sums.

scored = [szcore.score_recording(recording) for recording in recordings]
by_event = total(counts.event for counts in scored)
by_second = total(counts.sample for counts in scored)
for name, counts in (("events", by_event), ("seconds", by_second)):
    print(
        f"SzCORE {name:8} {counts.detected:.0f} of {counts.reference:.0f} detected, "
        f"{counts.false:.0f} false"
    )
print(figures(by_event))

# %%
# NEDC's rules have no tolerance: the late detection in B is a miss and a false alarm. TAES counts
# parts of events.

scored_by_nedc = [nedc.score_recording(recording) for recording in recordings]
for rule in ("ovlp", "taes", "epoch", "alignment"):
    counts = total(getattr(of_recording, rule).seiz for of_recording in scored_by_nedc)
    print(f"NEDC {rule:10} sensitivity {counts.sensitivity:.2f}, precision {counts.precision:.2f}")

# %%
# All rules at once, with 95 % intervals over patients (too few of them here):
# :func:`score_events <brainbrr_core.evaluation.event_scores.score_events>`. The command
# ``brainbrr score REFERENCE HYPOTHESIS`` does the same with two folders of files.

named = [replace(recording, name=recording.subject) for recording in recordings]
for name, estimate in score_events(named).estimates.items():
    if name in ("szcore_event.f1", "nedc_ovlp.false_per_day"):
        print(name, f"{estimate.value:.2f}", estimate.bracketed(2))

# %%
# What was scored: annotations above, detections below, and the unknown time in gray.

figure, axes = plt.subplots(2, figsize=(9, 3), sharex=True, layout="constrained")
for row, recording in zip(axes, recordings, strict=True):
    for events, height, color in (
        (recording.reference, 1, "tab:red"),
        (recording.hypothesis, 0, "tab:blue"),
    ):
        spans = [(event.start, event.duration) for event in events]
        row.broken_barh(spans, (height + 0.1, 0.8), color=color)
    for start, stop in recording.unknown:
        row.axvspan(start, stop, color="0.85", zorder=0)
    row.set(xlim=(0, recording.duration_s), ylabel=recording.subject)
    row.set_yticks([0.5, 1.5], ["detected", "annotated"])
axes[-1].set_xlabel("seconds")
plt.show()
