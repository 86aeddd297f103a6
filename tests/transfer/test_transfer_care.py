"""What must never leave: patients' data to everybody, and credentials anywhere."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import s3fs

from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.cli import app as app_module
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import index_path
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.checked_parquet import encode_checked
from brainbrr_core.remote.address import normalize_address, redact
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer.portable_index import parse_index
from brainbrr_core.transfer.public_access import AGREEMENT
from tests.support.machines import (
    URL,
    export_to,
    import_from,
    machine,
    portable_rows,
    push_to,
    stored_shards,
    with_recordings,
)
from tests.support.object_store import BUCKET, FaultyProxy

SECRET = "not-a-real-secret-0123456789"


@pytest.mark.parametrize(
    "url",
    [
        f"s3://someone:{SECRET}@bucket/brainbrr",
        f"s3://{SECRET}@bucket/brainbrr",
        f"https://someone:{SECRET}@host/place",
        f"https://host/place?X-Amz-Signature={SECRET}",
        f"s3://bucket/place?secret={SECRET}",
        f"https://host/place#{SECRET}",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(BrainbrrError) as raised:
        normalize_address(url)
    assert SECRET not in str(raised.value)
    assert "AWS_PROFILE" in str(raised.value)


@pytest.mark.parametrize("url", ["", "s3://", "s3:bucket/x", "simplecache::s3://bucket/x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BrainbrrError, match="s3://bucket/brainbrr"):
        normalize_address(url)


def test_an_unknown_protocol_and_a_bad_bucket_are_one_line(s3: FaultyProxy) -> None:
    for url in ("nosuch://place/x", "s3://Bad_Bucket/x"):
        with pytest.raises(BrainbrrError) as raised:
            open_remote(url)
        assert "\n" not in str(raised.value)
    with pytest.raises(BrainbrrError, match="there is no bucket nowhere-at-all"):
        S3Remote("s3://nowhere-at-all/x").document("a")
    assert s3.requests


def test_secrets_are_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token-of-some-length")
    said = (
        f"GET https://someone:pass@host/x?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=abc&b=1 "
        f"with {SECRET} and a-session-token-of-some-length"
    )
    assert redact(said) == (
        "GET https://***@host/x?X-Amz-Credential=***&X-Amz-Signature=***&b=1 with *** and ***"
    )


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    monkeypatch.setattr("sys.argv", ["brainbrr", *arguments])
    with pytest.raises(SystemExit) as raised:
        app_module.main()
    said = capsys.readouterr()
    return int(raised.value.code or 0), said.out, said.err


def test_commands_push_and_pull_and_no_secret_is_left_anywhere(
    built: Configuration,
    other: Configuration,
    s3: FaultyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "profile.yaml"
    config.write_text("profile: all\n")
    said = ""
    for command, root, moved in (("push", built, 12), ("pull", other, 12), ("pull", other, 0)):
        status, out, err = run(
            monkeypatch,
            capsys,
            *("cache", command, URL, "--json", "--config", f"{config}:cpu"),
            *("--cache-root", str(root.cache_root)),
        )
        values = json.loads(out)
        assert (status, values["moved"], values["skipped"]) == (
            0,
            moved,
            12 - moved if moved == 0 else 0,
        )
        said += out + err
    assert AGREEMENT in said
    status, out, err = run(
        monkeypatch,
        capsys,
        *("cache", "pull", f"s3://x:{SECRET}@bucket/a", "--cache-root", str(other.cache_root)),
    )
    assert status == 2
    said += out + err
    s3.rule = lambda _method, _path: "500"
    monkeypatch.setattr("brainbrr_core.remote.retry.PAUSE_S", 0.001)
    status, out, err = run(
        monkeypatch, capsys, "cache", "pull", URL, "--cache-root", str(other.cache_root)
    )
    assert (status, err.count("\n")) == (1, 1)
    said += out + err
    assert SECRET not in said
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
    s3.calm()
    remote = S3Remote(URL)
    stored = [remote.read(name, 0, state.size) for name, state in remote.states("").items()]
    stored += [path.read_bytes() for path in other.cache_root.rglob("*") if path.is_file()]
    # Shards, index and catalog; shards, index, records and the marker of the version.
    assert len(stored) == 12 + 2 + 12 + 3
    for secret in (SECRET, os.environ["AWS_ACCESS_KEY_ID"]):
        assert not any(secret.encode() in data for data in stored)


def test_refused_credentials_are_one_line(
    built: Configuration, s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    S3Remote(URL).put("x", Path(__file__))
    with pytest.raises(BrainbrrError, match="AWS_PROFILE"):
        S3Remote(URL, anonymous=True).read("x", 0, 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(BrainbrrError, match="AWS_PROFILE") as raised:
        push_to(built)
    assert "\n" not in str(raised.value)
    s3fs.S3FileSystem.clear_instance_cache()
    assert s3.objects("PUT") == []


PUBLIC_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
        }
    ],
}


def settings_unseen(_method: str, path: str) -> str:
    """A user who may write to a bucket, but not see how it is set up."""
    return "denied" if "?acl" in path or "?policy" in path else ""


OPEN = {
    "acl": "its access control list grants READ to everybody",
    "policy": "its policy lets everybody read",
    "listing": "a request without credentials can list it",
    "object": "a request without credentials can read it",
}


@pytest.mark.parametrize("how", OPEN)
def test_a_bucket_that_anyone_can_read_is_refused_unless_forced(
    built: Configuration, s3: FaultyProxy, how: str
) -> None:
    remote = S3Remote(URL)
    if how == "acl":
        remote.request("put_bucket_acl", ACL="public-read")
    elif how == "policy":
        remote.request("put_bucket_policy", Policy=json.dumps(PUBLIC_POLICY))
    elif how == "object":
        push_to(with_recordings(built, 2))
        key = remote.key(f"{Store.of(built).version}/catalogue.json")
        remote.request("put_object_acl", Key=key, ACL="public-read")
        s3.calm()
    else:
        s3.listable = True
        s3.rule = settings_unseen
    try:
        with pytest.raises(BrainbrrError, match="can be read by anyone") as raised:
            push_to(built)
        assert OPEN[how] in str(raised.value)
        assert s3.objects("PUT") == []
        said: list[str] = []
        assert push_to(built, remote, force=True, log=said.append).moved >= 10
        assert said[0] == AGREEMENT
        assert any("--force" in line for line in said)
    finally:
        s3.calm()
        remote.request("put_bucket_acl", ACL="private")
        remote.request("delete_bucket_policy")


def test_a_private_bucket_that_can_be_listed_is_remarked_on(
    built: Configuration, s3: FaultyProxy
) -> None:
    """The names of objects are hashes: they tell nothing of a patient."""
    s3.listable = True
    said: list[str] = []
    assert push_to(with_recordings(built, 2), S3Remote(URL), log=said.append).moved == 2
    assert f"{URL}: a request without credentials can list it" in said


def test_a_policy_for_one_account_or_network_is_private(
    built: Configuration, s3: FaultyProxy
) -> None:
    statement = PUBLIC_POLICY["Statement"][0]
    assert isinstance(statement, dict)
    policies: list[dict[str, Any]] = [
        {**statement, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {**statement, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {**statement, "Action": "s3:PutObject"},
    ]
    remote = S3Remote(URL)
    s3.readable = False
    try:
        remote.request(
            "put_bucket_policy",
            Policy=json.dumps({"Version": "2012-10-17", "Statement": policies}),
        )
        assert push_to(with_recordings(built, 2)).moved == 2
    finally:
        remote.request("delete_bucket_policy")
    assert s3.objects("PUT")


def test_an_archive_brings_a_cache_along(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.tar.zst", tmp_path / "b.tar.zst"
    outcome = export_to(built, first)
    export_to(built, second)
    assert first.read_bytes() == second.read_bytes()
    assert (outcome.moved, outcome.bytes) == (12, sum(map(len, stored_shards(built).values())))
    assert import_from(with_recordings(other, 4), first).moved == 4
    imported = import_from(other, first)
    assert (imported.moved, imported.skipped, imported.verified) == (8, 4, 8)
    assert stored_shards(other) == stored_shards(built)
    assert portable_rows(other) == portable_rows(built)
    assert plan_profile(other).count(State.FRESH) == 12
    assert import_from(other, first).moved == 0


def test_an_archive_of_a_cache_that_is_not_whole_is_not_written(
    built: Configuration, tmp_path: Path
) -> None:
    store = Store.of(built)
    store.shard_path(sorted(store.shard_keys())[0]).unlink()
    with pytest.raises(WorkRemains, match="brainbrr cache build"):
        export_to(built, tmp_path / "a.tar.zst")
    assert list(tmp_path.glob("*.zst*")) + list(tmp_path.glob(".*")) == []


Members = list[tuple[tarfile.TarInfo, bytes]]


def unpacked(path: Path) -> Members:
    with (
        pa.CompressedInputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        files = ((member, archive.extractfile(member)) for member in archive)
        return [(member, data.read()) for member, data in files if data is not None]


def packed(path: Path, members: Members) -> Path:
    with (
        pa.CompressedOutputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member, b""


def renamed(member: tuple[tarfile.TarInfo, bytes], name: str) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, member[1])


HOSTILE = {
    "absolute": lambda m: [*m[:2], renamed(m[2], "/tmp/escaped.arrow"), *m[3:]],
    "parents": lambda m: [*m[:2], renamed(m[2], "../../escaped.arrow"), *m[3:]],
    "link": lambda m: [*m[:2], special(m[2][0].name, tarfile.SYMTYPE, "/etc/passwd"), *m[3:]],
    "hard link": lambda m: [*m[:2], special(m[2][0].name, tarfile.LNKTYPE, "x"), *m[3:]],
    "device": lambda m: [*m[:2], special(m[2][0].name, tarfile.CHRTYPE), *m[3:]],
    "pipe": lambda m: [*m[:2], special(m[2][0].name, tarfile.FIFOTYPE), *m[3:]],
    "folder": lambda m: [*m[:2], special("train", tarfile.DIRTYPE), *m[2:]],
    "more": lambda m: [*m, file("v1/more.arrow")],
    "longer": lambda m: [*m[:2], file(m[2][0].name, m[2][1] + b"x"), *m[3:]],
    "twice": lambda m: [*m[:3], m[2], *m[3:]],
    "without catalog": lambda m: m[1:],
    "link as catalog": lambda m: [special(m[0][0].name, tarfile.SYMTYPE, "/etc/passwd")],
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_archive_is_refused_by_the_name_of_its_member(
    built: Configuration, other: Configuration, tmp_path: Path, how: str
) -> None:
    good = unpacked(_exported(built, tmp_path))
    bad = HOSTILE[how](good)
    place = tmp_path / "import"
    place.mkdir()
    target = machine(other, place)
    with pytest.raises(BrainbrrError, match="is refused because of its member") as raised:
        import_from(target, packed(tmp_path / "bad.tar.zst", bad))
    odd = next(b[0].name for a, b in zip([*good, None], bad, strict=False) if b != a and _odd(a, b))
    assert repr(odd) in str(raised.value)
    # Only whole shards that stood before the hostile member, all below the root.
    assert set(stored_shards(target).values()) <= set(stored_shards(built).values())
    outside = [p for p in place.rglob("*") if not p.is_relative_to(target.cache_root)]
    assert outside == []
    assert not Path("/tmp/escaped.arrow").exists()


def _odd(good: Any, bad: Any) -> bool:
    return good is None or (good[0].name, good[0].type, good[1]) != (
        bad[0].name,
        bad[0].type,
        bad[1],
    )


def _exported(built: Configuration, tmp_path: Path) -> Path:
    path = tmp_path / "good.tar.zst"
    export_to(with_recordings(built, 2), path)
    return path


def test_an_archive_whose_shard_is_damaged_names_it(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    members = unpacked(_exported(built, tmp_path))
    data = bytearray(members[2][1])
    data[len(data) // 2] ^= 1
    members[2] = file(members[2][0].name, bytes(data))
    outcome = import_from(with_recordings(other, 2), packed(tmp_path / "bad.tar.zst", members))
    (key,) = outcome.failed
    assert members[2][0].name == f"{Store.of(built).version}/{key}.arrow"
    assert set(stored_shards(other)) == set(stored_shards(built)) & {
        member[0].name.partition("/")[2].removesuffix(".arrow") for member in members[3:]
    }


def test_an_archive_that_ends_early_or_is_none_is_one_line(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    whole = _exported(built, tmp_path).read_bytes()
    cut, other_file = tmp_path / "cut.tar.zst", tmp_path / "none.tar.zst"
    cut.write_bytes(whole[: len(whole) // 2])
    other_file.write_bytes(b"no archive at all")
    for path in (cut, other_file, tmp_path / "missing.tar.zst"):
        with pytest.raises(BrainbrrError) as raised:
            import_from(other, path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"path": pa.array(["x" * 30_000_000])}, "1 recordings that unpack to 30 MB"),
        ({"samples": pa.array(np.zeros(1_000_001, np.int8))}, "1,000,001 recordings"),
        (
            {"n": pa.array([np.zeros(11_000_000, np.int8)], pa.list_(pa.int8()))},
            "11,000,000 values",
        ),
    ],
    ids=["bytes", "recordings", "values"],
)
def test_an_index_that_would_fill_the_memory_is_refused_unread(
    columns: dict[str, pa.Array], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode_checked(pa.table(columns), {"brainbrr.index": "2"})
    assert len(content) < 100_000

    def unpack(*_: object) -> None:
        raise AssertionError("the index was read")

    monkeypatch.setattr("brainbrr_core.transfer.portable_index.read_index", unpack)
    with pytest.raises(BrainbrrError, match=rf"^the index at there is refused: .*{says}") as error:
        parse_index(content, "there")
    assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_unpacks(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    """2 GiB of zeros are 66 kB of zstd: as a member, as a header of one, and as a stream."""
    zeros = tarfile.TarInfo("x" * 50)
    zeros.size = 2 * 2**30
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2 * 2**30
    large = tarfile.TarInfo("catalogue.json")
    large.size = 2 * 2**30
    catalog = unpacked(_exported(built, tmp_path))[0]
    starts = {
        "member": [(catalog[0].tobuf(), catalog[1]), (zeros.tobuf(), b"")],
        "header": [(header.tobuf(), b"")],
        "after the catalog": [(catalog[0].tobuf(), catalog[1]), (header.tobuf(), b"")],
        "catalog": [(large.tobuf(), b"")],
    }
    for how, blocks in starts.items():
        path = tmp_path / "bomb.tar.zst"
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            for head, data in blocks:
                stream.write(head + data + bytes(-len(data) % 512))
            for _ in range(2 * 1024):
                stream.write(bytes(2**20))
        assert path.stat().st_size < 10**6, how
        with pytest.raises(BrainbrrError, match="is refused"):
            import_from(other, path)
    assert not index_path(other.cache_root).exists()
