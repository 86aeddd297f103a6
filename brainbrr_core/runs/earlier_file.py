"""The trainings before a run's own and their recordings, stored in the run's folder.

They stay there when the runs of those trainings are removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from brainbrr_core.runs.run_corpus import (
    RunCorpus,
    RunRecording,
    read_recordings,
    write_recordings,
)

EARLIER_TRAININGS = "earlier_trainings.parquet"
_SCHEMA, _TRAININGS = "brainbrr.earlier_trainings", "brainbrr.trainings"
#: What the models that come with the package were trained on: no recording of anybody.
SIMULATED = RunCorpus("simulated EEG", ())


@dataclass(frozen=True, slots=True)
class EarlierTraining:
    """A training with whose weights another one began.

    ``weights`` is their BLAKE3. ``corpus`` has the recordings of its train and dev; it is None
    where nothing on this machine records them.
    """

    name: str
    weights: str
    corpus: RunCorpus | None

    @property
    def of_the_package(self) -> bool:
        """Whether it is that of a model that comes with the package, on simulated EEG."""
        return self.corpus == SIMULATED


class _Stored(BaseModel):
    """A training without its recordings; ``corpus`` is the name of its corpus."""

    name: str
    weights: str
    corpus: str | None
    recordings: int


_LIST = TypeAdapter(list[_Stored])


def write_earlier_trainings(directory: Path, trainings: Iterable[EarlierTraining]) -> None:
    """Write trainings and their recordings to a run's folder, whole or not at all."""
    stored: list[_Stored] = []
    recordings: list[RunRecording] = []
    for training in trainings:
        corpus = training.corpus
        own = () if corpus is None else corpus.recordings
        name = None if corpus is None else corpus.name
        stored.append(
            _Stored(name=training.name, weights=training.weights, corpus=name, recordings=len(own))
        )
        recordings.extend(own)
    texts = {_TRAININGS: _LIST.dump_json(stored).decode()}
    write_recordings(directory / EARLIER_TRAININGS, recordings, _SCHEMA, texts)


def read_earlier_trainings(directory: Path) -> tuple[EarlierTraining, ...] | None:
    """The trainings that :func:`write_earlier_trainings` wrote, None without the file.

    Raises :class:`BrainbrrError` where the file is damaged or of another version.
    """
    read = read_recordings(
        directory / EARLIER_TRAININGS,
        _SCHEMA,
        "restore it, or remove it where the runs that this run began with are still here",
    )
    if read is None:
        return None
    (rows, texts), trainings, start = read, [], 0
    for stored in _LIST.validate_json(texts[_TRAININGS]):
        stop = start + stored.recordings
        corpus = None if stored.corpus is None else RunCorpus(stored.corpus, rows[start:stop])
        trainings.append(EarlierTraining(stored.name, stored.weights, corpus))
        start = stop
    return tuple(trainings)
