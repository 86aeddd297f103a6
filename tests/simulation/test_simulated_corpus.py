"""Simulated corpora: their bytes, their truth, and what the program makes of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edfio import read_edf
from numpy.typing import NDArray

from brainbrr_core.annotation import tuh
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.simulation import load_ranges, write_simulated_corpus
from brainbrr_core.simulation.corpus import plan_simulated, render_plan
from brainbrr_core.simulation.drawing import draw_one
from brainbrr_core.simulation.head import NAMES
from brainbrr_core.simulation.ranges import SEIZURE_KINDS, VARIED, Ranges
from brainbrr_core.simulation.rendering import potentials_of
from brainbrr_core.simulation.scenario import Scenario
from brainbrr_core.simulation.states import Spell
from brainbrr_core.synthesis.scalp import TEN_TWENTY
from tests.support.project import ROOT
from tests.support.shell import Shell
from tests.support.simulated import band_power, peak_hz, varied

HOURS, SEED = 0.2, 3
SMALL = """
recordings:
  session: {weight: 0}
  excerpt: {weight: 0}
patients: {recordings: [1, 2]}
"""


def ranges_of(path: Path, text: str) -> Ranges:
    path.write_text(text, encoding="utf-8")
    return load_ranges(str(path))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Ranges:
    return ranges_of(tmp_path_factory.mktemp("ranges") / "small.yaml", SMALL)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, small: Ranges) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "corpus"
    write_simulated_corpus(out, hours=HOURS, seed=SEED, ranges=small, workers=1)
    return out


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_bytes_do_not_depend_on_processes(written: Path, small: Ranges, tmp_path: Path) -> None:
    write_simulated_corpus(tmp_path / "again", hours=HOURS, seed=SEED, ranges=small, workers=3)
    first, second = contents(written), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_longer_corpus_has_the_same_recordings_in_any_order(small: Ranges) -> None:
    short, long = plan_simulated(0.3, 5, small), plan_simulated(0.8, 5, small)
    assert len(long) > len(short)
    by_key = {plan.key: plan for plan in long}
    assert [plan for plan in short if plan.key in by_key] == [
        by_key[plan.key] for plan in short if plan.key in by_key
    ]
    assert long[:10] == short[:10]
    backward = [render_plan(small, plan) for plan in reversed(short[:3])][::-1]
    forward = [render_plan(small, plan) for plan in long[:3]]
    assert all(
        np.array_equal(a, b)
        for one, other in zip(forward, backward, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_the_seed_changes_patients_and_signals(small: Ranges) -> None:
    first, second = plan_simulated(0.2, 1, small), plan_simulated(0.2, 2, small)
    assert [plan.annotations for plan in first] != [plan.annotations for plan in second]


def test_annotations_are_the_truth_and_lie_within_the_recording(written: Path) -> None:
    seizures = 0
    for path in sorted(written.rglob("*.edf")):
        edf = read_edf(path)
        truth = json.loads(path.with_suffix(".truth.json").read_text("utf-8"))
        expected = [
            (one["start"], one["stop"]) for one in truth["episodes"] if one["family"] == "seizure"
        ]
        annotated = tuh.read(path.with_suffix(".csv_bi"))
        assert [(e.start, e.stop) for e in annotated.events] == expected
        assert annotated.duration_s == edf.duration
        assert all(0 <= start < stop <= edf.duration for start, stop in expected)
        assert edf.signals[0].sampling_frequency == truth["recorder"]["rate_hz"]
        suffix = "LE" if truth["recorder"]["reference"] == "linked ears" else "REF"
        missing = [f"EEG {name}-{suffix}" for name in truth["recorder"]["missing"]]
        labels = [signal.label for signal in edf.signals]
        assert not set(missing) & set(labels)
        assert {f"EEG {name}-{suffix}" for name in TEN_TWENTY} == {
            *labels,
            *missing,
        } - {f"EEG A1-{suffix}", f"EEG A2-{suffix}"}
        seizures += len(expected)
    assert seizures > 0


def test_every_recording_is_used(written: Path, shell: Shell, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    done = shell.type("index", "--data-dir", written, "--cache-root", root, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["found"] == found["usable"] == len(list(written.rglob("*.edf"))) > 5
    assert set(found["findings"]) <= {"low_rate", "interpolated_channel"} and not found["skipped"]


def test_the_ranges_of_a_corpus_are_in_its_folder(written: Path, small: Ranges) -> None:
    assert load_ranges(str(written / "ranges.yaml")) == small != varied()


def test_another_request_for_the_same_folder_is_refused(written: Path, small: Ranges) -> None:
    before = contents(written)
    with pytest.raises(BrainbrrError, match="another synthetic corpus"):
        write_simulated_corpus(written, hours=HOURS, seed=SEED, ranges=varied())
    again = write_simulated_corpus(written, hours=HOURS, seed=SEED, ranges=small)
    assert again.recordings == len(list(written.rglob("*.edf")))
    assert contents(written) == before


def test_every_kind_of_seizure_pattern_and_artifact_occurs_with_its_share() -> None:
    plans = plan_simulated(150, 1, varied())
    kinds: Counter[str] = Counter()
    scenes: Counter[str] = Counter()
    for plan in plans:
        [truth] = [json.loads(text) for suffix, text in plan.annotations if suffix.endswith("json")]
        kinds.update({one["kind"] for one in truth["episodes"]})
        scenes[truth["scene"]] += 1
    ranges = varied()
    artifacts = {name for name, artifact in ranges.artifacts.items() if artifact.share}
    assert kinds.keys() == ranges.seizures.keys() | ranges.patterns.keys() | artifacts
    for kind in ("muscle", "chewing", "tremor"):
        assert kinds[kind] < 1.1 * ranges.artifacts[kind].share * len(plans)
    assert min(scenes.values()) > 0.02 * len(plans)
    assert {plan.split for plan in plans} == {"train", "dev", "eval"}
    splits = {plan.patient: plan.split for plan in plans}
    assert all(splits[plan.patient] == plan.split for plan in plans)


NOT_CRITICAL = "patients: {condition_weights: {critical: 0}}\n"


def potentials_in(state: str, tmp_path: Path) -> NDArray[np.float32]:
    """Two minutes of potentials in one state, of a patient with alpha and no slowing."""
    ranges = ranges_of(tmp_path / "one.yaml", NOT_CRITICAL)
    recording = draw_one(1, "aaaaaaab", 0, ranges)
    patient = replace(recording.patient, alpha_hz=10.0, alpha_uv=30.0, slowing_uv=0.0)
    scenario = Scenario(120, "background", (Spell(state, 0.0, 120.0),), ())
    recorder = replace(recording.recorder, rate_hz=256)
    one = replace(recording, patient=patient, scenario=scenario, recorder=recorder)
    return potentials_of(one, ranges).data


def test_alpha_is_occipital_and_goes_when_the_eyes_open(tmp_path: Path) -> None:
    closed = potentials_in("eyes closed", tmp_path)
    opened = potentials_in("eyes open", tmp_path)
    occipital, frontal = NAMES.index("O1"), NAMES.index("F3")
    alpha = band_power(closed[occipital], 256, 9, 11)
    assert peak_hz(closed[occipital], 256, low=6) == pytest.approx(10.0, abs=1.0)
    assert alpha > 3 * band_power(opened[occipital], 256, 9, 11)
    assert alpha > 1.5 * band_power(closed[frontal], 256, 9, 11)


def test_deep_sleep_is_slower_than_wakefulness(tmp_path: Path) -> None:
    asleep = potentials_in("deep sleep", tmp_path)
    awake = potentials_in("eyes open", tmp_path)
    row = NAMES.index("F3")
    slow = [band_power(data[row], 256, 0.5, 2) for data in (asleep, awake)]
    assert slow[0] > 3 * slow[1]


def test_burst_suppression_is_silent_between_bursts(tmp_path: Path) -> None:
    data = potentials_in("burst suppression", tmp_path)
    level = np.sqrt(np.convolve(data[NAMES.index("C3")] ** 2, np.ones(128) / 128, "same"))
    assert np.percentile(level, 95) > 4 * np.percentile(level, 10)


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    changed = ranges_of(tmp_path / "a.yaml", "recorders: {notch: 0.9}\n")
    expected = varied().model_dump()
    expected["recorders"]["notch"] = 0.9
    assert changed.model_dump() == expected
    assert set(varied().patients.seizure_types) == set(SEIZURE_KINDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recorder: {notch: 1}", "unknown key recorder: the nearest valid one is recorders"),
        ("recorders: {noch: 1}", "unknown key recorders.noch: the nearest valid one is notch"),
        ("background: {alpha_uv: [9, 3]}", "the lower end 9 is above the upper end 3"),
        ("recorders: {notch: 2}", "recorders.notch: Input should be less than or equal to 1"),
        ("seizures: {tempral: {}}", "seizures.tempral.label: Field required"),
        ("patients: {seizure_types: {tempral: 1}}", "unknown name tempral: the nearest valid one"),
        ("transients: {spindle: {regions: [centrl]}}", "unknown region centrl: the nearest one is"),
        ("artifacts: {yawn: {share: 0, per_hour: [1, 1], seconds: [1, 1], uv: [1, 1]}}", "yawn"),
        ('recorders: {rates_hz: {"100": 1}}', "rates are 200 to 512 Hz"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    with pytest.raises(BrainbrrError, match=re.escape(message)) as raised:
        ranges_of(path, text)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_the_command_says_what_is_wrong(shell: Shell, tmp_path: Path) -> None:
    done = shell.type("synth", tmp_path / "out", "--simulator", "nothing.yaml")
    assert done.returncode == 2 and "nothing.yaml" in done.stderr
    done = shell.type("synth", tmp_path / "out", "--simulator", VARIED, "--recordings", "3")
    assert done.returncode == 2 and "--recordings" in done.stderr
    done = shell.type("synth", tmp_path / "out", "--simulator", VARIED, "--hours", "0")
    assert done.returncode == 2 and "more than 0" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_page_works_as_it_stands(shell: Shell, tmp_path: Path) -> None:
    """Its YAML is accepted, and its commands run, with fewer hours."""
    page = (ROOT / "docs" / "simulator.md").read_text("utf-8")
    files = dict(re.findall(r"`(\w+\.yaml)`:\n\n```\n(.*?)```", page, re.DOTALL))
    assert files
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        load_ranges(str(tmp_path / name))
    commands = re.findall(r"^brainbrr (synth .*)$", page, re.MULTILINE)
    assert len(commands) >= 2
    for number, command in enumerate(commands):
        words = command.split()
        words[1] = str(tmp_path / str(number))
        words[words.index("--hours") + 1] = "0.02"
        words = [str(tmp_path / word) if word in files else word for word in words]
        done = shell.type(*words, "--workers", "1")
        assert done.returncode == 0, done.stderr
        assert list(Path(words[1]).rglob("*.edf"))


def test_seizures_of_a_whole_scene_reach_from_end_to_end() -> None:
    wholes = 0
    for plan in plan_simulated(20, 2, varied()):
        [truth] = [json.loads(text) for suffix, text in plan.annotations if suffix.endswith("json")]
        lasting = [s for s in plan.seizures if s.start == 0 and s.stop == plan.duration_s]
        wholes += bool(lasting)
        if truth["scene"] == "whole":
            assert lasting
        if truth["scene"] in ("background", "pattern"):
            assert not plan.seizures
    assert wholes > 10


def test_dev_and_eval_may_have_what_train_does_not_have(tmp_path: Path, small: Ranges) -> None:
    unseen = ranges_of(
        tmp_path / "unseen.yaml",
        SMALL + 'recorders: {rates_hz: {"200": 0, "250": 0, "256": 0, '
        '"400": 0, "500": 0, "512": 0, "300": 1}}\n',
    )
    out, same = tmp_path / "out", tmp_path / "same"
    write_simulated_corpus(out, hours=HOURS, seed=SEED, ranges=small, unseen=unseen, workers=1)
    rates: dict[str, set[int]] = {}
    for path in out.rglob("*.edf"):
        split = path.relative_to(out / "edf").parts[0]
        rates.setdefault(split, set()).add(round(read_edf(path).signals[0].sampling_frequency))
    assert rates["dev"] == rates["eval"] == {300}
    assert 300 not in rates["train"]
    # Those of train are what they are without it.
    write_simulated_corpus(same, hours=HOURS, seed=SEED, ranges=small, workers=1)
    assert contents(out / "edf" / "train") == contents(same / "edf" / "train")
    with pytest.raises(BrainbrrError, match="another"):
        write_simulated_corpus(out, hours=HOURS, seed=SEED, ranges=small, workers=1)
    assert load_ranges(str(out / "unseen.yaml")) == unseen


def test_what_the_packaged_ranges_of_unseen_have_is_in_no_training() -> None:
    trained, unseen = load_ranges("varied"), load_ranges("unseen")
    for name in ("rates_hz", "highpass_hz", "lowpass_hz"):
        first, second = (
            {key for key, weight in getattr(one.recorders, name).items() if weight}
            for one in (trained, unseen)
        )
        assert first and second and not first & second, name
    assert not trained.recorders.references["left ear"]
    assert unseen.recorders.references["left ear"]
    only = [
        name
        for name, artifact in unseen.artifacts.items()
        if artifact.share and not trained.artifacts[name].share
    ]
    assert only == ["salt bridge", "infusion pump"]
    assert trained.seizures == unseen.seizures and trained.patterns == unseen.patterns
