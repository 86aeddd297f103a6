"""The sentences, figures and tables of a report."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cli.evaluate import print_scores
from brainbrr_core.configuration import Detection, Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.facts import ThresholdChoice, TrainingFacts
from brainbrr_core.evaluation.method import method
from brainbrr_core.evaluation.provenance import training_facts
from brainbrr_core.evaluation.report.eeg_strip import eeg_strip, strip_picture
from brainbrr_core.evaluation.report.figures import all_pictures
from brainbrr_core.evaluation.report.highlights import (
    typical_hits,
    worst_false_alarms,
    worst_misses,
)
from brainbrr_core.evaluation.report.page import (
    HEADLINE,
    MOST_BYTES,
    method_sentences,
    render_report,
    write_report,
)
from brainbrr_core.evaluation.report.pictures import Picture, Strip
from brainbrr_core.evaluation.report.published import (
    PUBLISHED,
    PUBLISHED_GROUPS,
    TUSZ_EVAL,
    obstacle,
    ours,
)
from brainbrr_core.evaluation.results import EvaluationResults, UnscoredRecording
from brainbrr_core.evaluation.score import score
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.runs.record import RunRecord
from brainbrr_core.scoring import OperatingPoint, sweep_at, sweep_thresholds
from brainbrr_pipeline.records.metadata import of_evaluation
from tests.support.fixed_events import FixedEvents
from tests.support.pages import well_formed
from tests.support.project import ROOT
from tests.support.run_records import fit_values, recorded_run, run_values
from tests.support.small_evaluation import TUNED_ON_DEV, frames, recording, sample


def limited(rate_on_dev: float = 10.0) -> EvaluationResults:
    """Seizures of two patients, found at 0.9, with a false alarm of the same height in one."""
    one = recording("eval/a/t0", "a", [(100, 130)], [(110, 120, 0.9)], 3600)
    two = recording("eval/b/t0", "b", [(100, 130)], [(110, 120, 0.9), (2000, 2010, 0.9)], 3600)

    def find(frames: NDArray[np.float32], _duration_s: float) -> FixedEvents:
        marks = np.flatnonzero(np.diff(np.concatenate([[0], (frames > 0.5).astype(int), [0]])))
        spans = [(a / 8, b / 8) for a, b in zip(marks[::2], marks[1::2], strict=True)]
        return FixedEvents(frames, lambda on: spans if on <= 0.9 else [])

    on_dev: dict[str, OperatingPoint | None] = {
        f"{rule}.sensitivity_at_{rate_on_dev:g}": OperatingPoint(0.5, 0.5)
        for rule in ("szcore_event", "nedc_ovlp")
    }
    return score(
        [one, two],
        split="eval",
        threshold=replace(TUNED_ON_DEV, at_limits=on_dev),
        provenance={},
        sweep=sweep_thresholds([one, two], find, 1.0),
        applied=sweep_at([one, two], find, [OperatingPoint(0.5, 0.5)] * 2),
    ).results


def test_published_results_stand_next_to_the_actual_rates_of_the_run() -> None:
    rows = ours(limited(), "nedc_ovlp_tusz_eval")
    # One false alarm in two hours is 12 in 24, at the threshold in use and at the one that kept
    # ten on dev. No limit of ours is as high, so that above 0.9 nothing is found and nothing false.
    assert [(row.sensitivity, row.false_per_day) for row in rows[:2]] == [(1.0, 12.0)] * 2
    assert (
        rows[1].name
        == "This run, operating point chosen on “dev” for at most 10 false alarms per 24 h"
    )
    assert rows[1].f1 == pytest.approx(2 * 2 / (2 * 2 + 1))
    own = rows[2:]
    assert [row.false_per_day for row in own] == [0.0] * 4
    assert all("its curve on the scored recordings themselves" in row.name for row in own)
    tuned_here = ours(replace(limited(), split="dev"), "nedc_ovlp_tusz_eval")
    assert "chosen on “dev”, the same recordings, for at most 10" in tuned_here[1].name


def test_a_corpus_that_names_no_montage_has_no_table_of_montages() -> None:
    """As BIDS and most others: only TUSZ has it in its paths."""
    named = render_report(sample(), [])
    assert "Patients and montages</h2>" in named and "Figures of each montage" in named
    nameless = replace(
        sample(),
        recordings=tuple(replace(row, montage="") for row in sample().recordings),
        montages=tuple(replace(row, name="") for row in sample().montages),
    )
    page = render_report(nameless, [])
    well_formed(page)
    assert ">Patients</h2>" in page and "ontage" not in page[page.index("<main") :]


def test_operating_points_of_dev_come_first_with_their_rates_and_intervals() -> None:
    results = limited()
    assert [(row.rule, row.limit) for row in results.limits][:4] == [
        ("szcore_event", limit) for limit in (1.0, 2.5, 5.0, 10.0)
    ]
    point = results.limits[3]
    assert (point.tuned_sensitivity.value, point.tuned_false_per_day.value) == (1.0, 12.0)
    assert point.tuned_sensitivity.method == "clopper-pearson"
    assert (point.tuned_false_per_day.low, point.tuned_false_per_day.high) == (0.0, 24.0)
    text = render_report(results, [])
    cards = text[text.index('<dl class="cards">') : text.index("</dl>")]
    values = re.findall(r"<dd>([^<]+)</dd>", cards)
    assert (values[0], values[1:5]) == ("0.800", ["–", "–", "–", "1.000"])
    assert "tuned on “dev” for 10 false alarms per 24 h" in cards
    assert "Actual false alarms per 24 h: 12.00 [0.00, 24.00]†" in cards
    assert text.index('id="operating-points"') < text.index('id="headline"')
    # False alarms and false seconds have a column each, of which a rule fills one.
    table = text[text.index('id="headline"') : text.index('id="limits"')]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", table)
    assert len(rows) == len(HEADLINE)
    for row in rows:
        alarms, seconds = re.findall(r"<td class=\"number\">(.*?)</td>", row)[-2:]
        of_time = "sample-based" in row or "EPOCH" in row
        assert (alarms == "", seconds == "") == (of_time, not of_time)


def test_the_line_below_the_title_counts_one_of_a_kind_in_the_singular() -> None:
    one = recording("dev/a/t0", "a", [(100, 130)], [(110, 120, 0.9)], 3600)
    results = score([one], split="dev", threshold=TUNED_ON_DEV, provenance={}).results
    text = render_report(results, [])
    assert "1 recording, 1 patient, 1.0 hours, 1 seizure. Research software" in text
    assert "2 recordings, 2 patients, 2.0 hours, 2 seizures. " in render_report(limited(), [])


def test_tables_of_commands_and_of_dagster_have_one_unit_in_a_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    results = limited()
    evaluation = Evaluation(Path("/report.html"), results, recorded_run(Path("run")), "", False)
    print_scores(evaluation)
    shown = capsys.readouterr().out
    rows = {
        cells[1]: cells[-3:-1]
        for line in shown.splitlines()
        if len(cells := [cell.strip() for cell in line.split("│")]) == 8
    }
    assert rows["szcore event"] == rows["nedc ovlp"] == ["12.0", ""]
    # 10 false seconds in two hours.
    assert rows["szcore sample"] == rows["nedc epoch"] == ["", "120.0"]
    assert "applied to eval" in shown and "1.000 [0.158, 1.000]‡†" in shown
    assert "F1 of SzCORE events: 0.800 [0.667, 1.000]†" in shown
    scores = of_evaluation(evaluation, None)["scores"]
    assert isinstance(scores, dg.TableMetadataValue)
    records = scores.records
    by_rule = {record.data["rule"]: record.data for record in records}
    alarms, seconds = "false alarms per 24 h", "false seconds per 24 h"
    assert [by_rule["nedc ovlp"][unit] for unit in (alarms, seconds)] == ["12.000", ""]
    assert [by_rule["nedc epoch"][unit] for unit in (alarms, seconds)] == ["", "120.000"]


def trained(best_step: int | None) -> TrainingFacts:
    """Facts of a run as its file has them, trained for 300 steps and validated thrice."""
    validations = [
        {"step": step, "rule": "average precision by the second", "score": value}
        | {"f1": 0.5, "auroc": value, "auprc": value, "threshold": None}
        for step, value in ((100, 0.4), (200, 0.8), (300, 0.7))
    ]
    of_split = {"recordings": 4, "patients": 3, "hours": 5.5, "seizures": 7, "ictal_hours": 0.25}
    values = run_values(
        fit=fit_values(
            steps=300, best_step=best_step, validations=validations if best_step else []
        ),
        data={
            "train": of_split | {"unknown_seconds": 90.0, "full": 3},
            "dev": of_split | {"unknown_seconds": 0.0, "full": 3},
            "eval": of_split | {"unknown_seconds": 0.0, "full": 3},
        },
    )
    values["identity"]["training"] = {"seed": 11, "steps": 300}
    return training_facts(RunRecord.model_validate(values))


def test_the_report_describes_the_training_and_the_weights() -> None:
    facts = trained(200)
    assert (facts.kept_step, facts.steps, facts.seed) == (200, 300, 11)
    assert [split.split for split in facts.data] == ["train", "dev"]
    results = replace(
        sample(),
        training=facts,
        weights_chosen_on="dev",
        method=method(Preprocessing(), Detection(), 60),
    )
    description = " ".join(method_sentences(results))
    assert "(seed 11) completed 300 of 300 steps" in description
    assert (
        "The weights in use are those of step 200, chosen on “dev” for the highest average "
        "precision" in description
    )
    assert "trained on 5.5 hours of 3 patients with 7 seizures, of which 90 seconds" in description
    text = render_report(results, all_pictures(results))
    curve = text[text.index('id="training"') : text.index('id="provenance"')]
    assert "Figures on dev over the training steps" in curve
    assert "The weights of step 200 (dashed line)" in curve
    assert "The z-score is not causal" in curve and "band-pass 0.5 to 120 Hz" in curve
    assert "shorter than 3 s are dropped" in curve and "windows of 60 s every 30 s" in curve
    assert re.search(r">train</th>.*>5\.50<.*>7<.*>0\.25<.*>90\.0<", curve)
    last = " ".join(method_sentences(replace(sample(), training=trained(None))))
    assert "The weights in use are those of the last step, 300." in last
    assert "validation" not in {p.name for p in all_pictures(replace(results, training=None))}
    imported = method(Preprocessing(), Detection(), 60, "v0_imported")
    assert "v0_imported was imported" in imported[0] and "z-score" not in imported[0]


def test_a_typical_hit_is_shown_along_with_misses_and_false_alarms() -> None:
    results = score(
        [
            # Latencies of 1 s, 10 s and 28 s: the median is 10 s.
            recording("k0", "a", [(100, 130)], [(101, 130, 0.9)]),
            recording("k1", "b", [(200, 240)], [(210, 230, 0.9)]),
            recording("k2", "b", [(300, 330)], [(328, 330, 0.9)]),
        ],
        split="dev",
        threshold=TUNED_ON_DEV,
        provenance={},
    ).results
    hits = typical_hits(results)
    assert [(hit.kind, hit.partition_key) for hit in hits] == [
        ("detected seizure", "k1"),
        ("detected seizure", "k0"),
    ]
    signal = np.zeros((19, 256 * 60), dtype=np.float32)
    picture = strip_picture(results, Strip(hits[0], signal, frames(600.0, [])), "strip-0")
    assert picture.title == "Detected seizure: k1"
    assert "latency +10.0 s, 50% of it covered by detections" in picture.caption


def test_worst_events_come_patient_by_patient() -> None:
    results = score(
        [
            recording("k0", "a", [(100, 190), (300, 380)], [(5, 15, 0.7)]),
            recording("k1", "b", [(590, 600)], [(3, 9, 0.9), (20, 30, 0.8)]),
        ],
        split="dev",
        threshold=TUNED_ON_DEV,
        provenance={},
    ).results
    misses = worst_misses(results)
    # a's longest (90 s), then b's (10 s), then a's second (80 s).
    assert [(miss.partition_key, miss.event.start) for miss in misses] == [
        ("k0", 100),
        ("k1", 590),
        ("k0", 300),
    ]
    # Ten seconds before; 60 s at most; never beyond the recording.
    assert [(miss.start_s, miss.stop_s) for miss in misses] == [(90, 150), (580, 600), (290, 350)]
    alarms = worst_false_alarms(results, count=2)
    assert [alarm.event.confidence for alarm in alarms] == [0.9, 0.7]
    assert (alarms[0].start_s, alarms[0].stop_s) == (0, 19)


def sentences(split: str, choice: ThresholdChoice, weights: str | None = None) -> str:
    return " ".join(method_sentences(replace(sample(split, choice), weights_chosen_on=weights)))


def test_the_report_states_what_was_chosen_on_the_scored_split() -> None:
    unseen = sentences("eval", TUNED_ON_DEV, "dev")
    assert "3 recordings of 2 patients, 0.5 hours with 3 seizures" in unseen
    assert "The operating point was chosen on “dev”" in unseen and "rule (0.500)" in unseen
    assert "frozen: on at logit 0.7 (probability 0.6682), off at 0.63 (0.6525)." in unseen
    assert "Neither the threshold nor the weights were chosen on this split" in unseen
    assert "weights were chosen on “dev”" in unseen
    assert "timescoring 0.0.7" in unseen and "an F1 of 0" in unseen
    tuned_here = sentences("dev", TUNED_ON_DEV, "dev")
    assert "used to choose the threshold and the weights" in tuned_here
    assert "flatter" in tuned_here and "Neither" not in tuned_here
    assert "used to choose the threshold:" in sentences("dev", TUNED_ON_DEV)
    assert "Not scored: 1 recording (0.5 hours, 0 known seizures)" in unseen
    looked = method_sentences(replace(sample(), eval_looks=EvalLooks(3, 2)))
    assert "“eval” has been scored 3 times from this runs folder, with 2 runs" in " ".join(looked)
    assert "been scored" not in unseen
    by_hand = sentences("eval", ThresholdChoice(OperatingPoint(0.86, 0.78), None))
    assert "set by hand" in by_hand and "not recorded" in by_hand


@pytest.fixture(scope="module")
def page() -> str:
    results = sample()
    return render_report(results, all_pictures(results), [strip_of_noise()])


def strip_of_noise() -> Picture:
    noise = np.random.default_rng(0).normal(size=(19, 256 * 5)).astype(np.float32)
    svg = eeg_strip(
        noise, 256, CHANNELS, 100.0, [Event(101, 103)], [], np.ones(8000, np.float32), 8, "strip-0"
    )
    return Picture("strip-0", "Missed seizure", "A caption.", svg)


def test_the_page_is_well_formed_and_accessible(page: str) -> None:
    outline = well_formed(page)
    assert outline.count("table") > 4
    assert ("html", {"lang": "en"}) in outline.tags
    assert 'class="skip" href="#content"' in page
    assert "prefers-color-scheme: dark" in page and ":focus-visible" in page
    # Every link within the page has its target.
    for tag, values in outline.tags:
        if tag == "a":
            assert str(values["href"]).removeprefix("#") in outline.ids
    # Every figure has a name for those who cannot see it.
    figures = [values for tag, values in outline.tags if tag == "svg"]
    assert len(figures) == 7
    assert all(values.get("role") == "img" and values.get("aria-label") for values in figures)
    # Every reference within a figure has its target.
    for target in re.findall(r'url\(#([^)"]+)\)|href="#([^"]+)"', page):
        assert (target[0] or target[1]) in outline.ids


def test_the_page_loads_nothing(page: str) -> None:
    assert "://" not in page
    assert not re.search(r"\b(src|srcset|action|poster)=|@import|url\((?!#)", page)
    assert "<link" not in page
    assert "default-src 'none'" in page


def test_the_recordings_table_can_be_sorted(page: str) -> None:
    table = page[page.index('id="recordings"') : page.index('id="unscored"')]
    assert table.count("<button") == 7
    assert table.count("aria-sort") == 1
    rows = re.findall(r'<th scope="row" class="path">([^<]+)</th>', table)
    assert rows == ["eval/a/t0", "eval/a/t1", "eval/b/t0"]
    # eval/b/t0: 10 minutes, two seizures, none detected, no false alarm.
    last = table[table.index("eval/b/t0") :]
    assert re.findall(r'data-sort="([^"]*)"', last) == ["600", "2", "0", "2", "0"]
    assert "0:10:00" in last


def test_text_is_escaped(page: str) -> None:
    assert "&lt;b&gt;9d5e&lt;/b&gt;" in page and "<b>9d5e" not in page
    names = sample()
    strange = replace(names.patients[0], name="<i>$x_1$</i>")
    text = render_report(names, all_pictures(replace(names, patients=(strange,))))
    assert "<i>" not in text and "&lt;i&gt;$x_1$&lt;/i&gt;" in text


def test_undefined_figures_are_dashes() -> None:
    quiet = score(
        [recording("eval/a/t0", "a", [], [])],
        split="eval",
        threshold=TUNED_ON_DEV,
        provenance={},
    ).results
    text = render_report(quiet, all_pictures(quiet))
    assert not re.search(r"\bnan\b", text, flags=re.IGNORECASE)
    assert "undefined for these recordings" in text
    assert "<dd>–</dd>" in text


def test_published_results_are_marked(page: str) -> None:
    assert page.count("not comparable: ") == len(PUBLISHED)
    assert {row.group for row in PUBLISHED} == set(PUBLISHED_GROUPS)
    # Ours stand beside those of the same rule, marked too.
    assert page.count(">This run, at the threshold in use<") == 2
    assert page.count('class="remark">not comparable<') == 2


def test_ours_compare_only_on_the_whole_of_tusz_eval() -> None:
    row = sample().recordings[0]
    recordings, patients, seizures, hours = TUSZ_EVAL
    whole = replace(
        sample(),
        unscored=(),
        recordings=(replace(row, duration_s=hours * 3600 / recordings),) * recordings,
        patients=(sample().patients[0],) * patients,
        counts={"nedc_ovlp": replace(row.ovlp, reference=float(seizures))},
    )
    assert obstacle(whole, "nedc_ovlp_tusz_eval") == ""
    left_out = UnscoredRecording("k", "r", 1.0, 0)
    others = [
        replace(whole, split="dev"),
        replace(whole, recordings=whole.recordings[1:]),
        replace(whole, unscored=(left_out,)),
    ]
    assert all(obstacle(other, "nedc_ovlp_tusz_eval") for other in others)
    # What was measured elsewhere, or on recordings nobody named, never compares.
    assert all(obstacle(whole, name) for name in PUBLISHED_GROUPS if name != "nedc_ovlp_tusz_eval")


def test_intervals_stand_next_to_figures(page: str) -> None:
    f1 = sample().estimates["szcore_event.f1"]
    assert f"[{f1.low:.3f}, {f1.high:.3f}]" in page
    assert "95% confidence intervals from a bootstrap over patients" in page


def test_what_is_not_scored_is_listed(page: str) -> None:
    table = page[page.index('id="unscored"') : page.index('id="published"')]
    assert "eval/b/t9" in table and "there is no annotation" in table and "0:30:00" in table


def test_the_report_stays_small() -> None:
    large = [Picture(f"p{number}", "t", "c", "<svg>" + "x" * 900_000) for number in range(5)]
    text = render_report(sample(), [], large)
    assert len(text.encode()) < MOST_BYTES
    assert "2 more events are left out" in text
    with pytest.raises(ValueError, match="two pictures have the same name"):
        render_report(sample(), [], [large[0], large[0]])


def test_writing_is_repeatable(tmp_path: Path) -> None:
    results = sample()
    (highlight,) = worst_misses(results, count=1)
    signal = np.zeros((19, 256 * 60), dtype=np.float32)
    strip = Strip(highlight, signal, frames(600.0, []))
    first, second = tmp_path / "report.html", tmp_path / "again.html"
    write_report(first, results, [strip])
    write_report(second, results, [strip])
    assert first.read_bytes() == second.read_bytes()
    assert "Missed seizure: eval/b/t0" in first.read_text(encoding="utf-8")


def test_figures_are_the_same_in_another_process(page: str) -> None:
    code = (
        "from tests.evaluation.test_report_page import strip_of_noise; print(strip_of_noise().svg)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout.strip() == strip_of_noise().svg.strip()
    assert "strip-0-axes" in page


def test_an_eeg_picture_is_small_and_keeps_spikes() -> None:
    generator = np.random.default_rng(1)
    signal = generator.normal(size=(19, 256 * 60)).astype(np.float32)
    signal[4, 7000] = 9.0
    svg = eeg_strip(
        signal, 256, CHANNELS, 0.0, [Event(5, 10)], [Event(6, 9)], np.zeros(480, np.float32), 8
    )
    assert len(svg.encode()) < 150_000
    assert all(f">{name}</text>" in svg for name in CHANNELS)
    flat = signal.copy()
    flat[4, 7000] = 0.0
    without = eeg_strip(
        flat, 256, CHANNELS, 0.0, [Event(5, 10)], [Event(6, 9)], np.zeros(480, np.float32), 8
    )
    assert svg != without
    with pytest.raises(ValueError, match="does not fit 19 names"):
        eeg_strip(signal[:3], 256, CHANNELS, 0.0, [], [], np.zeros(480, np.float32), 8)
    with pytest.raises(ValueError, match="lowercase letters"):
        eeg_strip(signal, 256, CHANNELS, 0.0, [], [], np.zeros(480, np.float32), 8, "a b")


def test_reading_results_does_not_import_matplotlib_or_torch() -> None:
    code = (
        "import sys, brainbrr_core.evaluation.results, brainbrr_core.evaluation.report.page;"
        "print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
