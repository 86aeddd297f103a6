"""One person under two names in two corpora: one patient in figures, known by either name."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.annotation import Event
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.corpus.index import Index, IndexedCorpus, scan
from brainbrr_core.corpus.people import one_person
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.evaluation.event_scores import score_events
from brainbrr_core.runs.known_patients import KnownPatients
from brainbrr_core.runs.run_corpus import RunCorpus, RunRecording
from brainbrr_core.scoring import RecordingEvents
from tests.support.bids import write_bids


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A recording to make others of."""
    [recording] = scan(write_bids(tmp_path_factory.mktemp("bids") / "data", ["sub-01"]))
    return recording


@pytest.fixture
def everyone(model: Recording) -> tuple[Recording, ...]:
    """Four patients of each of two corpora; ``b/P1`` is ``a/p0``, whose recording it has, too."""

    def recording(corpus: str, patient: str, content: str, reason: str | None = None) -> Recording:
        return replace(
            model,
            patient=f"{corpus}/{patient}",
            partition_key=f"{corpus}/{patient}/{content}",
            corpus=corpus,
            split="dev",
            events=(Event(0, 1, "seiz"),),
            content_hash=content,
            data_hash=f"data of {content}",
            signal_reason=reason,
        )

    return (
        *(recording("a", f"p{number}", f"a{number}") for number in range(4)),
        *(recording("b", f"P{number}", f"b{number}") for number in range(4)),
        recording("b", "P1", "a0", "same_content"),
    )


@pytest.mark.parametrize("reason", ["unreadable", "no_samples", "shorter_than_a_block"])
def test_files_that_are_no_recording_say_nothing_about_who_is_who(
    everyone: tuple[Recording, ...], reason: str
) -> None:
    """Every empty file has the same bytes."""
    empty = [
        replace(
            everyone[number],
            partition_key=f"{everyone[number].patient}/empty",
            content_hash="of nothing",
            data_hash="",
            signal_reason=reason,
        )
        for number in (2, 6)
    ]
    assert {row.corpus for row in empty} == {"a", "b"}
    assert one_person([*everyone, *empty]) == one_person(everyone) == {"b/P1": "a/p0"}


def planned(everyone: tuple[Recording, ...]) -> Plan:
    """A plan in which every usable recording has a shard of 4 s."""
    corpora = tuple(IndexedCorpus(name, f"{name}/", "bids", "", None, "", "", ()) for name in "ab")
    items = tuple(
        Item(recording, State.FRESH, "", "fingerprint", 1024)
        for recording in everyone
        if recording.reason is None
    )
    return Plan(Store(Path(), "v1"), Index(everyone, "bids", (), corpora=corpora), items, 0)


def test_one_person_is_one_patient_of_the_intervals(everyone: tuple[Recording, ...]) -> None:
    rows = scorable(planned(everyone), ("seiz",), "dev")
    assert [row.partition_key for row in rows] == [r.partition_key for r in everyone[:-1]]
    assert [row.patient for row in rows] == [
        *("a/p0", "a/p1", "a/p2", "a/p3"),
        *("b/P0", "a/p0", "b/P2", "b/P3"),
    ]
    scores = score_events(
        RecordingEvents(row.patient, 4.0, (Event(0, 1, "seiz"),), (), row.partition_key)
        for row in rows
    )
    sensitivity = scores.estimates["szcore_event.sensitivity"]
    assert (scores.patients, sensitivity.patients) == (7, 7)
    # Nothing is detected: Clopper and Pearson's interval has the people as trials.
    assert math.isclose(sensitivity.high, 1 - 0.025 ** (1 / 7))


@pytest.mark.parametrize("other_people", [False, True])
def test_whoever_knows_one_name_of_a_person_knows_the_other(
    everyone: tuple[Recording, ...], *, other_people: bool
) -> None:
    # The run was trained on a recording that only the second corpus has.
    own = RunCorpus("own", (RunRecording("x/b1", "train", "x", "b1", ""),))
    known = KnownPatients.of(everyone, own, other_people=other_people)
    assert known.reasons == dict.fromkeys(
        ["a/p0", "b/P1"], "the run was trained on this patient (the same content)"
    )
    # The most serious use counts, by whichever name.
    uses = RunCorpus("own", (*own.recordings, RunRecording("x/a0", "eval", "y", "a0", "")))
    assert KnownPatients.of(everyone, uses, other_people=other_people) == known
