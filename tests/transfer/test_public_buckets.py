"""Nothing is pushed to a bucket that everybody can read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer import public_access as public_access_module
from brainbrr_core.transfer.public_access import AGREEMENT
from tests.support.machines import (
    URL,
    push_to,
    with_recordings,
)
from tests.support.object_store import BUCKET, FaultyProxy

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


def policy(*actions: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": list(actions),
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


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
    assert b"probe-" not in public_access_module.PROBE
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

    monkeypatch.setattr(public_access_module, "examine_access", end)
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

    def fail() -> bytes:
        raise ConnectionError("no route")

    def away(remote: S3Remote, name: str, start: int, stop: int) -> bytes:
        if remote.anonymous:
            return stranger.call(fail)
        return read(remote, name, start, stop)

    read = S3Remote.read
    monkeypatch.setattr(S3Remote, "read", away)
    with pytest.raises(WorkRemains, match="no route"):
        push_to(small)
    assert s3.objects("PUT") == []
    assert S3Remote(URL).states("") == {}
