"""What changed in a corpus since it was indexed, without reading any file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import Corpus, CorpusSource
from brainbrr_core.corpus.identity import identify_patients
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import why_absent
from brainbrr_core.corpus.layouts.known import open_layout
from brainbrr_core.corpus.row_reading import is_as_indexed
from brainbrr_core.corpus.same_corpus import layout_now
from brainbrr_core.corpus.several import corpora_of
from brainbrr_core.corpus.sources import open_corpus, state_of
from brainbrr_core.corpus.splits import IndexedSplits
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import FileState


@dataclass(frozen=True)
class Changes:
    """Partition keys of recordings that were added, changed or removed since the last index.

    A recording changed when the size, time or inode of its EDF or of a file next to it did, when it
    has another patient or split, or when the patterns for free text changed. When the rules for
    channels changed, all recordings did. ``states`` are those of the added and changed EDFs: that
    of an EDF that is still being copied differs each time.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    states: tuple[FileState, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        return f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed"


def changes(data_dir: str, cache_root: Path, corpus: Corpus, index: Index | None) -> Changes:
    """Compare one corpus with its index: see :func:`changes_of_corpora`."""
    return changes_of_corpora([CorpusSource(data_dir, corpus)], cache_root, index)


def changes_of_corpora(
    sources: Sequence[CorpusSource], cache_root: Path, index: Index | None
) -> Changes:
    """Compare corpora with their index; without an index, every recording is added.

    Of several corpora, one that is not on this machine has not changed. One of the index that is
    not among the sources is removed.

    Raises as :func:`open_layout` and :func:`identify_patients` do.
    """
    alone = {} if index is None else {one.prefix: (one, part) for one, part in corpora_of(index)}
    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    states: list[FileState] = []
    for source in sources:
        corpus, indexed = alone.pop(source.prefix, (None, None))
        # A corpus alone that is not there is an error, which opening its layout raises.
        if len(sources) > 1 and (absent := why_absent(source, several=True)):
            if indexed is None:
                raise BrainbrrError(f"the corpus {source.name} is in no index: {absent}")
            continue
        same_patients = dict(corpus.same_patients if corpus is not None else ())
        own = _changes(source, cache_root, indexed, same_patients)
        added += [source.prefix + key for key in own.added]
        changed += [source.prefix + key for key in own.changed]
        removed += [source.prefix + key for key in own.removed]
        states += own.states
    for corpus, dropped in alone.values():
        removed += [corpus.prefix + recording.partition_key for recording in dropped]
    return Changes(tuple(added), tuple(changed), tuple(removed), tuple(states))


def _changes(
    corpus: CorpusSource, cache_root: Path, index: Index | None, same_patients: Mapping[str, str]
) -> Changes:
    """Compare one corpus with its index alone, which was made with these ``same_patients``."""
    settings, there = corpus.settings, corpus.same_patients
    source = open_corpus(str(corpus.data_dir), cache_root)
    root = source.address(source.root)
    name: str | None = settings.layout
    if name is None and index is not None:
        name = layout_now(source.root, index.layout, index.recordings, root)
    layout = open_layout(
        source.root,
        name,
        root,
        Texts(settings.annotation_texts),
    )
    indexed = index.by_key() if index is not None else {}
    same_rules = index is not None and index.channel_rules == settings.channel_rules
    same_rules = same_rules and dict(there) == dict(same_patients)
    added, changed, states = [], [], []
    before = IndexedSplits(index.assignment, index.recordings) if index is not None else None
    files, _ = identify_patients(layout.recordings(), settings, source.root, root, before)
    for file in files:
        recording = indexed.pop(file.partition_key, None)
        if recording is None:
            added.append(file.partition_key)
        else:
            if file.patient in there:
                # In the split of the other corpus.
                is_same_patient = there.get(recording.patient) == there[file.patient]
            else:
                is_same_patient = (recording.patient, recording.split) == (file.patient, file.split)
            is_same = is_same_patient and same_rules
            if is_same and is_as_indexed(source, layout, file, recording):
                continue
            changed.append(file.partition_key)
        states.append(state_of(source, file.location))
    return Changes(tuple(added), tuple(changed), tuple(sorted(indexed)), tuple(states))
