"""One cache on several machines: what arrives is what was sent, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import index_path, read_index, write_index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.remote.interface import Document, ObjectState, Remote
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer import remote_copy
from tests.support.machines import (
    URL,
    export_to,
    machine,
    portable_rows,
    pull_from,
    push_to,
    stored_shards,
    with_recordings,
)
from tests.support.object_store import FaultyProxy


@pytest.fixture(params=["s3", "folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return URL
    if request.param == "memory":
        import fsspec

        fsspec.filesystem("memory").store.clear()
        return "memory://place/brainbrr"
    return f"file://{tmp_path / 'share'}"


def test_what_is_pulled_is_what_was_pushed_and_plans_without_edfs(
    built: Configuration, other: Configuration, url: str
) -> None:
    pushed = push_to(built, url)
    assert (pushed.moved, pushed.skipped, pushed.index) == (12, 0, "sent")
    pulled = pull_from(other, url)
    assert (pulled.moved, pulled.verified, pulled.failed, pulled.absent) == (12, 12, {}, {})
    assert stored_shards(other) == stored_shards(built)
    assert pulled.bytes == sum(map(len, stored_shards(built).values()))
    assert portable_rows(other) == portable_rows(built)
    plan = plan_profile(other)
    assert (plan.count(State.FRESH), plan.sources_unseen) == (12, 12)
    assert verify(plan.store).damaged == {}
    made = update_manifest(plan, other.manifest_settings).manifest
    assert (
        made.source == update_manifest(plan_profile(built), built.manifest_settings).manifest.source
    )
    # The second time there is nothing to do, on either side.
    assert (push_to(built, url).moved, pull_from(other, url).moved) == (0, 0)
    assert (push_to(built, url).index, pull_from(other, url).skipped) == ("unchanged", 12)


def test_objects_are_named_by_their_bytes_and_the_catalog_is_written_last(
    built: Configuration, s3: FaultyProxy
) -> None:
    push_to(built)
    names = {blake3(data).hexdigest() for data in stored_shards(built).values()}
    written = [path for method, path in s3.requests if method == "PUT" and "/probe-" not in path]
    assert names <= set(s3.objects("PUT"))
    assert written[-1].endswith("catalogue.json")
    assert len(written) == len(names) + 2
    catalog = open_remote(URL).document(f"{Store.of(built).version}/catalogue.json")
    assert catalog is not None
    listed = json.loads(catalog.content)["shards"]
    assert {key: row[:2] for key, row in listed.items()} == {
        key: [blake3(data).hexdigest(), len(data)] for key, data in stored_shards(built).items()
    }


def test_nothing_of_the_machine_that_pushed_travels(built: Configuration, tmp_path: Path) -> None:
    share = tmp_path / "share"
    push_to(built, str(share))
    place = str(tmp_path.parent).encode()
    for path in share.rglob("*"):
        if path.is_file() and path.stat().st_size < 10**6:
            assert place not in path.read_bytes()
    # Two machines with the same corpus send the same bytes.
    again = machine(built, tmp_path / "again")
    pull_from(again, str(share))
    before = {path: path.read_bytes() for path in share.rglob("*") if path.is_file()}
    assert (push_to(again, str(share)).moved, push_to(built, str(share)).index) == (0, "unchanged")
    assert {path: path.read_bytes() for path in share.rglob("*") if path.is_file()} == before


def test_a_smaller_profile_takes_its_shards_and_a_larger_one_the_rest(
    built: Configuration, other: Configuration, s3: FaultyProxy
) -> None:
    assert push_to(with_recordings(built, 4)).moved == 4
    assert push_to(built).moved == 8
    s3.calm()
    small = pull_from(with_recordings(other, 4))
    assert (small.moved, len(stored_shards(other))) == (4, 4)
    rest = pull_from(other)
    assert (rest.moved, rest.skipped) == (8, 4)
    assert stored_shards(other) == stored_shards(built)
    shards = {blake3(data).hexdigest() for data in stored_shards(built).values()}
    assert sorted(name for name in s3.objects("GET") if name in shards) == sorted(shards)


def test_what_was_never_pushed_is_named(built: Configuration, other: Configuration) -> None:
    share = str(other.cache_root.parent / "share")
    with pytest.raises(WorkRemains, match="brainbrr cache push"):
        pull_from(other, share)
    push_to(with_recordings(built, 4), share)
    pulled = pull_from(other, share)
    assert (pulled.moved, set(pulled.absent.values())) == (4, {"not pushed yet"})
    assert len(pulled.absent) == 8


def test_what_is_not_fresh_is_not_pushed(built: Configuration, tmp_path: Path) -> None:
    store = Store.of(built)
    victim = sorted(store.shard_keys())[3]
    store.shard_path(victim).unlink()
    pushed = push_to(built, str(tmp_path / "share"))
    assert (pushed.moved, pushed.absent) == (11, {victim: "missing here: not built"})


def test_a_shard_that_rots_unseen_is_not_pushed(built: Configuration, tmp_path: Path) -> None:
    store = Store.of(built)
    victim = store.shard_path(sorted(store.shard_keys())[3])
    times = victim.stat()
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    with victim.open("r+b") as file:
        file.write(data)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(WorkRemains, match="brainbrr cache verify"):
        push_to(built, str(tmp_path / "share"))
    assert not list((tmp_path / "share").rglob("catalogue.json"))


@pytest.mark.parametrize("fault", ["500", "slowdown", "cut", "slow", "lost"])
def test_faults_on_the_way_are_overcome(
    built: Configuration, other: Configuration, s3: FaultyProxy, fault: str
) -> None:
    """One request in three meets the fault."""
    rng = random.Random(3)
    s3.rule = lambda _method, _path: fault if rng.random() < 1 / 3 else ""
    assert push_to(built).moved == 12
    assert pull_from(other).moved == 12
    assert stored_shards(other) == stored_shards(built)


def test_a_place_that_stays_away_is_one_line_and_what_was_moved_stays(
    built: Configuration, other: Configuration, s3: FaultyProxy
) -> None:
    push_to(built)
    s3.calm()
    shards = {blake3(data).hexdigest() for data in stored_shards(built).values()}
    served: set[str] = set()

    def after_five(_method: str, path: str) -> str:
        name = path.rpartition("/")[2]
        if name in shards and len(served | {name}) > 5:
            return "500"
        served.add(name)
        return ""

    s3.rule = after_five
    with pytest.raises(WorkRemains, match="run the same command again") as raised:
        pull_from(other, transfers=2)
    assert "\n" not in str(raised.value)
    whole = {blake3(data).hexdigest() for data in stored_shards(other).values()}
    assert whole
    s3.calm()
    assert pull_from(other).moved == 12 - len(whole)
    # Nothing that was whole was fetched twice.
    assert whole.isdisjoint(s3.objects("GET"))
    assert stored_shards(other) == stored_shards(built)


def test_bytes_changed_on_the_way_are_fetched_again(
    built: Configuration, other: Configuration, s3: FaultyProxy
) -> None:
    push_to(built)
    s3.calm()
    seen: set[str] = set()

    def once(_method: str, path: str) -> str:
        if "/objects/" not in path or path in seen or path.endswith(index_hash):
            return ""
        seen.add(path)
        return "damage"

    document = open_remote(URL).document(f"{Store.of(built).version}/catalogue.json")
    assert document is not None
    index_hash = json.loads(document.content)["index"][0]
    s3.rule = once
    assert pull_from(other).moved == 12
    shards = [blake3(data).hexdigest() for data in stored_shards(built).values()]
    assert sorted(set(s3.objects("GET")) - {index_hash}) == sorted(shards)
    assert all(s3.objects("GET").count(name) == 2 for name in shards)
    assert stored_shards(other) == stored_shards(built)


def test_damage_that_the_protocol_does_not_see_is_fetched_again(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)

    class Flaky(FolderRemote):
        def read(self, name: str, start: int, stop: int) -> bytes:
            data = super().read(name, start, stop)
            if name in seen:
                return data
            seen.add(name)
            return data if stop < 10**5 else bytes([data[0] ^ 1]) + data[1:]

    seen: set[str] = set()
    said: list[str] = []
    assert pull_from(other, Flaky(share), log=said.append).moved == 12
    again = [line for line in said if "does not match its checksum), fetching it again" in line]
    assert {line.partition(":")[0] for line in again} == set(stored_shards(built))
    assert stored_shards(other) == stored_shards(built)


def damage(remote: Remote, name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(data)
    remote.put(name, path)


@pytest.mark.parametrize("how", ["flipped", "cut", "foreign", "empty"])
def test_a_damaged_or_foreign_object_is_refused_named_and_mended(
    built: Configuration, other: Configuration, tmp_path: Path, how: str
) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)
    everything = stored_shards(built)
    keys = sorted(everything)
    data = everything[keys[2]]
    name = blake3(data).hexdigest()
    damaged = {
        "flipped": data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        "cut": data[:-1],
        "foreign": everything[keys[5]],
        "empty": b"",
    }[how]
    place = f"{Store.of(built).version}/objects/{name[:2]}/{name}"
    damage(open_remote(share), place, damaged, tmp_path)
    pulled = pull_from(other, share)
    assert list(pulled.failed) == [keys[2]]
    assert "push --repair" in pulled.failed[keys[2]]
    assert set(stored_shards(other)) == set(keys) - {keys[2]}
    assert push_to(built, share, repair=True).moved == 1
    assert pull_from(other, share).moved == 1
    assert stored_shards(other) == everything


def test_a_catalog_that_lies_about_a_shard_puts_nothing_in_the_store(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    """Right hashes, but the shards of two recordings exchanged."""
    share = tmp_path / "share"
    push_to(built, str(share))
    path = share / Store.of(built).version / "catalogue.json"
    values = json.loads(path.read_text())
    first, second = sorted(values["shards"])[:2]
    rows = values["shards"]
    rows[first][:2], rows[second][:2] = rows[second][:2], rows[first][:2]
    path.write_text(json.dumps(values))
    pulled = pull_from(other, str(share))
    assert set(pulled.failed) == {first, second}
    assert set(stored_shards(other)) == set(stored_shards(built)) - {first, second}


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v["shards"].update({"../../escape": next(iter(v["shards"].values()))}),
        lambda v: v["shards"].update({"/etc/x": next(iter(v["shards"].values()))}),
        lambda v: v["shards"].update({"train/.hidden": next(iter(v["shards"].values()))}),
        lambda v: v["index"].__setitem__(0, "../../../etc/passwd"),
        lambda v: v["index"].__setitem__(1, -1),
        lambda v: v.pop("index"),
        lambda v: v.update(schema=2),
        lambda v: v.update(version="v1_other"),
        lambda v: v.update(shards=[]),
    ],
)
def test_a_catalog_that_is_none_is_refused(
    built: Configuration, other: Configuration, tmp_path: Path, edit: Any
) -> None:
    share = tmp_path / "share"
    push_to(with_recordings(built, 2), str(share))
    path = share / Store.of(built).version / "catalogue.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(BrainbrrError, match=r"catalogue\.json is"):
        pull_from(other, str(share))
    assert not other.cache_root.exists()


@pytest.mark.usefixtures("s3")
def test_two_that_push_at_once_lose_nothing(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    """Each has half of the shards; both read the catalog before either writes it."""
    keys = sorted(stored_shards(built))
    halves = []
    for number in range(2):
        half = machine(built, tmp_path / f"half{number}")
        shutil.copytree(built.cache_root, half.cache_root, symlinks=True)
        for key in keys[number::2]:
            Store.of(half).shard_path(key).unlink()
        halves.append(half)
    barrier = threading.Barrier(2)
    waited: set[int] = set()

    class Meeting(S3Remote):
        def replace(self, name: str, content: bytes, known: Document | None) -> bool:
            if threading.get_ident() not in waited:
                waited.add(threading.get_ident())
                barrier.wait(30)
            return super().replace(name, content, known)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(push_to, half, Meeting(URL)) for half in halves]
        assert [len(one.result().absent) for one in both] == [6, 6]
    assert pull_from(other).moved == 12
    assert stored_shards(other) == stored_shards(built)


def test_a_write_whose_answer_is_lost_is_not_taken_for_another_machine(
    built: Configuration, other: Configuration, s3: FaultyProxy
) -> None:
    lost: list[str] = []

    def rule(method: str, path: str) -> str:
        if method == "PUT" and "catalog" in path and not lost:
            lost.append(path)
            return "lost"
        return ""

    s3.rule = rule
    assert push_to(built).moved == 12
    assert lost
    assert pull_from(other).moved == 12


@pytest.mark.usefixtures("s3")
def test_objects_that_go_away_while_they_are_pushed_are_sent_again(
    built: Configuration, other: Configuration
) -> None:
    """The listing before the push promises an object that is gone when it is over."""
    push_to(with_recordings(built, 6))
    remote = S3Remote(URL)
    version = Store.of(built).version
    victim = sorted(remote.states(f"{version}/objects"))[0]
    # As after a push that was killed: objects, but no catalog.
    remote.request("delete_object", Key=remote.key(f"{version}/catalogue.json"))

    class Changing(S3Remote):
        def states(self, prefix: str) -> dict[str, ObjectState]:
            found = super().states(prefix)
            if victim in found and not gone:
                gone.append(victim)
                remote.request("delete_object", Key=remote.key(victim))
            return found

    gone: list[str] = []
    push_to(built, Changing(URL))
    assert gone
    assert pull_from(other).moved == 12


def test_a_killed_push_is_gone_on_with(built: Configuration, s3: FaultyProxy) -> None:
    push_to(with_recordings(built, 6))
    remote = S3Remote(URL)
    version = Store.of(built).version
    remote.request("delete_object", Key=remote.key(f"{version}/catalogue.json"))
    s3.calm()
    outcome = push_to(built)
    assert (outcome.moved, outcome.skipped) == (6, 6)
    assert len(s3.objects("PUT")) == 6 + 1


def test_an_own_index_stands_where_the_edfs_are(built: Configuration, tmp_path: Path) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)
    own = built.model_copy(update={"cache_root": tmp_path / "own"})
    plan_corpus(own)
    before = index_path(own.cache_root).read_bytes()
    assert pull_from(own, share).moved == 12
    assert index_path(own.cache_root).read_bytes() == before
    assert plan_profile(own).count(State.FRESH) == 12
    assert plan_profile(own).sources_unseen == 0


def test_a_machine_with_more_edfs_keeps_its_index_and_pulls_what_there_is(
    built: Configuration, corpus: Path, tmp_path: Path
) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)
    own = built.model_copy(update={"cache_root": tmp_path / "own", "data_dir": str(corpus)})
    model = next(iter(sorted(corpus.rglob("*.edf"))))
    new = model.with_name("newpatie_s001_t000.edf")
    new.write_bytes(model.read_bytes()[:-4000] + bytes(4000))
    plan_corpus(own)
    before = index_path(own.cache_root).read_bytes()
    pulled = pull_from(own, share)
    assert (pulled.moved, list(pulled.absent.values())) == (12, ["not pushed yet"])
    assert pulled.index == "kept the index of this machine, which has the EDFs"
    assert index_path(own.cache_root).read_bytes() == before


def test_hashes_of_edfs_that_were_never_fetched_are_learnt(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    """A machine whose EDFs lie behind a URL knows them by listing alone."""
    share = str(tmp_path / "share")
    push_to(built, share)
    index = read_index(built.cache_root)
    listed = [replace(r, path=f"s3://tusz/{r.partition_key}.edf", content_hash="") for r in index]
    # One of them has another size: it is another file.
    odd = replace(listed[3], state=listed[3].state._replace(size=1))
    listed[3] = odd
    other.cache_root.mkdir(parents=True)
    write_index(type(index)(tuple(listed), index.layout), other.cache_root)
    pulled = pull_from(other, share)
    assert (pulled.moved, list(pulled.absent)) == (11, [odd.partition_key])
    assert "11 content hashes received" in pulled.index
    known = {r.partition_key: r.content_hash for r in read_index(built.cache_root)}
    now = {r.partition_key: r.content_hash for r in read_index(other.cache_root)}
    assert now == {**known, odd.partition_key: ""}
    assert all(r.path.startswith("s3://") for r in read_index(other.cache_root))
    # What that machine pushes does not take from the copy what it does not know.
    push_to(other, share)
    third = machine(built, tmp_path / "third")
    assert pull_from(third, share).moved == 11


def test_an_index_that_is_damaged_here_is_replaced(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)
    pull_from(other, share)
    path = index_path(other.cache_root)
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    assert pull_from(other, share).index == "received, 12 recordings"
    assert path.read_bytes() == good


def test_another_corpus_is_refused_on_both_sides(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    share = str(tmp_path / "share")
    push_to(built, share)
    index = read_index(built.cache_root)
    fewer = type(index)(index.recordings[:6], index.layout)
    alien = machine(built, tmp_path / "alien")
    shutil.copytree(built.cache_root, alien.cache_root, symlinks=True)
    write_index(fewer, alien.cache_root)
    with pytest.raises(BrainbrrError, match="another corpus"):
        push_to(alien, share)
    assert push_to(alien, share, force=True).index == "sent"
    pull_from(other, share)
    assert len(read_index(other.cache_root)) == 6
    # One that received half of it may receive all of it, and not the reverse.
    assert push_to(built, share).index == "sent"
    pull_from(other, share)
    assert len(read_index(other.cache_root)) == 12
    push_to(alien, share, force=True)
    with pytest.raises(BrainbrrError, match="another corpus"):
        pull_from(other, share)
    assert len(read_index(other.cache_root)) == 12


def test_many_pieces_of_one_object_arrive_in_order(
    built: Configuration,
    other: Configuration,
    s3: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_copy, "PIECE_BYTES", 100_000)
    push_to(built)
    rng = random.Random(4)
    s3.rule = lambda _method, _path: "cut" if rng.random() < 0.1 else ""
    assert pull_from(other).moved == 12
    assert stored_shards(other) == stored_shards(built)


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
    sends: list[Callable[[], object]] = [
        lambda: push_to(own, str(tmp_path / "share")),
        lambda: export_to(own, tmp_path / "archive.tar.zst"),
    ]
    for send in sends:
        with pytest.raises(BrainbrrError, match="is not a partition key") as raised:
            send()
        assert repr(key) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "share").exists()
    assert not (tmp_path / "archive.tar.zst").exists()
