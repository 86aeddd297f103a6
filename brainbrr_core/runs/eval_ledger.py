"""Who looked at the eval split: every scoring of it is on record in the runs folder.

A split stays unseen only as long as nothing is chosen by it. One look shapes nothing, twenty do,
so they are counted, over all runs of the folder, and the report says how many there were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import flush

LEDGER = "eval-scorings.jsonl"
#: The scorings of corpora that no run of the folder was trained on.
EXTERNAL_LEDGER = "external-scorings.jsonl"


class EvalScoring(BaseModel):
    """One scoring: when, by which run, and of which recordings (a hash)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    run: str
    evaluation_set: str


def read_ledger(runs_dir: Path, name: str = LEDGER) -> list[EvalScoring]:
    """All scorings of eval so far. Raises :class:`BrainbrrError` for a line that is none."""
    path = runs_dir / name
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        lines = [""]
    scorings = []
    for number, line in enumerate(lines, 1):
        try:
            scorings.append(EvalScoring.model_validate_json(line))
        except ValidationError:
            raise BrainbrrError(
                f"line {number} of {path} is damaged: mend or remove that line; the count of "
                "how often it was scored rests on it"
            ) from None
    return scorings


def count_scoring(runs_dir: Path, run: str, evaluation_set: str) -> EvalLooks:
    """Put one more scoring of eval on record, before it is done; how many there are now."""
    known = read_ledger(runs_dir)
    _put_on_record(runs_dir / LEDGER, run, evaluation_set)
    return EvalLooks(len(known) + 1, len({entry.run for entry in known} | {run}))


def count_external_scoring(runs_dir: Path, run: str, evaluation_set: str) -> EvalLooks:
    """The same for recordings of another corpus; how many there are now of these very ones."""
    known = [
        entry
        for entry in read_ledger(runs_dir, EXTERNAL_LEDGER)
        if entry.evaluation_set == evaluation_set
    ]
    _put_on_record(runs_dir / EXTERNAL_LEDGER, run, evaluation_set)
    return EvalLooks(len(known) + 1, len({entry.run for entry in known} | {run}))


def _put_on_record(path: Path, run: str, evaluation_set: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    scoring = EvalScoring(at=at, run=run, evaluation_set=evaluation_set)
    with path.open("a", encoding="utf-8") as file:
        file.write(scoring.model_dump_json() + "\n")
    flush(path)


@dataclass(frozen=True, slots=True)
class EvalLooks:
    """How often the eval split was scored from one runs folder, this time included."""

    scorings: int
    runs: int
