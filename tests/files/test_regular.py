"""Files of a user's folder: their text, whatever wrote them, and what is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brainbrr_core.files.regular import read_bytes, read_text
from tests.support.project import ROOT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_text_is_without_mark_and_carriage_returns(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = tmp_path / "table.tsv"
    path.write_bytes(f"{mark}age\té\r\n1\r2\n".encode(encoding))
    assert read_text(path) == "age\té\n1\n2\n"
    assert read_bytes(path) == path.read_bytes()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        for read in (read_bytes, read_text):
            with pytest.raises(OSError, match="not a file") as refused:
                read(path)
            assert refused.value.filename == str(path)


def test_nothing_of_a_corpus_is_read_in_another_way() -> None:
    folders = ("annotation", "corpus/layouts")
    modules = [path for name in folders for path in (ROOT / "brainbrr_core" / name).glob("*.py")]
    assert len(modules) > 20
    for path in modules:
        text = path.read_text()
        assert not any(call in text for call in (".read_text(", ".read_bytes(", ".open(")), path
