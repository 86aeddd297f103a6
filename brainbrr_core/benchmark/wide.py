"""A corpus and a cache as wide as TUSZ, made of one recording: many entries, one file's bytes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import BuildRecord, Store
from brainbrr_core.cache.version import shard_fingerprints
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.corpus.hashing import file_state
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.corpus.layout import SPLITS
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.synthesis import write_corpus

#: Recordings of TUSZ 2.0.3.
TUSZ_RECORDINGS = 7364
#: Of ten patients in a row, these belong to dev and eval.
_HELD_OUT = {1: SPLITS[1], 2: SPLITS[2]}


def wide_cache(folder: Path, recordings: int) -> Configuration:
    """The configuration of a synthetic corpus and its cache below ``folder``, all of it built."""
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
    return widen(narrow, usable[0], folder / "wide", recordings)


def widen(
    configuration: Configuration, model: Recording, folder: Path, recordings: int = TUSZ_RECORDINGS
) -> Configuration:
    """The configuration of a corpus below ``folder`` in which all is indexed and built.

    ``model`` is a usable recording whose shard is in the cache of ``configuration``. Every EDF,
    annotation and shard is a link to its own; the index says that their contents differ, as an
    index must.
    """
    root = folder / "tusz"
    wide = configuration.model_copy(
        update={
            "data_dir": str(root),
            "cache_root": folder / "cache",
            "selection": type(configuration.selection)(),
        }
    )
    source, store = Store.of(configuration).shard_path(model.partition_key), Store.of(wide)
    beside = list(Path(model.path).parent.glob(f"{Path(model.path).stem}.csv*"))
    rows = []
    # As many patients and sessions as TUSZ has, about; three splits even of a few recordings.
    of_one_patient = max(1, min(11, recordings // 10))
    for number in range(recordings):
        patient = number // of_one_patient
        split = _HELD_OUT.get(patient % 10, SPLITS[0])
        key = f"{split}/p{patient:04}/s{number // 5 % 3:03}/01_tcp_ar/r{number:05}"
        edf = root / f"{key}.edf"
        edf.parent.mkdir(parents=True, exist_ok=True)
        _link(Path(model.path), edf)
        for path in beside:
            _link(path, edf.with_suffix(path.suffix))
        shard = store.shard_path(key)
        shard.parent.mkdir(parents=True, exist_ok=True)
        _link(source, shard)
        rows.append(
            replace(
                model,
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
                    companion._replace(name=f"{edf.stem}{Path(companion.name).suffix}")
                    for companion in model.companions
                ),
            )
        )
    rows.sort(key=lambda row: row.partition_key)
    write_index(Index(tuple(rows), "tusz"), wide.cache_root)
    state = file_state(source)
    fingerprint = shard_fingerprints(configuration.preprocessing)
    for row in rows:
        store.append_record(
            BuildRecord(
                row.partition_key,
                fingerprint(row.content_hash, row.missing),
                row.content_hash,
                state,
                "",
                0.0,
                "",
            )
        )
    return wide


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # On another file system, or a file with as many links as it may have.
        target.symlink_to(source)
