"""Addresses that are refused, and credentials that are never shown or stored."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import s3fs
from hypothesis import example, given
from hypothesis import strategies as st

from brainbrr_core.cli import app as app_module
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.address import normalize_address, redact
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer.public_access import AGREEMENT
from tests.support.examples import examples
from tests.support.machines import (
    URL,
    push_to,
)
from tests.support.object_store import FaultyProxy

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
