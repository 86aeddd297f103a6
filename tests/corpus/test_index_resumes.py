"""An index that is interrupted, or meets a file that is still being copied, loses no hash."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus import sources as files_module
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files import state as state_module
from tests.support.process_group import Command, last_line


def hashed(monkeypatch: pytest.MonkeyPatch, growing: Path | None = None) -> list[Path]:
    """Paths of the EDFs that are hashed from now on; ``growing`` grows while it is hashed."""
    paths: list[Path] = []

    def counted(path: Path) -> state_module.Hashes:
        paths.append(path)
        if path == growing:
            with path.open("ab") as file:
                file.write(b"x")
        return state_module.edf_hashes(path)

    monkeypatch.setattr(files_module, "edf_hashes", counted)
    return paths


def test_an_edf_that_is_being_copied_is_left_out_and_named(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, said = tmp_path / "cache", list[str]()
    victim = sorted(corpus.rglob("*.edf"))[4]
    with monkeypatch.context() as patch:
        hashed(patch, growing=victim)
        index = update_index(str(corpus), cache, log=said.append)
    assert index.unsettled == (str(victim),)
    assert len(said) == 1
    assert str(victim) in said[0]
    assert len(index) == len(read_index(cache)) == 11
    # The others are hashed; only that one remains.
    paths = hashed(monkeypatch)
    index = update_index(str(corpus), cache)
    assert (paths, len(index), index.unsettled) == ([victim], 12, ())


def test_an_edf_that_is_being_replaced_keeps_its_row(
    settings: Configuration, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = settings.cache_root
    first = update_index(str(corpus), cache)
    victim = Path(first.recordings[2].path)
    os.utime(victim, ns=(0, 0))
    with monkeypatch.context() as patch:
        hashed(patch, growing=victim)
        plan = plan_corpus(settings)
    assert plan.index.unsettled == (str(victim),)
    assert plan.index.recordings == first.recordings
    summary = build(plan, settings.preprocessing, workers=1)
    assert [result.partition_key for result in summary.failed] == [
        first.recordings[2].partition_key
    ]
    assert "changed since it was indexed" in summary.failed[0].error


def test_an_index_that_is_refused_keeps_its_hashes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    edfs = sorted(corpus.rglob("*.edf"))
    update_index(str(corpus), cache)
    for edf in edfs[:4]:
        os.utime(edf, ns=(0, 0))
    for edf in edfs[4:6]:
        edf.rename(edf.with_suffix(".away"))
        edf.symlink_to("nowhere")
    paths = hashed(monkeypatch)
    for _ in range(2):
        with pytest.raises(BrainbrrError, match="2 of 12 indexed recordings cannot be read"):
            update_index(str(corpus), cache)
    assert sorted(paths) == edfs[:4]


def test_an_interrupted_index_resumes_where_it_stopped(
    settings: Configuration, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sparse files, too large to be hashed in any reasonable time.
    endless = [corpus / "edf" / "train" / "zz" / "s1" / "m" / f"zz_s1_t{n}.edf" for n in range(40)]
    endless[0].parent.mkdir(parents=True)
    for path in endless:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    memo = settings.cache_root / "index-hashes.jsonl"
    command = Command(tmp_path, "index")
    command.when(lambda: memo.is_file() and len(memo.read_bytes().splitlines()) == 12)
    command.ctrl_c()
    status, said = command.ended()
    assert status == 130
    assert re.fullmatch(
        r"brainbrr: stopped: \d+ of 52 recordings are indexed, \d+ remain; run the same command "
        r"again: the 12 EDFs hashed so far are not hashed again",
        last_line(said),
    )
    assert not index_path(settings.cache_root).exists()
    for path in endless:
        path.unlink()
    paths = hashed(monkeypatch)
    assert len(update_index(str(corpus), settings.cache_root)) == 12
    assert paths == []
    assert not memo.exists()


def test_a_line_of_the_memo_that_was_cut_short_costs_one_hash(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = update_index(str(corpus), tmp_path / "whole")
    cache = tmp_path / "cache"
    cache.mkdir()
    lines = [
        json.dumps(
            {
                "path": r.path,
                "size": r.state.size,
                "mark": r.state.mtime_ns,
                "inode": r.state.inode,
                "hash": r.content_hash,
                "data": r.data_hash,
            }
        )
        for r in whole
    ]
    (cache / "index-hashes.jsonl").write_text("\n".join(["[]", *lines])[:-30])
    paths = hashed(monkeypatch)
    assert update_index(str(corpus), cache) == whole
    assert paths == [Path(whole.recordings[-1].path)]


#: ``brainbrr index --json`` while the EDF of a name grows.
GROWING = """\
import sys
from brainbrr_core.cli.app import main
from brainbrr_core.corpus import sources

real, name = sources.edf_hashes, sys.argv[1]

def growing(path):
    if path.name == name:
        with path.open("ab") as file:
            file.write(b"x")
    return real(path)

sources.edf_hashes = growing
sys.argv = ["brainbrr", "index", "--json"]
main()
"""


def test_an_index_that_left_an_edf_out_exits_with_1(
    settings: Configuration, corpus: Path, tmp_path: Path
) -> None:
    victim = sorted(corpus.rglob("*.edf"))[0]
    environment = {**os.environ, "BRAINBRR_CONFIG": f"smoke:cpu:{tmp_path / 'small.yaml'}"}
    done = subprocess.run(
        [sys.executable, "-c", GROWING, victim.name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["found"], found["unsettled"]) == (11, [str(victim)])
    assert str(victim) in done.stderr
    assert len(read_index(settings.cache_root)) == 11
