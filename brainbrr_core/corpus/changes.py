"""What changed in a corpus since it was indexed, without reading a file of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation.texts import Texts
from brainbrr_core.configuration.settings import Corpus
from brainbrr_core.corpus.identity import identified
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.layouts.known import open_layout
from brainbrr_core.corpus.row_reading import asked_texts, companions_now, is_as_indexed
from brainbrr_core.corpus.sources import CorpusFiles, LocalFiles, state_of
from brainbrr_core.files.state import FileState


@dataclass(frozen=True)
class Changes:
    """Partition keys of recordings that came, went, or have another size, time or inode.

    A recording is changed when its EDF or one of the files beside it is, when its patient or split
    is another one, or when annotations of free text are to be understood otherwise than they were;
    all are when the rules of the corpus for their channels are. ``states`` are those of the EDFs
    that came or changed: one that is still being copied has another one each time.
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
    """Compare a corpus with its index; without one, every recording is new.

    Raises as :func:`open_layout` and :func:`identified` do.
    """
    source: CorpusFiles
    # Heavy, and only of use for a corpus behind a URL.
    if "://" in data_dir:
        from brainbrr_core.corpus.mirror import MirroredFiles

        source = MirroredFiles(data_dir, cache_root)
    else:
        source = LocalFiles(Path(data_dir))
    remembered = index.layout if index is not None else None
    layout = open_layout(
        source.root,
        corpus.layout or remembered,
        source.address(source.root),
        Texts(corpus.annotation_texts),
    )
    known = index.by_key() if index is not None else {}
    same_rules = index is not None and index.channel_rules == corpus.channel_rules
    added, changed, states = [], [], []
    for file in identified(layout.recordings(), corpus):
        recording = known.pop(file.partition_key, None)
        state = state_of(source, file.location)
        if recording is None:
            added.append(file.partition_key)
        else:
            companions = companions_now(source, file)
            texts = asked_texts(layout, file)
            is_same_patient = (recording.patient, recording.split) == (file.patient, file.split)
            is_same = is_same_patient and same_rules
            if is_same and is_as_indexed(recording, state, companions, texts):
                continue
            changed.append(file.partition_key)
        states.append(state)
    return Changes(tuple(added), tuple(changed), tuple(sorted(known)), tuple(states))
