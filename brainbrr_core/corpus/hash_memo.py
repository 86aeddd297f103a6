"""Hashes of remote EDFs, learnt when they were fetched: what is unchanged is not fetched again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from brainbrr_core.atomic import append_line
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.recording import FileState, Recording


def memo_path(cache_root: Path) -> Path:
    """Where the memo of a cache root lies."""
    return cache_root / "remote" / "hashes.jsonl"


def remember(cache_root: Path, recording: Recording, digest: str) -> None:
    """Keep the hash of a remote EDF in the state in which it was fetched."""
    state = recording.state
    entry = {"path": recording.path, "size": state.size, "mark": state.mtime_ns, "hash": digest}
    path = memo_path(cache_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, json.dumps(entry, sort_keys=True))


def with_known_hashes(index: Index, cache_root: Path) -> Index:
    """The index with the hashes that were learnt since it was written."""
    if not any(_lacks_hash(recording) for recording in index):
        return index
    known = known_hashes(cache_root)
    recordings = tuple(
        replace(recording, content_hash=known.get((recording.path, recording.state), ""))
        if _lacks_hash(recording)
        else recording
        for recording in index
    )
    return replace(index, recordings=recordings)


def _lacks_hash(recording: Recording) -> bool:
    return recording.is_remote and not recording.content_hash


def known_hashes(cache_root: Path) -> dict[tuple[str, FileState], str]:
    """Hashes by URL and state."""
    path = memo_path(cache_root)
    if not path.is_file():
        return {}
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            state = FileState(entry["size"], entry["mark"], 0)
            entries[(str(entry["path"]), state)] = str(entry["hash"])
        except (ValueError, TypeError, KeyError):
            # Cut short by a crash: that EDF is fetched once more.
            continue
    return entries
