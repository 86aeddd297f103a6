"""A report that is written anew over another one, and killed while it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.errors import WorkRemains
from brainbrr_core.evaluation import report_folder
from brainbrr_core.evaluation.report_folder import IDENTITY, stored_results, write_folder
from brainbrr_core.evaluation.results import EvaluationResults, read_results
from brainbrr_core.evaluation.score import score
from brainbrr_core.evaluation.statistics import PatientStatistics
from brainbrr_core.evaluation.tables import STATISTICS
from tests.support.small_evaluation import TUNED_ON_DEV, recording


def scored(
    identity: str, *detections: tuple[float, float, float]
) -> tuple[EvaluationResults, PatientStatistics]:
    scoring = score(
        [
            recording("eval/a/t0", "a", [(100, 130)], list(detections)),
            recording("eval/b/t0", "b", [(100, 130)], [(110, 140, 0.9)]),
        ],
        split="eval",
        threshold=TUNED_ON_DEV,
        provenance={IDENTITY: identity},
        profile="smoke",
    )
    return scoring.results, scoring.statistics


@pytest.mark.parametrize("killed_at", ["write_tables", "write_report"])
def test_a_report_that_is_not_finished_leaves_the_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """Otherwise the results of before would be shown, and compared, with tables of others."""
    # Drawing takes most of the time.
    monkeypatch.setattr(report_folder, "write_report", lambda path, *_: path.write_text("page"))
    write_folder(tmp_path, *scored("first"))
    before = contents(tmp_path)
    assert stored_results(tmp_path, "first") is not None

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(report_folder, killed_at, kill)
        write_folder(tmp_path, *scored("second", (105, 128, 0.9)))
    assert contents(tmp_path) == before
    write_folder(tmp_path, *scored("second", (105, 128, 0.9)))
    assert stored_results(tmp_path, "second") is not None
    assert contents(tmp_path).keys() == before.keys()
    assert (tmp_path / STATISTICS).read_bytes() != before[STATISTICS]


def test_a_report_whose_files_are_moved_half_way_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_folder, "write_report", lambda path, *_: path.write_text("page"))
    write_folder(tmp_path, *scored("first"))
    rename, moved = Path.rename, 0

    def kill_later(self: Path, target: Path) -> Path:
        nonlocal moved
        moved += 1
        if moved == 5:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", kill_later)
        write_folder(tmp_path, *scored("second", (105, 128, 0.9)))
    with pytest.raises(WorkRemains, match="no report in"):
        read_results(tmp_path)
    write_folder(tmp_path, *scored("first"))
    assert stored_results(tmp_path, "first") is not None


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
