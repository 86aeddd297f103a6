"""Which split each patient gets: small corpora, lists, tables, and patients who are added later."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Corpus, Split
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import (
    UnusableIndex,
    index_path,
    read_index,
    update_index,
    write_index,
)
from brainbrr_core.corpus.layouts.base import RecordingFile
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.splits import IndexedSplits, plan_splits
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.checked_parquet import encode_checked
from tests.support.bids import add_subject, write_bids
from tests.support.edf_files import write_edf
from tests.support.examples import examples
from tests.support.project import ROOT
from tests.support.shell import Shell

SPLITS = ["train", "dev", "eval"]
#: The hash of seed 0 puts these five into train and eval, and none into dev.
FIVE = [f"sub-{number:02}" for number in range(1, 6)]


def by_hash(patient: str, dev: float = 0.15, eval_: float = 0.15, seed: int = 0) -> str:
    """The split of a patient as the documentation describes it."""
    digits = hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()[:16]
    fraction = int(digits, 16) / 16**16
    return "eval" if fraction < eval_ else "dev" if fraction < eval_ + dev else "train"


def splits(index: Index) -> dict[str, str]:
    """The split of each patient, of whom all recordings are in one."""
    pairs = {(r.patient, r.split) for r in index}
    assert len(pairs) == len({patient for patient, _ in pairs})
    return dict(pairs)


def listed(**lists: list[str]) -> Corpus:
    return Corpus.model_validate({"split": lists})


def test_each_split_of_a_small_corpus_has_a_patient_with_seizures(tmp_path: Path) -> None:
    data = write_bids(tmp_path / "data", FIVE)
    assert "dev" not in {by_hash(patient) for patient in FIVE}
    index = update_index(str(data), tmp_path / "cache")
    assert set(splits(index).values()) == set(SPLITS)
    # No more patients move than must.
    other = {p: s for p, s in splits(index).items() if s != by_hash(p)}
    assert len(other) == len(set(SPLITS) - {by_hash(patient) for patient in FIVE})
    assert index.assignment is not None
    assert dict(index.assignment.moved) == other
    # Nothing that follows sees a change: neither another scan, nor a sensor, nor another machine.
    assert read_index(tmp_path / "cache") == index
    assert update_index(str(data), tmp_path / "cache") == index
    assert not changes(str(data), tmp_path / "cache", Corpus(), index)
    assert splits(update_index(str(data), tmp_path / "elsewhere")) == splits(index)


def test_seizures_that_cannot_be_used_do_not_count(tmp_path: Path) -> None:
    data = write_bids(tmp_path / "data", FIVE[:3])
    add_subject(data, FIVE[3], seconds=8)
    index = scan(data)
    usable = {r.patient: r.split for r in index if r.reason is None}
    assert [r.reason for r in index if r.patient == FIVE[3]] == ["too_short"]
    assert sorted(usable.values()) == sorted(SPLITS)


def test_a_patient_who_is_added_moves_nobody(tmp_path: Path) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    before = splits(update_index(str(data), cache))
    for number in range(6, 40):
        add_subject(data, f"sub-{number:02}")
    index = update_index(str(data), cache)
    after = splits(index)
    assert {patient: after[patient] for patient in before} == before
    # Those who are new are where the hash has them.
    assert all(after[p] == by_hash(p) for p in after.keys() - before.keys())
    assert index.resplit == ()


def test_a_patient_who_comes_back_is_in_the_same_split(tmp_path: Path) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    before = splits(update_index(str(data), cache))
    moved = next(patient for patient, split in before.items() if split == "dev")
    (data / moved).rename(tmp_path / moved)
    without = splits(update_index(str(data), cache, force=True))
    assert without == {patient: split for patient, split in before.items() if patient != moved}
    (tmp_path / moved).rename(data / moved)
    assert splits(update_index(str(data), cache)) == before


def as_written_before(index: Index, cache: Path) -> None:
    """Replace an index by one of the hash alone, which does not say how patients were assigned."""
    old = replace(
        index,
        recordings=tuple(replace(r, split=by_hash(r.patient)) for r in index),
        assignment=None,
    )
    write_index(old, cache)
    metadata = pq.read_metadata(index_path(cache)).metadata
    assert not any(b"assignment" in key for key in metadata)


def test_an_index_of_before_keeps_splits_that_a_network_may_know(tmp_path: Path) -> None:
    # Train and dev have seizures, eval has none.
    names = [f"sub-{number:02}" for number in range(1, 60) if by_hash(f"sub-{number:02}") != "eval"]
    patients = [*names[:3], next(name for name in names if by_hash(name) == "dev")]
    data, cache = write_bids(tmp_path / "data", sorted(set(patients))), tmp_path / "cache"
    fresh = update_index(str(data), cache)
    assert "eval" in splits(fresh).values()
    as_written_before(fresh, cache)
    index = update_index(str(data), cache)
    assert splits(index) == {patient: by_hash(patient) for patient in patients}
    # A new patient with seizures can be used for it.
    another = next(name for name in names[3:] if name not in patients and by_hash(name) == "train")
    add_subject(data, another)
    after = splits(update_index(str(data), cache))
    assert after == {**splits(index), another: "eval"}


def test_splits_that_nothing_was_trained_on_are_completed(tmp_path: Path, shell: Shell) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    as_written_before(update_index(str(data), cache), cache)
    lines: list[str] = []
    index = update_index(str(data), cache, log=lines.append)
    assert set(splits(index).values()) == set(SPLITS)
    assert [(old, new) for _, old, new in index.resplit] == [("train", "dev")]
    assert lines == [
        "1 patient is in another split than in the last index: a network that was trained before "
        "may know patients that are scored now"
    ]
    as_written_before(index, cache)
    done = shell.type("index", "--data-dir", data, "--cache-root", cache)
    ((patient, _, _),) = index.resplit
    assert f"{patient} (train, now dev)" in done.stdout


def test_annotations_that_come_later_complete_the_splits(tmp_path: Path) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    tables = {path: path.read_text() for path in data.glob("*/eeg/*_events.tsv")}
    for path in tables:
        path.unlink()
    assert "dev" not in splits(update_index(str(data), cache)).values()
    for path, text in tables.items():
        path.write_text(text)
    assert set(splits(update_index(str(data), cache)).values()) == set(SPLITS)


def row(template: Recording, patient: str, *, ictal: bool) -> Recording:
    events = (Event(1, 2, "fnsz"),) if ictal else ()
    return replace(template, partition_key=f"{patient}/a", patient=patient, events=events)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A usable recording, of which copies with other names are made."""
    (recording,) = scan(write_bids(tmp_path_factory.mktemp("one"), ["sub-01"]))
    return recording


