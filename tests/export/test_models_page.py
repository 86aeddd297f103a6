"""The commands of the page on models run, in its order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.exported_models import secretive_run
from tests.support.local_hub import use_local_hub
from tests.support.object_store import BUCKET
from tests.support.prediction_runs import digital_eeg, write_digital
from tests.support.project import ROOT
from tests.support.shell import Shell, clean_environment

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def lines_of(heading: str) -> list[list[str]]:
    """The command lines below a heading of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, f"the page has no heading {heading!r}"
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.usefixtures("s3")
def test_the_commands_that_export_and_copy_a_model_run(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = secretive_run(tmp_path)
    hub = use_local_hub(monkeypatch, tmp_path / "hub")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_digital(work / "recording.edf", digital_eeg(31, 250, 5), 250)
    names = {"RUN": str(run.directory)}
    ran = []
    for heading in ("A model folder", "Sharing a model", "Without brainbrr"):
        for number, (program, *words) in enumerate(lines_of(heading)):
            given = [
                names.get(word, word).replace("s3://bucket", f"s3://{BUCKET}") for word in words
            ]
            if given[1:2] == ["pull"] or (given[1:2] == ["export"] and number == 0):
                # Each pull and each export writes the same folder.
                _set_aside(work / "detector")
            if program == "brainbrr":
                done = shell.type(*given)
                assert done.returncode == 0, f"{given}: {done.stderr}"
            else:
                assert program == "python"
                subprocess.run([sys.executable, *given], env=clean_environment(), check=True)
            ran.append(given[:2])
    assert ran.count(["model", "pull"]) == ran.count(["model", "push"]) == 2
    assert (hub.root / "owner" / "detector" / "config.json").is_file()
    assert (work / "probabilities.npy").is_file()
    assert (work / "events.tsv").read_text().startswith("onset\tduration")


def _set_aside(folder: Path) -> None:
    if folder.exists():
        number = len(list(folder.parent.glob("earlier-*")))
        folder.rename(folder.with_name(f"earlier-{number}"))
