"""From several corpora to a report: by commands, by the graph, and a run on another corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.data_version import StaleStatus

from brainbrr_core.cache.manifest_file import is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.evaluation.results import read_results
from brainbrr_core.scoring import RecordingEvents, figures, szcore, total
from tests.support.pipeline_graph import CHAIN, Graph
from tests.support.several_corpora import (
    OF_CHBMIT,
    OF_SIENA,
    Listed,
    write_chbmit_like,
    write_siena_like,
)
from tests.support.shell import Shell

pytestmark = pytest.mark.usefixtures("one_worker")

BANANA = {"montage": "double-banana"}
WHOLE = (*CHAIN, "trained_model", "eval_report")
OF_A_FOLD = ("fold_recordings", "trained_model", "eval_report")


class Trees(NamedTuple):
    """Entries of three corpora."""

    tusz: Mapping[str, object]
    chbmit: Mapping[str, object]
    siena: Mapping[str, object]


@pytest.fixture
def trees(corpus: Path, tmp_path: Path) -> Trees:
    """A corpus like TUSZ, which had the cache root alone, one like CHB-MIT, and one like Siena."""
    chbmit = write_chbmit_like(tmp_path / "chb-mit")
    return Trees(
        {"name": "tusz", "data_dir": corpus, "prefix_keys": False},
        {"name": "chbmit", "data_dir": chbmit, "license": "ODC-By 1.0", **OF_CHBMIT},
        {"name": "siena", "data_dir": write_siena_like(tmp_path / "siena"), **OF_SIENA},
    )


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    return Listed(tmp_path / "several")


def type_all(shell: Shell, config: str, *commands: str) -> None:
    for command in commands:
        done = shell.type(*command.split(), "--config", config)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def shards(settings: Configuration) -> dict[str, bytes]:
    return {
        path.relative_to(settings.cache_root).as_posix(): path.read_bytes()
        for path in settings.cache_root.rglob("*.arrow")
    }


def check_rows_of_corpora(settings: Configuration) -> set[str]:
    """Each corpus's row in the report against its own recordings, scored on their own."""
    (folder,) = settings.runs_dir.glob("small-*/report-eval")
    results = read_results(folder)
    index = read_index(settings.cache_root)
    events = pq.read_table(folder / "detections.parquet").to_pylist()
    table = {row["corpus"]: row for row in pq.read_table(folder / "corpora.parquet").to_pylist()}
    page = (folder / "report.html").read_text()
    for row in results.corpora:
        own = [
            r
            for r in index.in_montage("double-banana")
            if r.corpus == row.name and r.split == "eval" and r.reason is None
        ]
        assert row.recordings == len(own) == table[row.name]["recordings"]
        assert row.seizures == sum(len(r.seizures(settings.labels.seizure)) for r in own)
        by_key = {r.partition_key: r for r in results.recordings}
        counted = [
            szcore.score_recording(
                RecordingEvents(
                    "anyone",
                    by_key[r.partition_key].duration_s,
                    tuple(r.seizures(settings.labels.seizure)),
                    by_key[r.partition_key].hypothesis,
                )
            ).event
            for r in own
        ]
        assert row.figures == figures(total(counted))
        value = results.estimates[f"corpus.{row.name}.f1"].value
        assert value == pytest.approx(row.figures.f1, nan_ok=True)
        assert f'<th scope="row">{row.name}</th>' in page
        assert sum(e["partition_key"] in {r.partition_key for r in own} for e in events) == sum(
            len(by_key[r.partition_key].hypothesis) for r in own
        )
    assert sum(row.recordings for row in results.corpora) == len(results.recordings)
    return {row.name for row in results.corpora}


def recordings_of_corpora(result: dg.ExecuteInProcessResult, asset: str) -> dict[object, object]:
    """Recordings by corpus, in the table that an asset shows of them."""
    (made,) = result.asset_materializations_for_node(asset)
    table = made.metadata["corpora"]
    assert isinstance(table, dg.TableMetadataValue)
    return {row.data["corpus"]: row.data["recordings"] for row in table.records}


