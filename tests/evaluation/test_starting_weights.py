"""A training that begins with other weights, and the patients whom these know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration, apply_values
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation import report_folder
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate
from brainbrr_core.evaluation.event_scores import score_events
from brainbrr_core.evaluation.folds import FoldEvaluation, FoldsReport, sentences
from brainbrr_core.evaluation.named_run import evaluate_named_run
from brainbrr_core.evaluation.starting_weights import StartingWeights
from brainbrr_core.export.card import CARD
from brainbrr_core.runs.earlier_file import EARLIER_TRAININGS
from brainbrr_core.runs.earlier_trainings import trainings_before
from brainbrr_core.runs.record import PRETRAINED
from brainbrr_core.runs.run import Run, open_model
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.run import train
from tests.support.exported_models import export
from tests.support.patients import rename_patient
from tests.support.small_run import small_settings

WITHOUT_PATIENT = "was trained without that patient."


def quiet(_line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def without_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """No EEG in the reports: drawing it takes most of the time."""
    monkeypatch.setattr(report_folder, "_strips", lambda *_: [])


@pytest.fixture(scope="module")
def second_corpus(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """Another hospital, ready for training: other patients, other recordings."""
    folder = tmp_path_factory.mktemp("second")
    write_corpus(folder / "elsewhere", recordings=10, hours=0.3, seed=77, workers=1)
    for patient in sorted((folder / "elsewhere" / "edf").glob("*/*")):
        rename_patient(patient, f"x{patient.name[1:]}")
    settings = small_settings(folder, folder / "elsewhere")
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    return settings


@dataclass(frozen=True)
class Trainings:
    """Two corpora with one folder of runs, a run on the first corpus, and a model of that run."""

    first: Configuration
    second: Configuration
    run: Run
    model: Path

    def after(self, start: str, **values: object) -> tuple[Configuration, Run]:
        """A training on the second corpus that begins with other weights."""
        settings = apply_values(
            self.second, {"training.start_from": start, "training.seed": 7, **values}, "the test"
        )
        return settings, train(settings, log=quiet)


@pytest.fixture
def trainings(prepared: Configuration, second_corpus: Configuration, tmp_path: Path) -> Trainings:
    first, second = (
        apply_values(
            settings.model_copy(update={"runs_dir": tmp_path / "runs"}),
            {"training.steps": 1, "training.warmup_steps": 0, "detection.stride_s": 60},
            "the test",
        )
        for settings in (prepared, second_corpus)
    )
    run = train(first, log=quiet)
    return Trainings(first, second, run, export(run, first, tmp_path / "model"))


Chosen = Callable[[Trainings], str]


@pytest.mark.parametrize("start", [lambda t: t.run.name, lambda t: str(t.model)])
def test_another_corpus_is_scored_without_the_patients_of_every_training(
    trainings: Trainings, start: Chosen
) -> None:
    _, second = trainings.after(start(trainings))
    _, third = trainings.after(second.name)
    splits = {r.patient: r.split for r in read_index(trainings.first.cache_root)}
    for run in (second, third):
        lines: list[str] = []
        scored = evaluate_named_run(trainings.first, run, log=lines.append).results
        # Whoever was neither in train nor in dev of the first training is unseen by all.
        assert {row.name for row in scored.patients} == {
            patient for patient, split in splits.items() if split == "eval"
        }
        assert scored.external is not None
        assert scored.external.left_out_patients == sum(s != "eval" for s in splits.values())
        assert any("the run was trained on this patient (the same content)" in x for x in lines)


def test_earlier_trainings_are_known_after_their_runs_are_removed(trainings: Trainings) -> None:
    _, second = trainings.after(trainings.run.name)
    _, third = trainings.after(second.name)
    index = read_index(trainings.first.cache_root)
    before = StartingWeights.of(third, index, set())
    assert before is not None and before.unrecorded == ()
    assert [one.name for one in before.trainings] == [second.name, trainings.run.name]
    shutil.rmtree(second.directory)
    shutil.rmtree(trainings.run.directory)
    assert StartingWeights.of(third, index, set()) == before
    # A model has no recordings: they are in the run that began with it.
    for start in (third.name, str(trainings.model)):
        fold = apply_values(trainings.first, one_fold(start), "the test")
        with pytest.raises(BrainbrrError, match=r"trained on \d patients? whom fold 1"):
            train(fold, log=quiet)
    scored = evaluate_named_run(trainings.first, third, log=quiet).results
    unused = {recording.patient for recording in index if recording.split == "eval"}
    assert {row.name for row in scored.patients} == unused
    _, fourth = trainings.after(third.name)
    shutil.rmtree(third.directory)
    assert trainings_before(fourth)[1:] == before.trainings
    (fourth.directory / EARLIER_TRAININGS).write_bytes(b"PAR1")
    with pytest.raises(BrainbrrError, match=f"{EARLIER_TRAININGS} is damaged"):
        trainings_before(fourth)


def one_fold(start: str) -> dict[str, object]:
    """The settings of a fold that holds out patients whom the first training used."""
    return {
        **{"corpus.split.scheme": "kfold", "corpus.split.folds": 3, "corpus.split.fold": 1},
        **{"training.start_from": start, "training.seed": 7},
    }


def test_a_model_knows_the_patients_of_the_run_with_its_weights(trainings: Trainings) -> None:
    with pytest.raises(BrainbrrError, match=r"was trained on \d patients? whom fold 1"):
        train(apply_values(trainings.first, one_fold(str(trainings.model)), "the test"), log=quiet)


def fold_sentences(evaluation: Evaluation) -> str:
    """What a report over one fold says."""
    scores = score_events(
        (row.events for row in evaluation.results.recordings), bootstrap_samples=10
    )
    report = FoldsReport(Path("folds.html"), (FoldEvaluation(1, evaluation),), scores, {1: 1})
    return " ".join(sentences(report))


def test_reports_and_cards_say_whom_the_starting_weights_know(
    trainings: Trainings, tmp_path: Path
) -> None:
    weights = trainings.run.record.model_blake3[:12]
    settings, known = trainings.after(trainings.run.name)
    evaluation = evaluate(settings, "dev", log=quiet)
    [sentence] = [one for one in evaluation.results.method if "started from the weights" in one]
    assert f"{trainings.run.name} (BLAKE3 {weights})" in sentence
    assert "None of the scored patients was in train or dev there." in sentence
    assert sentence in evaluation.report.read_text("utf-8")
    assert sentence in fold_sentences(evaluation)
    assert WITHOUT_PATIENT in fold_sentences(evaluation)
    again = evaluate(settings, "dev", log=quiet)
    assert again.reused and again.start == evaluation.start
    index = read_index(trainings.first.cache_root)
    seen = {r.patient for r in index if r.split != "eval" and r.reason is None}
    card = (export(known, settings, tmp_path / "known") / CARD).read_text("utf-8")
    assert f"`{weights}` (BLAKE3) of another one, trained and chosen on {len(seen)} pat" in card
    # The name of a run begins with that of a profile, which a user may have chosen.
    assert trainings.run.name not in card

    # The same where the recordings of the first training are not recorded any more.
    elsewhere = replace(
        trainings, second=trainings.second.model_copy(update={"runs_dir": tmp_path / "others"})
    )
    settings, unknown = elsewhere.after(str(trainings.model))
    evaluation = evaluate(settings, "dev", log=quiet)
    [sentence] = [one for one in evaluation.results.method if "started from the weights" in one]
    assert f"model (BLAKE3 {weights})" in sentence
    assert "The patients of model are not recorded here" in sentence
    assert sentence in fold_sentences(evaluation)
    assert WITHOUT_PATIENT not in fold_sentences(evaluation)
    card = (export(unknown, settings, tmp_path / "unknown") / CARD).read_text("utf-8")
    assert f"`{weights}` (BLAKE3) of another one, and on whom that was is not recorded" in card


def test_a_report_counts_scored_patients_whom_the_starting_weights_know(
    trainings: Trainings,
) -> None:
    """A training is allowed to choose on patients of dev whom the first one had there, too."""
    settings = apply_values(
        trainings.first,
        {"training.start_from": trainings.run.name, "training.seed": 7},
        "the test",
    )
    train(settings, log=quiet)
    evaluation = evaluate(settings, "dev", log=quiet)
    patients = len(evaluation.results.patients)
    assert evaluation.start is not None and evaluation.start.known_patients == patients > 0
    assert any("the figures flatter the detector" in one for one in evaluation.results.method)
    assert WITHOUT_PATIENT not in fold_sentences(evaluation)
    clean = evaluate(settings, "eval", log=quiet)
    assert clean.start is not None and clean.start.know_nobody


def test_simulated_eeg_knows_no_patient(trainings: Trainings, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = apply_values(trainings.second, {"training.start_from": "pretrained"}, "the test")
    run = train(settings, log=lines.append)
    assert any("starts from the weights of pretrained" in line for line in lines)
    assert not [line for line in lines if "warning" in line]
    weights = open_model(PRETRAINED["pretrained"]).record.model_blake3[:12]
    evaluation = evaluate(settings, "dev", log=quiet)
    assert (
        f"The training started from the weights of pretrained (BLAKE3 {weights}). "
        "These were trained on simulated EEG only, and know no patient."
    ) in evaluation.results.method
    assert WITHOUT_PATIENT in fold_sentences(evaluation)
    card = (export(run, settings, tmp_path / "card") / CARD).read_text("utf-8")
    assert f"`{weights}` (BLAKE3) of brainbrr's model `pretrained`" in card
