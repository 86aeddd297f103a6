"""Folds as partitions: which are there, whose model is scored, and which are to train again."""

from __future__ import annotations

import re
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check_folds
from brainbrr_core.configuration import Configuration, Overrides, apply_values, load
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.evaluation import report_folder
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.run import run_directory
from brainbrr_core.training.run import train
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.records.code_version import CodeVersions
from brainbrr_pipeline.records.partitions import FOLDS
from tests.support.pipeline_graph import CHAIN, Graph, change
from tests.support.project import ROOT
from tests.support.shell import run
from tests.support.small_run import small_config, small_settings

pytestmark = pytest.mark.usefixtures("one_worker")
FOLDED, MODEL, REPORT = "fold_recordings", "trained_model", "eval_report"
FRESH, STALE, MISSING = StaleStatus.FRESH, StaleStatus.STALE, StaleStatus.MISSING


def folded(settings: Configuration, **split: object) -> Configuration:
    values = {f"corpus.split.{key}": value for key, value in split.items()}
    small = {"training.steps": 1, "training.warmup_steps": 0, "hardware.batch_size": 2}
    return apply_values(settings, {**values, **small, "detection.stride_s": 60}, "test")


def names_of_runs(settings: Configuration) -> dict[str, str]:
    """The run of each fold, as the command line finds it."""
    training = TrainingSettings.of(settings)
    return {
        str(fold): run_directory(settings.runs_dir, training, checked.manifest).name
        for fold, checked in check_folds(ProfileCache.of(settings)).items()
    }


def statuses(graph: Graph, name: str) -> list[StaleStatus]:
    return [graph.status(name, partition=fold) for fold in ("1", "2", "3")]


def newest(instance: dg.DagsterInstance, name: str, fold: str) -> dg.AssetMaterialization:
    [record] = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(name), asset_partitions=[fold]), limit=1
    ).records
    assert record.asset_materialization is not None
    return record.asset_materialization


def test_without_folds_the_model_has_no_partitions(settings: Configuration) -> None:
    graph = build_defs(settings).resolve_asset_graph()
    assert graph.get(dg.AssetKey(MODEL)).partitions_def is None
    assert graph.get(dg.AssetKey(REPORT)).partitions_def is None
    assert CodeVersions.of(settings) == CodeVersions.of(
        apply_values(settings, {"corpus.split.seed": 1}, "test")
    )


def test_the_scores_of_a_fold_depend_on_whom_it_holds_out(settings: Configuration) -> None:
    """Its model does not, so that a changed recording may leave the model as it is."""
    for scheme, expected in (("fixed", {MODEL}), ("kfold", {MODEL, "cache_manifest"})):
        graph = build_defs(folded(settings, scheme=scheme)).resolve_asset_graph()
        parents = graph.get(dg.AssetKey(REPORT)).parent_keys
        assert {key.to_user_string() for key in parents} == expected


