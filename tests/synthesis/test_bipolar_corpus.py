"""A synthetic corpus of bipolar derivations."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np

from tests.support.shell import Shell


def test_a_bipolar_corpus_has_the_derivations_of_chbmit(tmp_path: Path, shell: Shell) -> None:
    words = ("--recordings", 3, "--hours", 0.06, "--workers", 1, "--bipolar")
    assert shell.type("synth", tmp_path / "a", *words).returncode == 0
    paths = sorted((tmp_path / "a").rglob("*.edf"))
    assert len(paths) == 3
    for path in paths:
        edf = edfio.read_edf(path)
        rows = [(signal.label, signal.digital.astype(int)) for signal in edf.signals]
        assert len(rows) == 23
        first, second = (row for label, row in rows if label == "T8-P8")
        assert np.array_equal(first, second)
        by_label = dict(rows)
        # The other direction, to the rounding of half a step.
        assert np.abs(by_label["P7-T7"] + by_label["T7-P7"] + 1).max() <= 1
        # Both chains lead from Fp1 to O1.
        temporal = sum(by_label[name] for name in ("FP1-F7", "F7-T7", "T7-P7", "P7-O1"))
        parasagittal = sum(by_label[name] for name in ("FP1-F3", "F3-C3", "C3-P3", "P3-O1"))
        clipped = any(np.abs(row).max() >= 2047 for _, row in rows)
        assert clipped or np.abs(temporal - parasagittal).max() <= 4
    again = shell.refused("synth", tmp_path / "b", "--bipolar", "--like", tmp_path / "a")
    assert "leave --like or --bipolar out" in again
