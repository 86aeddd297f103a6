"""Small BIDS corpora, in which the test says who has a seizure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.support.edf_files import write_edf

HEAD = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"


def add_subject(
    root: Path, name: str, *, seizure: bool = True, seconds: float = 12, seed: int = 0
) -> Path:
    """One recording of noise, with a seizure of 3 s in it or none; the path of its EDF."""
    stem = f"{name}_task-rest"
    path = write_edf(root / name / "eeg" / f"{stem}_eeg.edf", seconds=seconds, seed=seed)
    event = "4.00\t3.00\tsz_foc" if seizure else f"0.00\t{seconds:.2f}\tbckg"
    row = f"{event}\t1.00\tn/a\t2016-01-01 10:00:00\t{seconds:.2f}\n"
    path.with_name(f"{stem}_events.tsv").write_text(HEAD + row)
    return path


def write_bids(root: Path, ictal: Iterable[str], others: Iterable[str] = ()) -> Path:
    """A corpus with one recording of each subject; returns its folder."""
    for name in ictal:
        add_subject(root, name)
    for name in others:
        add_subject(root, name, seizure=False)
    return root
