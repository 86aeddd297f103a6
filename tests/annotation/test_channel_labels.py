"""Lines of ``lbl`` files that cannot be read exclude, and so do they in a copy without text."""

from __future__ import annotations

import pytest

from brainbrr_core.annotation import lbl
from brainbrr_core.annotation.policy import excludes

HEAD = """version = lbl_v1.0.0
number_of_levels = 1
level[0] = 1
montage = 0, FP1-F7: EEG FP1-REF -- EEG F7-REF
symbols[0] = {0: '(null)', 1: 'bckg', 2: 'seiz'}
label = {0, 0, 0.0000, 4.0000, 0, [0.0, 1.0, 0.0]}
"""
SEIZURE = "label = {0, 0, 4.0000, 9.0000, 0, [0.0, 0.0, 1.0]}"


def test_a_file_that_is_whole_says_the_same_in_a_copy() -> None:
    text = f"# by Zwettler\n{HEAD}{SEIZURE}\n"
    original = lbl.parse(text, "a.lbl")
    assert [(event.start, event.stop, event.label) for event in original.events] == [(4, 9, "seiz")]
    assert original.duration_s == 9 and not original.findings
    copy = lbl.without_free_text(text, lambda name: name == "FP1-F7")
    assert "Zwettler" not in copy and lbl.parse(copy, "a.lbl") == original


@pytest.mark.parametrize(
    "line",
    [
        "as seen by Zwettler",
        # Numbers with two points.
        "label = {0, 0, 4.0000, 9.0.00, 0, [0.0, 0.0, 1.0]}",
        "label = {0, 0, 4..0, 9.0000, 0, [0.0, 0.0, 1.0]}",
        "label = {0, 0, 4.0000, 9.0000, 0, [0.0, 0.0, 1..0]}",
    ],
)
def test_a_line_that_cannot_be_read_excludes_as_does_its_copy(line: str) -> None:
    text = f"{HEAD}{line}\n{SEIZURE}\n"
    original = lbl.parse(text, "a.lbl")
    [finding] = [finding for finding in original.findings if excludes(finding.code)]
    assert finding.where == "a.lbl:7"
    copy = lbl.without_free_text(text, lambda name: name == "FP1-F7")
    assert "Zwettler" not in copy
    assert lbl.parse(copy, "a.lbl").findings == original.findings