def test_from_one_corpus_to_three_and_to_a_report(
    trees: Trees, listed: Listed, shell: Shell
) -> None:
    tusz = str(trees.tusz["data_dir"])
    settings = listed.write(data_dir=tusz, preprocessing=BANANA)
    type_all(shell, listed.config, "index", "cache build", "manifest")
    of_first = shards(settings)
    path = manifest_path(plan_profile(settings).store, settings.manifest_settings)
    assert len(of_first) == 12
    assert "corpus" not in pq.read_schema(path).names
    settings = listed.write(
        *trees, preprocessing=BANANA, sampling={"corpus_weights": {"chbmit": 2}}
    )
    built = shell.type("cache", "build", "--config", listed.config)
    assert "built 11 recordings" in built.stdout
    # Nothing of the first corpus was built again.
    assert "12 already fresh" in built.stdout
    assert of_first.items() <= shards(settings).items()
    type_all(shell, listed.config, "manifest")
    rows = pq.read_table(path).to_pylist()
    index = read_index(settings.cache_root).by_key()
    assert {row["corpus"] for row in rows} == {"tusz", "chbmit", "siena"}
    for row in rows:
        assert row["corpus"] == index[row["partition_key"]].corpus
        assert row["patient"] == index[row["partition_key"]].patient
    made, plan = read_manifest(path), plan_profile(settings)
    assert {r.partition_key: r.corpus for r in made.recordings} == {
        key: index[key].corpus for key in {row["partition_key"] for row in rows}
    }
    assert is_current(made, plan, settings.manifest_settings)
    type_all(shell, listed.config, "train")
    done = shell.type("evaluate", "--config", listed.config)
    assert done.returncode == 0, done.stderr
    assert "SzCORE events of each corpus" in done.stdout
    assert check_rows_of_corpora(settings) == {"tusz", "chbmit", "siena"}
    (folder,) = settings.runs_dir.glob("small-*")
    results = read_results(folder / "report-eval")
    assert results.provenance["license of chbmit"] == "ODC-By 1.0"
    copy = listed.folder / "model"
    exported = shell.type("model", "export", folder, copy, "--config", listed.config)
    assert exported.returncode == 0, exported.stderr
    assert "Corpora: tusz; chbmit (ODC-By 1.0); siena." in (copy / "README.md").read_text()
    # A patient of each corpus counts as one of its own.
    assert {"chbmit/chb03", "siena/PN02"} <= {row.name for row in results.patients}
    (run,) = json.loads(shell.type("runs", "--json", "--config", listed.config).stdout)
    assert run["corpus"] == "tusz+chbmit+siena"
    # The same corpus under another name: the manifest is written again.
    renamed = listed.write({**trees.tusz, "name": "tuh"}, *trees[1:], preprocessing=BANANA)
    type_all(shell, listed.config, "index")
    assert not is_current(made, plan_profile(renamed), renamed.manifest_settings)


@pytest.mark.slow
def test_the_graph_of_two_corpora_through_dagster(
    trees: Trees, listed: Listed, instance: dg.DagsterInstance
) -> None:
    settings = listed.write(trees.chbmit, trees.siena, preprocessing=BANANA)
    graph = Graph(settings, instance)
    result = graph.materialize(*WHOLE)
    assert result.success
    keys = {r.partition_key for r in read_index(settings.cache_root)}
    assert set(graph.recorded(result)) == keys == set(instance.get_dynamic_partitions("recordings"))
    assert recordings_of_corpora(result, "raw_edf_index") == {"chbmit": 8, "siena": 3}
    assert recordings_of_corpora(result, "eval_report") == {"chbmit": 2, "siena": 1}
    assert check_rows_of_corpora(settings) == {"chbmit", "siena"}
    assert graph.staleness() == {StaleStatus.FRESH: 11}
    assert "everything is up to date" in str(graph.tick().skip_message)
    # A corpus that is not mounted drops no partition, and nothing is to do.
    folder = Path(str(trees.chbmit["data_dir"]))
    folder.rename(folder.with_name("elsewhere"))
    assert "everything is up to date" in str(graph.tick().skip_message)
    assert graph.materialize("raw_edf_index").success
    assert set(instance.get_dynamic_partitions("recordings")) == keys
    folder.with_name("elsewhere").rename(folder)
    # A third corpus: only its recordings are built.
    settings = listed.write(trees.chbmit, trees.siena, trees.tusz, preprocessing=BANANA)
    more = Graph(settings, instance)
    (indexed,) = more.follow(more.tick())
    assert indexed.success
    (built,) = more.follow(more.tick())
    assert set(more.recorded(built)) == {
        r.partition_key for r in read_index(settings.cache_root) if r.corpus == "tusz"
    }