def test_each_fold_is_trained_scored_and_stale_by_itself(
    built: Configuration, instance: dg.DagsterInstance, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Drawing takes most of the time of a report.
    monkeypatch.setattr(report_folder, "_strips", lambda *_: [])
    runs = {"runs_dir": tmp_path / "runs", "dagster_home": tmp_path / "dagster"}
    settings = folded(built.model_copy(update=runs), scheme="kfold", folds=3)
    graph = Graph(settings, instance)
    assert graph.materialize(*CHAIN).success
    assert statuses(graph, MODEL) == [MISSING] * 3
    # The runs are there already, so that each process has nothing to train.
    expected = names_of_runs(settings)
    for fold in ("1", "2"):
        train(apply_values(settings, {"corpus.split.fold": int(fold)}, "test"), log=ignore)
        result = graph.materialize(MODEL, partition=fold)
        assert result.success
        assert [c.check_name for c in result.get_asset_check_evaluations() if not c.passed] == []
        assert newest(instance, MODEL, fold).metadata["reused"].value is True
    assert statuses(graph, MODEL) == [FRESH, FRESH, MISSING]
    # The report of a fold is that of its model, not of the one that was trained last.
    result = graph.materialize(REPORT, partition="1")
    assert result.success
    assert newest(instance, REPORT, "1").metadata["run"].value == expected["1"]
    assert (newest(instance, MODEL, "1").tags or {})["dagster/data_version"] == expected["1"]
    assert statuses(graph, REPORT) == [FRESH, MISSING, MISSING]

    # Other folds are other trainings: every one is stale, and one that is trained is not.
    graph.settings = other = folded(settings, seed=3)
    assert CodeVersions.of(other).trained_model != CodeVersions.of(settings).trained_model
    assert statuses(graph, MODEL) == [STALE, STALE, MISSING]
    assert names_of_runs(other)["2"] != expected["2"]
    train(apply_values(other, {"corpus.split.fold": 2}, "test"), log=ignore)
    assert graph.materialize(MODEL, partition="2").success
    assert statuses(graph, MODEL) == [STALE, FRESH, MISSING]
    assert (newest(instance, MODEL, "2").tags or {})["dagster/data_version"] == (
        names_of_runs(other)["2"]
    )
    # The cache and its manifest are the same for all of them.
    assert graph.status("cache_manifest") is FRESH


def test_a_changed_recording_makes_the_folds_stale_that_train_on_it_and_no_other(
    settings: Configuration, instance: dg.DagsterInstance
) -> None:
    settings = folded(settings, scheme="kfold", folds=3)
    graph = Graph(settings, instance)
    assert graph.materialize(*CHAIN).success
    folds = ("1", "2", "3")
    for fold in folds:
        train(apply_values(settings, {"corpus.split.fold": int(fold)}, "test"), log=ignore)
        assert graph.materialize(MODEL, partition=fold).success
    assert statuses(graph, MODEL) == [FRESH] * 3
    before = names_of_runs(settings)
    cache = ProfileCache.of(settings)
    usable = [r for r in cache.plan().index if r.reason is None and r.split != "eval"]
    victim = usable[0]
    patient = name_form(victim.patient)
    [held_out] = [
        str(n + 1) for n, names in enumerate(cache.folds(cache.plan()).held_out) if patient in names
    ]
    change(Path(victim.path))
    assert graph.materialize(*CHAIN).success
    now = {fold: graph.status(MODEL, partition=fold) for fold in folds}
    assert now == {fold: FRESH if fold == held_out else STALE for fold in folds}
    assert statuses(graph, FOLDED) == [FRESH] * 3
    # That is what the runs themselves say: only that fold's is the same one.
    after = names_of_runs(settings)
    assert {fold for fold in folds if after[fold] == before[fold]} == {held_out}
    # The sensor has nothing to add, and a fold that is trained again is fresh.
    assert graph.follow(graph.tick()) == []
    [other, _] = (fold for fold in folds if fold != held_out)
    train(apply_values(settings, {"corpus.split.fold": int(other)}, "test"), log=ignore)
    assert graph.materialize(FOLDED, MODEL, partition=other).success
    assert graph.status(MODEL, partition=other) is FRESH
    assert graph.status(MODEL, partition=held_out) is FRESH


def test_the_sensor_records_folds_that_dagster_does_not_know(
    built: Configuration, instance: dg.DagsterInstance
) -> None:
    graph = Graph(folded(built, scheme="kfold", folds=3), instance)
    assert graph.materialize(*CHAIN).success
    assert statuses(graph, FOLDED) == [FRESH] * 3
    versions = [newest(instance, FOLDED, fold).tags for fold in ("1", "2", "3")]
    graph.settings = folded(graph.settings, seed=3)
    assert statuses(graph, FOLDED) == [STALE] * 3
    [result] = graph.follow(graph.tick())
    assert result.success
    assert statuses(graph, FOLDED) == [FRESH] * 3
    assert [newest(instance, FOLDED, fold).tags for fold in ("1", "2", "3")] != versions
    assert graph.follow(graph.tick()) == []


def ignore(_line: str) -> None:
    pass


def test_a_fold_that_cannot_be_trained_blocks_and_says_why(
    built: Configuration, instance: dg.DagsterInstance
) -> None:
    graph = Graph(folded(built, scheme="kfold", folds=6), instance)
    assert graph.materialize(*CHAIN).success
    graph.settings = folded(built, scheme="kfold", folds=7)
    # Six patients.
    failed = graph.check("cache_manifest").get_asset_check_evaluations()
    [why] = [one.description for one in failed if not one.passed]
    assert why is not None and "usable recordings of 6 patients" in why


def test_a_patient_who_leaves_takes_a_fold_along(
    settings: Configuration, instance: dg.DagsterInstance
) -> None:
    graph = Graph(folded(settings, scheme="leave_one_patient_out"), instance)
    assert graph.materialize("raw_edf_index").success
    assert instance.get_dynamic_partitions(FOLDS) == ["1", "2", "3", "4", "5", "6"]
    corpus = Path(str(settings.data_dir))
    shutil.rmtree(next(corpus.glob("edf/*/aaaaaaae")))
    # So many recordings of so few are gone only on purpose.
    update_index(settings.data_dir, settings.cache_root, settings.corpus, force=True)
    results = graph.follow(graph.tick())
    assert [result.success for result in results] == [True]
    assert instance.get_dynamic_partitions(FOLDS) == ["1", "2", "3", "4", "5"]
    # Lost partitions are noticed, too.
    instance.delete_dynamic_partition(FOLDS, "4")
    for result in graph.follow(graph.tick()):
        assert result.success
    assert sorted(instance.get_dynamic_partitions(FOLDS)) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("split", "folds"),
    [({"scheme": "kfold", "folds": 2}, ["1", "2"]), ({"scheme": "leave_one_patient_out"}, ["7"])],
)
def test_the_schedule_trains_every_fold(
    settings: Configuration, split: dict[str, object], folds: list[str]
) -> None:
    repository = build_defs(folded(settings, **split)).get_repository_def()
    # A schedule opens its instance anew, so that it must be on disk.
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(FOLDS, ["7"])
        at = datetime(2026, 1, 2, 20, tzinfo=UTC)
        with dg.build_schedule_context(
            instance=instance, repository_def=repository, scheduled_execution_time=at
        ) as context:
            data = repository.get_schedule_def("train_and_evaluate").evaluate_tick(context)
    assert [request.partition_key for request in data.run_requests or []] == folds


@pytest.mark.slow
def test_the_command_of_the_page_trains_and_scores_one_fold(
    master_corpus: Path, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path, master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    (tmp_path / "folds.yaml").write_text(
        "corpus: {split: {scheme: kfold, folds: 3}}\ntraining: {steps: 1, warmup_steps: 0}\n"
        "hardware: {batch_size: 2}\ndetection: {stride_s: 60}\n"
    )
    config = f"{small_config(tmp_path)}:{tmp_path / 'folds.yaml'}"
    lines = run("brainbrr", "env", "--config", config).stdout.splitlines()
    environment = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    page = (ROOT / "docs" / "dagster.md").read_text("utf-8")
    [line] = re.findall(r"^dagster asset materialize .* --partition 3$", page, re.MULTILINE)
    done = run(*line.split(), environment=environment)
    assert done.returncode == 0, done.stderr
    [expected] = settings.runs_dir.glob("small-*/run.json")
    assert expected.parent.name == names_of_runs(load(Overrides(config=config)))["3"]
    assert (expected.parent / "report-eval" / "report.html").is_file()
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for name in (MODEL, REPORT):
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == {"3"}