def assigned(
    template: Recording,
    patients: dict[str, bool],
    settings: Split,
    before: IndexedSplits | None = None,
) -> IndexedSplits:
    """The splits of patients, of whom some have seizures."""
    files = [
        RecordingFile(f"{patient}/a", None, patient, "", "", f"/data/{patient}/a.edf")
        for patient in patients
    ]
    files, plan = plan_splits(files, settings, Path("/nowhere"), "/nowhere", before)
    rows = [
        replace(row(template, file.patient, ictal=patients[file.patient]), split=file.split or "")
        for file in files
    ]
    recordings, assignment = plan.completed(rows)
    return IndexedSplits(assignment, recordings)


def of(result: IndexedSplits) -> dict[str, str]:
    return {r.patient: r.split for r in result.recordings}


PATIENTS = st.dictionaries(st.integers(0, 500).map("sub-{:03}".format), st.booleans(), min_size=1)


@given(PATIENTS, st.integers(0, 3))
@examples(100)
def test_splits_are_completed_and_nothing_else_changes(
    template: Recording, patients: dict[str, bool], seed: int
) -> None:
    settings = Split(seed=seed)
    result = of(assigned(template, patients, settings))
    hashed = {patient: by_hash(patient, seed=seed) for patient in patients}
    ictal = [patient for patient, has_seizure in patients.items() if has_seizure]
    wanted = SPLITS[: len(ictal)]
    assert {result[patient] for patient in ictal} >= set(wanted)
    moved = {patient for patient in patients if result[patient] != hashed[patient]}
    assert moved <= set(ictal)
    # As many move as splits had no patient with seizures.
    assert len(moved) <= len(set(wanted) - {hashed[patient] for patient in ictal})
    shuffled = dict(sorted(patients.items(), reverse=True))
    assert of(assigned(template, shuffled, settings)) == result


