"""Messages suggest the name that a user meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.nearest import nearest, nearest_names
from tests.support.project import ROOT

TRAIN = ["--config", "--profile", "--steps", "--seeds", "--run", "--runs-dir", "--resume", "--help"]


@pytest.mark.parametrize(
    ("typed", "names", "meant"),
    [
        # Names that begin with what was typed come before names that are as long.
        ("notch", ["notches", "match", "notch_hz", "notch_q"], "notches or notch_hz or notch_q"),
        ("notch", ["bandpass_hz", "notch_hz", "notch_q"], "notch_hz or notch_q"),
        ("prof", ["proof", "profile"], "profile"),
        # The same name in another form comes before both.
        ("RUNS DIR", ["runs", "runs_dir", "runs_dirs"], "runs_dir"),
        # A missing, a further, a wrong character, and two that are exchanged.
        ("--stepz", TRAIN, "--steps"),
        ("--stps", TRAIN, "--steps"),
        ("--stepps", TRAIN, "--steps"),
        ("--setps", TRAIN, "--steps"),
        ("trian", ["trial", "train", "brain"], "trial or train"),
        ("--run-dir", TRAIN, "--runs-dir"),
        ("notch_herz", ["notch_q", "notch_hz", "bandpass_hz"], "notch_hz"),
        # What is too much at the end, and a name of which only some characters agree.
        ("--run-directory-of-mine", ["--runs-directory", "--run", "--help"], "--run"),
        ("window_length", ["stride_s", "length_s", "lowest"], "length_s"),
        # Equally near ones are all named, as many as three.
        ("sub-1", ["sub-3", "sub-5", "sub-4", "sub-6"], "sub-3 or sub-5 or sub-4"),
        ("a", ["b"], "b"),
        ("anything", [], ""),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant(
    typed: str, names: list[str], meant: str
) -> None:
    assert nearest(typed, names) == meant


def test_a_name_that_is_unlike_all_others_is_not_suggested_where_any_word_may_stand() -> None:
    assert nearest_names("--zzz", TRAIN, only_alike=True) == []
    assert nearest_names("--zzz", TRAIN) != []
    assert nearest_names("--stepz", TRAIN, only_alike=True) == ["--steps"]


WORDS = st.text(alphabet="abcdef_", min_size=5, max_size=9)


@given(st.lists(WORDS, min_size=1, unique_by=lambda word: word.replace("_", "")), st.data())
def test_an_exact_name_in_capitals_is_always_recognized(
    names: list[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(names))
    assert nearest_names(name.upper(), names) == [name]


def test_names_are_suggested_in_one_place() -> None:
    modules = [*ROOT.glob("brainbrr_core/**/*.py"), *ROOT.glob("brainbrr_pipeline/**/*.py")]
    using = [path.name for path in modules if "difflib" in path.read_text()]
    assert using == ["nearest.py"]
