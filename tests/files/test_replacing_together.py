"""Files of a folder that appear together, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import LEFTOVER_S, replacing, replacing_together
from tests.support.privileges import modes_apply


def write(folder: Path, content: str) -> None:
    with replacing_together(folder, last="last") as temporary:
        for name in ("a", "last", "z"):
            (temporary / name).write_text(content)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with replacing_together(tmp_path / "x" / "out") as temporary:
        (temporary / "a").write_text("1")
        assert [path.name for path in (tmp_path / "x").iterdir()] == [temporary.name]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["out"]
    assert contents(tmp_path / "x" / "out") == {"a": "1"}


def test_a_folder_that_exists_keeps_its_other_files(tmp_path: Path) -> None:
    write(tmp_path, "1")
    (tmp_path / "other").write_text("mine")
    write(tmp_path, "2")
    assert contents(tmp_path) == {"a": "2", "last": "2", "z": "2", "other": "mine"}


def test_files_of_before_that_are_not_written_again_go_with_them(tmp_path: Path) -> None:
    write(tmp_path, "1")
    for name in ("optional", "other"):
        (tmp_path / name).write_text("1")
    with replacing_together(tmp_path, "last", ("optional", "not there", "a")) as temporary:
        (temporary / "a").write_text("2")
        (temporary / "last").write_text("2")
    assert contents(tmp_path) == {"a": "2", "last": "2", "z": "1", "other": "1"}


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(tmp_path / "out", "1")
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk").keys() == {"a", "last", "z"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of the block")], ids=repr)
def test_a_block_that_fails_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "out", "1")
    for folder in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(type(error)), replacing_together(folder) as temporary:
            (temporary / "a").write_text("2")
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert contents(tmp_path / "out") == {"a": "1", "last": "1", "z": "1"}


@pytest.mark.parametrize("moved", range(4))
def test_killed_while_files_move_there_are_none_of_before_beside_those_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    write(tmp_path, "1")
    rename, renamed = Path.rename, 0

    def killed(self: Path, target: Path) -> Path:
        nonlocal renamed
        if renamed == moved:
            raise KeyboardInterrupt
        renamed += 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    if moved == 3:
        write(tmp_path, "2")
    else:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, "2")
    assert contents(tmp_path) == dict.fromkeys(["a", "z", "last"][:moved], "2")


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = [tmp_path / name for name in (".out.0b.part", ".other.0b.part", ".out.part")]
    for path in (tmp_path / ".out.0a.part", *kept):
        path.mkdir()
        (path / "a").write_text("1")
        # The second one is being written.
        if path != kept[0]:
            long_ago = path.stat().st_mtime - LEFTOVER_S - 60
            os.utime(path, (long_ago, long_ago))
    write(out, "1")
    assert sorted(tmp_path.iterdir()) == sorted([out, *kept])


def test_a_full_disk_is_named_with_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(
            WorkRemains, match=r"out cannot be written \(No space left on device\): free"
        ),
        replacing_together(tmp_path / "out"),
        Path("/dev/full").open("w") as file,
    ):
        file.write("1")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space left on device") as error,
        replacing(tmp_path / "out"),
        Path("/dev/full").open("w") as file,
    ):
        file.write("1")
    assert error.value.filename == str(tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o555)
    for folder in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "mine"):
        with pytest.raises(BrainbrrError, match=f"^{folder} cannot be written"), modes_apply():
            write(folder, "1")


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "a link to it"])
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, linked: bool) -> None:
    """As root, a command that is given /dev/null would remove it from the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    with pytest.raises(BrainbrrError, match=f"^{path} is a pipe or a device"), replacing(path):
        pytest.fail("the block must not begin")
    assert pipe.is_fifo() and path.is_symlink() == linked


@pytest.mark.parametrize("below", ["file", "file/new", "link", "link/new"])
def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere")
    stands = tmp_path / below.partition("/")[0]
    with (
        pytest.raises(BrainbrrError, match=f"a link to nothing at {stands}, where a folder is n"),
        replacing_together(tmp_path / below),
    ):
        raise AssertionError("nothing can be written")
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "link").readlink() == Path("nowhere")
