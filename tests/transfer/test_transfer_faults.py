"""Places that are open, servers that ignore conditions, hostile archives, and interruptions."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import re
import shutil
import signal
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from brainbrr_core import locking
from brainbrr_core.cache.store import Store
from brainbrr_core.cli import app as app_module
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote import connect as connect_module
from brainbrr_core.remote import retry
from brainbrr_core.remote.address import normalize_address
from brainbrr_core.remote.any_fsspec import FsspecRemote
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.remote.interface import Document, Stopped
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer import archive as archive_module
from brainbrr_core.transfer import public_access as exposure_module
from brainbrr_core.transfer import push_lock
from brainbrr_core.transfer.catalog import parse_catalog
from brainbrr_core.transfer.parallel import run_parallel
from brainbrr_core.transfer.push_lock import exclusive_push
from tests.support.examples import examples
from tests.support.machines import (
    URL,
    export_to,
    import_from,
    machine,
    pull_from,
    push_to,
    quiet,
    stored_shards,
    with_all_recordings,
    with_recordings,
    write_shards,
)
from tests.support.object_store import BUCKET, FaultyProxy
from tests.support.services import HANGS_S, wait_until


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A machine with four shards of 100 kB, which the tests only read."""
    place = tmp_path_factory.mktemp("small")
    settings = load(Overrides(config="full:cpu", cache_root=str(place / "x")), {})
    made = machine(with_all_recordings(settings), place)
    write_shards(made, 4)
    return made


def beside(small: Configuration, place: Path) -> Configuration:
    """Another machine, without a cache."""
    return machine(small, place)


# --- the first push to a bucket that strangers can read


