"""Folds: whom each holds out, and who chooses its weights; the scheme that hashes any corpus."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Corpus, Overrides, Split, load
from brainbrr_core.corpus.folds import Folds
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError
from tests.support.bids import write_bids
from tests.support.examples import examples
from tests.support.project import ROOT
from tests.support.public_corpora import CHBMIT_LABELS, edf, write_chbmit

#: Seizures of each patient, in usable recordings; the numbers of CHB-MIT are 3 to 40.
PATIENTS = st.lists(st.integers(0, 40), min_size=4, max_size=30)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A recording to make others of."""
    [recording] = scan(write_bids(tmp_path_factory.mktemp("bids") / "data", ["sub-01"]))
    return recording


def recordings(model: Recording, seizures: list[int]) -> list[Recording]:
    """Two recordings of each patient, of whom the second one has the seizures."""
    return [
        replace(
            model,
            patient=f"p{number:02}",
            partition_key=f"p{number:02}/{session}",
            events=tuple(Event(t, t + 0.1, "seiz") for t in range(session * count)),
        )
        for number, count in enumerate(seizures)
        for session in (0, 1)
    ]


def kfold(folds: int, seed: int = 0, dev: float = 0.15) -> Split:
    return Split(scheme="kfold", folds=folds, seed=seed, dev=dev)


@given(seizures=PATIENTS, folds=st.integers(2, 6), seed=st.integers(0, 3))
@examples(100)
def test_each_patient_is_held_out_once_and_seizures_are_spread(
    model: Recording, seizures: list[int], folds: int, seed: int
) -> None:
    of_patient = {f"p{number:02}": count for number, count in enumerate(seizures)}
    if folds > len(of_patient):
        with pytest.raises(BrainbrrError, match=r"corpus\.split\.folds is"):
            Folds.of(recordings(model, seizures), kfold(folds, seed))
        return
    made = Folds.of(recordings(model, seizures), kfold(folds, seed))
    assert len(made) == folds
    assert Counter(name for held_out in made.held_out for name in held_out) == Counter(
        list(of_patient)
    )
    patients = [len(held_out) for held_out in made.held_out]
    ictal = [sum(of_patient[name] > 0 for name in held_out) for held_out in made.held_out]
    assert max(patients) - min(patients) <= 1
    assert max(ictal) - min(ictal) <= 1
    # Whoever has the most seizures cannot be balanced by others; beyond that, folds are alike.
    events = [sum(of_patient[name] for name in held_out) for held_out in made.held_out]
    assert max(events) - min(events) <= max(seizures)
    for fold in range(1, folds + 1):
        splits = made.splits(fold)
        assert {name for name, split in splits.items() if split == "eval"} == made.held_out[
            fold - 1
        ]
        others = {name for name in splits if splits[name] != "eval"}
        with_seizures = [name for name in others if of_patient[name]]
        if len(with_seizures) > 1:
            assert {splits[name] for name in with_seizures} == {"train", "dev"}
        for kind in (with_seizures, others - set(with_seizures)):
            in_dev = sum(splits[name] == "dev" for name in kind)
            assert abs(in_dev - 0.15 * len(kind)) <= 1
    again = Folds.of(reversed(recordings(model, seizures)), kfold(folds, seed))
    assert again.held_out == made.held_out
    assert [again.splits(n + 1) for n in range(folds)] == [made.splits(n + 1) for n in range(folds)]


def test_who_has_many_seizures_is_beside_who_has_few(model: Recording) -> None:
    made = Folds.of(recordings(model, [10, 9, 2, 1]), kfold(2))
    assert {frozenset(held_out) for held_out in made.held_out} == {
        frozenset({"p00", "p03"}),
        frozenset({"p01", "p02"}),
    }


def test_the_seed_decides_who_is_in_dev(model: Recording) -> None:
    everyone = recordings(model, [1] * 20)
    made = {seed: Folds.of(everyone, kfold(4, seed)).splits(1) for seed in range(3)}
    assert len({tuple(sorted(splits.items())) for splits in made.values()}) == 3


