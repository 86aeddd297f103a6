"""Where predictions are written: over nothing that a corpus has, nor where it would count."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.files import targets


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of BIDS; its content is not read here."""
    folder = tmp_path / "data" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    path = folder / "sub-01_task-sz_eeg.edf"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("sub-01_task-sz_eeg.csv_bi", "csv_bi"),
        ("sub-01_task-sz_events.tsv", "tsv"),
        ("sub-01_task-sz_eeg.json", "json"),
    ],
)
def test_what_describes_a_recording_is_not_written_over(
    recording: Path, name: str, form: str
) -> None:
    """``predict corpus corpus --format csv_bi`` would replace what experts annotated."""
    there = recording.with_name(name)
    there.write_text("by an expert")
    with pytest.raises(BrainbrrError, match=rf"{name} is .* of|describes .*: give another OUT"):
        targets(recording, there, [form])
    corpus = recording.parents[2]
    if not name.endswith("_events.tsv"):
        with pytest.raises(BrainbrrError, match=r"describes .*: give another OUT"):
            targets(corpus, corpus, [form])
    assert there.read_text() == "by an expert"


@pytest.mark.parametrize("name", ["sub-01_task-sz_eeg.csv_bi", "sub-01_task-sz_events.tsv"])
def test_detections_do_not_become_annotations(recording: Path, name: str) -> None:
    """The next index would count them as seizures that somebody annotated."""
    with pytest.raises(BrainbrrError, match="detections there would count as annotated seizures"):
        targets(recording, recording.with_name(name), [])


def test_other_files_beside_a_recording_and_files_elsewhere_are_written(
    recording: Path, tmp_path: Path
) -> None:
    for out in (
        recording.with_name("detected.tsv"),
        tmp_path / "sub-01_task-sz_events.tsv",
        tmp_path / "sub-01_task-sz_eeg.csv_bi",
    ):
        # Also a second time, as when a prediction is repeated.
        for _ in range(2):
            [(_, target)] = targets(recording, out, []).files[recording]
            assert target == out
            out.write_text("events")
