"""The comparison of two runs, and the command that prints it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.cli.app import app
from brainbrr_core.cli.compare import print_comparison
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.compare import compare
from brainbrr_core.evaluation.results import EVALUATION
from brainbrr_core.runs.record import write_record
from tests.support.run_records import recorded_run
from tests.support.scored_patients import FOUND_A, FOUND_B, REFERENCE, many, scored, store_report
from tests.support.shell import Shell


def test_one_primary_figure_is_judged_and_the_others_explored(tmp_path: Path) -> None:
    # B finds all twelve seizures, A four of them; neither raises a false alarm.
    a = store_report(tmp_path / "a", many(lambda n: [(105, 125)] * (n < 4)))
    b = store_report(tmp_path / "b", many(lambda _: [(105, 125)]))
    found = compare(a, b, "dev")
    by_name = {part.figure: part for part in found.differences}
    assert [part.figure for part in found.differences if part.primary] == ["szcore_event.f1"]
    primary = by_name["szcore_event.f1"]
    # A: 2 * 4 / (2 * 4 + 8), B: 1.
    assert primary.difference == pytest.approx(0.5) and primary.low > 0 and primary.beyond_chance
    assert math.isnan(primary.false_discovery_rate)
    assert found.bootstrap_samples == 10_000
    other = by_name["nedc_ovlp.sensitivity"]
    assert other.p_value == pytest.approx(2 / 10_001)
    assert other.p_value <= other.false_discovery_rate <= 0.05 and other.beyond_chance
    # Background, bins and hours are not in the family; nor is what nothing is known of.
    outside = [part for part in found.differences if math.isnan(part.false_discovery_rate)]
    assert found.exploratory == len(found.differences) - len(outside)
    assert {"nedc_ovlp_bckg.f1", "hour.0.false_per_day"} <= {part.figure for part in outside}
    assert not any(part.beyond_chance for part in outside if not part.primary)
    named = compare(a, b, "dev", "nedc_ovlp.sensitivity")
    assert [part.figure for part in named.differences if part.primary] == ["nedc_ovlp.sensitivity"]
    with pytest.raises(BrainbrrError, match=r"nearest is nedc_ovlp\.f1"):
        compare(a, b, "dev", "nedc_ovlp.F1")


def test_the_headline_names_the_better_run_and_the_settings_that_differ(
    tmp_path: Path, shell: Shell
) -> None:
    # B detects all twelve seizures, A four of them.
    store_report(tmp_path / "a", many(lambda n: [(105, 125)] * (n < 4)))
    store_report(tmp_path / "b", many(lambda _: [(105, 125)]))
    for name, hertz in (("a", 60), ("b", 50)):
        configuration = {"preprocessing": {"notch_hz": hertz}, "training": {"seed": 0}}
        write_record(tmp_path / name, recorded_run(tmp_path, configuration=configuration).record)
    words = ("compare", "a", "b", "--runs-dir", tmp_path, "--split", "dev")
    shown = shell.type(*words).stdout
    assert shown.startswith(
        "B is better by the primary figure, szcore event f1: 0.500 in A, 1.000 in B, B - A = "
        "+0.500, 95% interval [+"
    )
    assert "settings, A against B:\n  preprocessing.notch_hz: 60 against 50\n" in shown
    back = shell.type("compare", "b", "a", *words[3:]).stdout
    assert back.startswith("A is better by the primary figure, szcore event f1: 1.000 in A")
    values = json.loads(shell.type(*words, "--json").stdout)
    assert values["settings"] == [{"key": "preprocessing.notch_hz", "a": 60, "b": 50}]
    assert values["better"] == "B"
    same = shell.type("compare", "a", "a", *words[3:]).stdout
    assert same.startswith("A and B cannot be told apart by the primary figure, szcore event f1")
    assert "settings: the same in both runs" in same


def test_the_primary_figure_comes_first_and_names_are_in_words(
    tmp_path: Path, shell: Shell
) -> None:
    store_report(tmp_path / "a", scored(FOUND_A))
    store_report(tmp_path / "b", scored(FOUND_B))
    words = ("compare", "a", "b", "--runs-dir", tmp_path, "--split", "dev", "--all")
    shown = shell.type(*words, environment={"COLUMNS": "200"}).stdout
    rows = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│ ")]
    assert rows[0] == "szcore event f1"
    # A limit keeps its decimal point.
    assert "nedc ovlp sensitivity at 2.5" in rows
    assert not [row for row in rows if ". " in row or "_" in row or "  " in row]


def test_of_false_alarms_fewer_is_better(tmp_path: Path) -> None:
    # Both find every seizure; A raises a false alarm in each recording but one.
    a = store_report(tmp_path / "a", many(lambda n: [(105, 125)] + [(400, 410)] * (n > 0)))
    b = store_report(tmp_path / "b", many(lambda _: [(105, 125)]))
    compared = compare(a, b, "dev", "szcore_event.false_per_day")
    [primary] = [each for each in compared.differences if each.primary]
    assert primary.difference < 0 and primary.beyond_chance
    assert compared.better == "B"
    assert compare(a, b, "dev", "szcore_event.precision").better == "B"
    assert compare(b, a, "dev", "szcore_event.false_per_day").better == "A"


def test_nothing_is_judged_on_few_patients(tmp_path: Path) -> None:
    a = store_report(tmp_path / "a", many(lambda _: [], 5))
    b = store_report(tmp_path / "b", many(lambda n: [(105, 120 + n)] * (n != 4), 5))
    found = compare(a, b, "dev")
    gain = next(part for part in found.differences if part.primary)
    assert gain.low > 0 and gain.few_patients and gain.patients == 5
    assert found.exploratory == 0 and not any(part.beyond_chance for part in found.differences)


def test_two_runs_compared_by_hand(tmp_path: Path) -> None:
    a, b = (
        store_report(tmp_path / "a", scored(FOUND_A)),
        store_report(tmp_path / "b", scored(FOUND_B)),
    )
    found = compare(a, b, "dev")
    assert (found.run_a, found.run_b, found.patients) == ("a", "b", 4)
    by_name = {part.figure: part for part in found.differences}
    # A finds 1 of 2, B both; A raises two false alarms in 2400 s, B one.
    gain = by_name["nedc_ovlp.sensitivity"]
    assert (gain.a, gain.b, gain.difference) == (0.5, 1.0, 0.5)
    assert by_name["nedc_ovlp.false_per_day"].difference == pytest.approx(-86_400 / 2400)
    # Patients a and b carry it: where only a is drawn, the two are equal; where only b, 1.
    assert (gain.low, gain.high) == (0.0, 1.0) and not gain.beyond_chance
    assert [row.partition_key for row in found.recordings] == ["dev/b/t0"]
    assert (found.recordings[0].missed_a, found.recordings[0].missed_b) == (1, 0)
    # The false alarms of both in c overlap: no disagreement between the two.
    assert [(e.kind, e.only, e.partition_key, e.start_s) for e in found.events] == [
        ("false alarm", "a", "dev/b/t0", 50),
        ("seizure detected", "b", "dev/b/t0", 200),
    ]


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    a = store_report(tmp_path / "a", scored(FOUND_A))
    found = compare(a, a, "dev")
    assert not found.events and not found.recordings
    for part in found.differences:
        assert part.difference == 0 or math.isnan(part.difference)
        assert math.isnan(part.low) and not part.beyond_chance


def test_runs_on_other_recordings_do_not_compare(tmp_path: Path) -> None:
    a = store_report(tmp_path / "a", scored(FOUND_A))
    fewer = {key: REFERENCE[key] for key in list(REFERENCE)[:3]}
    b = store_report(tmp_path / "b", scored(FOUND_A, fewer))
    with pytest.raises(BrainbrrError, match="1 of 4 recordings are in one of them only"):
        compare(a, b, "dev")
    c = store_report(tmp_path / "c", scored(FOUND_A, {**REFERENCE, "dev/d/t0": [(5, 9)]}))
    with pytest.raises(BrainbrrError, match="annotations or lengths differ"):
        compare(a, c, "dev")
    # The command that it names scores this run, not that of the configuration.
    with pytest.raises(WorkRemains) as lacking:
        compare(a, a, "eval")
    assert str(lacking.value) == (
        f"no report in {a / 'report-eval'}: run `brainbrr evaluate {a} --split eval --allow-eval`"
    )
    other = tmp_path / "other run"
    with pytest.raises(WorkRemains, match=re.escape(f"brainbrr evaluate '{other}' --split dev`")):
        compare(a, other, "dev")


def test_reports_of_two_evaluation_versions_do_not_compare(tmp_path: Path) -> None:
    scoring = many(lambda _: [(105, 125)])
    of = [
        replace(scoring, results=replace(scoring.results, provenance={EVALUATION: version}))
        for version in ("7", "8")
    ]
    a, b = store_report(tmp_path / "a", of[0]), store_report(tmp_path / "b", of[1])
    with pytest.raises(
        BrainbrrError,
        match="figures of a and b do not compare: their reports on dev are of evaluation version "
        "7 and 8; score both again with `brainbrr evaluate RUN --split dev`",
    ):
        compare(a, b, "dev")
    # Reports did not say it before.
    with pytest.raises(BrainbrrError, match="of evaluation version 7 and before 7; score"):
        compare(a, store_report(tmp_path / "c", scoring), "dev")
    assert compare(a, store_report(tmp_path / "d", of[0]), "dev").better is None


def test_the_judged_figure_is_named_with_its_error_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (
        store_report(tmp_path / "a", scored(FOUND_A)),
        store_report(tmp_path / "b", scored(FOUND_B)),
    )
    print_comparison(replace(compare(a, b, "dev"), exploratory=40))
    shown = " ".join(capsys.readouterr().out.split())
    assert "* marks those of 40 that differ at a false discovery rate of 5% (Benjamini" in shown


def test_the_command_compares_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_report(tmp_path / "a", scored(FOUND_A))
    store_report(tmp_path / "b", scored(FOUND_B))
    words = ["compare", "a", str(tmp_path / "b"), "--runs-dir", str(tmp_path), "--split", "dev"]
    with pytest.raises(SystemExit) as done:
        app([*words, "--json"])
    assert done.value.code == 0
    values = json.loads(capsys.readouterr().out)
    figures = {row["figure"]: row for row in values["differences"]}
    assert figures["nedc_ovlp.sensitivity"]["difference"] == 0.5
    assert figures["nedc_ovlp.sensitivity"]["few_patients"] is True
    assert figures["nedc_ovlp.sensitivity"]["false_discovery_rate"] is None
    assert len(values["events"]) == 2
    with pytest.raises(SystemExit):
        app(words)
    shown = capsys.readouterr().out
    assert "1 recording has other misses" in shown and "2 events, by NEDC OVLP" in shown
    assert shown.startswith(
        "A and B cannot be told apart by the primary figure, szcore event f1 (2 patients are too "
        "few): 0.400 in A, "
    )
    assert "settings: not recorded by both runs" in shown
    # Of four patients nothing is judged.
    assert "exploratory: none is judged, because there are too few patients;" in " ".join(
        shown.split()
    )
    # One table for each unit.
    assert "shares (0 to 1)" in shown and "false alarms per 24 h" in shown
    # Figures that do not differ only where they are asked for.
    named = re.search(r"(\d+) figures are the same in both \(--all shows them\)", shown)
    assert named is not None
    with pytest.raises(SystemExit):
        app([*words, "--all"])
    whole = capsys.readouterr().out
    assert "are the same in both" not in whole
    assert whole.count("│ ") > shown.count("│ ")
    with pytest.raises(SystemExit):
        app([*words, "--primary", "nedc_ovlp.f1"])
    assert "by the primary figure, nedc ovlp f1" in capsys.readouterr().out
    with pytest.raises(BrainbrrError, match="no run nowhere"):
        app(["compare", "a", "nowhere", "--runs-dir", str(tmp_path)])
