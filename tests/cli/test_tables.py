"""Tables as they are printed on wide and narrow terminals."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.cli.tables import print_table
from brainbrr_core.configuration import Configuration
from tests.support.shell import Shell

COLUMNS = ["split", "usable seizures", "excluded", "share, 95% interval"]
ROWS = [["train", "12", "1,000", "0.787 [0.728, 0.844]"], ["dev [red]", "3", "0", "-"]]


def printed(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table("a/folder [with] brackets", COLUMNS, ROWS)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [200, 80, 60, 44, 40])
def test_no_terminal_breaks_a_word_or_a_figure(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(width, monkeypatch, capsys)
    assert lines[0] == "a/folder [with] brackets"
    assert max(map(len, lines)) <= width
    shown = {word for line in lines for word in line.replace("│", " ").replace("┃", " ").split()}
    for cell in (*COLUMNS, *ROWS[0], *ROWS[1]):
        assert set(cell.split()) <= shown


def test_the_layout_follows_the_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The longest words (of the first column "train" and "[red]") have 5, 8, 8 and 8 characters:
    # with 13 of lines, or with 6 of gaps.
    assert printed(29 + 13, monkeypatch, capsys)[1].startswith("┏━")
    assert "┃" not in "".join(printed(29 + 12, monkeypatch, capsys))
    assert printed(29 + 6, monkeypatch, capsys)[4].startswith("────")
    assert printed(29 + 5, monkeypatch, capsys)[1:5] == [
        "split                  train",
        "  usable seizures      12",
        "  excluded             1,000",
        "  share, 95% interval  0.787 [0.728, 0.844]",
    ]


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("command", ["index", "cache status", "manifest"])
def test_the_tables_of_a_corpus_are_whole(
    width: int, command: str, built: Configuration, shell: Shell, tmp_path: Path
) -> None:
    folders = {
        "BRAINBRR_CACHE_ROOT": str(built.cache_root),
        "BRAINBRR_DATA_DIR": str(built.data_dir),
        "BRAINBRR_RUNS_DIR": str(tmp_path),
        "BRAINBRR_CONFIG": "full:cpu",
    }
    shell.type(*command.split(), environment=folders)
    wide = shell.type(*command.split(), environment=folders | {"COLUMNS": "300"}).stdout
    narrow = shell.type(*command.split(), environment=folders | {"COLUMNS": str(width)}).stdout
    assert "split" in wide

    def words(text: str) -> set[str]:
        return {word for word in text.split() if word[0].isalnum()}

    assert words(wide) <= words(narrow)
