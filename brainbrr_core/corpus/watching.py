"""What changed in a corpus since it was indexed, without reading a file of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.corpus.hashing import file_state
from brainbrr_core.corpus.index import Index, detect_layout


@dataclass(frozen=True)
class Changes:
    """Partition keys of recordings that came, went, or have another size, time or inode.

    A recording is changed when its EDF or one of its annotation files is.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        return f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed"


def changes(data_dir: Path, index: Index) -> Changes:
    """Compare a corpus with its index. Raises as :func:`detect_layout` does."""
    known = index.by_key()
    added, changed = [], []
    for file in detect_layout(data_dir).recordings():
        recording = known.pop(file.partition_key, None)
        if recording is None:
            added.append(file.partition_key)
        elif recording.state != file_state(file.path) or recording.annotation_states != tuple(
            file_state(path) for path in file.annotation_paths
        ):
            changed.append(file.partition_key)
    return Changes(tuple(added), tuple(changed), tuple(sorted(known)))
