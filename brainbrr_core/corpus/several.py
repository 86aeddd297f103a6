"""Several corpora in one index: their recordings under names, and each corpus alone again.

A scan reads one corpus and knows nothing of the others. In the index, the name of the corpus comes
before the keys and the patients, so that those of two corpora are never taken for one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from brainbrr_core.configuration.settings import CorpusSource
from brainbrr_core.corpus.index import Index, IndexedCorpus, resplit
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.same_content import SAME_CONTENT, exclude_copies, without_comparisons
from brainbrr_core.corpus.skipped import Skipped
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest


def corpora_of(index: Index) -> list[tuple[IndexedCorpus, Index]]:
    """Each corpus of an index, and its index alone, with keys and patients as without a name.

    A corpus without a name is the only one, and has the index itself.
    """
    if not index.corpora:
        return [(_facts("", "", {}, index), index)]
    recordings: dict[str, list[Recording]] = {corpus.name: [] for corpus in index.corpora}
    for recording in index:
        recordings[recording.corpus].append(recording)
    others = tuple(corpus.prefix for corpus in index.corpora if corpus.prefix)
    alone = []
    for corpus in index.corpora:
        skipped = (
            Skipped(kind, path.removeprefix(corpus.prefix))
            for kind, path in index.skipped
            if (path.startswith(corpus.prefix) if corpus.prefix else not path.startswith(others))
        )
        here = {there: here for here, there in reversed(corpus.same_patients)}
        part = Index(
            tuple(_alone(recording, corpus.prefix, here) for recording in recordings[corpus.name]),
            corpus.layout,
            tuple(skipped),
            channel_rules=corpus.channel_rules,
            assignment=corpus.assignment,
            release=corpus.release,
            license=corpus.license,
        )
        alone.append((corpus, part))
    return alone


def join(scanned: Sequence[tuple[CorpusSource, Index]], previous: Index | None = None) -> Index:
    """The index of several corpora from that of each; that of a corpus without a name is as it is.

    The same content in two corpora is used once, from the corpus that comes first. ``previous`` is
    the earlier index, for patients who are in another split now.

    Raises :class:`BrainbrrError` where a key of one corpus looks like one of another, where
    ``same_patients`` names a patient who is not there, and where the same content is in two splits.
    """
    if not scanned[0][0].name:
        return scanned[0][1]
    sources = [source for source, _ in scanned]
    recordings = [
        replace(
            recording,
            partition_key=source.prefix + recording.partition_key,
            patient=source.prefix + recording.patient,
            corpus=source.name,
        )
        for source, index in scanned
        for recording in index
    ]
    _check_prefixes(recordings, sources)
    splits = {recording.patient: recording.split for recording in recordings}
    there = same_patients(sources, splits)
    recordings = [
        replace(r, patient=there[r.patient], split=splits[there[r.patient]])
        if r.patient in there
        else r
        for r in recordings
    ]
    if len(sources) > 1:
        order = {source.name: number for number, source in enumerate(sources)}
        # What is behind a URL is compared once it was downloaded.
        recordings = exclude_copies(recordings, lambda _recording: "", order)
    ordered = tuple(sorted(recordings, key=lambda recording: recording.partition_key))
    return Index(
        ordered,
        ", ".join(dict.fromkeys(index.layout for _, index in scanned)),
        tuple(
            sorted(
                Skipped(kind, source.prefix + path)
                for source, index in scanned
                for kind, path in index.skipped
            )
        ),
        tuple(sorted(address for _, index in scanned for address in index.unsettled)),
        tuple(sorted(address for _, index in scanned for address in index.out_of_memory)),
        resplit=resplit({} if previous is None else previous.by_key(), ordered),
        corpora=tuple(
            _facts(source.name, source.prefix, source.same_patients, index)
            for source, index in scanned
        ),
    )


def same_patients(
    sources: Iterable[CorpusSource], patients: Mapping[str, object]
) -> dict[str, str]:
    """Patients of a corpus who are in another one, too: the name of each, and that in the other.

    All names are as in the index, which ``patients`` has. Raises :class:`BrainbrrError` for one
    that is not there, and where one leads to another.
    """
    there: dict[str, str] = {}
    for source in sources:
        for name, target in source.same_patients.items():
            for one, where in ((source.prefix + name, f"{source.name} has"), (target, "there is")):
                if one not in patients:
                    raise BrainbrrError(
                        f"same_patients of {source.name} in corpora: {where} no patient {one}; the "
                        f"nearest is {nearest(one, patients)}"
                    )
            there[source.prefix + name] = target
    chained = sorted(name for name, target in there.items() if target in there)
    if chained:
        name = chained[0]
        raise BrainbrrError(
            f"same_patients in corpora says that {name} is {there[name]}, and that this is "
            f"{there[there[name]]}: write {there[there[name]]} for both"
        )
    return there


def without_copies(index: Index) -> Index:
    """An index in which no recording is excluded as a copy of another one."""
    codes = frozenset({SAME_CONTENT})
    return replace(index, recordings=tuple(without_comparisons(r, codes) for r in index))


def _facts(name: str, prefix: str, same_patients: Mapping[str, str], index: Index) -> IndexedCorpus:
    return IndexedCorpus(
        name,
        prefix,
        index.layout,
        index.channel_rules,
        index.assignment,
        index.release,
        index.license,
        tuple(same_patients.items()),
    )


def _alone(recording: Recording, prefix: str, here: Mapping[str, str]) -> Recording:
    patient = here.get(recording.patient) or recording.patient.removeprefix(prefix)
    key = recording.partition_key.removeprefix(prefix)
    return replace(recording, partition_key=key, patient=patient, corpus="")


def _check_prefixes(recordings: Iterable[Recording], sources: Iterable[CorpusSource]) -> None:
    """Raise :class:`BrainbrrError` where a corpus without prefix has a folder named like another.

    Its keys or patients would be taken for those of the other corpus.
    """
    prefixes = {source.prefix.lower(): source.name for source in sources if source.prefix}
    for recording in recordings:
        for text in (recording.partition_key, recording.patient):
            first = text.partition("/")[0].lower() + "/"
            name = prefixes.get(first)
            if name is not None and name != recording.corpus and "/" in text:
                raise BrainbrrError(
                    f"the corpus {recording.corpus} has {text}, which looks like a part of the "
                    f"corpus {name}: give that one another name in corpora"
                )
