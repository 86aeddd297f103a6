"""The recordings of the corpus that a run was trained on, stored in the run's folder.

A run that is scored on another corpus must not be scored on them or on their patients again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.scorable import is_scorable
from brainbrr_core.corpus.data_root import corpus_name
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.checked_parquet import (
    ChecksumMismatch,
    encode_checked,
    open_checked,
    read_texts,
)

RUN_CORPUS = "corpus.parquet"
#: Bumped when the columns or the texts beside them change.
_SCHEMA_VERSION = "1"
_SCHEMA, _NAME = "brainbrr.run_corpus", "brainbrr.corpus_name"


class RunRecording(NamedTuple):
    """One usable recording of a run's corpus; a hash that is not known is empty."""

    partition_key: str
    split: str
    patient: str
    content_hash: str
    data_hash: str


@dataclass(frozen=True)
class RunCorpus:
    """The corpus of a run: its name, and its usable recordings of every split."""

    name: str
    recordings: tuple[RunRecording, ...]

    @classmethod
    def of(cls, plan: Plan) -> RunCorpus:
        """The corpus of a plan."""
        usable = [item.recording for item in plan.items if is_scorable(item)]
        return cls(
            corpus_name(plan.index),
            tuple(
                RunRecording(r.partition_key, r.split, r.patient, r.content_hash, r.data_hash)
                for r in usable
            ),
        )

    def write(self, directory: Path) -> None:
        """Write it to a run's folder, whole or not at all."""
        write_recordings(directory / RUN_CORPUS, self.recordings, _SCHEMA, {_NAME: self.name})


def read_run_corpus(directory: Path) -> RunCorpus | None:
    """The corpus stored in a run's folder, None without one.

    Raises :class:`BrainbrrError` where the file is damaged or of another version.
    """
    read = read_recordings(
        directory / RUN_CORPUS,
        _SCHEMA,
        "remove it and run `brainbrr evaluate` with the configuration that the run was trained "
        "with, which writes it again",
    )
    return None if read is None else RunCorpus(read[1][_NAME], read[0])


def write_recordings(
    path: Path, recordings: Sequence[RunRecording], schema: str, texts: Mapping[str, str]
) -> None:
    """Write recordings and texts to a file, whole or not at all; ``schema`` names its kind."""
    columns = zip(*recordings, strict=True) if recordings else [()] * len(RunRecording._fields)
    arrays = [pa.array(column, pa.string()) for column in columns]
    table = pa.table(dict(zip(RunRecording._fields, arrays, strict=True)))
    with replacing(path) as temporary:
        temporary.write_bytes(encode_checked(table, {schema: _SCHEMA_VERSION, **texts}))


def read_recordings(
    path: Path, schema: str, remedy: str
) -> tuple[tuple[RunRecording, ...], dict[str, str]] | None:
    """The recordings and the texts of a file of :func:`write_recordings`; None without the file.

    Raises :class:`BrainbrrError` where it is damaged, with what to do about it (``remedy``), or of
    another version.
    """
    try:
        file = open_checked(path.read_bytes())
    except FileNotFoundError:
        return None
    except ChecksumMismatch:
        raise BrainbrrError(f"{path} is damaged: {remedy}") from None
    texts = read_texts(file)
    if texts.get(schema) != _SCHEMA_VERSION:
        raise BrainbrrError(
            f"{path} was written by another version of the program: use that version"
        )
    table = file.read()
    columns = [table[name].to_pylist() for name in RunRecording._fields]
    return tuple(RunRecording(*values) for values in zip(*columns, strict=True)), texts