@pytest.mark.slow
@pytest.mark.parametrize("montage", ["double-banana", "10-20"])
def test_folds_of_made_up_copies_of_two_corpora_through_dagster(
    tmp_path: Path, listed: Listed, instance: dg.DagsterInstance, shell: Shell, montage: str
) -> None:
    """From trees with made-up signals to a report of all folds, bipolar and referential."""
    corpora = []
    for name, write in (("chbmit", write_chbmit_like), ("siena", write_siena_like)):
        template, made = write(tmp_path / "templates" / name), tmp_path / name
        done = shell.type("synth", made, "--like", template, "--workers", 1)
        assert done.returncode == 0, done.stderr
        corpora.append({"name": name, "data_dir": made})
    settings = listed.write(
        *corpora,
        preprocessing={"montage": montage},
        corpus={"split": {"scheme": "kfold", "folds": 3}},
        evaluation={"allow_eval": True, "split": "eval", "bootstrap_samples": 100},
    )
    graph, folds = Graph(settings, instance), ("1", "2", "3")
    assert graph.materialize(*CHAIN).success
    for fold in folds:
        assert graph.materialize(*OF_A_FOLD, partition=fold).success
    for asset in OF_A_FOLD:
        assert {graph.status(asset, partition=fold) for fold in folds} == {StaleStatus.FRESH}
    # Electrodes are read from Siena's files alone: CHB-MIT's are bipolar.
    rows = read_index(settings.cache_root).in_montage(settings.preprocessing.montage)
    used = {r.patient for r in rows if r.reason is None}
    assert {r.corpus for r in rows if r.reason is None} == (
        {"chbmit", "siena"} if montage == "double-banana" else {"siena"}
    )
    assert {r.reason for r in rows if r.reason is not None} <= {"bipolar_montage"}
    # The command takes Dagster's runs, and everyone is scored once.
    type_all(shell, listed.config, "evaluate --folds --allow-eval")
    (folder,) = settings.runs_dir.glob("small-folds-*/report-eval")
    scored = pq.read_table(folder / "patients.parquet").to_pylist()
    assert sorted(row["patient"] for row in scored) == sorted(used)
    assert len(list(settings.runs_dir.glob("small-*/run.json"))) == len(folds)


def test_a_bipolar_run_of_one_corpus_is_scored_on_another(
    trees: Trees, listed: Listed, tmp_path: Path, shell: Shell
) -> None:
    tusz, chbmit = str(trees.tusz["data_dir"]), str(trees.chbmit["data_dir"])
    listed.write(data_dir=tusz, preprocessing=BANANA)
    type_all(shell, listed.config, "cache build", "manifest", "train")
    (run,) = (listed.folder / "runs").glob("small-*")
    other = tmp_path / "other"
    build = ("cache", "build", "--run", run, "--data-dir", chbmit, "--cache-root", other)
    assert shell.type(*build, "--config", listed.config).returncode == 0
    score = ("evaluate", run, "--cache-root", other, "--config", listed.config, "--json")
    done = shell.type(*score)
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)
    assert scored["external"]["layout"] == "chbmit"
    assert (scored["external"]["recordings"], scored["unscored"]) == (8, [])
    assert scored["threshold_from"] == "own dev"


def test_a_run_of_electrodes_refuses_a_corpus_of_bipolar_files(
    trees: Trees, listed: Listed, tmp_path: Path, shell: Shell
) -> None:
    listed.write(data_dir=str(trees.tusz["data_dir"]))
    type_all(shell, listed.config, "cache build", "manifest", "train")
    (run,) = (listed.folder / "runs").glob("small-*")
    other = tmp_path / "other"
    chbmit = str(trees.chbmit["data_dir"])
    build = ("cache", "build", "--run", run, "--data-dir", chbmit, "--cache-root", other)
    refused = shell.type(*build, "--config", listed.config)
    assert refused.returncode == 1
    assert "8 found, none usable: 8 bipolar_montage" in refused.stderr
    score = ("evaluate", run, "--cache-root", other, "--config", listed.config)
    line = shell.refused(*score)
    assert "no recording of chb-mit can be scored: 8 found, none usable: 8 bipolar_montage" in line
    assert "10-20 needs a referential recording" in line


def test_a_run_knows_its_patients_whatever_their_corpus_is_called(
    trees: Trees, listed: Listed, tmp_path: Path, shell: Shell
) -> None:
    listed.write(trees.siena, trees.chbmit, preprocessing=BANANA)
    type_all(shell, listed.config, "cache build", "manifest", "train")
    (run,) = (listed.folder / "runs").glob("small-*")
    # Other recordings of patients with the same names, alone on another cache root.
    again = write_siena_like(tmp_path / "again", ("PN01", "PN02", "PN07"), seconds=101)
    other = tmp_path / "other"
    build = ("cache", "build", "--run", run, "--data-dir", again, "--cache-root", other)
    unlisted = Listed(tmp_path / "unlisted")
    unlisted.write(preprocessing=BANANA)
    assert shell.type(*build, "--config", unlisted.config).returncode == 0
    score = ("evaluate", run, "--cache-root", other, "--config", unlisted.config, "--json")
    done = shell.type(*score)
    assert done.returncode == 0, done.stderr
    external = json.loads(done.stdout)["external"]
    assert external["left_out"] == {
        "the run's weights or threshold were chosen on this patient (the same name)": 1,
        "this patient is in eval of the run's own corpus (the same name)": 1,
    }
