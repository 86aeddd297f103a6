"""Whether anyone can read what lies in a bucket. TUSZ's agreement forbids publishing it."""

from __future__ import annotations

import json
from typing import Any

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.place import Remote
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
_READING = ("s3:*", "*", "s3:get", "s3:list")


def public_reasons(remote: Remote) -> tuple[list[str], list[str]]:
    """Why a remote place is open to everybody, and what could not be looked at.

    Of a bucket: its access control list, its policy and its block of public access, and whether
    a request without credentials lists it. Other places are not looked at.
    """
    if not isinstance(remote, S3Remote):
        return [], ["only of S3 buckets can be seen who reads them"]
    reasons: list[str] = []
    unseen: list[str] = []
    block = _ask(remote, "get_public_access_block", unseen)
    blocked = (block or {}).get("PublicAccessBlockConfiguration", {})
    acl = _ask(remote, "get_bucket_acl", unseen)
    if not blocked.get("IgnorePublicAcls"):
        for grant in (acl or {}).get("Grants", []):
            if grant.get("Grantee", {}).get("URI") in _EVERYBODY:
                reasons.append(f"its access control list grants {grant['Permission']} to everybody")
    policy = _ask(remote, "get_bucket_policy", unseen)
    if policy and not blocked.get("RestrictPublicBuckets") and _opens(json.loads(policy["Policy"])):
        reasons.append("its policy lets everybody read")
    if _lists_without_credentials(remote):
        reasons.append("a request without credentials lists it")
    return reasons, unseen


def check_private(remote: Remote, *, force: bool) -> list[str]:
    """Raise :class:`BrainbrrError`, unless ``force``, for a place that everybody can read.

    Returns remarks for the log.
    """
    reasons, unseen = public_reasons(remote)
    if reasons and not force:
        raise BrainbrrError(
            f"{remote.address} can be read by anyone ({'; '.join(reasons)}) and the agreement of "
            "TUSZ forbids publishing: close it, or, for data of your own, add --force"
        )
    remarks = [f"public, and used since --force is given: {reason}" for reason in reasons]
    return remarks + [f"who can read {remote.address}: {text}" for text in unseen]


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


def _lists_without_credentials(remote: S3Remote) -> bool:
    stranger = S3Remote(remote.address, anonymous=True)
    try:
        stranger.request("list_objects_v2", MaxKeys=1)
    except (BrainbrrError, FileNotFoundError):
        return False
    return True
