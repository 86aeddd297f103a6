"""Scores by the age of patients: the group of each, its figures, and when there is no table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.configuration import Configuration
from brainbrr_core.evaluation.age_groups import UNKNOWN_AGE, age_group, age_groups
from brainbrr_core.evaluation.event_scores import score_events, write_event_scores
from brainbrr_core.evaluation.report.page import render_report
from brainbrr_core.evaluation.report_folder import write_folder
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.evaluation.score import Scoring, score
from brainbrr_core.evaluation.tables import tables
from brainbrr_core.scoring import ScoredRecording
from tests.support.pages import well_formed
from tests.support.small_evaluation import TUNED_ON_DEV, recording
from tests.support.tables import rows_of

HIT, FALSE = (110.0, 120.0, 0.9), (2000.0, 2010.0, 0.9)
Row = tuple[list[tuple[float, float]], list[tuple[float, float, float]], float, str]
#: Two children of 3 and 7 years, an adult, and one of unknown age; two hours each but the adult's.
SCORED: dict[str, Row] = {
    "a": ([(100, 130)], [HIT], 7200, "2 to 11 years"),
    "b": ([(100, 130)], [FALSE], 7200, "2 to 11 years"),
    "c": ([(100, 130)], [HIT, FALSE, (3000, 3010, 0.9)], 3600, "18 to 64 years"),
    "d": ([], [], 3600, UNKNOWN_AGE),
}


def recordings() -> list[ScoredRecording]:
    return [
        recording(f"eval/{name}/t0", name, seizures, events, seconds)
        for name, (seizures, events, seconds, _) in SCORED.items()
    ]


def scored(groups: dict[str, str] | None) -> Scoring:
    rows = recordings()
    return score(rows, split="eval", threshold=TUNED_ON_DEV, provenance={}, age_groups=groups)


def of_groups() -> dict[str, str]:
    return {f"eval/{name}/t0": group for name, (*_, group) in SCORED.items()}


@pytest.mark.parametrize(
    ("age", "group"),
    [
        (0, "under 2 years"),
        (1.99, "under 2 years"),
        (2, "2 to 11 years"),
        (11.9, "2 to 11 years"),
        (12, "12 to 17 years"),
        (17.99, "12 to 17 years"),
        (18, "18 to 64 years"),
        (64.5, "18 to 64 years"),
        (65, "65 years and older"),
        (90, "65 years and older"),
        (None, UNKNOWN_AGE),
    ],
)
def test_the_group_of_an_age(age: float | None, group: str) -> None:
    assert age_group(age) == group


def test_figures_of_each_group_are_those_of_its_patients_with_intervals_over_them() -> None:
    results = scored(of_groups()).results
    assert [row.name for row in results.ages] == ["2 to 11 years", "18 to 64 years", UNKNOWN_AGE]
    children, adults, unknown = results.ages
    assert (children.recordings, children.hours, children.seizures) == (2, 4, 2)
    assert (adults.recordings, adults.hours, adults.seizures) == (1, 1, 1)
    # One of two seizures, one false alarm in four hours; all of one, two in an hour.
    assert (children.figures.sensitivity, children.figures.false_per_day) == (0.5, 6)
    assert (adults.figures.sensitivity, adults.figures.false_per_day) == (1, 48)
    estimates = results.estimates
    own = estimates["age.2 to 11 years.sensitivity"]
    assert (own.value, own.patients, own.few_patients) == (0.5, 2, True)
    assert (own.low, own.high) == (0, 1)
    assert estimates["age.18 to 64 years.false_per_day"].value == 48
    assert estimates["age.18 to 64 years.sensitivity"].patients == 1
    assert unknown.figures.false_per_day == 0
    # The whole is as it is without groups.
    plain = scored(None).results
    assert plain.ages == ()
    others = {name: one for name, one in estimates.items() if not name.startswith("age.")}
    assert str(others) == str(plain.estimates)


def test_events_alone_have_the_same_figures_of_groups(tmp_path: Path) -> None:
    results = scored(of_groups()).results
    of_events = score_events((row.events for row in recordings()), age_groups=of_groups())
    # As text, since an undefined figure is NaN, which equals nothing.
    assert str(of_events.ages) == str(results.ages)
    names = {name for name in results.estimates if name.startswith("age.")}
    assert {name for name in of_events.estimates if name.startswith("age.")} == names
    for name in names:
        assert str(of_events.estimates[name]) == str(results.estimates[name])
    write_event_scores(tmp_path, of_events)
    assert rows_of(tmp_path / "age_groups.csv")[1]["szcore_sensitivity"] == "1"
    plain = score_events(row.events for row in recordings())
    assert (plain.ages, {n for n in plain.estimates if n.startswith("age.")}) == ((), set())


def test_the_report_and_its_tables_have_the_groups_or_say_nothing_of_age() -> None:
    with_groups, without = scored(of_groups()), scored(None)
    page = render_report(with_groups.results, [])
    well_formed(page)
    assert "Figures of each age group by SzCORE" in page
    assert page.index("2 to 11 years") < page.index("18 to 64 years") < page.index(UNKNOWN_AGE)
    assert "age group" not in render_report(without.results, [])
    table = tables(with_groups.results)["age_groups"].to_pydict()
    assert table["age_group"] == ["2 to 11 years", "18 to 64 years", UNKNOWN_AGE]
    assert table["szcore_sensitivity"][:2] == [0.5, 1.0]
    assert "age_groups" not in tables(without.results)
    text = with_groups.results.to_json()
    assert EvaluationResults.from_json(text).to_json() == text


def test_a_table_of_groups_does_not_outlive_them(tmp_path: Path) -> None:
    """A reader of the folder would take it for one of the figures beside it."""
    with_groups, without = scored(of_groups()), scored(None)
    write_folder(tmp_path, with_groups.results, with_groups.statistics)
    assert (tmp_path / "age_groups.csv").is_file()
    write_folder(tmp_path, without.results, without.statistics)
    assert not [*tmp_path.glob("age_groups.*")]
    assert (tmp_path / "patients.csv").is_file()


def test_one_group_is_the_whole(built: Configuration) -> None:
    update_manifest(plan_profile(built), built.manifest_settings)
    preflight = check(ProfileCache.of(built))
    plan, recordings = preflight.plan, preflight.scorable("train")

    def aged(*ages: float | None) -> dict[str, str]:
        items = tuple(
            replace(item, recording=replace(item.recording, age=ages[number % len(ages)]))
            for number, item in enumerate(plan.items)
        )
        return age_groups(replace(plan, items=items), recordings)

    assert aged(None) == aged(40) == aged(20, None, 60) == {}
    groups = aged(3, 40, None)
    assert set(groups.values()) == {"2 to 11 years", "18 to 64 years", UNKNOWN_AGE}
    assert groups.keys() == {recording.partition_key for recording in recordings}