@given(PATIENTS, PATIENTS, st.booleans())
@examples(100)
def test_later_patients_never_move_those_of_a_training(
    template: Recording, patients: dict[str, bool], others: dict[str, bool], all_ictal: bool
) -> None:
    if all_ictal:
        patients = dict.fromkeys(patients, True)
    first = assigned(template, patients, Split())
    both = {**others, **patients}
    then = of(assigned(template, both, Split(), first))
    ictal = {of(first)[patient] for patient, has_seizure in patients.items() if has_seizure}
    if {"train", "dev"} <= ictal:
        assert {patient: then[patient] for patient in patients} == of(first)
    # Whoever comes, as many splits as can be have a patient with seizures who may be moved there.
    new = [patient for patient in both.keys() - patients.keys() if both[patient]]
    assert len({then[p] for p in both if both[p]}) >= min(3, len(ictal | {by_hash(p) for p in new}))


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (
            {"dev": ["sub-03"], "eval": ["sub-05"]},
            {"sub-03": "dev", "sub-05": "eval"},
        ),
        ({"dev": ["03"], "eval": ["SUB-05"]}, {"sub-03": "dev", "sub-05": "eval"}),
        ({"dev": ["sub-01"]}, {"sub-01": "dev"}),
        (
            {"train": FIVE[2:], "dev": FIVE[:1], "eval": FIVE[1:2]},
            {"sub-01": "dev", "sub-02": "eval"},
        ),
    ],
)
def test_lists_of_patients_are_the_splits(
    tmp_path: Path, lists: dict[str, list[str]], expected: dict[str, str]
) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    first = update_index(str(data), cache)
    corpus = listed(**lists)
    index = update_index(str(data), cache, corpus)
    assert splits(index) == dict.fromkeys(FIVE, "train") | expected
    assert index.assignment is not None
    assert (index.assignment.rule, index.assignment.moved) == ("lists", ())
    assert {(patient, old, new) for patient, old, new in index.resplit} == {
        (patient, old, splits(index)[patient])
        for patient, old in splits(first).items()
        if old != splits(index)[patient]
    }
    assert not changes(str(data), cache, corpus, index)
    assert changes(str(data), cache, listed(dev=["sub-04"]), index).changed
    # Without lists, the hash decides as for a new corpus.
    assert splits(update_index(str(data), cache)) == splits(first)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"dev": ["sub-3", "sub-05"]},
            "corpus.split names 1 patient not in the corpus: sub-3 (the nearest is sub-03)",
        ),
        (
            {"dev": ["sub-03"], "eval": ["03"]},
            "corpus.split puts sub-03 in both dev and eval: keep one of them",
        ),
        (
            {"train": ["sub-01"], "dev": ["sub-02"], "eval": []},
            "corpus.split gives no split for 3 patients of the corpus: sub-03, sub-04, sub-05",
        ),
    ],
)
def test_lists_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, lists: dict[str, list[str]], message: str
) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    before = update_index(str(data), cache)
    with pytest.raises(BrainbrrError) as error:
        update_index(str(data), cache, listed(**lists))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert read_index(cache) == before


