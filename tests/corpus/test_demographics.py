"""Age and sex of patients: from the tables of corpora into the index, and shown by ``inspect``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from brainbrr_core.corpus.demographics import age_in, sex_in
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.index_rows import index_table
from tests.support.bids import write_bids
from tests.support.public_corpora import write_chbmit, write_seizeit, write_siena
from tests.support.shell import Shell


def people(root: Path) -> dict[str, tuple[float | None, str]]:
    return {r.partition_key.split("/")[0]: (r.age, r.sex) for r in scan(root).recordings}


@pytest.mark.parametrize(
    ("cell", "age"),
    [("34", 34), ("1.5", 1.5), ("0", 0), ("89", 89), ("89.5", 90), ("90", 90), ("103", 90),
     ("89+", 90), ("90+", 90), (" 7", 7), ("n/a", None), ("", None), ("34Y", None), ("-3", None),
     ("1e3", None), ("34 years", None)],
)  # fmt: skip
def test_ages_above_89_are_90(cell: str, age: float | None) -> None:
    assert age_in(cell) == age


def test_the_words_for_a_sex_are_those_of_the_corpora() -> None:
    assert [sex_in(cell) for cell in ("F", "Female", "male", "M", "o", "n/a", "", "x")] == [
        *("F", "F", "M", "M", "O", "", "", "")
    ]


def test_each_corpus_has_its_table(tmp_path: Path) -> None:
    write_chbmit(tmp_path / "c")
    (tmp_path / "c" / "SUBJECT-INFO").write_text(
        "Case\tGender\tAge (years)\n\nchb01\tF\t11\nchb21\tF\t 12.5\n"
    )
    # chb21 is the patient chb01, who was older then.
    assert people(tmp_path / "c") == {"chb01": (11, "F"), "chb21": (12.5, "F"), "chb24": (None, "")}
    assert people(write_siena(tmp_path / "s")) == {
        "PN00": (55, "M"),
        "PN01": (46, "M"),
        "PN06": (36, "M"),
    }
    seizeit1 = write_seizeit(tmp_path / "z")
    assert people(seizeit1) == {"P_ID31": (None, "")}
    for number, header in ((1, "# Gender: Male\n"), (2, "# Gender: Male\n# Age: 20\n")):
        table = seizeit1 / "P_ID31" / f"P_ID31_r{number}_a1.tsv"
        table.write_text(header + table.read_text())
    # Of the first file, only the sex is known; the second says both.
    assert people(seizeit1) == {"P_ID31": (20, "M")}
    # What one file says is not lost where a later one says nothing.
    table.write_text(table.read_text().replace("# Gender: Male\n# Age: 20\n", ""))
    assert people(seizeit1) == {"P_ID31": (None, "M")}
    root = write_bids(tmp_path / "b", ["sub-01", "sub-02"], ["sub-03"])
    (root / "participants.tsv").write_text("participant_id\tsex\tage\n01\tF\t97\nsub-02\tm\tn/a\n")
    assert people(root) == {"sub-01": (90, "F"), "sub-02": (None, "M"), "sub-03": (None, "")}


def test_the_index_keeps_them_and_follows_the_table(tmp_path: Path) -> None:
    root, cache = write_bids(tmp_path / "b", ["sub-01"], ["sub-02"]), tmp_path / "cache"
    update_index(str(root), cache)
    assert not {"age", "sex"} & set(pq.read_schema(index_path(cache)).names)
    before = read_index(cache).recordings
    assert [(r.age, r.sex) for r in before] == [(None, "")] * 2
    table = root / "participants.tsv"
    table.write_text("participant_id\tage\tsex\nsub-01\t0\tF\n")
    update_index(str(root), cache)
    after = read_index(cache).recordings
    assert [(r.age, r.sex) for r in after] == [(0, "F"), (None, "")]
    # Nothing that a shard is made from depends on them.
    assert [replace(r, age=None, sex="") for r in after] == list(before)
    assert set(index_table(after).column_names) - set(index_table(before).column_names) == {
        *("age", "sex")
    }
    table.write_text("participant_id\tage\tsex\nsub-01\t1\tM\n")
    update_index(str(root), cache)
    assert [(r.age, r.sex) for r in read_index(cache)] == [(1, "M"), (None, "")]


def test_inspect_shows_them(tmp_path: Path, shell: Shell) -> None:
    root = write_bids(tmp_path / "b", ["sub-01"], ["sub-02"])
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t34\tF\n")
    update_index(str(root), tmp_path / "cache")
    words = ("--cache-root", tmp_path / "cache", "--out", tmp_path / "page.html")
    shown = shell.type("inspect", "sub-01/eeg/sub-01_task-rest_eeg", *words)
    assert shown.returncode == 0, shown.stderr
    assert "patient: 34 years, F\n" in shown.stdout
    assert "patient" not in shell.type("inspect", "sub-02/eeg/sub-02_task-rest_eeg", *words).stdout
