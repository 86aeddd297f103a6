"""``brainbrr predict`` on recordings in other formats than EDF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.format_files import microvolts, raw_of, write_format
from tests.support.prediction_runs import random_run
from tests.support.shell import Shell

FORMATS = (
    *("EDF", "BDF", "BrainVision float32", "EEGLAB", "FIF", "Persyst", "Nicolet"),
    *("GDF", "Neuroscan", "Nihon Kohden"),
)


def test_the_events_of_a_signal_are_the_same_in_every_format(tmp_path: Path, shell: Shell) -> None:
    _, config = random_run(tmp_path)
    raw = raw_of(microvolts(120), notes=[])
    paths = [write_format(name, tmp_path / "in" / name.split()[0], raw) for name in FORMATS]
    done = shell.type("predict", tmp_path / "in", tmp_path / "out", "--config", config)
    assert done.returncode == 0, done.stderr
    tables = sorted((tmp_path / "out").rglob("*.tsv"))
    assert len(tables) == len(FORMATS)

    def events(table: Path) -> list[tuple[str, ...]]:
        """Onset, duration and type of each event; the confidence may differ in its last digit."""
        rows = table.read_text().splitlines()[1:]
        return [tuple(row.split("\t")[:3]) for row in rows]

    reference = events(tmp_path / "out" / "EDF" / "a.tsv")
    assert any("bckg" not in row for row in reference)
    for table in tables:
        assert events(table) == reference, table
    single = tmp_path / "single.tsv"
    done = shell.type("predict", paths[2], single, "--config", config)
    assert done.returncode == 0, done.stderr
    assert events(single) == reference


def test_a_broken_recording_is_one_line(tmp_path: Path, shell: Shell) -> None:
    _, config = random_run(tmp_path)
    path = write_format("BrainVision int16", tmp_path / "in", raw_of(microvolts(20), notes=[]))
    path.with_suffix(".eeg").unlink()
    refused = shell.refused("predict", path, tmp_path / "a.tsv", "--config", config, status=2)
    assert "a file that the recording consists of is not there" in refused
    assert "missing_part: a.eeg" in refused
    (tmp_path / "b.set").write_bytes(b"nothing" * 100)
    refused = shell.refused("predict", tmp_path / "b.set", tmp_path / "b.tsv", "--config", config)
    assert "unreadable" in refused
    signal = microvolts(70)
    signal[0, -1] = np.nan
    path = write_format("FIF", tmp_path / "nan", raw_of(signal))
    refused = shell.refused("predict", path, tmp_path / "c.tsv", "--config", config)
    assert "not a number, or infinite (not_finite: Fp1)" in refused
