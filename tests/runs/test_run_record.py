"""``run.json``: what is read is written again as it was, and what is missing is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.record import PRETRAINED, RunRecord, find_run_folder, write_record
from brainbrr_core.runs.run import open_run
from brainbrr_core.runs.used_versions import RUN, used_versions, write_started
from tests.support.run_records import fit_values, run_values


def test_a_record_keeps_what_another_version_of_the_program_wrote(tmp_path: Path) -> None:
    values = run_values(
        threads=4,
        fit=fit_values(learned="much", validations=[]),
        # Sums over no recording are whole numbers, and the hash of a report covers the identity.
        data={
            "train": {"recordings": 1, "patients": 1, "hours": 0, "seizures": 0}
            | {"ictal_hours": 0.5, "unknown_seconds": 0, "full": 3}
        },
    )
    values["identity"]["training"] |= {"learning_rate": 1, "augmentation": {"noise": 0.5}}
    text = json.dumps(values, indent=1, sort_keys=True) + "\n"
    (tmp_path / RUN).write_text(text)
    run = open_run(tmp_path)
    assert run.record.data["train"].ictal_hours == 0.5
    assert run.record.as_written() == values
    assert run.record.identity.as_written() == values["identity"]
    write_record(tmp_path, run.record)
    assert (tmp_path / RUN).read_text() == text


@pytest.mark.parametrize("missing", ["identity", "fit", "hardware", "model_blake3", "finished_at"])
def test_a_run_without_a_value_that_readers_use_is_damaged(tmp_path: Path, missing: str) -> None:
    values = run_values()
    del values[missing]
    (tmp_path / RUN).write_text(json.dumps(values))
    with pytest.raises(BrainbrrError, match=r"run\.json is damaged: remove it and train again"):
        open_run(tmp_path)


def test_a_run_uses_its_version_from_its_beginning(tmp_path: Path) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"
    for folder in (begun, finished):
        folder.mkdir()
    write_started(begun, "v1_256hz_10-20_111111111111")
    write_record(finished, RunRecord.model_validate(run_values()))
    assert used_versions(tmp_path) == {
        "v1_256hz_10-20_111111111111": ["begun"],
        "v1_256hz_10-20_000000000000": ["finished"],
    }


def test_a_mistyped_run_or_model_is_told_the_nearest_name(tmp_path: Path) -> None:
    finished = tmp_path / "smoke-0123456789ab"
    finished.mkdir()
    write_record(finished, RunRecord.model_validate(run_values()))
    for mistyped, nearest in (
        ("pretrained-smal", "pretrained-small"),
        ("pre-trained", "pretrained"),
        ("smoke-0123456789a", "smoke-0123456789ab"),
        (str(tmp_path / "elsewhere" / "smoke-0123456789ab"), "smoke-0123456789ab"),
        ("zzz", None),
    ):
        with pytest.raises(BrainbrrError) as refused:
            find_run_folder(mistyped, tmp_path)
        said = str(refused.value)
        assert said.startswith(
            f"no run {mistyped}{f', the nearest is {nearest}' if nearest else ''}: "
        )
        assert all(name in said for name in PRETRAINED)
