"""Recordings with the same content: the same bytes, or the same samples with another header.

Under two patients of a corpus or in two splits, they are an error, as a patient in two splits is.
Otherwise only one of them is used. The patients of two corpora may have two names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from brainbrr_core.annotation import Finding
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError

#: Reason, and code of the finding, of a recording with the same content as another one.
SAME_CONTENT = "same_content"
#: How many groups of recordings a message names, and how many recordings of each.
_NAMED, _NAMED_OF_EACH = 3, 4


class SharedContent(BrainbrrError):
    """The corpus is refused; ``recordings`` are its rows, without findings from comparisons."""

    def __init__(self, message: str, recordings: Sequence[Recording]) -> None:
        super().__init__(message)
        self.recordings = recordings


def exclude_copies(
    recordings: Sequence[Recording],
    object_tag: Callable[[Recording], str],
    order: Mapping[str, int] | None = None,
) -> list[Recording]:
    """Exclude all but one recording of each group with the same content.

    The first key with usable annotations is used, otherwise the first key. Recordings that are
    excluded because of their signal are not compared. ``object_tag`` identifies the content of a
    remote EDF that was never downloaded; empty where it cannot. Of several corpora, ``order`` says
    by name whose recordings come first.

    Raises :class:`SharedContent` where a group has two patients of one corpus, or two splits.
    """
    rank = order or {}
    groups = list(_groups(recordings, object_tag))
    mixed = [group for group in groups if _is_mixed(group)]
    if mixed:
        raise SharedContent(_message(mixed), recordings)
    used: dict[str, Recording] = {}
    for group in groups:
        first = min(
            group,
            key=lambda r: (r.label_reason is not None, rank.get(r.corpus, 0), r.partition_key),
        )
        for recording in group:
            if recording is not first:
                used[recording.partition_key] = first
    return [
        _exclude(recording, used[recording.partition_key])
        if recording.partition_key in used
        else recording
        for recording in recordings
    ]


def _is_mixed(group: Sequence[Recording]) -> bool:
    """Whether recordings with the same content are of two splits, or two patients of a corpus."""
    patients = {(recording.corpus, recording.patient) for recording in group}
    splits = {recording.split for recording in group}
    return len(splits) > 1 or len(patients) > len({corpus for corpus, _ in patients})


def _groups(
    recordings: Iterable[Recording], object_tag: Callable[[Recording], str]
) -> Iterator[list[Recording]]:
    """Groups of two or more recordings with the same content; the groups are disjoint."""
    recordings = [recording for recording in recordings if recording.is_usable_in_a_montage]
    marked = [_marks(recording, object_tag) for recording in recordings]
    marks_of_all = [mark for marks in marked for mark in marks]
    if len(set(marks_of_all)) == len(marks_of_all):
        # Usually, no two recordings have the same content.
        return iter(())
    # Recordings may share any of several marks: groups that turn out to be connected are merged.
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
    """Hashes and tag of a recording: it has the same content as one with an equal mark."""
    content, data, tag = recording.content_hash, recording.data_hash, object_tag(recording)
    if content and not data and not tag:
        return (("content", content),)
    marks = (("content", content), ("data", data), ("object", tag))
    return tuple(mark for mark in marks if mark[1])


def _message(groups: Sequence[Sequence[Recording]]) -> str:
    shown = "; ".join(_list_keys(group) for group in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED} more such groups" if len(groups) > _NAMED else ""
    if any(len({recording.corpus for recording in group}) > 1 for group in groups):
        return (
            f"the same samples are in two splits of two corpora ({shown}{more}): a model would be "
            "scored on patients of its training data; in the entry of one corpus, say who its "
            "patients are in the other one, such as `same_patients: {HERE: NAME/THERE}`"
        )
    return (
        f"the same samples are under two patients or in two splits ({shown}{more}): a model would "
        "be scored on its training data; remove all but one of each, or, if it is one patient "
        "under two names, move the recordings into one folder"
    )


def _list_keys(group: Iterable[Recording]) -> str:
    keys = sorted(recording.partition_key for recording in group)
    more = len(keys) - _NAMED_OF_EACH
    return " = ".join([*keys[:_NAMED_OF_EACH], *([f"{more} others"] if more > 0 else [])])


def _exclude(recording: Recording, used: Recording) -> Recording:
    what = "bytes" if recording.content_hash == used.content_hash else "samples"
    events = "" if recording.events == used.events else ", other events"
    detail = f"same {what} as {used.partition_key}{events}"
    finding = Finding(SAME_CONTENT, recording.file_name, detail)
    bipolar = recording.bipolar
    if bipolar is not None:
        bipolar = replace(bipolar, reason=SAME_CONTENT, findings=(*bipolar.findings, finding))
        return replace(recording, bipolar=bipolar, findings=(*recording.findings, finding))
    return replace(recording, signal_reason=SAME_CONTENT, findings=(*recording.findings, finding))


def is_copy(recording: Recording) -> bool:
    """Whether a recording is excluded because another one with the same content is used."""
    bipolar = recording.bipolar
    return SAME_CONTENT in (recording.signal_reason, None if bipolar is None else bipolar.reason)


def without_comparisons(recording: Recording, codes: frozenset[str]) -> Recording:
    """A recording without the findings from comparisons, whose codes are ``codes``."""
    if not any(finding.code in codes for finding in recording.findings):
        return recording
    bipolar = recording.bipolar
    if bipolar is not None:
        bipolar = replace(
            bipolar,
            reason=None if bipolar.reason == SAME_CONTENT else bipolar.reason,
            findings=tuple(finding for finding in bipolar.findings if finding.code not in codes),
        )
    return replace(
        recording,
        bipolar=bipolar,
        signal_reason=None if recording.signal_reason == SAME_CONTENT else recording.signal_reason,
        findings=tuple(finding for finding in recording.findings if finding.code not in codes),
    )
