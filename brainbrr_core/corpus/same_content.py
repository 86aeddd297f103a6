"""Recordings that are one: the same bytes, or the same samples under another header.

Under two patients, or in two splits, that is an error, as a patient in two splits is. In one
patient it is counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from brainbrr_core.annotation import Finding
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError

#: Why a recording is excluded of which there is another one; also the code of its finding.
SAME_CONTENT = "same_content"
#: Groups of recordings that a message names, and recordings of each.
_NAMED, _NAMED_OF_EACH = 3, 4


class SharedContent(BrainbrrError):
    """The corpus is refused; ``recordings`` is what is known of each, none of it compared."""

    def __init__(self, message: str, recordings: Sequence[Recording]) -> None:
        super().__init__(message)
        self.recordings = recordings


def counted_once(
    recordings: Sequence[Recording], object_tag: Callable[[Recording], str]
) -> list[Recording]:
    """The recordings, of which all but one of each group with the same content are excluded.

    Kept is the first by its key, of those with usable annotations where there are some. Recordings
    without a usable signal are left alone: they are of no use, whatever they hold. ``object_tag``
    is what tells the content of an EDF that was never read; empty where nothing does.

    Raises :class:`SharedContent` where one content is of two patients, or in two splits.
    """
    groups = list(_groups(recordings, object_tag))
    mixed = [group for group in groups if len({(r.patient, r.split) for r in group}) > 1]
    if mixed:
        raise SharedContent(_filed_twice(mixed), recordings)
    kept_key: dict[str, Recording] = {}
    for group in groups:
        kept = min(group, key=lambda r: (r.label_reason is not None, r.partition_key))
        for recording in group:
            if recording is not kept:
                kept_key[recording.partition_key] = kept
    return [
        _excluded(recording, kept_key[recording.partition_key])
        if recording.partition_key in kept_key
        else recording
        for recording in recordings
    ]


def _groups(
    recordings: Iterable[Recording], object_tag: Callable[[Recording], str]
) -> Iterator[list[Recording]]:
    """Recordings with the same content, two or more each; no recording is in two groups."""
    recordings = [recording for recording in recordings if recording.signal_reason is None]
    marked = [_marks(recording, object_tag) for recording in recordings]
    marks_of_all = [mark for marks in marked for mark in marks]
    if len(set(marks_of_all)) == len(marks_of_all):
        # Mostly, no two recordings have anything in common.
        return iter(())
    # One bytes' hash leads to the data's, so that equal files and equal samples are one group.
    first: dict[tuple[str, str], int] = {}
    groups: list[list[Recording]] = []
    for recording, marks in zip(recordings, marked, strict=True):
        numbers = sorted({first[mark] for mark in marks if mark in first})
        number = numbers[0] if numbers else len(groups)
        if not numbers:
            groups.append([])
        groups[number].append(recording)
        for other in numbers[1:]:
            groups[number] += groups[other]
            groups[other] = []
            for mark, old in first.items():
                if old == other:
                    first[mark] = number
        for mark in marks:
            first[mark] = number
    return (group for group in groups if len(group) > 1)


def _marks(
    recording: Recording, object_tag: Callable[[Recording], str]
) -> tuple[tuple[str, str], ...]:
    """By what a recording is known to have the content of another one."""
    content, data, tag = recording.content_hash, recording.data_hash, object_tag(recording)
    if content and not data and not tag:
        return (("content", content),)
    marks = (("content", content), ("data", data), ("object", tag))
    return tuple(mark for mark in marks if mark[1])


def _filed_twice(groups: Sequence[Sequence[Recording]]) -> str:
    shown = "; ".join(_listed(group) for group in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED} more such groups" if len(groups) > _NAMED else ""
    return (
        f"the same samples are filed under two patients or in two splits ({shown}{more}): a model "
        "would be scored on what it has seen; remove all but one of each, or, where it is one "
        "patient under two names, put the recordings into one folder"
    )


def _listed(group: Iterable[Recording]) -> str:
    keys = sorted(recording.partition_key for recording in group)
    more = len(keys) - _NAMED_OF_EACH
    return " = ".join([*keys[:_NAMED_OF_EACH], *([f"{more} others"] if more > 0 else [])])


def _excluded(recording: Recording, kept: Recording) -> Recording:
    alike = "bytes" if recording.content_hash == kept.content_hash else "samples"
    events = "" if recording.events == kept.events else ", other events"
    detail = f"same {alike} as {kept.partition_key}{events}"
    finding = Finding(SAME_CONTENT, recording.file_name, detail)
    return replace(recording, signal_reason=SAME_CONTENT, findings=(*recording.findings, finding))


def uncompared(recording: Recording, codes: frozenset[str]) -> Recording:
    """A recording without what a comparison with others gave it; ``codes`` are the findings'."""
    if not any(finding.code in codes for finding in recording.findings):
        return recording
    return replace(
        recording,
        signal_reason=None if recording.signal_reason == SAME_CONTENT else recording.signal_reason,
        findings=tuple(finding for finding in recording.findings if finding.code not in codes),
    )
