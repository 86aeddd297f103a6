"""Runs, thresholds and reports: each follows from what it was made of, and from nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import Manifest, ManifestRecording, make_manifest, window_count
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import (
    Configuration,
    Detection,
    Sampling,
    Training,
    Windows,
    apply_assignments,
)
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect
from brainbrr_core.detection.recordings import with_scores
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate, evaluate_trained
from brainbrr_core.evaluation.provenance import weights_chosen_on
from brainbrr_core.evaluation.results import RESULTS
from brainbrr_core.evaluation.unscored import unscored_recordings
from brainbrr_core.files.one_process import one_process
from brainbrr_core.prediction.predictor import Predictor, threshold_of
from brainbrr_core.prediction.recording import ForwardReader
from brainbrr_core.runs.eval_ledger import read_ledger
from brainbrr_core.runs.identity import ReportSettings, TrainingSettings
from brainbrr_core.runs.run import current_run, open_run, run_directory
from brainbrr_core.runs.threshold import THRESHOLD, read_threshold
from brainbrr_core.runs.used_versions import RUN
from brainbrr_core.scoring import OperatingPoint, ScoredRecording
from brainbrr_core.signal.chain import Chain
from brainbrr_core.training.run import train
from tests.support.run_records import fit_values, recorded_run


def quiet(_line: str) -> None:
    """Log nothing."""


@pytest.fixture
def ready(settings: Configuration) -> tuple[Configuration, Plan, Manifest]:
    """A built cache with a current manifest."""
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    return settings, plan, update_manifest(plan, settings.manifest_settings).manifest


Ready = tuple[Configuration, Plan, Manifest]


def test_a_run_is_named_by_all_that_shapes_its_model(ready: Ready) -> None:
    settings, plan, manifest = ready

    def directory(configuration: Configuration, manifest: Manifest) -> Path:
        settings = TrainingSettings.of(configuration)
        return run_directory(configuration.runs_dir, settings, manifest)

    name = directory(settings, manifest).name
    assert directory(settings, manifest).name == name
    others = [
        directory(settings, replace(manifest, source="0" * 64)),
        directory(settings, replace(manifest, version="v2_256hz_10-20_000000000000")),
        directory(settings.model_copy(update={"training": Training(seed=1, steps=3)}), manifest),
        directory(
            settings.model_copy(
                update={"hardware": settings.hardware.model_copy(update={"batch_size": 5})}
            ),
            manifest,
        ),
    ]
    assert len({name, *(other.name for other in others)}) == 5
    # The same network, trained alike.
    sparing = {"recompute_activations": True, "accumulate": 2}
    hardware = settings.hardware.model_copy(update=sparing)
    again = settings.model_copy(update={"hardware": hardware})
    assert directory(again, manifest).name == name
    # The manifest's source follows the annotations.
    victim = next(item for item in plan.items if item.recording.events)
    changed = replace(victim.recording, events=victim.recording.events[1:])
    items = tuple(replace(i, recording=changed) if i is victim else i for i in plan.items)
    other = make_manifest(replace(plan, items=items), settings.manifest_settings)
    assert other.source != manifest.source


def test_the_preflight_refuses_a_stale_manifest_and_names_the_command(ready: Ready) -> None:
    settings, _, _ = ready
    assert check(ProfileCache.of(settings)).manifest
    other = settings.model_copy(update={"windows": Windows(length_s=30)})
    with pytest.raises(WorkRemains, match="brainbrr manifest"):
        check(ProfileCache.of(other))
    victim = next(r for r in plan_corpus(settings).items if r.recording.events).recording
    path = Path(victim.path).with_suffix(".csv_bi")
    path.write_text(path.read_text().replace(",seiz,", ",bckg,"))
    plan_corpus(settings)
    with pytest.raises(WorkRemains, match="stale: run `brainbrr manifest"):
        check(ProfileCache.of(settings))


def test_the_preflight_names_the_settings_that_the_stored_shards_were_built_with(
    ready: Ready,
) -> None:
    settings, _, _ = ready
    now = apply_assignments(
        settings, ["preprocessing.notch_hz=50", "preprocessing.bandpass_hz=[1, 70]"]
    )
    with pytest.raises(WorkRemains) as error:
        check(ProfileCache.of(now))
    assert (
        "(12 stale: version changed; stored with preprocessing.bandpass_hz: [0.5, 120.0] against "
        "[1.0, 70.0]; stored with preprocessing.notch_hz: 60 against 50): run"
    ) in str(error.value)


def frames_of(manifest: Manifest, inside: dict[str, float]) -> dict[str, NDArray[np.float32]]:
    """Scores that are 0.2 outside of seizures and ``inside[split]`` in them."""
    frames = {}
    for r in manifest.recordings:
        values = np.full(-(-r.samples // 32), 0.2, np.float32)
        for start, stop, _ in r.seizures:
            values[round(start * 8) : round(stop * 8)] = inside[r.split]
        frames[r.partition_key] = values
    return frames


def evaluated(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, inside: dict[str, float], split: str = "eval"
) -> tuple[Evaluation, dict[str, NDArray[np.float32]], list[str]]:
    """An evaluation in which the network's scores are given, and what it ran over."""
    settings, _, manifest = ready
    frames = frames_of(manifest, inside)
    ran_over: list[str] = []

    def given(
        _self: Predictor, _store: Store, recordings: Iterable[ManifestRecording]
    ) -> Iterator[ScoredRecording]:
        for recording in recordings:
            if recording.split not in ran_over:
                ran_over.append(recording.split)
            yield with_scores(recording, frames[recording.partition_key])

    monkeypatch.setattr(Predictor, "score_stored", given)
    return evaluate(settings, split, log=quiet), frames, ran_over