def test_a_patient_alone_is_held_out_in_the_order_of_names(model: Recording) -> None:
    everyone = recordings(model, [2, 0, 1, 3])
    made = Folds.of(everyone, Split(scheme="leave_one_patient_out"))
    assert [sorted(held_out) for held_out in made.held_out] == [["p00"], ["p01"], ["p02"], ["p03"]]
    with pytest.raises(BrainbrrError, match=r"there is no fold 5: .* gives 4 folds"):
        made.splits(5)


def test_spellings_of_one_patient_are_held_out_together(model: Recording) -> None:
    everyone = recordings(model, [2, 1, 1, 3])
    everyone.append(replace(everyone[0], patient="P00", partition_key="P00/0"))
    made = Folds.of(everyone, Split(scheme="leave_one_patient_out"))
    assert len(made) == 4


@pytest.mark.parametrize("mark", ["content_hash", "data_hash"])
@pytest.mark.parametrize("split", [kfold(3), Split(scheme="leave_one_patient_out")])
def test_one_person_under_two_names_in_two_corpora_is_held_out_once(
    model: Recording, mark: str, split: Split
) -> None:
    """The index accepts it where both are in one of its splits: the folds have others."""

    def there(corpus: str, patient: str, content: str) -> Recording:
        name = f"{corpus}/{patient}"
        return replace(
            model,
            patient=name,
            partition_key=f"{name}/{content}",
            corpus=corpus,
            events=(Event(0, 1, "seiz"),),
            content_hash=content if mark == "content_hash" else f"c{name}/{content}",
            data_hash=content if mark == "data_hash" else f"d{name}/{content}",
        )

    everyone = [there("a", f"p{number}", f"a{number}") for number in range(5)]
    everyone += [there("b", f"q{number}", f"b{number}") for number in range(4)]
    # One of them has recordings in a and b, and another one in b and c.
    shared = [there("b", "q2", "a0"), there("c", "r", "b2"), there("c", "r", "c0")]
    person = {"a/p0", "b/q2", "c/r"}
    made = Folds.of([*everyone, *shared], split)
    for fold, held_out in enumerate(made.held_out, start=1):
        assert person <= held_out or not person & held_out
        assert len({made.splits(fold)[name] for name in person}) == 1
    assert Counter(name for names in made.held_out for name in names) == Counter(
        {recording.patient for recording in [*everyone, *shared]}
    )
    if split.scheme == "leave_one_patient_out":
        assert len(made) == 8
    # The recordings that they have in common need not be in the profile.
    again = Folds.of([*everyone, shared[2]], split, [*everyone, *shared])
    assert any(person <= held_out for held_out in again.held_out)


def test_a_patient_without_usable_recordings_has_no_fold_alone(model: Recording) -> None:
    everyone = recordings(model, [2, 1, 1])
    unusable = replace(model, patient="a", partition_key="a/0", signal_reason="too_short")
    made = Folds.of([unusable, *everyone], Split(scheme="leave_one_patient_out"))
    assert [sorted(held_out) for held_out in made.held_out] == [["a", "p00"], ["p01"], ["p02"]]


def test_one_patient_cannot_be_left_out(model: Recording) -> None:
    with pytest.raises(BrainbrrError, match="1 patient with usable recordings: folds need several"):
        Folds.of(recordings(model, [3]), Split(scheme="leave_one_patient_out"))


def test_two_cases_of_one_person_are_one_fold(tmp_path: Path) -> None:
    """Case chb21 of CHB-MIT is the person of chb01."""
    index = [
        replace(recording, signal_reason=None, label_reason=None)
        for recording in scan(write_chbmit(tmp_path / "data"))
    ]
    assert any(recording.partition_key.startswith("chb21") for recording in index)
    made = Folds.of(index, Split(scheme="leave_one_patient_out"))
    cases = {recording.partition_key.partition("/")[0] for recording in index}
    assert [sorted(held_out) for held_out in made.held_out] == [
        [case] for case in sorted(cases - {"chb21"})
    ]


