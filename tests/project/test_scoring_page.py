"""Every case of the table in ``docs/scoring.md`` is scored as the page says."""

from __future__ import annotations

import re

import pytest

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.compare import FALSE_DISCOVERY_RATE, LEAST_RESAMPLES, PRIMARY
from brainbrr_core.scoring import (
    FALSE_ALARM_LIMITS,
    FEW_PATIENTS,
    Counts,
    RecordingEvents,
    all_or_none,
    nedc,
    no_false_alarm,
    szcore,
)
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "scoring.md").read_text("utf-8")
RULES = ("SzCORE events", "SzCORE seconds", "OVLP", "TAES", "TAES exact", "EPOCH", "DP")


def cases() -> dict[str, dict[str, str]]:
    """Rows of the tables of cases, by their number and the table's headings."""
    found = {}
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE):
        heading, _, *lines = table.splitlines()
        names = [cell.strip() for cell in heading.strip("|").split("|")]
        if names[0] == "case":
            for line in lines:
                row = dict(
                    zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True)
                )
                found[row["case"]] = row
    return found


CASES = cases()


def events(cell: str) -> tuple[Event, ...]:
    spans = [] if cell == "none" else [span.split("-") for span in cell.split(", ")]
    return tuple(Event(float(start), float(stop)) for start, stop in spans)


def test_the_page_has_its_cases_and_says_something_of_each() -> None:
    assert [int(number) for number in CASES] == list(range(1, 24))
    assert [int(n) for n in re.findall(r"^(\d+)\. ", PAGE, re.MULTILINE)] == list(range(1, 24))
    assert all(set(RULES) <= set(row) for row in CASES.values())


@pytest.mark.parametrize("number", CASES)
def test_each_case_is_scored_as_the_page_says(number: str) -> None:
    row = CASES[number]
    recording = RecordingEvents(
        "p",
        float(row["length"]),
        events(row["reference"]),
        events(row["hypothesis"]),
        unknown=tuple((e.start, e.stop) for e in events(row.get("unknown", "none"))),
    )
    of_szcore, of_nedc = szcore.score_recording(recording), nedc.score_recording(recording)
    counted: tuple[Counts, ...] = (
        of_szcore.event,
        of_szcore.sample,
        *(part.seiz for part in (of_nedc.ovlp, of_nedc.taes, of_nedc.taes_exact)),
        *(part.seiz for part in (of_nedc.epoch, of_nedc.alignment)),
    )
    for rule, counts in zip(RULES, counted, strict=True):
        stated = re.fullmatch(r"([\d.]+)/(\d+), ([\d.]+)", row[rule])
        assert stated is not None, rule
        figures = (counts.detected, counts.reference, counts.false)
        # The page has four decimals.
        assert figures == pytest.approx([float(part) for part in stated.groups()], abs=5e-5), rule


def test_the_page_names_the_numbers_of_the_program() -> None:
    assert FEW_PATIENTS == 10 and "Nothing of fewer than ten patients is judged" in PAGE
    assert PRIMARY == "szcore_event.f1" and "SzCORE's pooled event F1, or what `--primary" in PAGE
    assert FALSE_DISCOVERY_RATE == 0.05 and "false discovery rate of 5 %" in PAGE
    assert f"at least {LEAST_RESAMPLES:,}" in PAGE
    assert sorted(FALSE_ALARM_LIMITS) == [1, 2.5, 5, 10] and "1, 2.5, 5 and 10 false" in PAGE
    assert f"{all_or_none(12, 1.0).low:.3f}" == "0.735" and "= 0.735" in PAGE
    assert f"{no_false_alarm(2, 86_400).high:.3f}" == "3.689" and "3.689" in PAGE
    for method in ("undefined", "clopper-pearson", "poisson"):
        assert f"`{method}`" in PAGE
