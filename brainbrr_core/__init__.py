"""From clinical EEG recordings to a scored seizure detector: the library.

One package or module per concern; each imports only those below it (import-linter
checks this by the contract in ``pyproject.toml``):

- ``cli``            the ``brainbrr`` command
- ``api``            what a script needs: the names that ``brainbrr_core`` itself has
- ``export``         trained networks outside their runs: model folders, graphs, copies
- ``doctor``         checks of this machine, and what to do next
- ``benchmark``      speed of the store next to brain-go-brr v2, and of the network
- ``evaluation``     scores of a trained model on a split, and the report
- ``prediction``     running a trained network on recordings and writing the events
- ``sweep``          a search for better settings, whose trials are runs
- ``training``       pre-flight, the training loop, checkpoints
- ``detection``      from network output on a recording to events
- ``runs``           folders of finished trainings: record, weights, threshold
- ``scoring``        comparing events with reference events: SzCORE and NEDC rules
- ``model``          the networks: Bi-Mamba-2, others by name, one's own
- ``data``           windows of the cache as torch tensors
- ``transfer``       copying a cache between machines, verified
- ``cache``          the store: shards, versions, plan, build, manifest
- ``inspection``     reading and drawing a single recording
- ``deidentification``  copies of EDFs that do not say who was recorded
- ``simulation``     varied scalp EEG with known seizures, to train on
- ``synthesis``      TUSZ-like corpora with known seizures
- ``corpus``         recordings on disk: layouts, the index
- ``edf``            EDF files and other formats: headers, time stamps, signals in µV
- ``signal``         montage and signal chain, on arrays
- ``annotation``     events and the files they are written in
- ``configuration``  the configuration model
- ``remote``         addresses of buckets and network shares, access to them, retries
- ``serving``        a folder served read-only, beside Dagster's UI
- ``files``          atomic writes, checksums and file states
- ``progress``       progress of long-running work
- ``errors``         errors that a user can fix
- ``machine``        file systems, disks, processors, memory, GPUs
- ``display``        colors, times and styles shared by pages and pictures
- ``constants``      numbers and names that several packages share
- ``nearest``        the valid name that a mistyped one stands for
- ``locking``        locks between processes and machines

Nothing here imports Dagster; ``brainbrr_pipeline`` does, and calls this library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainbrr_core.annotation import Event
    from brainbrr_core.api.detector import Detector, load_model
    from brainbrr_core.api.preprocessing import preprocess
    from brainbrr_core.api.split_windows import SplitWindows, open_windows
    from brainbrr_core.api.stored_corpus import StoredCorpus, open_store, stored_versions
    from brainbrr_core.evaluation.event_files import match_events
    from brainbrr_core.evaluation.event_scores import EventScores, score_events
    from brainbrr_core.scoring import RecordingEvents

__all__ = [
    "Detector",
    "Event",
    "EventScores",
    "RecordingEvents",
    "SplitWindows",
    "StoredCorpus",
    "load_model",
    "match_events",
    "open_store",
    "open_windows",
    "preprocess",
    "score_events",
    "stored_versions",
]

#: Where each public name is defined. It is imported when it is first used, so that a script loads
#: only what it needs: no name but those of networks loads torch, and none loads Dagster.
_MODULES = {
    "Detector": "brainbrr_core.api.detector",
    "Event": "brainbrr_core.annotation",
    "EventScores": "brainbrr_core.evaluation.event_scores",
    "RecordingEvents": "brainbrr_core.scoring",
    "SplitWindows": "brainbrr_core.api.split_windows",
    "StoredCorpus": "brainbrr_core.api.stored_corpus",
    "load_model": "brainbrr_core.api.detector",
    "match_events": "brainbrr_core.evaluation.event_files",
    "open_store": "brainbrr_core.api.stored_corpus",
    "open_windows": "brainbrr_core.api.split_windows",
    "preprocess": "brainbrr_core.api.preprocessing",
    "score_events": "brainbrr_core.evaluation.event_scores",
    "stored_versions": "brainbrr_core.api.stored_corpus",
}

# Hidden from the type checker, which would otherwise accept any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
