"""S3 and services that speak its protocol, through s3fs. Credentials come from the AWS chain."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import s3fs
from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.address import one_line
from brainbrr_core.remote.interface import DOCUMENT_LIMIT, Document, ObjectState, Stopped
from brainbrr_core.remote.retry import set_during, with_retries

#: Simultaneous connections; transfers beyond that number wait for one.
CONNECTIONS = 64
#: Seconds without a byte after which a request is abandoned and retried.
SILENCE_S = 30
#: Files larger than two parts of this many bytes are uploaded in parts.
PART_BYTES = 32 * 2**20
_TRANSIENT = (OSError, TimeoutError, BotoCoreError, ClientError, ConnectionFailed)
_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)
Result = TypeVar("Result")


def s3_files(*, anonymous: bool = False) -> s3fs.S3FileSystem:
    """The file system of s3fs without caches of listings and without retries of its own."""
    files = s3fs.S3FileSystem(
        anon=anonymous,
        use_listings_cache=False,
        config_kwargs={
            "max_pool_connections": CONNECTIONS,
            "read_timeout": SILENCE_S,
            "connect_timeout": 10,
            "retries": {"max_attempts": 0},
        },
    )
    files.retries = 1
    return files


class _ConditionsRefused(BrainbrrError):
    """The server says that it does not support conditional writes."""


class S3Remote:
    """A bucket, or a prefix in one.

    An ``anonymous`` one sends its requests without credentials.
    """

    def __init__(self, address: str, *, anonymous: bool = False) -> None:
        parts = urlsplit(address)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket):
            raise BrainbrrError(
                f"{address}: {self.bucket} is not a valid bucket name: use an address such as "
                "s3://bucket/brainbrr"
            )
        self.address = address
        self.anonymous = anonymous
        self.has_conditional_writes = True
        self._stop = threading.Event()
        #: Functions that cancel the requests in progress.
        self._cancel: set[Callable[[], bool]] = set()
        self._files = s3_files(anonymous=anonymous)

    def key(self, name: str) -> str:
        """The key of an object in the bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def call(self, attempt: Callable[[], Result]) -> Result:
        """The result of ``attempt``, which is retried after a transient failure."""

        def with_credentials() -> Result:
            try:
                return attempt()
            except _CREDENTIALS as error:
                raise BrainbrrError(
                    f"{self.address}: {one_line(error)}: set AWS_PROFILE or the AWS_* variables, "
                    "or give the machine a role"
                ) from None

        return with_retries(
            with_credentials, _TRANSIENT, self.address, self._stop, is_final=_is_final
        )

    def request(self, operation: str, **arguments: str | bytes | int) -> Mapping[str, object]:
        """Send one request of the S3 interface, such as ``get_bucket_acl``, about this bucket."""
        response = self.call(
            lambda: self._run(self._files._call_s3(operation, Bucket=self.bucket, **arguments))
        )
        return dict(response)

    def read(self, name: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        path = f"{self.bucket}/{self.key(name)}"
        content = self.call(lambda: self._run(self._files._cat_file(path, start=start, end=stop)))
        return bytes(content)

    def states(self, prefix: str) -> dict[str, ObjectState]:
        path = f"{self.bucket}/{self.key(prefix)}"
        try:
            entries = self.call(lambda: self._run(self._files._find(path, detail=True)))
        except FileNotFoundError:
            return {}
        skipped = len(f"{self.bucket}/{self.key('')}")
        return {
            path[skipped:]: ObjectState(int(entry["size"]), str(entry["ETag"]).strip('"'))
            for path, entry in entries.items()
            # s3fs gives a prefix to which another machine is just writing as an empty directory.
            if entry["type"] == "file"
        }

    def put(self, name: str, path: Path) -> None:
        if path.stat().st_size <= 2 * PART_BYTES:
            content = path.read_bytes()
            self.request("put_object", Key=self.key(name), Body=content)
            return
        target = f"{self.bucket}/{self.key(name)}"
        self.call(
            lambda: self._run(
                self._files._put_file(str(path), target, chunksize=PART_BYTES, max_concurrency=2)
            )
        )

    def document(self, name: str) -> Document | None:
        async def get() -> tuple[bytes, str]:
            response = await self._files._call_s3(
                "get_object", Bucket=self.bucket, Key=self.key(name)
            )
            if (size := response["ContentLength"]) > DOCUMENT_LIMIT:
                raise BrainbrrError(
                    f"{self.address}/{name} has {size:,} bytes and at most {DOCUMENT_LIMIT:,} are "
                    "read: check the address, or remove that object"
                )
            async with response["Body"] as body:
                return await body.read(), response["ETag"]

        try:
            content, tag = self.call(lambda: self._run(get()))
        except FileNotFoundError:
            self._check_bucket()
            return None
        return Document(content, tag)

    def remove(self, name: str) -> None:
        self.request("delete_object", Key=self.key(name))

    def replace(self, name: str, content: bytes, expected: Document | None) -> bool:
        if not self.has_conditional_writes:
            if self.document(name) != expected:
                return False
            self.request("put_object", Key=self.key(name), Body=content)
            return True
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected.token}

        async def put() -> bool:
            try:
                await self._files._call_s3(
                    "put_object", Bucket=self.bucket, Key=self.key(name), Body=content, **condition
                )
            except (OSError, ClientError) as error:
                if _is_lost_race(error):
                    return False
                if _is_unsupported_condition(error):
                    raise _ConditionsRefused(
                        f"{self.address} rejected a conditional write: {one_line(error)}"
                    ) from None
                raise
            return True

        try:
            return self.call(lambda: self._run(put()))
        except FileNotFoundError:
            # The expected object is gone, which is a different state.
            return False

    def try_conditional_writes(self, name: str) -> None:
        """Write under conditions that are false: a server that ignores them replaces the object."""
        other = Document(b"", '"00000000000000000000000000000000"')
        self.has_conditional_writes = True
        try:
            self.has_conditional_writes = not any(
                self.replace(name, b"", expected) for expected in (other, None)
            )
        except _ConditionsRefused:
            self.has_conditional_writes = False

    @contextmanager
    def stopping(self) -> Iterator[None]:
        with set_during(self._stop):
            for cancel in list(self._cancel):
                cancel()
            yield

    def _check_bucket(self) -> None:
        """Raise :class:`BrainbrrError` if it is the bucket, not an object, that does not exist."""
        try:
            self.request("list_objects_v2", MaxKeys=1)
        except FileNotFoundError:
            raise BrainbrrError(
                f"{self.address}: there is no bucket {self.bucket}: create it, or correct the "
                "address"
            ) from None

    def _run(self, request: Coroutine[object, object, Result]) -> Result:
        """Run a request on the event loop of s3fs, so that :meth:`stopping` can cancel it."""
        future = asyncio.run_coroutine_threadsafe(request, self._files.loop)
        self._cancel.add(future.cancel)
        try:
            if self._stop.is_set():
                future.cancel()
            return future.result()
        except CancelledError:
            raise Stopped(self.address) from None
        finally:
            self._cancel.discard(future.cancel)
            # If this thread was interrupted, nothing waits for the result any more.
            future.cancel()


def _status_and_code(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of the service's answer to a request; 0 and no code without one."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    if not isinstance(cause, ClientError):
        return 0, ""
    status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(cause.response.get("Error", {}).get("Code", ""))


def _is_final(error: Exception) -> bool:
    """Whether the service says that the request itself is wrong, so that no retry can help."""
    status, code = _status_and_code(error)
    passing = ("SlowDown", "RequestTimeout", "IncompleteBody", "BadDigest", "RequestTimeTooSkewed")
    return 400 <= status < 500 and status not in (408, 409, 429) and code not in passing


def _is_unsupported_condition(error: Exception) -> bool:
    """Whether the server rejected a write because it does not support conditions."""
    status, code = _status_and_code(error)
    refusals = ("NotImplemented", "InvalidArgument", "InvalidRequest")
    return status == 501 or (status == 400 and code in refusals)


def _is_lost_race(error: Exception) -> bool:
    """Whether a conditional write was rejected because its condition no longer held."""
    status, code = _status_and_code(error)
    return status == 412 or code in ("PreconditionFailed", "ConditionalRequestConflict")