@pytest.mark.parametrize("name", ["sub-3", "3", "SUB-003"])
def test_the_nearest_name_has_the_same_number(tmp_path: Path, name: str) -> None:
    data = write_bids(tmp_path / "data", ["sub-13", "sub-30", *FIVE])
    with pytest.raises(BrainbrrError, match=r"\(the nearest is sub-03\)"):
        scan(data, corpus=listed(dev=[name]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{dev: [1], eval: []}", "corpus.split.dev: the patient 1 is not text"),
        ("{dev: [sub-01], eval: 0.2}", "dev and eval both as lists"),
        ("{dev: sub-01}", "corpus.split.dev is 'sub-01': give a fraction"),
        ("{dev: 1.0}", "corpus.split.dev is 1.0: give a fraction"),
        ("{dev: 0.5, eval: 0.5}", "must leave patients for train"),
        ("{train: 0.7}", "give a list of patients; train is what dev and eval leave"),
        ("{dev: [sub-01], table: a.tsv}", "give either lists of patients or a table"),
    ],
)
def test_settings_of_splits_that_mean_nothing_are_refused(
    shell: Shell, tmp_path: Path, text: str, says: str
) -> None:
    layer = tmp_path / "layer.yaml"
    layer.write_text(f"corpus: {{split: {text}}}\n")
    assert says in shell.refused("index", "--config", f"smoke:cpu:{layer}")


def table(path: Path, *rows: str, head: str = "participant_id\tsplit") -> Path:
    path.write_text("".join(f"{line}\n" for line in (head, *rows)))
    return path


WHOLE = ["sub-01\ttrain", "02\tTest", "sub-03\tval", "sub-04\ttrain", "sub-05\teval"]
OF_WHOLE = {
    "sub-01": "train",
    "sub-02": "eval",
    "sub-03": "dev",
    "sub-04": "train",
    "sub-05": "eval",
}


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("remote", [True, False])
def test_a_table_of_splits_is_read(tmp_path: Path, beside: bool, remote: bool) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    path = table((data if beside else tmp_path) / "split.tsv", *WHOLE)
    corpus = Corpus() if beside else Corpus(split=Split(table=str(path)))
    address = f"file://{data}" if remote else str(data)
    index = update_index(address, cache, corpus)
    assert splits(index) == OF_WHOLE
    assert index.assignment is not None
    assert index.assignment.rule == "table"
    assert not changes(address, cache, corpus, index)
    # An edit of the table is a change of the corpus.
    table(path, *[line.replace("sub-04\ttrain", "sub-04\tdev") for line in WHOLE])
    assert len(changes(address, cache, corpus, index).changed) == 1
    edited = update_index(address, cache, corpus)
    assert edited.resplit == (("sub-04", "train", "dev"),)
    assert edited.assignment != index.assignment


