"""A corpus on S3 is indexed from listings and ranges, and gives the same shards."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from brainbrr_core.annotation import tuh
from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.hash_memo import memo_path
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.corpus.spool import address_and_name
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.interface import ObjectState
from brainbrr_core.remote.s3 import S3Remote
from tests.support.edf_files import write_edf
from tests.support.object_store import BUCKET, FaultyProxy

URL = f"s3://{BUCKET}/tusz/edf"


@pytest.fixture
def root(corpus: Path) -> Path:
    """The folder with the splits."""
    return corpus / "edf"


@pytest.fixture
def bucket(s3: FaultyProxy, root: Path) -> FaultyProxy:
    """The small corpus in a bucket."""
    remote = S3Remote(URL)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            remote.put(path.relative_to(root).as_posix(), path)
    s3.calm()
    return s3


@pytest.fixture
def afar(settings: Configuration, tmp_path: Path) -> Configuration:
    """The same configuration on a machine that has no EDF."""
    return settings.model_copy(update={"data_dir": URL, "cache_root": tmp_path / "afar"})


def shards(settings: Configuration) -> dict[str, bytes]:
    store = Store.of(settings)
    return {key: store.shard_path(key).read_bytes() for key in sorted(store.shard_keys())}


def test_a_remote_index_equals_the_local_one_without_downloads(
    bucket: FaultyProxy, settings: Configuration, afar: Configuration, root: Path
) -> None:
    here = update_index(str(root), settings.cache_root)
    there = update_index(URL, afar.cache_root)
    for one, other in zip(here, there, strict=True):
        assert other.path == f"{URL}/{one.partition_key}.edf"
        assert other.content_hash == ""
        assert other.state.size == one.state.size
        assert (
            replace(
                other,
                path=one.path,
                state=one.state,
                content_hash=one.content_hash,
                data_hash=one.data_hash,
                companions=one.companions,
            )
            == one
        )
    total = sum(recording.state.size for recording in there)
    assert bucket.sent < total / 2


def test_shards_equal_those_of_a_local_build_and_nothing_is_downloaded_twice(
    bucket: FaultyProxy, settings: Configuration, afar: Configuration
) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    first = plan_corpus(afar)
    assert {item.state for item in first.to_build} == {State.MISSING}
    summary = build(first, afar.preprocessing, workers=2)
    assert summary.failed == []
    assert shards(afar) == shards(settings)
    assert len(shards(afar)) == 12
    assert not list(afar.cache_root.glob(".spool-*"))
    assert (afar.cache_root / "latest").is_symlink()
    # From now on the hashes are known, also to a new index.
    assert [r.content_hash for r in read_index(afar.cache_root)] == [
        r.content_hash for r in read_index(settings.cache_root)
    ]
    before = bucket.sent
    again = plan_corpus(afar)
    assert again.count(State.FRESH) == 12
    assert again.sources_unseen == 0
    # Only a listing is requested, not a byte of an EDF or annotation.
    assert bucket.sent - before < 40_000
    assert len(update_manifest(again, afar.manifest_settings).manifest) == len(
        update_manifest(plan_profile(settings), settings.manifest_settings).manifest
    )


@pytest.mark.usefixtures("bucket")
def test_one_changed_object_makes_one_recording_stale(afar: Configuration, root: Path) -> None:
    build(plan_corpus(afar), afar.preprocessing, workers=2)
    victim = plan_profile(afar).items[4].recording
    path = root / f"{victim.partition_key}.edf"
    content = bytearray(path.read_bytes())
    content[-5000] ^= 0x55
    path.write_bytes(content)
    S3Remote(URL).put(f"{victim.partition_key}.edf", path)
    plan = plan_corpus(afar)
    assert plan.reasons() == {"stale: source changed": 1}
    summary = build(plan, afar.preprocessing, workers=2)
    assert [result.partition_key for result in summary.built] == [victim.partition_key]
    assert plan_corpus(afar).to_build == []


@pytest.mark.usefixtures("bucket")
def test_changed_annotations_are_downloaded_and_removed_ones_vanish(
    afar: Configuration, root: Path
) -> None:
    index = update_index(URL, afar.cache_root)
    ictal = [r for r in index if r.events]
    changed, lost = ictal[0], ictal[1]
    remote = S3Remote(URL)
    path = root / f"{changed.partition_key}.csv_bi"
    text = path.read_text()
    path.write_text(text.replace("seiz", "bckg"))
    remote.put(f"{changed.partition_key}.csv_bi", path)
    for suffix in (".csv_bi", ".csv"):
        remote.request("delete_object", Key=remote.key(f"{lost.partition_key}{suffix}"))
    after = update_index(URL, afar.cache_root).by_key()
    assert not [e for e in after[changed.partition_key].events if e.label == "seiz"]
    assert after[lost.partition_key].reason == "no_annotation"
    others = index.by_key().keys() - {changed.partition_key, lost.partition_key}
    assert all(after[key] == index.by_key()[key] for key in others)


@pytest.mark.usefixtures("bucket")
def test_an_object_that_changes_while_it_is_built_fails_alone(
    afar: Configuration, root: Path
) -> None:
    plan = plan_corpus(afar)
    victim = plan.items[2].recording
    path = root / f"{victim.partition_key}.edf"
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x01")
    S3Remote(URL).put(f"{victim.partition_key}.edf", path)
    summary = build(plan, afar.preprocessing, workers=2)
    assert [result.partition_key for result in summary.failed] == [victim.partition_key]
    assert "changed since it was indexed" in summary.failed[0].error
    assert build(plan_corpus(afar), afar.preprocessing, workers=2).failed == []


def test_network_errors_only_cost_time(
    bucket: FaultyProxy, settings: Configuration, afar: Configuration
) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    rng = random.Random(3)
    # Half of all requests fail, each in one of these ways, until seven about an object have failed:
    # what fails eight times is given up, and looking for an object takes a listing and a HEAD.
    faults = ["500", "slowdown", "cut", "lost"] + [""] * 4
    failed: Counter[str] = Counter()

    def rule(_method: str, path: str) -> str:
        address = urlsplit(path)
        [name] = parse_qs(address.query).get("prefix", [address.path.partition("/")[2]])
        name = unquote(name).strip("/").removeprefix(f"{BUCKET}/")
        fault = rng.choice(faults) if failed[name] < 7 else ""
        failed[name] += bool(fault)
        return fault

    bucket.rule = rule
    summary = build(plan_corpus(afar), afar.preprocessing, workers=2)
    bucket.calm()
    assert summary.failed == []
    assert shards(afar) == shards(settings)


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_empty_or_absent_is_one_line(afar: Configuration) -> None:
    with pytest.raises(BrainbrrError, match=r"no \.edf or \.bdf object at s3://"):
        plan_corpus(afar)
    nowhere = afar.model_copy(update={"data_dir": "s3://no-such-bucket-here/edf"})
    with pytest.raises(BrainbrrError) as error:
        plan_corpus(nowhere)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("bucket")
def test_a_lost_memo_costs_a_build_but_gives_no_wrong_hash(afar: Configuration) -> None:
    build(plan_corpus(afar), afar.preprocessing, workers=2)
    good = shards(afar)
    path = memo_path(afar.cache_root)
    path.write_bytes(path.read_bytes()[:-30])
    plan = plan_profile(afar)
    assert plan.count(State.FRESH) == 11
    build(plan_corpus(afar), afar.preprocessing, workers=2)
    assert shards(afar) == good
    assert plan_profile(afar).count(State.FRESH) == 12


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("change", ["cut", "longer"])
def test_an_annotation_that_changes_while_the_corpus_is_listed_is_not_read(
    afar: Configuration, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Without its last line, with the last seizure, it would look whole."""
    path = min(path for path in root.rglob("*.csv_bi") if "seiz" in path.read_text())
    name, lines = path.relative_to(root).as_posix(), path.read_text().splitlines(keepends=True)
    other = tmp_path / "other"
    other.write_text("".join(lines[:-1] if change == "cut" else [*lines, "\n"]))
    listed = S3Remote.states

    def states(remote: S3Remote, prefix: str) -> dict[str, ObjectState]:
        before = listed(remote, prefix)
        remote.put(name, other)
        return before

    monkeypatch.setattr(S3Remote, "states", states)
    # What was listed of a longer one is all there.
    if change == "cut":
        with pytest.raises(BrainbrrError, match=rf"{path.name} changed while .*: run the command"):
            update_index(URL, afar.cache_root)
    else:
        update_index(URL, afar.cache_root)
    monkeypatch.undo()
    key = name.removesuffix(".csv_bi")
    index = update_index(URL, afar.cache_root)
    expected = tuh.read(other if change == "cut" else path).events
    assert [(e.start, e.stop) for e in index.by_key()[key].events] == [
        (e.start, e.stop) for e in expected
    ]


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("name", ["c#d", "e%20f", "i?j", "a+b c", "%", "ünï"])
@pytest.mark.parametrize("protocol", ["s3", "memory", "file"])
def test_names_may_have_what_means_something_in_an_address(
    settings: Configuration, tmp_path: Path, protocol: str, name: str
) -> None:
    url = {
        "s3": f"s3://{BUCKET}/names/edf",
        "memory": f"memory://{tmp_path.name}/edf",
        "file": f"file://{tmp_path}/a%20corpus",
    }[protocol]
    remote = open_remote(url)
    remote.put(f"{name}/{name}.edf", write_edf(tmp_path / "a.edf", seconds=12))
    remote.put("plain/b.edf", write_edf(tmp_path / "b.edf", seconds=12, seed=1))
    afar = settings.model_copy(
        update={
            "data_dir": url,
            "cache_root": tmp_path / "afar",
            "corpus": settings.corpus.model_copy(update={"layout": "folder"}),
        }
    )
    update_index(url, afar.cache_root, afar.corpus)
    summary = build(plan_corpus(afar), afar.preprocessing, workers=1)
    assert summary.failed == []
    assert sorted(Store.of(afar).shard_keys()) == sorted([f"{name}/{name}", "plain/b"])


def test_the_key_of_one_of_several_corpora_begins_with_its_name(
    settings: Configuration,
) -> None:
    index = update_index(str(settings.data_dir), settings.cache_root)
    recording = index.recordings[0]
    for path, key, expected in (
        ("s3://b/d/x/a#.edf", "x/a#", ("s3://b/d", "x/a#.edf")),
        ("s3://b/d/x/a#.edf", "tusz/x/a#", ("s3://b/d", "x/a#.edf")),
        ("s3://tusz/x/a.bdf", "tusz/x/a", ("s3://tusz", "x/a.bdf")),
        ("s3://b/a.edf", "a", ("s3://b", "a.edf")),
        ("s3://b/a.edf", "tusz/a", ("s3://b", "a.edf")),
    ):
        assert address_and_name(replace(recording, path=path, partition_key=key)) == expected
