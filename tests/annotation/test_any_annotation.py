"""Any annotation file has an outcome, and no seizure in it becomes background."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brainbrr_core.annotation import UNKNOWN, Event, Finding, on_signal, szcore, tal, tuh
from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Meaning, Texts
from brainbrr_core.configuration.settings import SEIZURE_LABELS, AnnotationTexts
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.recording import LABEL_REASONS
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.source import LocalEdf
from tests.support.annotation_files import (
    HEAD,
    SIGNAL_S,
    annotated_edf,
    codes,
    events_tsv,
    labels_from,
    table,
    tal_bytes,
)
from tests.support.examples import examples

times = st.integers(0, 320).map(float) | st.floats(0, 320).map(lambda t: round(t, 4))
odd = st.sampled_from(["-1", "nan", "inf", "1e400", "n/a", "", "soon", "0x10", "١"])
kinds = st.sampled_from([*SEIZURE_LABELS, "bckg", "unknown", "unkn", "artf", "", "SEIZ"])
hed = st.sampled_from(
    ["sz", "sz_foc_ia", "sz_gen", "seizure", "bckg", "unknown", "onset", "offset"]
)
free = hed | st.sampled_from(
    ["seizure ends", "Seizure starts", "eyes open", "a seizure?", "n/a", "@SeizureDetected"]
)


def seizure_rows(draw: st.DrawFn, labels: st.SearchStrategy[str]) -> list[tuple[float, float, str]]:
    """Start, stop and label of some rows, some with zero length."""
    rows = draw(st.lists(st.tuples(times, times | st.none(), labels), max_size=8))
    return [
        (start, start if other is None else max(start, other), label)
        for start, other, label in rows
    ]


def check_outcome(outcome: RecordingLabels) -> None:
    """The labels are usable or have a reason, and no event is outside of the signal."""
    assert outcome.reason is None or outcome.reason in LABEL_REASONS
    assert all(finding.code in ANNOTATION_FINDINGS for finding in outcome.findings)
    if outcome.reason in (None, "all_unknown"):
        assert all(0 <= event.start < event.stop <= SIGNAL_S for event in outcome.events)
        assert {event.label for event in outcome.events} <= {*SEIZURE_LABELS, UNKNOWN}


def is_covered(outcome: RecordingLabels, start: float, stop: float) -> bool:
    """Whether no tenth of a second of an interval is background."""
    stop = min(stop, SIGNAL_S)
    instants = [start, *np.arange(start, stop, 0.1)]
    return all(any(e.start <= t < e.stop for e in outcome.events) for t in instants)


@st.composite
def tusz_rows(draw: st.DrawFn) -> list[tuple[float, float, str]]:
    return seizure_rows(draw, kinds | st.just("seiz"))


@examples(200)
@given(rows=tusz_rows(), typed=tusz_rows(), with_csv=st.booleans())
@example(rows=[(0, 300, "bckg")], typed=[(100, 140, "fnsz")], with_csv=True)
@example(rows=[(100, 100, "seiz")], typed=[], with_csv=False)
def test_no_row_of_a_seizure_in_tusz_files_becomes_background(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, float, str]],
    typed: list[tuple[float, float, str]],
    with_csv: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-tusz"
    files = {"csv_bi": table([("TERM", *row) for row in rows])}
    if with_csv:
        files["csv"] = table([("FP1-F7", *row) for row in typed])
    outcome = labels_from(folder, **files)
    check_outcome(outcome)
    if outcome.reason is not None:
        return
    for start, stop, label in rows:
        if label != "bckg":
            assert is_covered(outcome, start, stop), (start, stop, label)
    if with_csv and "unusable_types" not in codes(outcome):
        for start, stop, label in typed:
            # Edges may differ: some of it, or of its surroundings, is not background.
            assert label == "bckg" or any(
                event.start - 1 <= stop and start <= event.stop + 1 for event in outcome.events
            ), (start, stop, label)


@st.composite
def bids_rows(draw: st.DrawFn) -> list[tuple[float, float, str]]:
    return seizure_rows(draw, free)


@examples(200)
@given(rows=bids_rows(), column=st.sampled_from(szcore.KINDS))
@example(rows=[(100, 100, "sz"), (200, 230, "sz")], column="eventType")
@example(rows=[(10, 10, "sz"), (40, 40, "offset"), (80, 80, "offset")], column="trial_type")
def test_no_row_of_a_seizure_in_an_events_tsv_becomes_background(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, str]], column: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-bids"
    text = events_tsv(
        *(
            (start, f"{stop - start:.4f}" if stop > start else "n/a", label)
            for start, stop, label in rows
        ),
        column=column,
    )
    outcome = labels_from(folder, tsv=text)
    check_outcome(outcome)
    if outcome.reason is None:
        for start, stop, label in rows:
            check_row(outcome, start, stop, label)


def check_row(outcome: RecordingLabels, start: float, stop: float, label: str) -> None:
    meaning = DEFAULT_TEXTS.meaning(label)[0]
    if meaning in (Meaning.SEIZURE, Meaning.UNKNOWN):
        assert is_covered(outcome, start, round(stop, 4) - 1e-3), (start, stop, label)
    elif meaning is Meaning.ONSET:
        assert is_covered(outcome, start, start), (start, label)
    elif meaning is Meaning.UNCLEAR and start < SIGNAL_S:
        assert any(e.start <= start <= e.stop for e in outcome.events), (start, label)
    elif meaning is Meaning.END:
        # An end may be repeated within a second.
        end = min(start, SIGNAL_S)
        assert any(e.start < end <= e.stop + 1 for e in outcome.events) or start == 0, start


@examples(200)
@given(rows=bids_rows(), first=st.sampled_from([0.0, 0.753, -0.25, 12.0]), data=st.data())
def test_no_annotation_of_a_seizure_in_an_edf_becomes_background(
    rows: list[tuple[float, float, str]], first: float, data: st.DataObject
) -> None:
    records = [[tal_bytes(first + number, 0, "")] for number in range(4)]
    for start, stop, label in rows:
        number = data.draw(st.integers(0, 3))
        records[number][0] += tal_bytes(first + start, stop - start, label)
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    if parsed is None:
        assert all(DEFAULT_TEXTS.meaning(row[2])[0] not in SPEAKS for row in rows)
        return
    outcome = RecordingLabels.of(on_signal(parsed, SIGNAL_S), "edf_annotations", SIGNAL_S)
    check_outcome(outcome)
    if outcome.reason is None:
        for start, stop, label in rows:
            check_row(outcome, start, stop, label)


SPEAKS = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)

lines = st.lists(
    st.lists(
        st.one_of(times.map(str), odd, kinds, free, st.just("TERM"), st.text(max_size=5)),
        max_size=8,
    ),
    max_size=8,
)


@examples(200)
@given(cells=lines, noise=st.binary(max_size=60), at=st.integers(0, 400), cut=st.integers(0, 400))
def test_any_bytes_of_an_annotation_file_have_an_outcome(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[list[str]],
    noise: bytes,
    at: int,
    cut: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-bytes"
    good = {
        "x.csv_bi": HEAD.format(duration=SIGNAL_S),
        "x.csv": HEAD.format(duration=SIGNAL_S),
        "x_events.tsv": "onset\tduration\ttrial_type\tconfidence\tchannels\n",
    }
    for chosen in (("x.csv_bi",), ("x.csv_bi", "x.csv"), ("x_events.tsv",), ("x.csv",)):
        labels_from(folder)
        for name in chosen:
            separator = "\t" if name.endswith("tsv") else ","
            text = good[name] + "".join(separator.join(row) + "\n" for row in cells)
            content = text.encode("utf-8", "surrogatepass")
            spoilt = content[:at] + noise + content[at:]
            (folder / name).write_bytes(spoilt[: max(0, len(spoilt) - cut)] if cut < 40 else spoilt)
        layout = FolderLayout(folder)
        outcome = layout.read_labels(layout.describe_path(folder / "x.edf"), SIGNAL_S)
        check_outcome(outcome)
        if "x.csv_bi" not in chosen and chosen == ("x.csv",):
            assert outcome.reason == "no_annotation"


@examples(200)
@given(
    records=st.lists(
        st.lists(
            st.binary(max_size=40)
            | st.builds(tal_bytes, times, st.sampled_from([0.0, 3.5]), free, free)
            | st.lists(
                st.sampled_from([b"+1", b"-3", b"\x14", b"\x15", b"\0", b"onset", b"sz"])
            ).map(b"".join),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_any_bytes_of_annotation_signals_have_an_outcome(records: list[list[bytes]]) -> None:
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    if parsed is not None:
        check_outcome(RecordingLabels.of(on_signal(parsed, SIGNAL_S), "edf_annotations", SIGNAL_S))


@pytest.mark.parametrize("seconds", [12, 13])
def test_annotation_signals_are_read_completely(tmp_path: Path, seconds: int) -> None:
    """The texts are those that another reader gives."""
    path = annotated_edf(
        tmp_path / "x.edf",
        *((n * 0.75, None if n % 2 else 1.5, f"note {n}") for n in range(12)),
        seconds=seconds,
    )
    texts = [
        text
        for record in annotation_records(LocalEdf(path))
        for content in record
        for entry in content.split(b"\0")
        if entry
        for text in entry.split(b"\x14")[1:]
        if text
    ]
    assert [text.decode() for text in texts] == [a.text for a in edfio.read_edf(path).annotations]


def test_a_garbled_annotation_beside_a_seizure_excludes() -> None:
    records = [[b"+0\x14\x14\0+5\x15\x14sz\x14\0", b"+9\x14offset\x14\0seizure st\0"]]
    parsed = tal.parse(records, "x.edf:annotations", DEFAULT_TEXTS)
    assert parsed is not None
    assert parsed.events == (Event(5, 9),)
    assert parsed.findings == (
        Finding("malformed_row", "x.edf:annotations:1", "not an annotation list"),
    )
    assert not parsed.usable
    mine = Texts(AnnotationTexts(onset=("anfall",)))
    assert mine.digest != DEFAULT_TEXTS.digest
    assert tuh.parse("", "a.csv").usable is False
