"""Cells and texts of a length that nobody writes by hand are no reason to give up."""

from __future__ import annotations

from brainbrr_core.annotation import tuh
from brainbrr_core.annotation.texts import Meaning, Texts
from brainbrr_core.configuration.settings import AnnotationTexts


def test_a_row_that_no_reader_of_csv_takes_is_a_finding() -> None:
    text = "# duration = 300.00 secs\nchannel,start_time,stop_time,label,confidence\n"
    parsed = tuh.parse(text + "TERM,0,20," + "x" * 200_000 + ",1\n", "a.csv_bi")
    assert next((f.code, f.where, f.detail) for f in parsed.findings) == (
        "malformed_row",
        "a.csv_bi:3",
        "not comma-separated",
    )
    assert parsed.events == ()


def test_a_text_too_long_to_be_a_label_is_unclear_where_it_mentions_a_seizure() -> None:
    texts = Texts(AnnotationTexts())
    assert texts.meaning("seizure")[0] is Meaning.SEIZURE
    assert texts.meaning("seizure " * 200)[0] is Meaning.UNCLEAR
    assert texts.meaning("patient awake " * 200)[0] is Meaning.NOTHING
