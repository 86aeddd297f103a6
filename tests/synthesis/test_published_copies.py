"""A copy of CHB-MIT, Siena or SeizeIT1 with made-up signals has their files and annotations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.synthesis import write_corpus_like
from brainbrr_core.synthesis.channels import source_of
from tests.support.public_corpora import (
    CHBMIT_LABELS,
    edf,
    write_chbmit,
    write_seizeit,
    write_siena,
)
from tests.support.shell import Shell

TREES = {"chbmit": write_chbmit, "siena": write_siena, "seizeit1": write_seizeit}


def rows(index: Index) -> list[tuple[object, ...]]:
    return [
        (r.partition_key, r.events, r.duration_s, r.rate, r.matched, r.signals, r.label_reason)
        for r in index
    ]


def signals(path: Path) -> dict[str, NDArray[np.float64]]:
    return {f"{n} {s.label}": s.data for n, s in enumerate(edfio.read_edf(path).signals)}


@pytest.mark.parametrize("layout", TREES)
def test_a_copy_is_indexed_as_the_original_is(layout: str, tmp_path: Path) -> None:
    write: Callable[[Path], Path] = TREES[layout]
    like, out = write(tmp_path / "like"), tmp_path / "out"
    summary = write_corpus_like(out, like, seed=3, workers=1)
    original, copy = scan(like), scan(out)
    assert (original.layout, copy.layout) == (layout, layout)
    assert rows(copy) == rows(original)
    assert [r.findings for r in copy] == [r.findings for r in original]
    assert (summary.recordings, summary.splits) == (len(original), {})
    assert summary.patients == len({r.patient for r in original})
    assert summary.seizures == sum(len(r.all_seizures) for r in original)
    companions = {
        (Path(r.path).parent / companion.name).resolve()
        for r in original
        for companion in r.companions
    }
    written = {p.relative_to(out) for p in out.rglob("*") if p.is_file() and p.suffix != ".edf"}
    assert written == {path.relative_to(like) for path in companions} | {Path("synthesis.json")}
    for path in companions:
        assert (out / path.relative_to(like)).read_bytes() == path.read_bytes()


def test_a_second_call_completes_a_copy_and_writes_nothing_else(tmp_path: Path) -> None:
    like, out = write_siena(tmp_path / "like"), tmp_path / "out"
    write_corpus_like(out, like, seed=3, workers=1)
    lost = [out / "PN06" / "PN06-4.edf", out / "PN00" / "Seizures-list-PN00.txt"]
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("PN*-*.edf") if p not in lost}
    content = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    write_corpus_like(out, like, seed=3, workers=1)
    assert [path.read_bytes() for path in lost] == content
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(BrainbrrError, match="another synthetic corpus"):
        write_corpus_like(out, like, seed=4, workers=1)


def test_derivations_are_differences_of_the_same_potentials(tmp_path: Path) -> None:
    like, out = write_chbmit(tmp_path / "like"), tmp_path / "out"
    write_corpus_like(out, like, seed=1, workers=1)
    own = signals(out / "chb01" / "chb01_02.edf")
    by_label = {name.partition(" ")[2]: data for name, data in own.items()}
    outer = sum(by_label[name] for name in ("FP1-F7", "F7-T7", "T7-P7", "P7-O1"))
    inner = sum(by_label[name] for name in ("FP1-F3", "F3-C3", "C3-P3", "P3-O1"))
    # Eight channels, each rounded to a step, where none of them reaches the end of its range.
    step = 400 / 65535
    assert np.abs(outer).max() > 20
    inside = np.abs(list(by_label.values())).max(axis=0) < 199
    assert inside.mean() > 0.9
    assert np.abs(outer - inner)[inside].max() <= 4 * step + 1e-3
    assert np.abs(by_label["P7-T7"] + by_label["T7-P7"]).max() <= step + 1e-3
    doubled = [data for name, data in own.items() if name.endswith(" T8-P8")]
    assert len(doubled) == 2
    np.testing.assert_array_equal(doubled[0], doubled[1])


def test_a_seizure_shows_in_the_derivations_of_a_copy(tmp_path: Path) -> None:
    like, out = tmp_path / "like", tmp_path / "out"
    edf(like / "chb01" / "chb01_01.edf", datetime(2015, 3, 1), CHBMIT_LABELS, seconds=2)
    (like / "chb01" / "chb01-summary.txt").write_text(
        "File Name: chb01_01.edf\nFile Start Time: 00:00:00\nFile End Time: 00:02:00\n"
        "Number of Seizures in File: 1\nSeizure Start Time: 60 seconds\n"
        "Seizure End Time: 100 seconds\n"
    )
    write_corpus_like(out, like, seed=2, workers=1)
    (row,) = scan(out)
    # The duration of the summary, where the EDF is a stub.
    assert (row.duration_s, row.label_reason) == (120, None)
    data = np.array(list(signals(out / "chb01" / "chb01_01.edf").values()))
    power = data.reshape(len(data), 120, -1).var(axis=2)
    ratio = np.median(power[:, 75:95], axis=1) / np.median(power[:, 5:55], axis=1)
    assert ratio.max() > 4


def test_labels_of_derivations_and_references() -> None:
    sources = {label: source_of(label) for label in ("FP1-F7", "T8-P8-0", "T7-FT9", "P7-T7")}
    assert {(s.kind, s.electrode, s.other) for s in sources.values()} == {
        ("derivation", "FP1", "F7"),
        ("derivation", "T4", "T6"),
        ("derivation", "T3", "T1"),
        ("derivation", "T5", "T3"),
    }
    for label in ("EEG FP1-REF", "FP1-CS2", "EEG Fp1", "FP1-A1", "EEG FP1-LE", "FP1"):
        assert (source_of(label).kind, source_of(label).electrode) == ("electrode", "FP1")
    assert [source_of(label).kind for label in ("-", "--0", ".", "ECG", "VNS")] == [
        *("quiet", "quiet", "quiet", "ecg", "quiet")
    ]


def test_the_command_copies_a_corpus_in_its_layout(tmp_path: Path, shell: Shell) -> None:
    like, out = write_siena(tmp_path / "like"), tmp_path / "out"
    shutil.rmtree(like / "PN00")
    done = shell.type("synth", out, "--like", like, "--workers", 1)
    assert done.stdout == f"{out}: 2 recordings of 2 patients, 0.02 h, 3 seizures\n"
    assert sorted(path.name for path in out.iterdir()) == [
        *("PN01", "PN06", "subject_info.csv", "synthesis.json")
    ]
    refused = shell.refused("synth", tmp_path / "other", "--like", out / "PN01")
    assert "no EDF below" in refused