def policy(*actions: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": list(actions),
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def settings_unseen(_method: str, path: str) -> str:
    return "denied" if "?acl" in path or "?policy" in path else ""


@pytest.fixture
def opened(s3: FaultyProxy) -> Iterator[Callable[..., None]]:
    """Let strangers do something with the bucket, until the test ends."""
    remote = S3Remote(URL)

    def allow(*actions: str, seen: bool) -> None:
        remote.request("put_bucket_policy", Policy=policy(*actions))
        s3.listable = "s3:ListBucket" in actions
        s3.rule = s3.rule if seen else settings_unseen

    yield allow
    s3.calm()
    remote.request("delete_bucket_policy")


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:ListBucket"])
def test_the_first_push_to_a_bucket_that_strangers_can_read_is_refused(
    small: Configuration, s3: FaultyProxy, opened: Callable[..., None], action: str, seen: bool
) -> None:
    opened(action, seen=seen)
    with pytest.raises(BrainbrrError, match="can be read by anyone") as raised:
        push_to(small)
    assert "\n" not in str(raised.value)
    assert "make the bucket private, or, for your own data, add --force" in str(raised.value)
    if action == "s3:GetObject":
        assert "a request without credentials can read it" in str(raised.value)
    # Nothing of the corpus was sent, and what was sent is gone.
    written = [path for method, path in s3.requests if method == "PUT" and "?policy" not in path]
    assert len(written) == 1
    assert "/probe-" in written[0]
    assert S3Remote(URL).states("") == {}


def test_what_tries_out_a_bucket_holds_nothing_and_goes_before_a_shard_comes(
    small: Configuration, s3: FaultyProxy
) -> None:
    push_to(small)
    (probe,) = {path for _, path in s3.requests if "/probe-" in path}
    last = max(n for n, (_, path) in enumerate(s3.requests) if path == probe)
    assert s3.requests[last][0] == "DELETE"
    first_object = next(n for n, (_, path) in enumerate(s3.requests) if "/objects/" in path)
    assert last < first_object
    assert b"probe-" not in exposure_module.PROBE
    assert len(S3Remote(URL).states("")) == 4 + 2
    # Another one has another name.
    s3.calm()
    push_to(small)
    assert {path for _, path in s3.requests if "/probe-" in path}.isdisjoint({probe})


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("ending", [KeyboardInterrupt, WorkRemains("no answer"), SystemExit(1)])
def test_what_tries_out_a_bucket_is_removed_however_the_check_ends(
    small: Configuration, monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    def end(*_: object) -> None:
        raise ending

    monkeypatch.setattr(exposure_module, "examine_access", end)
    with pytest.raises((KeyboardInterrupt, WorkRemains, SystemExit)):
        push_to(small)
    assert S3Remote(URL).states("") == {}


def test_who_may_not_remove_objects_may_push(small: Configuration, s3: FaultyProxy) -> None:
    s3.rule = lambda method, _path: "denied" if method == "DELETE" else ""
    said: list[str] = []
    assert push_to(small, open_remote(URL), log=said.append).moved == 4
    (left,) = [name for name in S3Remote(URL).states("") if "/probe-" in name]
    assert any(f"{URL}/{left} could not be removed" in line for line in said)


def test_no_answer_to_a_stranger_is_not_taken_for_a_refusal(
    small: Configuration, s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = S3Remote(URL, anonymous=True)

    def away(remote: S3Remote, name: str, start: int, stop: int) -> bytes:
        if remote._files.anon:
            return stranger.call(lambda: (_ for _ in ()).throw(ConnectionError("no route")))
        return read(remote, name, start, stop)

    read = S3Remote.read
    monkeypatch.setattr(S3Remote, "read", away)
    with pytest.raises(WorkRemains, match="no route"):
        push_to(small)
    assert s3.objects("PUT") == []
    assert S3Remote(URL).states("") == {}


# --- servers that ignore conditions


def halves(small: Configuration, tmp_path: Path) -> list[Configuration]:
    """Two machines with the same index, each with half of the shards."""
    keys = sorted(stored_shards(small))
    made = []
    for number in range(2):
        half = machine(small, tmp_path / f"half{number}")
        shutil.copytree(small.cache_root, half.cache_root, symlinks=True)
        for key in keys[number::2]:
            Store.of(half).shard_path(key).unlink()
        made.append(half)
    return made


class Meeting:
    """Holds the first that replaces a document until the second wants to, or waits for the lock."""

    def __init__(self, waits: Callable[[], bool]) -> None:
        self._waits = waits
        self._lock = threading.Lock()
        self._arrived = 0

    def wait(self) -> None:
        with self._lock:
            self._arrived += 1
        wait_until(
            "the second comes",
            lambda: self._arrived >= 2 or self._waits(),
            seconds=HANGS_S,
            every=0.01,
        )


def pushed_at_once(
    machines: list[Configuration], remotes: list[Any], waiting: list[str]
) -> list[str]:
    """Push from all, each of which is held at its catalog until the other is there, too."""
    meeting = Meeting(lambda: bool(waiting))
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        if line.startswith("waiting for another push"):
            waiting.append(line)

    def held(remote: Any) -> Any:
        replace_document = remote.replace

        def replacing(name: str, data: bytes, known: Document | None) -> bool:
            if name.endswith("catalogue.json"):
                meeting.wait()
            return bool(replace_document(name, data, known))

        remote.replace = replacing
        return remote

    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(push_to, one, held(remote), log=log)
            for one, remote in zip(machines, remotes, strict=True)
        ]
        for one in both:
            one.result()
    return said


@pytest.mark.parametrize("how", ["ignored", "refused"])
def test_two_that_push_to_a_server_without_conditions_lose_nothing(
    small: Configuration,
    tmp_path: Path,
    s3: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    s3.unconditional = how
    said = pushed_at_once(halves(small, tmp_path), [S3Remote(URL), S3Remote(URL)], [])
    assert any("has no conditional writes" in line for line in said)
    other = beside(small, tmp_path / "other")
    assert pull_from(other).moved == 4
    assert stored_shards(other) == stored_shards(small)
    # The locks are gone.
    assert len(S3Remote(URL).states("")) == 4 + 2


def test_a_server_that_heeds_conditions_needs_no_lock(
    small: Configuration, s3: FaultyProxy
) -> None:
    said: list[str] = []
    push_to(small, open_remote(URL), log=said.append)
    assert not any("conditional" in line for line in said)
    assert not any(f"/{push_lock.FOLDER}/" in path for _, path in s3.requests)


def test_two_that_push_to_a_folder_or_by_fsspec_lose_nothing(
    small: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has locks, or not (Lustre, some CIFS and NFS); fsspec offers nothing."""
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    import fsspec

    fsspec.filesystem("memory").store.clear()
    lockless = SimpleNamespace(flock=refuse, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    cases: list[tuple[str, type[FolderRemote | FsspecRemote], Any]] = [
        (str(tmp_path / "share"), FolderRemote, fcntl),
        (str(tmp_path / "lockless"), FolderRemote, lockless),
        ("memory://place/brainbrr", FsspecRemote, fcntl),
    ]
    for number, (url, kind, locks) in enumerate(cases):
        monkeypatch.setattr(locking, "fcntl", locks)
        machines = halves(small, tmp_path / f"case{number}")
        pushed_at_once(machines, [kind(url), kind(url)], [])
        other = beside(small, tmp_path / f"case{number}" / "other")
        assert pull_from(other, url).moved == 4
        assert stored_shards(other) == stored_shards(small)


def test_the_lock_of_a_push_that_died_is_taken_over_and_said(
    small: Configuration, s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    monkeypatch.setattr(push_lock, "STALE_S", 0.1)
    s3.unconditional = "ignored"
    remote = S3Remote(URL)
    dead = f"{Store.of(small).version}/{push_lock.FOLDER}/0123"
    connect_module.put_bytes(remote, dead, b'{"host": "node7", "process": 4321}')
    said: list[str] = []
    assert push_to(small, remote, log=said.append).moved == 4
    (line,) = [line for line in said if "is presumed dead" in line]
    assert "process 4321 on 'node7'" in line
    assert dead not in remote.states("")
    # What is no lock of this program does not stand in the way for good, either.
    connect_module.put_bytes(remote, dead, b"\xff\x00")
    push_to(small, remote, log=said.append)
    assert any("by another program has not renewed its lock" in line for line in said)


def test_who_lives_keeps_the_lock_and_who_lost_it_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    monkeypatch.setattr(push_lock, "PAUSE_LIMIT_S", 0.02)
    monkeypatch.setattr(push_lock, "RENEWAL_S", 0.02)
    monkeypatch.setattr(push_lock, "STALE_S", 1.0)
    remote = FolderRemote(str(tmp_path))
    put, beats, enough = remote.put, count(1), threading.Event()

    def counted(name: str, path: Path) -> None:
        put(name, path)
        # Far longer than the dead are waited for.
        if next(beats) >= 150:
            enough.set()

    monkeypatch.setattr(remote, "put", counted)
    waits, order = threading.Event(), []

    def second() -> None:
        def log(line: str) -> None:
            assert "dead" not in line
            waits.set()

        with exclusive_push(FolderRemote(str(tmp_path)), "v1", log):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with exclusive_push(remote, "v1", quiet) as still_alone:
            waiting = pool.submit(second)
            assert waits.wait(120)
            assert enough.wait(120)
            assert still_alone()
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    with exclusive_push(remote, "v1", quiet) as still_alone:
        for name in remote.states("v1"):
            remote.remove(name)
        assert not still_alone()
    assert remote.states("") == {}


# --- keys that could not be pulled


@pytest.mark.parametrize("name", ["._x", "a\u0085b", ".hidden/x"])
def test_an_index_that_could_not_be_pulled_is_not_sent(
    small: Configuration, tmp_path: Path, name: str
) -> None:
    own = machine(small, tmp_path / "own")
    shutil.copytree(small.cache_root, own.cache_root, symlinks=True)
    index = read_index(own.cache_root)
    key = f"train/p0000000/{name}"
    odd = replace(index.recordings[0], partition_key=key, signal_reason="no EDF")
    rows = sorted([*index.recordings, odd], key=lambda row: row.partition_key)
    write_index(type(index)(tuple(rows), index.layout), own.cache_root)
    for send in (
        lambda: push_to(own, str(tmp_path / "share")),
        lambda: export_to(own, tmp_path / "archive.tar.zst"),
    ):
        with pytest.raises(BrainbrrError, match="is not a partition key") as raised:
            send()
        assert repr(key) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "share").exists()
    assert not (tmp_path / "archive.tar.zst").exists()


# --- hostile archives


@pytest.fixture(scope="module")
def exported(small: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "good.tar.zst"
    export_to(small, path)
    return path


def unpacked(path: Path) -> bytes:
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        return bytes(stream.read())


def packed(path: Path, data: bytes) -> Path:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)
    return path


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


#: A header that Python's own reader takes into memory whole.
GREEDY = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]


@pytest.mark.parametrize("where", ["first", "among the shards"])
@pytest.mark.parametrize("kind", GREEDY)
def test_a_large_header_is_refused_before_it_is_read(
    small: Configuration, tmp_path: Path, exported: Path, kind: bytes, where: str
) -> None:
    """Of 200 MB of zeros, which are some kB of zstd; the catalog promises shards of as much."""
    large = 200 * 2**20
    good = unpacked(exported)
    catalogue_size = 512 + int(good[124:136].rstrip(b"\0 "), 8)
    head, start = b"", good[: catalogue_size + -catalogue_size % 512]
    if where == "among the shards":
        values = json.loads(start[512:catalogue_size])
        for row in values["shards"].values():
            row[1] = large
        text = json.dumps(values).encode()
        head = header("catalogue.json", tarfile.REGTYPE, len(text)) + text
        head += bytes(-len(head) % 512)
        head += good[len(start) : len(start) + 512]
        size = int(good[len(start) + 124 : len(start) + 136].rstrip(b"\0 "), 8)
        head += good[len(start) + 512 :][: size + -size % 512]
    path = tmp_path / "bomb.tar.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(head + header("././@Header", kind, large))
        for _ in range(large // 2**20):
            stream.write(bytes(2**20))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BrainbrrError, match=r"(is|are) refused") as raised:
            import_from(beside(small, tmp_path), path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 2
    assert peak < 20e6


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",', b"0,", b"[[", b'{"a":'])
def test_a_catalogue_that_would_fill_the_memory_is_none(piece: bytes) -> None:
    content = b"[" + piece * (10 * 2**20 // len(piece)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(BrainbrrError, match="is not a catalog"):
            parse_catalog(content, None, "it")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_names_and_sizes_of_extended_headers_are_read(
    small: Configuration, tmp_path: Path, exported: Path
) -> None:
    """As another program's tar writes them: a long name, and records that mean nothing here."""
    path = tmp_path / "extended.tar.zst"
    with (
        tarfile.open(fileobj=io.BytesIO(unpacked(exported))) as source,
        pa.CompressedOutputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in source:
            # Written as an extended header with a time that no plain header holds.
            member.mtime = 1234567890.5
            target.addfile(member, source.extractfile(member))
    other = beside(small, tmp_path)
    assert import_from(other, path).moved == 4
    assert stored_shards(other) == stored_shards(small)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few bytes flipped, overwritten, cut out, doubled or cut off, mostly near the start."""
    place = draw(st.floats(0, 1)) ** draw(st.sampled_from([1, 4, 12]))
    kind = draw(st.sampled_from(["flip", "write", "cut", "double", "end"]))
    size = draw(st.sampled_from([1, 2, 12, 512, 1024]))
    value = draw(st.binary(min_size=1, max_size=16))

    def mutated(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ (value[0] or 1)]) + data[at + 1 :]
        if kind == "write":
            return data[:at] + value + data[at + len(value) :]
        if kind == "cut":
            return data[:at] + data[at + size :]
        if kind == "double":
            return data[: at + size] + data[at:]
        return data[:at]

    return mutated


@examples(120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutate=mutations(), inside=st.booleans())
def test_whatever_becomes_of_an_archive_its_import_is_right_or_one_line(
    small: Configuration,
    exported: Path,
    tmp_path_factory: pytest.TempPathFactory,
    mutate: Callable[[bytes], bytes],
    inside: bool,
) -> None:
    place = tmp_path_factory.mktemp("mutated")
    path = place / "mutated.tar.zst"
    if inside:
        packed(path, mutate(unpacked(exported)))
    else:
        path.write_bytes(mutate(exported.read_bytes()))
    other, whole = beside(small, place), stored_shards(small)
    try:
        outcome = import_from(other, path)
    except BrainbrrError as error:
        assert "\n" not in str(error)
    else:
        assert outcome.moved + len(outcome.failed) + len(outcome.absent) == len(whole)
        assert outcome.moved == len(stored_shards(other))
    assert stored_shards(other).items() <= whole.items()
    assert not list(other.cache_root.rglob("*.partial"))


# --- addresses


BRACKETS = ["s3://[bucket]/x", "s3://[::1/x", "s3://]/x", "memory://[x/y", "file://[x]/y"]


@pytest.mark.parametrize(
    "address", [*BRACKETS, "s3://buc\nket/x", "a\0b", "~nobody-of-this-name/x", "file://host/x"]
)
def test_a_malformed_address_is_one_line_and_status_2(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["brainbrr", "cache", "pull", address])
    with pytest.raises(SystemExit) as raised:
        app_module.main()
    said = capsys.readouterr()
    assert raised.value.code == 2
    assert said.out == ""
    assert said.err.startswith("brainbrr: ")
    assert said.err.count("\n") == 1


PARTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("s3", "s3a", "S3", "file", "memory", "nosuch", "://", ":", "/", "//", "::"),
                *("[", "]", "@", "?", "#", "%", "%00", "..", ".", "~", "~x", "bucket", "99999"),
                *("\n", "\t", "\0", "\u2028", "\\", " ", "é", "\ud800"),
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=9,
).map("".join)


@examples(400)
@given(address=PARTS)
@example(address="~\ud800")
def test_any_text_is_an_address_or_one_line(address: str) -> None:
    try:
        checked = normalize_address(address)
        remote = open_remote(address)
    except BrainbrrError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert len(checked.splitlines()) == 1
    assert len(remote.address.splitlines()) == 1


@examples(200)
@given(address=PARTS)
@pytest.mark.parametrize("key", ["cache_root", "runs_dir"])
def test_a_folder_that_is_an_address_is_one_line(key: str, address: str) -> None:
    with pytest.raises(BrainbrrError) as raised:
        load(Overrides(**{key: f"s3://{address}"}), {})
    assert len(str(raised.value).splitlines()) == 1


# --- interrupted


def interrupted_at(s3: FaultyProxy, method: str, number: int) -> None:
    """Ctrl+C at that object; it and every later one get no answer."""
    asked = count(1)

    def rule(verb: str, path: str) -> str:
        if verb != method or "/objects/" not in path or "list-type" in path:
            return ""
        place = next(asked)
        if place == number:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return "hang" if place >= number else ""

    s3.rule = rule


@pytest.mark.parametrize("command", ["push", "pull"])
def test_an_interrupted_transfer_ends_at_once_and_is_gone_on_with(
    small: Configuration,
    tmp_path: Path,
    s3: FaultyProxy,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """No request that hangs is waited for, and none is begun after it."""
    other = beside(small, tmp_path)
    if command == "pull":
        push_to(small)
        s3.calm()
    # Whoever waits for an answer waits for 30 s, and tries again seven times.
    ending = threading.Timer(120, s3.released.set)
    ending.daemon = True
    ending.start()
    # The second object that a pull asks for is a shard; the first is the index.
    interrupted_at(s3, "PUT" if command == "push" else "GET", 2)
    run = (lambda: push_to(small, transfers=2)) if command == "push" else lambda: pull_from(other)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        run()
    assert not s3.released.is_set()
    # The line that the command ends with, and no other.
    (note,) = interrupted.value.__notes__
    assert re.fullmatch(rf"{command}: \d+ of \d+ objects are done and kept: .*", note)
    assert command not in capsys.readouterr().err
    ending.cancel()
    s3.released.set()
    s3.calm()
    assert not list(other.cache_root.rglob("*.partial"))
    assert stored_shards(other).items() <= stored_shards(small).items()
    push_to(small)
    pull_from(other)
    assert stored_shards(other) == stored_shards(small)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("url", ["folder", URL, "memory://place/stopping"])
def test_a_place_that_is_stopped_begins_nothing_until_it_goes_on(tmp_path: Path, url: str) -> None:
    remote = open_remote(str(tmp_path / "share") if url == "folder" else url)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with remote.stopping(), pytest.raises(Stopped):
        remote.put("a", path)
    assert remote.states("") == {}
    assert not list((tmp_path / "share").rglob("*.part"))
    remote.put("a", path)
    assert remote.read("a", 0, 7) == b"content"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_work_goes_on_after_an_interruption_at_any_moment(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A pool does not wait for a thread in whose very start the interruption falls."""
    start, starts = threading.Thread.start, count(1)

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if next(starts) == number:
            raise KeyboardInterrupt

    stopped = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def work(job: int) -> None:
        begun.append(job)
        assert stopped.wait(120)
        # It takes a while to put away what is half done.
        threading.Event().wait(0.2)
        ended.append(job)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_parallel("work", range(9), work, lambda _job: 1, 3, lambda: retry.set_during(stopped))
    assert len(begun) <= number
    assert sorted(begun) == sorted(ended)


def test_an_interrupted_export_and_import_leave_nothing_torn(
    small: Configuration, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def __init__(self) -> None:
            self.calls = 0

        def advance(self, *_: object) -> None:
            self.calls += 1
            if self.calls == 2:
                signal.raise_signal(signal.SIGINT)

        def __enter__(self) -> Interrupting:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(archive_module, "progress", lambda *_: Interrupting())
    other, path = beside(small, tmp_path), tmp_path / "out" / "archive.tar.zst"
    with pytest.raises(KeyboardInterrupt):
        export_to(small, path)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        import_from(other, exported)
    assert stored_shards(other).items() <= stored_shards(small).items()
    assert not list(other.cache_root.rglob("*.partial"))
    monkeypatch.undo()
    export_to(small, path)
    assert path.read_bytes() == exported.read_bytes()
    import_from(other, path)
    assert stored_shards(other) == stored_shards(small)


def test_a_small_profile_of_a_large_archive_is_taken(
    small: Configuration, tmp_path: Path, exported: Path
) -> None:
    """What is not wanted is passed over without being taken into memory."""
    other = with_recordings(beside(small, tmp_path), 1)
    assert import_from(other, exported).moved == 1
