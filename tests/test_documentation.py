"""What the documentation says of recordings is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_FINDINGS, SIGNAL_REASONS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recordings.md"
TABLES = {
    "Signals that cannot be used": {code: [text] for code, text in SIGNAL_REASONS.items()},
    "What may be odd about a signal": {code: [text] for code, text in SIGNAL_FINDINGS.items()},
    "Recordings without labels": {code: [text] for code, text in LABEL_REASONS.items()},
    "What may be odd about annotations": {
        code: [text, str(consequence)] for code, (consequence, text) in ANNOTATION_FINDINGS.items()
    },
}


@pytest.mark.parametrize("heading", TABLES)
def test_the_page_has_every_reason_and_finding(heading: str) -> None:
    _, _, after = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")
    section = after.partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert {code: cells.split(" | ") for code, cells in rows} == TABLES[heading]
