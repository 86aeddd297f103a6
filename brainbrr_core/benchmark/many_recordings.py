"""A corpus and a cache with as many recordings as TUSZ: all are hard links to the same files."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import shard_fingerprints
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.corpus.recording import Companion, Recording
from brainbrr_core.files.state import file_state
from brainbrr_core.synthesis import write_corpus

#: Recordings of TUSZ 2.0.3.
TUSZ_RECORDINGS = 7364
#: Of ten consecutive patients, these belong to dev and eval.
_UNTRAINED = {1: SPLITS[1], 2: SPLITS[2]}


def wide_cache(folder: Path, recordings: int) -> Configuration:
    """Write a synthetic corpus and its whole cache below ``folder``; return its configuration."""
    write_corpus(folder / "tusz", recordings=12, hours=0.4, seed=5, workers=1)
    narrow = load(
        Overrides(
            config="full:cpu",
            data_dir=str(folder / "tusz"),
            cache_root=str(folder / "cache"),
            runs_dir=str(folder / "runs"),
        ),
        environment={"DAGSTER_HOME": str(folder / "dagster")},
    )
    build(plan_corpus(narrow), narrow.preprocessing, workers=1)
    usable = [r for r in read_index(narrow.cache_root) if r.reason is None and r.all_seizures]
    return with_many_recordings(narrow, usable[0], folder / "wide", recordings)


def with_many_recordings(
    configuration: Configuration,
    template: Recording,
    folder: Path,
    recordings: int = TUSZ_RECORDINGS,
) -> Configuration:
    """Write an indexed corpus and its complete cache below ``folder``; return its configuration.

    ``template`` is a usable recording whose shard is in the cache of ``configuration``. Every EDF,
    annotation and shard is a hard link to a file of the template or, where a file cannot have more
    links, to a copy of it. Symbolic links would take longer to look at than the files of a corpus.
    The index says that the contents differ, as an index must.
    """
    root = folder / "tusz"
    wide = configuration.model_copy(
        update={
            "data_dir": str(root),
            "cache_root": folder / "cache",
            "selection": Selection(),
        }
    )
    source, store = Store.of(configuration).shard_path(template.partition_key), Store.of(wide)
    rows = []
    link = _Links().link
    # About as many patients and sessions as in TUSZ; three splits even for few recordings.
    of_one_patient = max(1, min(11, recordings // 10))
    for number in range(recordings):
        patient = number // of_one_patient
        split = _UNTRAINED.get(patient % 10, SPLITS[0])
        key = f"{split}/p{patient:04}/s{number // 5 % 3:03}/01_tcp_ar/r{number:05}"
        edf = root / f"{key}.edf"
        edf.parent.mkdir(parents=True, exist_ok=True)
        link(Path(template.path), edf)
        companions = [
            edf.with_suffix(Path(companion.name).suffix) for companion in template.companions
        ]
        for companion in companions:
            link(Path(template.path).with_suffix(companion.suffix), companion)
        shard = store.shard_path(key)
        shard.parent.mkdir(parents=True, exist_ok=True)
        link(source, shard)
        rows.append(
            replace(
                template,
                partition_key=key,
                split=split,
                patient=f"p{patient:04}",
                session=f"s{number // 5 % 3:03}",
                montage="01_tcp_ar",
                path=str(edf),
                state=file_state(edf),
                content_hash=f"{number:064x}",
                data_hash="",
                companions=tuple(
                    Companion(companion.name, file_state(companion)) for companion in companions
                ),
            )
        )
    rows.sort(key=lambda row: row.partition_key)
    index = Index(tuple(rows), "tusz", channel_rules=wide.corpus.channel_rules)
    write_index(index, wide.cache_root)
    fingerprint = shard_fingerprints(configuration.preprocessing)
    store.append_records(
        BuildRecord(
            row.partition_key,
            fingerprint(row.content_hash, row.missing, row.reader),
            row.content_hash,
            file_state(store.shard_path(row.partition_key)),
            "",
            0.0,
            "",
        )
        for row in rows
    )
    return wide


class _Links:
    """Hard links to files; a file system may allow fewer links to a file than are needed."""

    def __init__(self) -> None:
        self._copies: dict[Path, Path] = {}

    def link(self, source: Path, target: Path) -> None:
        """Link ``target`` to ``source`` or to a copy; ``target`` is a new copy where needed."""
        try:
            os.link(self._copies.get(source, source), target)
        except OSError:
            # Another file system, or a file that has as many links as it may have.
            shutil.copy2(source, target)
            self._copies[source] = target
