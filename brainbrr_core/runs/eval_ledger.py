"""Who scored the eval split: every scoring of it is recorded in the runs folder.

A split stays unseen only as long as nothing is chosen by it. One scoring influences nothing, but
twenty may, so they are counted over all runs of the folder, and the report states how many.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import append_line, flush

LEDGER = "eval-scorings.jsonl"
#: Scorings of corpora that no run of the folder was trained on.
EXTERNAL_LEDGER = "external-scorings.jsonl"


class EvalScoring(BaseModel):
    """One scoring: when, by which run, and of which recordings (a hash)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    run: str
    evaluation_set: str


def read_ledger(runs_dir: Path, name: str = LEDGER) -> list[EvalScoring]:
    """All scorings so far. Raises :class:`BrainbrrError` for a damaged line."""
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
                f"line {number} of {path} is damaged: correct or remove that line; every "
                "report states how many lines there are"
            ) from None
    return scorings


def count_scoring(runs_dir: Path, run: str, evaluation_set: str) -> EvalLooks:
    """Record a scoring of eval before it is computed; returns how many there are now."""
    earlier = read_ledger(runs_dir)
    _put_on_record(runs_dir / LEDGER, run, evaluation_set)
    return EvalLooks(len(earlier) + 1, len({entry.run for entry in earlier} | {run}))


def count_external_scoring(runs_dir: Path, run: str, evaluation_set: str) -> EvalLooks:
    """Record a scoring of another corpus; returns how often these recordings were scored."""
    earlier = [
        entry
        for entry in read_ledger(runs_dir, EXTERNAL_LEDGER)
        if entry.evaluation_set == evaluation_set
    ]
    _put_on_record(runs_dir / EXTERNAL_LEDGER, run, evaluation_set)
    return EvalLooks(len(earlier) + 1, len({entry.run for entry in earlier} | {run}))


def _put_on_record(path: Path, run: str, evaluation_set: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    scoring = EvalScoring(at=at, run=run, evaluation_set=evaluation_set)
    append_line(path, scoring.model_dump_json())
    flush(path)


@dataclass(frozen=True, slots=True)
class EvalLooks:
    """How often the eval split was scored from one runs folder, including this time."""

    scorings: int
    runs: int
