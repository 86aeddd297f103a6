"""Whether anyone can read a bucket. The data use agreement of TUSZ forbids publishing its data."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.connect import put_bytes
from brainbrr_core.remote.interface import Remote, RemoteUnavailable
from brainbrr_core.remote.s3 import S3Remote

AGREEMENT = (
    "TUSZ's data use agreement forbids publishing the data or a cache made from it: push only to a "
    "location that nobody can read except those who signed the agreement"
)
#: Groups of the S3 interface that stand for everybody.
_EVERYBODY = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
#: The content of the object with which access is tried; it contains nothing of a corpus.
PROBE = b"Tries out who can read here; it may be removed.\n"
_READING = ("s3:*", "*", "s3:get", "s3:list")


@dataclass(frozen=True)
class PublicAccess:
    """Why a location is open to everybody, and what could not be found out about its readers.

    It is private if there are no ``reasons``; ``remarks`` are for the log.
    """

    reasons: tuple[str, ...]
    remarks: tuple[str, ...]


class _Answer(BaseModel):
    """An answer of the S3 interface, whose names are written in CamelCase."""

    model_config = ConfigDict(alias_generator=to_pascal)


class _Grantee(_Answer):
    uri: str = Field("", validation_alias="URI")


class _Grant(_Answer):
    grantee: _Grantee | None = None
    permission: str = ""


class _AccessControlList(_Answer):
    grants: list[_Grant] = []


class _Block(_Answer):
    ignore_public_acls: bool = False
    restrict_public_buckets: bool = False


class _PublicAccessBlock(_Answer):
    public_access_block_configuration: _Block = _Block()


class _Statement(_Answer):
    effect: str = ""
    principal: str | dict[str, str | list[str]] | None = None
    action: str | list[str] = []
    condition: dict[str, object] = {}

    def lets_everybody_read(self) -> bool:
        """Whether it allows everybody to read or to list, whatever other statements say."""
        principal = self.principal
        accounts = principal.get("AWS", []) if isinstance(principal, dict) else principal
        everybody = "*" in (accounts if isinstance(accounts, list) else [accounts])
        actions = [self.action] if isinstance(self.action, str) else self.action
        reads = any(action.lower().startswith(_READING) for action in actions)
        # A condition narrows it (to a network, an account): that is not everybody.
        return self.effect == "Allow" and not self.condition and everybody and reads


class _Policy(_Answer):
    statement: _Statement | list[_Statement] = []

    def lets_everybody_read(self) -> bool:
        """Whether one of its statements allows everybody to read or to list."""
        statements = self.statement if isinstance(self.statement, list) else [self.statement]
        return any(statement.lets_everybody_read() for statement in statements)


class _PolicyText(_Answer):
    policy: str


Answer = TypeVar("Answer", bound=BaseModel)


@contextmanager
def probe_object(remote: Remote, folder: str, log: Callable[[str], None]) -> Iterator[str]:
    """Write an object without any data of a corpus to ``folder``; its name, until the block ends.

    A location treats it as it would treat a shard. If it cannot be removed afterwards, the log
    says so.
    """
    name = f"{folder}/probe-{secrets.token_hex(16)}"
    try:
        put_bytes(remote, name, PROBE)
        yield name
    finally:
        try:
            remote.remove(name)
        except BrainbrrError as error:
            log(
                f"the test object {remote.address}/{name} could not be removed ({error}): remove it"
            )


def examine_access(remote: Remote, names: Sequence[str]) -> PublicAccess:
    """Find out whether everybody can read a remote location.

    For a bucket, this looks at its access control list, its policy and its block of public access,
    and tries without credentials to read one of the objects ``names`` (some may not exist) and to
    list the bucket. A listing alone shows only hashes, so it counts only if the settings cannot be
    read. Other locations are not examined. Raises :class:`RemoteUnavailable` without an answer.
    """
    if not isinstance(remote, S3Remote):
        return PublicAccess((), ("who can read it is only checked for S3 buckets",))
    reasons: list[str] = []
    unknown: list[str] = []
    unknown_settings: list[str] = []
    answer = _ask(remote, "get_public_access_block", _PublicAccessBlock, unknown)
    block = answer.public_access_block_configuration if answer is not None else _Block()
    acl = _ask(remote, "get_bucket_acl", _AccessControlList, unknown_settings)
    if acl is not None and not block.ignore_public_acls:
        reasons += [
            f"its access control list grants {grant.permission} to everybody"
            for grant in acl.grants
            if grant.grantee is not None and grant.grantee.uri in _EVERYBODY
        ]
    policy = _bucket_policy(remote, unknown_settings)
    if policy is not None and not block.restrict_public_buckets and policy.lets_everybody_read():
        reasons.append("its policy lets everybody read")
    anonymous = S3Remote(remote.address, anonymous=True)
    if any(_is_served(partial(anonymous.read, name, 0, 1)) for name in names):
        reasons.append("a request without credentials can read it")
    if _is_served(partial(anonymous.request, "list_objects_v2", MaxKeys=1)):
        listing = "a request without credentials can list it"
        (reasons if unknown_settings else unknown).append(listing)
    return PublicAccess(tuple(reasons), (*unknown, *unknown_settings))


def check_private(remote: Remote, names: Sequence[str], *, force: bool) -> list[str]:
    """Raise :class:`BrainbrrError`, unless ``force``, if everybody can read a remote location.

    ``names`` are as for :func:`examine_access`. Returns remarks for the log.
    """
    access = examine_access(remote, names)
    if access.reasons and not force:
        raise BrainbrrError(
            f"{remote.address} can be read by anyone ({'; '.join(access.reasons)}), and the data "
            "use agreement of TUSZ forbids publishing: make the bucket private, or, for your own "
            "data, add --force"
        )
    remarks = [f"public, but used because of --force: {reason}" for reason in access.reasons]
    return remarks + [f"{remote.address}: {remark}" for remark in access.remarks]


def _ask(
    remote: S3Remote, operation: str, model: type[Answer], unknown: list[str]
) -> Answer | None:
    """Read one setting of the bucket; None if it is not set, or is added to ``unknown``."""
    setting = operation.removeprefix("get_")
    try:
        return model.model_validate(remote.request(operation))
    except FileNotFoundError:
        return None
    except ValidationError:
        unknown.append(f"{setting} was not understood")
    except BrainbrrError as error:
        # This error is how the service says that a bucket has no block.
        if "NoSuchPublicAccessBlockConfiguration" not in str(error):
            unknown.append(f"{setting} could not be read")
    return None


def _bucket_policy(remote: S3Remote, unknown: list[str]) -> _Policy | None:
    answer = _ask(remote, "get_bucket_policy", _PolicyText, unknown)
    if answer is None:
        return None
    try:
        return _Policy.model_validate_json(answer.policy)
    except ValidationError:
        unknown.append("bucket_policy was not understood")
        return None


def _is_served(request: Callable[[], object]) -> bool:
    """Whether a request without credentials is served."""
    try:
        request()
    except RemoteUnavailable:
        # Without an answer, nothing is known: this is not a refusal.
        raise
    except (BrainbrrError, FileNotFoundError):
        return False
    return True
