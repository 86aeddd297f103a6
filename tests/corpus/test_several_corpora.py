"""Several corpora on one cache root: keys, patients, counts, and a corpus that is not there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.corpus.changes import changes_of_corpora
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_corpora, index_path, read_index, update_index
from brainbrr_core.corpus.lookup import find_recording
from brainbrr_core.corpus.same_content import SharedContent
from brainbrr_core.corpus.several import corpora_of
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.results import read_results
from tests.support.project import ROOT
from tests.support.several_corpora import (
    OF_CHBMIT,
    OF_SIENA,
    Listed,
    write_chbmit_like,
    write_siena_like,
)
from tests.support.shell import Shell
from tests.support.small_run import SMALL

Corpora = Mapping[str, Mapping[str, object]]


@pytest.fixture
def trees(tmp_path: Path) -> Corpora:
    """Entries of a list: a corpus like CHB-MIT and one like Siena, of short recordings."""
    return {
        "chbmit": {
            "name": "chbmit",
            "data_dir": write_chbmit_like(tmp_path / "chb-mit", seconds=70),
            **OF_CHBMIT,
        },
        "siena": {
            "name": "siena",
            "data_dir": write_siena_like(tmp_path / "siena", seconds=70),
            **OF_SIENA,
        },
    }


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    return Listed(tmp_path / "several")


def indexed(settings: Configuration, *, force: bool = False) -> Index:
    return index_corpora(settings.corpus_sources, settings.cache_root, force=force)


def folder_of(corpus: Mapping[str, object]) -> Path:
    return Path(str(corpus["data_dir"]))


def test_names_of_corpora_come_before_keys_and_patients(
    trees: Corpora, listed: Listed, corpus: Path
) -> None:
    settings = listed.write({"name": "tusz", "data_dir": corpus}, *trees.values())
    index = indexed(settings)
    folders = {"tusz": corpus, **{name: folder_of(tree) for name, tree in trees.items()}}
    on_disk = {
        f"{name}/{path.relative_to(folder).with_suffix('').as_posix().removeprefix('edf/')}"
        for name, folder in folders.items()
        for path in folder.rglob("*.edf")
    }
    assert {recording.partition_key for recording in index} == on_disk
    assert [r.partition_key for r in index] == sorted(on_disk)
    for recording in index:
        name, first = recording.partition_key.split("/")[:2]
        assert recording.corpus == name
        # The folder of a patient is the first one; TUSZ has that of the split before it.
        patient = recording.partition_key.split("/")[2] if name == "tusz" else first
        assert recording.patient == f"{name}/{patient}"
    splits = {r.patient: r.split for r in index}
    assert splits["chbmit/chb02"] == splits["siena/PN01"] == "dev"
    assert splits["chbmit/chb03"] == splits["siena/PN02"] == "eval"
    table = pq.read_table(index_path(settings.cache_root))
    assert table["corpus"].to_pylist() == [r.corpus for r in index]
    assert read_index(settings.cache_root) == index
    # Nothing changed: the file is not written again.
    before = index_path(settings.cache_root).stat()
    assert indexed(settings) == index
    assert index_path(settings.cache_root).stat() == before
    assert not changes_of_corpora(settings.corpus_sources, settings.cache_root, index)


def test_each_corpus_is_counted_as_it_is_alone(
    trees: Corpora, listed: Listed, tmp_path: Path, shell: Shell
) -> None:
    listed.write(*trees.values())
    together = json.loads(shell.type("index", "--config", listed.config, "--json").stdout)
    for name, tree in trees.items():
        one = Listed(tmp_path / name)
        one.write(data_dir=str(tree["data_dir"]), corpus={"split": dict(tree)["split"]})
        alone = json.loads(shell.type("index", "--config", one.config, "--json").stdout)
        assert together["corpora"][name] == alone
    for figure in ("found", "patients", "seizures"):
        assert together[figure] == sum(one[figure] for one in together["corpora"].values())
    shown = shell.type("index", "--config", listed.config).stdout
    lines = [line.replace("│", " ").split() for line in shown.splitlines()]
    assert ["chbmit", "8", "0", "8", "0", "4", "0.1556", "4", "0"] in lines
    assert ["siena", "3", "3", "0", "0", "3", "0.0583", "3", "3"] in lines
    assert ["all", "11", "3", "8", "0", "7", "0.2139", "7", "3"] in lines
    assert shown.count("All corpora") == 1


def test_bipolar_files_are_used_in_one_montage_and_excluded_in_the_other(
    trees: Corpora, listed: Listed, shell: Shell
) -> None:
    listed.write(*trees.values())
    ten_twenty = json.loads(shell.type("index", "--config", listed.config, "--json").stdout)
    assert ten_twenty["corpora"]["chbmit"]["reasons"] == {"bipolar_montage": 8}
    assert ten_twenty["corpora"]["siena"]["reasons"] == {}
    listed.write(*trees.values(), preprocessing={"montage": "double-banana"})
    both = json.loads(shell.type("index", "--config", listed.config, "--json").stdout)
    assert (both["usable"], both["reasons"]) == (11, {})


def test_a_root_of_one_corpus_takes_another_and_keeps_its_own_keys(
    trees: Corpora, listed: Listed, corpus: Path
) -> None:
    alone = listed.write(data_dir=str(corpus))
    before = update_index(str(corpus), alone.cache_root)
    assert "corpus" not in pq.read_schema(index_path(alone.cache_root)).names
    first = {"name": "tusz", "data_dir": corpus, "prefix_keys": False}
    after = indexed(listed.write(first, *trees.values()))
    of_first = {r.partition_key: r for r in after if r.corpus == "tusz"}
    assert of_first.keys() == before.by_key().keys()
    for key, recording in before.by_key().items():
        same = of_first[key]
        assert (same.patient, same.split) == (recording.patient, recording.split)
        assert same.source_version == recording.source_version
    assert after.resplit == ()
    # And back: the other corpora must be dropped on purpose.
    listed.write(data_dir=str(corpus))
    with pytest.raises(BrainbrrError, match="8 recordings of the corpus chbmit"):
        update_index(str(corpus), alone.cache_root)
    assert read_index(alone.cache_root) == after
    assert update_index(str(corpus), alone.cache_root, force=True) == before


def test_recordings_without_a_name_are_not_dropped_unasked(
    trees: Corpora, listed: Listed, corpus: Path
) -> None:
    settings = listed.write({"name": "tusz", "data_dir": corpus}, trees["siena"])
    before = update_index(str(corpus), settings.cache_root)
    with pytest.raises(BrainbrrError, match="12 recordings whose keys begin with no name"):
        indexed(settings)
    assert read_index(settings.cache_root) == before
    assert {r.corpus for r in indexed(settings, force=True)} == {"tusz", "siena"}


@pytest.mark.parametrize("how", ["missing", "empty", "not set"])
def test_a_corpus_that_is_not_here_keeps_its_recordings(
    trees: Corpora, listed: Listed, shell: Shell, how: str
) -> None:
    settings = listed.write(*trees.values())
    before = indexed(settings)
    folder = folder_of(trees["chbmit"])
    folder.rename(folder.with_name("elsewhere"))
    entry = dict(trees["chbmit"])
    if how == "empty":
        folder.mkdir()
    if how == "not set":
        del entry["data_dir"]
    # What changed in the corpus that is here is seen.
    added = folder_of(trees["siena"]) / "PN00" / "PN00-9.edf"
    shutil.copy(next(folder_of(trees["siena"]).rglob("PN01-1.edf")), added)
    with added.open("r+b") as file:
        file.seek(-200, 2)
        file.write(bytes(range(1, 101)) * 2)
    settings = listed.write(entry, trees["siena"])
    changes = changes_of_corpora(settings.corpus_sources, settings.cache_root, before)
    assert (changes.added, changes.changed, changes.removed) == (("siena/PN00/PN00-9",), (), ())
    done = shell.type("index", "--config", listed.config, "--json")
    assert done.returncode == (0 if how == "not set" else 1)
    assert "the corpus chbmit is not here, and its 8 recordings stay as they were" in done.stderr
    assert json.loads(done.stdout)["absent"] == ["chbmit"]
    after = read_index(settings.cache_root)
    assert [r for r in after if r.corpus == "chbmit"] == [r for r in before if r.corpus == "chbmit"]
    assert len(after) == len(before) + 1


def test_a_corpus_that_was_never_indexed_must_be_there(trees: Corpora, listed: Listed) -> None:
    missing = {"name": "other", "data_dir": listed.folder / "nowhere"}
    settings = listed.write(trees["siena"], missing)
    words = r"the corpus other is in no index: .*does not exist"
    with pytest.raises(BrainbrrError, match=words):
        indexed(settings)
    with pytest.raises(BrainbrrError, match=words):
        changes_of_corpora(settings.corpus_sources, settings.cache_root, None)
    assert not index_path(settings.cache_root).exists()


def test_what_vanishes_from_one_corpus_is_said_by_its_name(trees: Corpora, listed: Listed) -> None:
    settings = listed.write(*trees.values())
    before = indexed(settings)
    shutil.rmtree(folder_of(trees["chbmit"]) / "chb01")
    with pytest.raises(BrainbrrError, match=r"^corpus chbmit: 2 of 8 indexed recordings are gone"):
        indexed(settings)
    assert read_index(settings.cache_root) == before
    after = indexed(settings, force=True)
    assert len(after) == len(before) - 2


def test_errors_of_one_corpus_name_what_to_edit(
    trees: Corpora, listed: Listed, tmp_path: Path
) -> None:
    (tmp_path / "nothing" / "here").mkdir(parents=True)
    with pytest.raises(BrainbrrError, match=r"^corpus none: .*not laid out as") as refused:
        indexed(listed.write(trees["siena"], {"name": "none", "data_dir": tmp_path / "nothing"}))
    given = "give the folder that holds the corpus (data_dir of none in corpora)"
    assert given in str(refused.value)
    assert "BRAINBRR_DATA_DIR" not in str(refused.value)
    assert "--layout" not in str(refused.value) and "--data-dir" not in str(refused.value)


def copy_recording(trees: Corpora, source: str, target: str) -> None:
    """Put the signal of a recording of Siena into one of a corpus in folders of patients."""
    shutil.copy(
        folder_of(trees["siena"]) / f"{source}.edf", folder_of(trees["other"]) / f"{target}.edf"
    )


@pytest.fixture
def overlapping(trees: Corpora, tmp_path: Path) -> Corpora:
    """Siena, and another corpus whose PN11 is the patient PN00 of it."""
    other = write_siena_like(tmp_path / "other", ("PN11", "PN12", "PN13"), seconds=71)
    both = {
        "siena": trees["siena"],
        "other": {"name": "other", "data_dir": other, "split": {"dev": ["PN12"], "eval": ["PN13"]}},
    }
    copy_recording(both, "PN00/PN00-1", "PN11/PN11-1")
    return both


def test_the_same_content_in_two_corpora_is_used_once(overlapping: Corpora, listed: Listed) -> None:
    index = indexed(listed.write(overlapping["siena"], overlapping["other"])).by_key()
    copy = index["other/PN11/PN11-1"]
    assert copy.reason == "same_content"
    assert [str(finding) for finding in copy.findings if finding.code == "same_content"] == [
        "PN11-1.edf: same_content (same bytes as siena/PN00/PN00-1)"
    ]
    assert index["siena/PN00/PN00-1"].reason is None
    # The corpus that is listed first is the one that is used, also in the same index.
    settings = listed.write(overlapping["other"], overlapping["siena"])
    swapped = indexed(settings).by_key()
    assert swapped["siena/PN00/PN00-1"].reason == "same_content"
    assert swapped["other/PN11/PN11-1"].reason is None
    assert indexed(settings).by_key() == swapped


def test_one_patient_of_two_corpora_is_in_one_split(overlapping: Corpora, listed: Listed) -> None:
    other = dict(overlapping["other"]) | {"split": {"dev": ["PN12"], "eval": ["PN11", "PN13"]}}
    with pytest.raises(SharedContent, match="same samples are in two splits of two corpora") as no:
        indexed(listed.write(overlapping["siena"], other))
    assert "other/PN11/PN11-1 = siena/PN00/PN00-1" in str(no.value)
    assert "same_patients" in str(no.value)
    other["same_patients"] = {"PN11": "siena/PN00"}
    settings = listed.write(overlapping["siena"], other)
    index = indexed(settings)
    one = index.by_key()["other/PN11/PN11-1"]
    assert (one.patient, one.split, one.corpus) == ("siena/PN00", "train", "other")
    assert indexed(settings) == index
    assert not changes_of_corpora(settings.corpus_sources, settings.cache_root, index)
    # The name in its own corpus comes back with the corpus alone.
    parts = {corpus.name: part for corpus, part in corpora_of(index)}
    assert {r.patient for r in parts["other"]} == {"PN11", "PN12", "PN13"}
    without = dict(other)
    del without["same_patients"]
    changed = changes_of_corpora(
        listed.write(overlapping["siena"], without).corpus_sources, settings.cache_root, index
    )
    assert "other/PN11/PN11-1" in changed.changed


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"PN99": "siena/PN00"}, "other has no patient other/PN99; the nearest is other/PN1"),
        ({"PN11": "siena/PN7"}, "there is no patient siena/PN7; the nearest is siena/PN0"),
        ({"PN11": "other/PN12", "PN12": "siena/PN00"}, "write siena/PN00 for both"),
    ],
)
def test_a_patient_who_is_not_there_is_named(
    overlapping: Corpora, listed: Listed, mapping: Mapping[str, str], words: str
) -> None:
    other = dict(overlapping["other"]) | {"same_patients": mapping}
    with pytest.raises(BrainbrrError, match=words):
        indexed(listed.write(overlapping["siena"], other))


def test_a_name_that_looks_like_a_folder_of_another_corpus_is_refused(
    trees: Corpora, listed: Listed
) -> None:
    first = dict(trees["siena"]) | {"prefix_keys": False}
    second = dict(trees["chbmit"]) | {"name": "pn00"}
    with pytest.raises(BrainbrrError, match="siena has PN00/PN00-1, which looks like a part"):
        indexed(listed.write(first, second))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a/b"}, "corpora.0.name is 'a/b': use letters"),
        ({"nmae": "x"}, "unknown key corpora.0.nmae: the nearest valid key is corpora.0.name"),
        ({"name": "CHBMIT"}, "corpora has two entries named chbmit"),
        ({"prefix_keys": False, "same_patients": {"PN00": "chbmit/chb01"}}, "would change its"),
    ],
)
def test_mistakes_in_the_list_are_one_line(
    trees: Corpora, listed: Listed, change: Mapping[str, object], words: str
) -> None:
    with pytest.raises(BrainbrrError, match=r"^[^\n]*$") as refused:
        listed.write({**trees["siena"], **change}, trees["chbmit"])
    assert words in str(refused.value)


def test_one_corpus_is_not_named_beside_a_list(
    trees: Corpora, listed: Listed, shell: Shell
) -> None:
    listed.write(*trees.values())
    words = ("index", "--config", listed.config)
    assert "unset it, or leave corpora out" in shell.refused(*words, "--data-dir", listed.folder)
    assert "--layout is of one corpus" in shell.refused(*words, "--layout", "bids")
    listed.path.write_text(listed.path.read_text() + "corpus: {layout: siena}\n")
    assert "corpus.layout is of one corpus and corpora lists several" in shell.refused(*words)


def test_a_recording_of_several_corpora_is_named_by_the_end_of_its_key(
    trees: Corpora, listed: Listed
) -> None:
    index = indexed(listed.write(*trees.values()))
    assert find_recording(index, "PN01-1").partition_key == "siena/PN01/PN01-1"
    with pytest.raises(BrainbrrError, match="nearest of this patient is chbmit/chb02/chb02_0"):
        find_recording(index, "chb02_07")


@pytest.mark.usefixtures("one_worker")
def test_the_page_on_several_corpora_is_right(tmp_path: Path, corpus: Path, shell: Shell) -> None:
    page = (ROOT / "docs" / "several-corpora.md").read_text(encoding="utf-8")
    both, kept, patients, weights = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (commands,) = re.findall(r"```\n(brainbrr .*?)```", page, re.DOTALL)
    write_chbmit_like(tmp_path / "chb-mit")
    write_siena_like(tmp_path / "siena", seconds=70)
    write_siena_like(tmp_path / "clinic", ["PN11"], seconds=71)
    folders = {"/data/tusz/v2.0.3": str(corpus), "/data/": f"{tmp_path}/"}
    small = SMALL.replace("profile: small\n", "")

    def written(name: str, text: str, settings: str = "") -> str:
        for folder, here in folders.items():
            text = text.replace(folder, here)
        path = tmp_path / name
        roots = "".join(
            f"{key}: {tmp_path / name}-{key}\n"
            for key in ("cache_root", "runs_dir", "dagster_home")
        )
        path.write_text(text + settings + roots)
        return f"full:cpu:{path}"

    config = written("both.yaml", both, small)
    for line in commands.splitlines():
        done = shell.type(*line.replace("full:cpu:./both.yaml", config).split()[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"
    (report,) = (tmp_path / "both.yaml-runs_dir").glob("*/report-eval")
    assert {row["corpus"] for row in pq.read_table(report / "corpora.parquet").to_pylist()} == {
        "tusz",
        "chbmit",
    }
    results = read_results(report)
    assert results.provenance["license of chbmit"] == "Open Data Commons Attribution License 1.0"
    assert "corpus.chbmit.f1" in results.estimates
    indexed_keys = {r.partition_key for r in read_index(tmp_path / "both.yaml-cache_root")}
    assert "chbmit/chb01/chb01_02" in indexed_keys
    # The same recordings, those of the first corpus under the keys that it has alone.
    assert shell.type("index", "--config", written("kept.yaml", kept)).returncode == 0
    keys = {r.partition_key for r in read_index(tmp_path / "kept.yaml-cache_root")}
    assert keys == {key.removeprefix("tusz/") for key in indexed_keys}
    settings = load(Overrides(config=written("weights.yaml", weights)), environment={})
    assert settings.sampling.corpus_weights == {"tusz": 2, "chbmit": 1}
    # PN11 of the clinic is PN00 of Siena.
    done = shell.type("index", "--config", written("patients.yaml", patients), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["patients"] == 3