@pytest.mark.parametrize(
    ("rows", "head", "says"),
    [
        (WHOLE[:4], None, "gives no split for 1 patient of the corpus: sub-05"),
        ([*WHOLE, "sub-6\ttrain"], None, "names 1 patient not in the corpus: sub-6 (the nearest"),
        ([*WHOLE, "sub-02\ttrain"], None, "puts sub-02 in both eval and train"),
        ([*WHOLE, "sub-01\tdev"], None, "assigns sub-01 to both train and dev"),
        (["sub-01\tholdout"], None, "'holdout' is not a split"),
        (WHOLE, "participant_id\tgroup", "has a column 'participant_id' but no 'split'"),
        (WHOLE, "id,split", "has no columns 'participant_id' and 'split', separated by a tab"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, rows: list[str], head: str | None, says: str
) -> None:
    data = write_bids(tmp_path / "data", FIVE)
    table(data / "split.tsv", *rows, head=head or "participant_id\tsplit")
    with pytest.raises(BrainbrrError) as error:
        update_index(str(data), tmp_path / "cache")
    assert says in str(error.value)
    assert f"{data}/split.tsv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = write_bids(tmp_path / "data", FIVE)
    with pytest.raises(
        BrainbrrError, match=r"there is no table /nowhere/s\.tsv \(corpus\.split\.t"
    ):
        scan(data, corpus=Corpus(split=Split(table="/nowhere/s.tsv")))


def test_a_relative_table_is_that_of_the_current_folder(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_bids(tmp_path / "data", FIVE)
    table(tmp_path / "mine.tsv", *WHOLE)
    layer = tmp_path / "layer.yaml"
    layer.write_text("corpus: {split: {table: mine.tsv}}\n")
    monkeypatch.chdir(tmp_path)
    done = shell.type(
        *("index", "--list", "--config", "full:cpu:./layer.yaml"),
        *("--data-dir", data, "--cache-root", tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("sub-")]
    assert {cells[0].partition("/")[0]: cells[1] for cells in rows} == OF_WHOLE
    assert "splits: by the table split.tsv, or that of corpus.split.table" in done.stdout


def test_lists_leave_others_where_the_corpus_has_them(tmp_path: Path) -> None:
    for number, split in enumerate(SPLITS):
        path = (
            tmp_path / "data" / split / f"p{number}" / "s1" / "01_tcp_ar" / f"p{number}_s1_t0.edf"
        )

        write_edf(path, seed=number)
    index = scan(tmp_path / "data", corpus=listed(dev=["p0"]))
    assert splits(index) == {"p0": "dev", "p1": "dev", "p2": "eval"}
    assert scan(tmp_path / "data").assignment is None


def test_an_index_says_who_is_where_and_what_is_missing(tmp_path: Path, shell: Shell) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE[:2], FIVE[2:]), tmp_path / "cache"
    typed = ("index", "--data-dir", data, "--cache-root", cache)
    done = shell.type(*typed)
    assert done.returncode == 0, done.stderr
    assert "splits: by a hash of each patient's name" in done.stdout
    assert "no patient with seizures in eval: 2 patients have seizures (sub-01, sub-02)" in (
        done.stdout
    )
    for name in FIVE[2:]:
        events = next((data / name).glob("eeg/*_events.tsv"))
        events.write_text((data / "sub-01/eeg/sub-01_task-rest_events.tsv").read_text())
    index = update_index(str(data), tmp_path / "another")
    again = shell.type("index", "--data-dir", data, "--cache-root", tmp_path / "another")
    assert "no patient with seizures" not in again.stdout
    (moved,) = dict(index.assignment.moved if index.assignment else ()).items()
    assert "1 patient is in another split than by the hash" in again.stdout
    assert f"{moved[0]} in {moved[1]}. Patients who are added later move nobody" in again.stdout


def test_an_index_that_says_its_splits_unreadably_is_not_used(tmp_path: Path) -> None:
    data, cache = write_bids(tmp_path / "data", FIVE), tmp_path / "cache"
    index = update_index(str(data), cache)
    written = pq.read_table(index_path(cache))
    footer = pq.read_metadata(index_path(cache)).metadata
    texts = {key.decode(): text for key, text in footer.items() if key.startswith(b"brainbrr.")}
    metadata = {key: text.decode() for key, text in texts.items() if "checksum" not in key}
    metadata["brainbrr.assignment"] = "[]"
    index_path(cache).write_bytes(encode_checked(written.replace_schema_metadata(), metadata))
    with pytest.raises(UnusableIndex, match="what assigned its patients to splits"):
        read_index(cache)
    assert update_index(str(data), cache) == index


def test_the_page_on_splits_is_right(tmp_path: Path, shell: Shell) -> None:
    page = (ROOT / "docs" / "splits.md").read_text(encoding="utf-8")
    lists, *_ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (rows,) = re.findall(r"```\n(participant_id\t.*?)```", page, re.DOTALL)
    data = write_bids(tmp_path / "data", [*FIVE, "sub-06"])
    (tmp_path / "mine.yaml").write_text(lists)

    def listed_splits(*options: object) -> dict[str, str]:
        done = shell.type(
            *("index", "--list", "--data-dir", data, "--cache-root", tmp_path / "cache"), *options
        )
        assert done.returncode == 0, done.stderr
        lines = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("sub-")]
        return {cells[0].partition("/")[0]: cells[1] for cells in lines}

    config = f"full:cpu:{tmp_path / 'mine.yaml'}"
    others = {"sub-03": "dev", "sub-05": "eval", "sub-06": "eval"}
    assert listed_splits("--config", config) == dict.fromkeys([*FIVE, "sub-06"], "train") | others
    for name in ("sub-04", "sub-06"):
        shutil.rmtree(data / name)
    (data / "split.tsv").write_text(rows)
    assert listed_splits("--force") == {
        "sub-01": "train",
        "sub-02": "train",
        "sub-03": "dev",
        "sub-05": "eval",
    }
