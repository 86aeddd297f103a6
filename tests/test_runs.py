"""Runs, thresholds and reports: each follows from what it was made of, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import Manifest, make_manifest, update_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.configuration import Configuration, Detection, Training, Windows
from brainbrr_core.corpus.edf import open_edf
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect
from brainbrr_core.errors import WorkRemains
from brainbrr_core.evaluation import evaluate as module
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate
from brainbrr_core.prediction.predictor import Predictor, _spooled, threshold_of
from brainbrr_core.scoring import TunedThreshold, tune_threshold
from brainbrr_core.scoring.sweep import Detect
from brainbrr_core.signal.chain import Chain
from brainbrr_core.training.preflight import check
from brainbrr_core.training.run import open_run, run_directory, train


def quiet(_line: str) -> None:
    """Log nothing."""


@pytest.fixture
def ready(settings: Configuration) -> tuple[Configuration, Plan, Manifest]:
    """A built cache with a current manifest."""
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    return settings, plan, update_manifest(plan, settings).manifest


Ready = tuple[Configuration, Plan, Manifest]


def test_a_run_is_named_by_all_that_shapes_its_model(ready: Ready) -> None:
    settings, plan, manifest = ready
    name = run_directory(settings, manifest).name
    assert run_directory(settings, manifest).name == name
    others = [
        run_directory(settings, replace(manifest, source="0" * 64)),
        run_directory(settings, replace(manifest, version="v2_256hz_10-20_000000000000")),
        run_directory(
            settings.model_copy(update={"training": Training(seed=1, steps=3)}), manifest
        ),
        run_directory(
            settings.model_copy(
                update={"hardware": settings.hardware.model_copy(update={"batch_size": 5})}
            ),
            manifest,
        ),
    ]
    assert len({name, *(other.name for other in others)}) == 5
    # The manifest's source follows the annotations.
    victim = next(item for item in plan.items if item.recording.events)
    changed = replace(victim.recording, events=victim.recording.events[1:])
    items = tuple(replace(i, recording=changed) if i is victim else i for i in plan.items)
    other = make_manifest(replace(plan, items=items), settings)
    assert other.source != manifest.source


def test_the_preflight_refuses_a_stale_manifest_and_names_the_command(ready: Ready) -> None:
    settings, _, _ = ready
    assert check(settings).manifest
    other = settings.model_copy(update={"windows": Windows(length_s=30)})
    with pytest.raises(WorkRemains, match="brainbrr manifest"):
        check(other)
    victim = next(r for r in plan_corpus(settings).items if r.recording.events).recording
    path = Path(victim.path).with_suffix(".csv_bi")
    path.write_text(path.read_text().replace(",seiz,", ",bckg,"))
    plan_corpus(settings)
    with pytest.raises(WorkRemains, match="stale: run `brainbrr manifest"):
        check(settings)


def frames_of(manifest: Manifest, inside: dict[str, float]) -> dict[str, NDArray[np.float32]]:
    """Frames that are 0.2 outside of seizures and ``inside[split]`` in them."""
    frames = {}
    for r in manifest.recordings:
        values = np.full(-(-r.samples // 32), 0.2, np.float32)
        for start, stop, _ in r.seizures:
            values[round(start * 8) : round(stop * 8)] = inside[r.split]
        frames[r.partition_key] = values
    return frames


def evaluated(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, inside: dict[str, float], tuned_on: list[str]
) -> tuple[Evaluation, dict[str, NDArray[np.float32]]]:
    """An evaluation on eval in which the network's probabilities are given."""
    settings, _, manifest = ready
    frames = frames_of(manifest, inside)

    def given(_p: object, _s: object, of: Manifest, split: str) -> dict[str, NDArray[np.float32]]:
        keys = [r.partition_key for r in of.recordings if r.split == split]
        return {key: frames[key] for key in keys}

    def recorded(recordings: Sequence[module.ScoredRecording], find: Detect) -> TunedThreshold:
        tuned_on.extend(r.partition_key for r in recordings)
        return tune_threshold(recordings, find)

    monkeypatch.setattr(module, "_probabilities", given)
    monkeypatch.setattr(module, "tune_threshold", recorded)
    return evaluate(settings, "eval", log=quiet), frames


def test_the_threshold_comes_from_dev_alone_and_is_the_one_used(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _, manifest = ready
    run = train(settings, log=quiet)
    assert threshold_of(run, settings.detection)[0] == settings.detection.on_threshold
    tuned_on: list[str] = []
    # On dev anything from 0.2 to 0.6 finds every seizure, and its middle finds those of eval,
    # which the configuration's 0.5 would miss.
    done, frames = evaluated(ready, monkeypatch, {"train": 0.9, "dev": 0.6, "eval": 0.45}, tuned_on)
    on = done.results.threshold.on_threshold
    assert 0.2 < on <= 0.6
    assert done.results.threshold.split == "dev"
    assert sorted(tuned_on) == [r.partition_key for r in manifest.recordings if r.split == "dev"]
    assert threshold_of(run, settings.detection) == (on, "tuned on dev")
    for row in done.results.recordings:
        expected = detect(frames[row.partition_key], row.duration_s, settings.detection, on)
        assert list(row.hypothesis) == expected
    assert on < 0.45
    assert done.results.headline["nedc_ovlp"].sensitivity == 1.0


def test_a_report_is_made_again_only_for_other_settings(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, plan, manifest = ready
    train(settings, log=quiet)
    inside = {"train": 0.9, "dev": 0.9, "eval": 0.9}
    first, _ = evaluated(ready, monkeypatch, inside, [])
    second, _ = evaluated(ready, monkeypatch, inside, [])
    assert (first.reused, second.reused) == (False, True)
    assert second.results.to_json() == first.results.to_json()
    other = settings.model_copy(update={"detection": Detection(min_duration_s=8.0)})
    third, _ = evaluated((other, plan, manifest), monkeypatch, inside, [])
    assert not third.reused
    assert third.identity != first.identity


def test_an_edf_is_predicted_on_the_very_signal_of_the_store(ready: Ready, tmp_path: Path) -> None:
    settings, plan, manifest = ready
    recording = manifest.recordings[2]
    path = next(
        i.recording.path for i in plan.items if i.recording.partition_key == recording.partition_key
    )
    stored = RecordingReader(plan.store, recording)
    with (tmp_path / "spool").open("w+b") as file:
        read = _spooled(file, Chain(open_edf(Path(path)), settings.preprocessing))
        for start, stop in ((0, 15360), (5000, 12345), (stored.samples - 3000, stored.samples)):
            assert np.array_equal(read(start, stop), stored.read(start, stop))
    run = open_run(train(settings, log=quiet).directory)
    predictor = Predictor.of(run, settings)
    frames = predictor.probabilities(stored.read, stored.samples)
    expected = detect(frames, stored.samples / 256, settings.detection, 0.4)
    assert predictor.predict(Path(path), 0.4).events == expected