def test_the_threshold_comes_from_dev_alone_and_is_the_one_used(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _, _ = ready
    run = train(settings, log=quiet)
    assert threshold_of(run, settings.detection, "float32")[0].probability == pytest.approx(0.5)
    # Outside of seizures, and everywhere in the configuration's eyes (a probability of 0.5 is a
    # logit of 0), are false alarms; on dev 0.6 finds every seizure alone.
    done, frames, _ = evaluated(ready, monkeypatch, {"train": 0.9, "dev": 0.6, "eval": 0.65})
    point = done.results.threshold.point
    assert point.on == np.float32(0.6)
    assert done.results.threshold.split == "dev"
    assert threshold_of(run, settings.detection, "float32") == (point, "tuned on dev")
    for row in done.results.recordings:
        expected = detect(frames[row.partition_key], row.duration_s, settings.detection, point)
        assert list(row.hypothesis) == expected
    assert done.results.headline["nedc_ovlp"].sensitivity == 1.0


def test_a_threshold_is_tuned_once_and_then_frozen(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, plan, manifest = ready
    run = train(settings, log=quiet)
    inside = {"train": 0.9, "dev": 0.6, "eval": 0.45}
    first, _, ran_over = evaluated(ready, monkeypatch, inside, "dev")
    assert ran_over == ["dev"]
    kept = (run.directory / THRESHOLD).read_bytes()
    # Eval does not even look at dev again, whatever eval would have liked.
    second, _, ran_over = evaluated(ready, monkeypatch, inside | {"eval": 0.99})
    assert ran_over == ["eval"]
    assert second.results.threshold == first.results.threshold
    assert (run.directory / THRESHOLD).read_bytes() == kept
    # What detection depends on changed: tuned anew, on dev.
    other = settings.model_copy(update={"detection": Detection(confidence="max")})
    _, _, ran_over = evaluated((other, plan, manifest), monkeypatch, inside)
    assert ran_over == ["dev", "eval"]
    assert read_threshold(run.directory) is not None
    assert threshold_of(run, settings.detection, "float32")[1].startswith("the configuration's")


def test_a_report_says_in_which_precision_its_scores_and_its_threshold_are(ready: Ready) -> None:
    settings, _, _ = ready
    run = train(settings, log=quiet)
    first = evaluate_trained(
        run, ProfileCache.of(settings), ReportSettings.of(settings), "dev", log=quiet
    )
    assert first.results.provenance["precision of this report"] == "float32"
    assert first.results.provenance["network of this report"] == "not compiled"
    assert first.results.provenance["windows scored at once"] == "4"
    assert first.results.method[-1].startswith("Scores: computed in float32 on cpu")
    kept = (run.directory / THRESHOLD).read_bytes()
    # What older programs read: float32 is not written down.
    assert b"precision" not in kept
    rounded = settings.model_copy(
        update={"hardware": settings.hardware.model_copy(update={"precision": "bfloat16"})}
    )
    lines: list[str] = []
    second = evaluate_trained(
        run, ProfileCache.of(rounded), ReportSettings.of(rounded), "dev", log=lines.append
    )
    assert not second.reused
    assert (run.directory / THRESHOLD).read_bytes() == kept
    assert second.results.provenance["precision of this report"] == "bfloat16"
    said = "The threshold was tuned on scores in float32 and these are in bfloat16"
    assert said in second.results.method[-1]
    assert said in second.report.read_text(encoding="utf-8")
    assert any(line.startswith(said) for line in lines)
    assert said not in first.results.method[-1]
    assert threshold_of(run, settings.detection, "bfloat16")[1] == (
        "tuned on dev in float32 (used in bfloat16 here)"
    )
    # Tuned in bfloat16, the threshold says so.
    (run.directory / THRESHOLD).unlink()
    (second.report.parent / RESULTS).unlink()
    third = evaluate_trained(
        run, ProfileCache.of(rounded), ReportSettings.of(rounded), "dev", log=quiet
    )
    assert third.results.threshold.precision == "bfloat16"
    threshold = read_threshold(run.directory)
    assert threshold is not None and threshold.precision == "bfloat16"


def test_eval_needs_leave_and_every_scoring_of_it_is_counted(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, plan, manifest = ready
    train(settings, log=quiet)
    inside = {"train": 0.9, "dev": 0.6, "eval": 0.45}
    barred = settings.model_copy(
        update={"evaluation": settings.evaluation.model_copy(update={"allow_eval": False})}
    )
    with pytest.raises(BrainbrrError, match=r"--allow-eval.*0 so far"):
        evaluated((barred, plan, manifest), monkeypatch, inside)
    dev, _, _ = evaluated((barred, plan, manifest), monkeypatch, inside, "dev")
    assert dev.results.eval_looks is None and read_ledger(settings.runs_dir) == []
    first, _, _ = evaluated(ready, monkeypatch, inside)
    assert first.results.eval_looks is not None and first.results.eval_looks.scorings == 1
    # Reading a report again looks at nothing new.
    assert evaluated(ready, monkeypatch, inside)[0].reused
    first.report.unlink()
    second, _, _ = evaluated(ready, monkeypatch, inside)
    assert second.results.eval_looks is not None and second.results.eval_looks.scorings == 2
    assert "scored 2 times from this runs folder" in second.report.read_text(encoding="utf-8")
    with pytest.raises(BrainbrrError, match="2 so far"):
        evaluated((barred, plan, manifest), monkeypatch, inside)


def test_a_recording_shorter_than_a_window_is_scored(ready: Ready) -> None:
    settings, plan, _ = ready
    of_dev = [i for i in plan.items if i.recording.split == "dev"]
    longest_s = max(i.samples for i in of_dev) // 256 // 10 * 10
    longer = settings.model_copy(update={"windows": Windows(length_s=longest_s)})
    # A manifest has no windows of some of them, and yet they are scored.
    assert any(
        window_count(i.recording, longer.windows, longer.labels.seizure) == 0 for i in of_dev
    )
    scored = scorable(plan, longer.labels.seizure, "dev")
    assert [r.partition_key for r in scored] == [i.recording.partition_key for i in of_dev]
    assert unscored_recordings(plan, longer.labels.seizure, "dev") == []


def test_a_recording_without_annotation_is_named_not_scored(ready: Ready) -> None:
    settings, plan, _ = ready
    items = [i for i in plan.items if i.recording.split == "eval"]
    victim = items[0]
    bare = replace(victim.recording, label_reason="no_annotation", events=())
    changed = replace(
        plan,
        items=tuple(replace(i, recording=bare) if i is victim else i for i in plan.items),
    )
    assert len(scorable(changed, settings.labels.seizure, "eval")) == len(items) - 1
    (row,) = unscored_recordings(changed, settings.labels.seizure, "eval")
    assert row.partition_key == bare.partition_key
    assert row.reason.startswith("there is no annotation file")
    assert row.reason.endswith("missing labels are not background")
    assert row.duration_s == pytest.approx(victim.samples / 256, abs=0.01)


def test_the_report_knows_whether_validations_picked_the_weights(tmp_path: Path) -> None:
    chosen = recorded_run(tmp_path, fit=fit_values(best_step=40))
    last = recorded_run(tmp_path, fit=fit_values(best_step=None))
    assert weights_chosen_on(chosen.record) == "dev"
    assert weights_chosen_on(last.record) is None


@pytest.mark.parametrize(
    "text", ["{}", '{"on_threshold": 0.5', '{"format": 2, "point": 2}', "", "\xff"]
)
def test_a_damaged_threshold_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / THRESHOLD).write_text(text)
    with pytest.raises(BrainbrrError, match=r"threshold\.json is damaged: remove it and run"):
        threshold_of(recorded_run(tmp_path), Detection(), "float32")


@pytest.mark.parametrize("text", ["{}", "[]", '{"identity": {}}', "{"])
def test_a_damaged_run_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BrainbrrError, match=r"run\.json is damaged: remove it and train again"):
        open_run(tmp_path)


def test_a_report_is_made_again_only_for_other_settings(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, plan, manifest = ready
    train(settings, log=quiet)
    inside = {"train": 0.9, "dev": 0.9, "eval": 0.9}
    first, _, _ = evaluated(ready, monkeypatch, inside)
    second, _, _ = evaluated(ready, monkeypatch, inside)
    assert (first.reused, second.reused) == (False, True)
    assert second.results.to_json() == first.results.to_json()
    other = settings.model_copy(update={"detection": Detection(confidence="max")})
    third, _, _ = evaluated((other, plan, manifest), monkeypatch, inside)
    assert not third.reused
    assert third.identity != first.identity


def test_an_edf_is_predicted_on_the_very_signal_of_the_store(ready: Ready) -> None:
    settings, plan, manifest = ready
    recording = manifest.recordings[2]
    path = next(
        i.recording.path for i in plan.items if i.recording.partition_key == recording.partition_key
    )
    stored = RecordingReader(plan.store, recording)
    reader = ForwardReader(Chain(open_edf(Path(path)), settings.preprocessing))
    for start, stop in ((0, 15360), (5000, 12345), (stored.samples - 3000, stored.samples)):
        assert np.array_equal(reader.read(start, stop), stored.read(start, stop))
    run = open_run(train(settings, log=quiet).directory)
    predictor = Predictor.of(run, settings)
    [(_, frames)] = predictor.frames([(None, stored)])
    point = OperatingPoint(-0.1, -0.2)
    expected = detect(frames, stored.samples / 256, settings.detection, point)
    assert predictor.predict(Path(path), point).events == expected


def test_a_network_that_gives_no_number_for_a_recording_is_named_with_it(ready: Ready) -> None:
    settings, plan, manifest = ready
    run = open_run(train(settings, log=quiet).directory)
    predictor = Predictor.of(run, settings)
    predictor.network.register_forward_hook(lambda _network, _inputs, logits: logits / 0)
    recording = manifest.recordings[2]
    with pytest.raises(BrainbrrError, match=f"^{recording.partition_key}: .* for [0-9,]+ of [0-9]"):
        list(predictor.score_stored(plan.store, [recording]))


def test_one_process_at_a_time_trains_a_run(ready: Ready) -> None:
    settings, _, manifest = ready
    directory = run_directory(settings.runs_dir, TrainingSettings.of(settings), manifest)
    settings.runs_dir.mkdir()
    with (
        one_process(settings.runs_dir / f".{directory.name}.lock", ""),
        pytest.raises(BrainbrrError, match=f"trains run {directory.name} in .*: wait"),
    ):
        train(settings, log=quiet)
    assert list(settings.runs_dir.iterdir()) == []
    assert not train(settings, log=quiet).reused
    assert list(settings.runs_dir.iterdir()) == [directory]
    assert train(settings, log=quiet).reused


def test_a_run_that_another_process_finished_meanwhile_is_left_as_it_is(ready: Ready) -> None:
    settings, _, manifest = ready
    directory = run_directory(settings.runs_dir, TrainingSettings.of(settings), manifest)
    # As for a process that looked before the first one was done, and took the lock after it.
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("brainbrr_core.training.run.is_finished", lambda _: False)
        assert not train(settings, log=quiet).reused
        before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
        assert train(settings, log=said.append).reused
    assert said[-1] == f"another process has just finished run {directory.name}: nothing to train"
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    assert after == before


def test_a_run_of_an_earlier_version_is_named_and_stays(ready: Ready) -> None:
    settings, _, manifest = ready
    made = train(settings, log=quiet)
    values = json.loads((made.directory / RUN).read_text())
    # What a run of version 3 says of itself: settings of detection are not part of it.
    del values["identity"]["detection"]
    values["identity"]["training_version"] = 3
    (made.directory / RUN).write_text(json.dumps(values))
    earlier = made.directory.rename(settings.runs_dir / "small-000000000003")
    before = sorted((path.name, path.read_bytes()) for path in earlier.iterdir() if path.is_file())
    said = (
        r"run small-000000000003 has these settings but is of training version 3, not 7: since "
        r"then validations choose weights in another way and augmentation draws other noise .*"
    )
    with pytest.raises(WorkRemains, match=said + "run `brainbrr train`"):
        current_run(settings.runs_dir, TrainingSettings.of(settings), manifest)
    values["identity"]["training_version"] = 4
    (earlier / RUN).write_text(json.dumps(values))
    with pytest.raises(WorkRemains, match="version 4, not 7: since then augmentation draws other"):
        current_run(settings.runs_dir, TrainingSettings.of(settings), manifest)
    values["identity"]["training_version"] = 3
    (earlier / RUN).write_text(json.dumps(values))
    lines: list[str] = []
    again = train(settings, log=lines.append)
    assert again.name == made.name and not again.reused
    assert any(re.match(said + "a new run is trained", line) for line in lines)
    assert before == sorted(
        (path.name, path.read_bytes()) for path in earlier.iterdir() if path.is_file()
    )
    # Of other settings it says nothing.
    other = settings.model_copy(update={"sampling": Sampling(full_ratio=0.5)})
    with pytest.raises(WorkRemains, match=r"^no finished run in"):
        current_run(other.runs_dir, TrainingSettings.of(other), manifest)
