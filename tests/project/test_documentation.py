"""The documentation has every reason and finding, valid configurations, and no broken links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brainbrr_core.annotation.policy import ANNOTATION_FINDINGS
from brainbrr_core.configuration import Overrides, load
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_FINDINGS, SIGNAL_REASONS
from brainbrr_core.edf.formats import FORMATS
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "recordings.md"
FINDINGS = ROOT / "docs" / "findings.md"
TABLES = {
    "Signals that cannot be used": {code: [text] for code, text in SIGNAL_REASONS.items()},
    "Irregularities of signals": {code: [text] for code, text in SIGNAL_FINDINGS.items()},
    "Recordings without labels": {code: [text] for code, text in LABEL_REASONS.items()},
    "Irregularities of annotations": {
        code: [text, str(consequence)] for code, (consequence, text) in ANNOTATION_FINDINGS.items()
    },
}


@pytest.mark.parametrize("heading", TABLES)
def test_the_page_has_every_reason_and_finding(heading: str) -> None:
    _, _, after = FINDINGS.read_text(encoding="utf-8").partition(f"## {heading}\n")
    section = after.partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert {code: cells.split(" | ") for code, cells in rows} == TABLES[heading]


@pytest.mark.parametrize("page", sorted(PAGE.parent.glob("*.md")), ids=lambda page: page.name)
def test_every_configuration_of_a_page_is_accepted(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks or page != PAGE
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        # Unknown keys, and values that no setting has, are refused.
        settings = load(Overrides(config=f"smoke:cpu:{path}"), {})
        pattern = settings.corpus.patient_pattern
        # In the recipe for one patient's seizures, each file counts as a patient.
        if pattern is not None and page.name != "splits.md":
            match = re.search(pattern, "PN00-1")
            assert match is not None and match[1] == "PN00"


@pytest.mark.parametrize(
    "page",
    sorted([*PAGE.parents[1].glob("*.md"), *PAGE.parent.glob("*.md")]),
    ids=lambda page: page.name,
)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", sorted(PAGE.parent.glob("*.md")), ids=lambda page: page.name)
def test_the_text_of_a_picture_is_on_one_line(page: Path) -> None:
    # The site joins the words on both sides of a line break, so that they are read as one.
    for text in re.findall(r"!\[([^\]]*)\]\(", page.read_text(encoding="utf-8")):
        assert text and "\n" not in text, f"{page.name}: {text!r}"


def test_the_page_has_every_format_that_is_read() -> None:
    _, _, after = PAGE.read_text(encoding="utf-8").partition("## Formats\n")
    table = after.partition("\n## ")[0]
    rows = re.findall(
        r"^\| (\w+(?: [A-Z]\w+)?).*?\| `(\.\w+)` \|.*?\| (brainbrr|MNE) \|", table, re.MULTILINE
    )
    # Nihon Kohden's suffix is in capital letters, as the recorder writes it.
    assert [(name, suffix.lower(), reader) for name, suffix, reader in rows] == [
        (one.name, suffix, "MNE" if one.mne_reader else "brainbrr")
        for suffix, one in FORMATS.items()
    ]