def test_the_scheme_hash_assigns_a_corpus_that_has_splits(tmp_path: Path) -> None:
    names = [f"sub-{number:02}" for number in range(1, 9)]
    data = write_bids(tmp_path / "data", names)
    by_hash = {r.patient: r.split for r in scan(data)}
    lines = [f"{name}\t{'train' if number % 2 else 'dev'}\n" for number, name in enumerate(names)]
    (data / "split.tsv").write_text("participant_id\tsplit\n" + "".join(lines))
    assert {r.patient: r.split for r in scan(data)} != by_hash
    index = scan(data, corpus=Corpus(split=Split(scheme="hash")))
    assert {r.patient: r.split for r in index} == by_hash
    assert index.assignment is not None and index.assignment.rule == "hash"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{scheme: kfold, dev: [a], eval: [b]}", "the scheme kfold assigns all patients itself"),
        ("{scheme: hash, table: x.tsv}", "the scheme hash assigns all patients itself"),
        ("{scheme: kfold, dev: 0}", "give dev a fraction above 0"),
        ("{fold: 2}", "the scheme fixed has no folds, and fold is 2"),
        ("{scheme: kfold, folds: 3, fold: 4}", "there is no fold 4 of 3"),
        ("{scheme: kfold, folds: 1}", "corpus.split.folds is 1"),
        ("{scheme: loocv}", "corpus.split.scheme is 'loocv'"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(
    tmp_path: Path, split: str, message: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"corpus: {{split: {split}}}\n")
    with pytest.raises(BrainbrrError) as error:
        load(Overrides(config=f"smoke:cpu:{path}"), {})
    assert message in str(error.value) and "\n" not in str(error.value)


def write_one_case(root: Path) -> Path:
    """A case of CHB-MIT: eight EDFs, of which three have seizures, one of them two."""
    blocks = ["Data Sampling Rate: 128 Hz\n"]
    for number in range(1, 9):
        name, start = f"chb01_{number:02}.edf", datetime(2015, 3, 1, 10 + number)
        edf(root / "chb01" / name, start, CHBMIT_LABELS[:18])
        seizures = {2: 1, 5: 2, 6: 1}.get(number, 0)
        lines = [f"File Name: {name}", f"Number of Seizures in File: {seizures}"]
        for seizure in range(1, seizures + 1):
            of = "" if seizures == 1 else f" {seizure}"
            lines += [
                f"Seizure{of} Start Time: {10 * seizure} seconds",
                f"Seizure{of} End Time: {10 * seizure + 5} seconds",
            ]
        blocks.append("\n".join([*lines, ""]))
    (root / "chb01" / "chb01-summary.txt").write_text("\n".join(blocks))
    return root


def test_the_recipe_for_the_seizures_of_one_patient_holds_out_one_edf_with_seizures(
    tmp_path: Path,
) -> None:
    page = (ROOT / "docs" / "splits.md").read_text("utf-8")
    section = page.partition("### Leave one seizure out, of one patient")[2]
    [recipe] = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert "folds: 7" in recipe
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.replace("folds: 7", "folds: 3"))
    settings = load(Overrides(config=f"full:cpu:{path}"), {})
    data = write_one_case(tmp_path / "data")
    index = scan(data, corpus=settings.corpus).in_montage(settings.preprocessing.montage)
    assert [r.reason for r in index] == [None] * 8
    assert len({r.patient for r in index}) == 8
    folds = Folds.of(index, settings.corpus.split)
    seizures = {name_form(r.patient): len(r.all_seizures) for r in index}
    assert [sorted(seizures[name] for name in held_out)[-2:] for held_out in folds.held_out] == [
        [0, 2], [0, 1], [0, 1],
    ]  # fmt: skip
    assert {len(held_out) for held_out in folds.held_out} == {2, 3}
    for fold in (1, 2, 3):
        splits = folds.splits(fold)
        assert {splits[name] for name in seizures if seizures[name]} == {"train", "dev", "eval"}


def test_folds_are_of_all_corpora_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    entries = [f"  - {{name: {name}, data_dir: {tmp_path}/{name}}}\n" for name in ("a", "b")]
    path.write_text("corpora:\n" + "".join(entries) + "corpus: {split: {scheme: kfold}}\n")
    settings = load(Overrides(config=f"smoke:cpu:{path}"), {})
    assert settings.corpus.split.has_folds
    assert not any(source.settings.split.has_folds for source in settings.corpus_sources)
    path.write_text("corpora:\n" + "".join(entries).replace("}", ", split: {scheme: kfold}}"))
    with pytest.raises(BrainbrrError, match="folds are of all corpora together"):
        load(Overrides(config=f"smoke:cpu:{path}"), {})
