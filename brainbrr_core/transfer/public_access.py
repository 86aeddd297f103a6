"""Whether anyone can read what lies in a bucket. TUSZ's agreement forbids publishing it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import Remote, RemoteUnavailable
from brainbrr_core.remote.s3 import S3Remote

AGREEMENT = (
    "TUSZ's data use agreement forbids publishing it, and a cache of it too: push it only where "
    "nobody but those who signed can read it"
)
#: Groups of the S3 interface that stand for everybody.
_EVERYBODY = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
_PROBE = b"Tries out who can read here; it may be removed.\n"
_READING = ("s3:*", "*", "s3:get", "s3:list")


@dataclass(frozen=True)
class PublicAccess:
    """Why a place is open to everybody, and what else is worth knowing about who reads it."""

    reasons: tuple[str, ...]
    remarks: tuple[str, ...]


@contextmanager
def probe_object(remote: Remote, folder: str, log: Callable[[str], None]) -> Iterator[str]:
    """The name of an object in ``folder`` that holds nothing of a corpus, until the block ends.

    What a place does with it, it would do with a shard. Where it may not be removed, the log says
    so.
    """
    name = f"{folder}/probe-{secrets.token_hex(16)}"
    try:
        put_bytes(remote, name, _PROBE)
        yield name
    finally:
        try:
            remote.remove(name)
        except BrainbrrError as error:
            log(f"{remote.address}/{name} tried out who can read there; remove it: {error}")


def examine_access(remote: Remote, names: Sequence[str]) -> PublicAccess:
    """Who can read a remote place; ``names`` are objects there, of which some may be missing.

    Of a bucket: its access control list, its policy and its block of public access, and whether
    a request without credentials reads one of ``names`` or lists the bucket. A listing alone
    shows only hashes: it counts where the settings cannot be seen. Other places are not looked
    at. Raises :class:`RemoteUnavailable` where no answer comes.
    """
    if not isinstance(remote, S3Remote):
        return PublicAccess((), ("who can read it is seen of S3 buckets only",))
    reasons: list[str] = []
    unseen: list[str] = []
    block = _ask(remote, "get_public_access_block", unseen)
    blocked = (block or {}).get("PublicAccessBlockConfiguration", {})
    settings: list[str] = []
    acl = _ask(remote, "get_bucket_acl", settings)
    if not blocked.get("IgnorePublicAcls"):
        for grant in (acl or {}).get("Grants", []):
            if grant.get("Grantee", {}).get("URI") in _EVERYBODY:
                reasons.append(f"its access control list grants {grant['Permission']} to everybody")
    policy = _ask(remote, "get_bucket_policy", settings)
    if policy and not blocked.get("RestrictPublicBuckets") and _opens(json.loads(policy["Policy"])):
        reasons.append("its policy lets everybody read")
    stranger = S3Remote(remote.address, anonymous=True)
    if any(_is_served(partial(stranger.read, name, 0, 1)) for name in names):
        reasons.append("a request without credentials reads it")
    if _is_served(lambda: stranger.request("list_objects_v2", MaxKeys=1)):
        lists = "a request without credentials lists it"
        (reasons if settings else unseen).append(lists)
    return PublicAccess(tuple(reasons), (*unseen, *settings))


def check_private(remote: Remote, names: Sequence[str], *, force: bool) -> list[str]:
    """Raise :class:`BrainbrrError`, unless ``force``, for a place that everybody can read.

    Returns remarks for the log; ``names`` are those of :func:`examine_access`.
    """
    found = examine_access(remote, names)
    if found.reasons and not force:
        raise BrainbrrError(
            f"{remote.address} can be read by anyone ({'; '.join(found.reasons)}) and the "
            "agreement of TUSZ forbids publishing: close it, or, for data of your own, add --force"
        )
    remarks = [f"public, and used since --force is given: {reason}" for reason in found.reasons]
    return remarks + [f"{remote.address}: {text}" for text in found.remarks]


def _ask(remote: S3Remote, operation: str, unseen: list[str]) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = remote.request(operation)
    except FileNotFoundError:
        return None
    except BrainbrrError as error:
        # A bucket without a block says so with an error, which is no refusal.
        if "NoSuchPublicAccessBlockConfiguration" not in str(error):
            unseen.append(f"{operation.removeprefix('get_')} could not be read")
        return None
    return answer


def _opens(policy: dict[str, Any]) -> bool:
    """Whether a policy lets everybody read or list, whatever else it says."""
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal")
        everybody = principal == "*" or (
            isinstance(principal, dict) and "*" in _texts(principal.get("AWS"))
        )
        actions = [action.lower() for action in _texts(statement.get("Action"))]
        reads = any(action.startswith(_READING) for action in actions)
        # A condition narrows it (to a network, an account): that is not everybody.
        allows = statement.get("Effect") == "Allow" and not statement.get("Condition")
        if allows and everybody and reads:
            return True
    return False


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _is_served(request: Callable[[], object]) -> bool:
    """Whether a request without credentials is served."""
    try:
        request()
    except RemoteUnavailable:
        # No answer is no refusal.
        raise
    except (BrainbrrError, FileNotFoundError):
        return False
    return True
