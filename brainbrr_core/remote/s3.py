"""S3 and what speaks its protocol, by s3fs. Credentials come from the ordinary AWS chain."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
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

#: Connections at once; more transfers than that wait for one.
CONNECTIONS = 64
#: Seconds without a byte after which a request is given up and tried again.
SILENCE_S = 30
#: Larger files are sent in parts of this many bytes.
PART_BYTES = 32 * 2**20
_TRANSIENT = (OSError, TimeoutError, BotoCoreError, ClientError, ConnectionFailed)
_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)


def s3_files(*, anonymous: bool = False) -> Any:
    """A file system of s3fs, as this project uses it; repetition is left to the caller."""
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
    """The server knows no conditional writes, and says so."""


class S3Remote:
    """A bucket, or a prefix in one."""

    def __init__(self, address: str, *, anonymous: bool = False) -> None:
        parts = urlsplit(address)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket):
            raise BrainbrrError(f"{address}: {self.bucket} is no name of a bucket")
        self.address = address
        self.has_conditional_writes = True
        self._stop = threading.Event()
        self._under_way: set[Future[Any]] = set()
        self._files = s3_files(anonymous=anonymous)

    def key(self, name: str) -> str:
        """The key of an object in the bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def call(self, attempt: Callable[[], Any]) -> Any:
        """What ``attempt`` gives, tried again after a transient failure."""

        def with_credentials() -> Any:
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

    def request(self, operation: str, **arguments: Any) -> Any:
        """One request of the S3 interface on this bucket."""
        return self.call(
            lambda: self._once(self._files._call_s3(operation, Bucket=self.bucket, **arguments))
        )

    def read(self, name: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        path = f"{self.bucket}/{self.key(name)}"
        content = self.call(lambda: self._once(self._files._cat_file(path, start=start, end=stop)))
        return bytes(content)

    def states(self, prefix: str) -> dict[str, ObjectState]:
        path = f"{self.bucket}/{self.key(prefix)}"
        try:
            found = self.call(lambda: self._once(self._files._find(path, detail=True)))
        except FileNotFoundError:
            return {}
        skipped = len(f"{self.bucket}/{self.key('')}")
        return {
            path[skipped:]: ObjectState(int(about["size"]), str(about["ETag"]).strip('"'))
            for path, about in found.items()
            # A prefix that another machine is just filling is given as an empty directory.
            if about["type"] == "file"
        }

    def put(self, name: str, path: Path) -> None:
        if path.stat().st_size <= 2 * PART_BYTES:
            content = path.read_bytes()
            self.request("put_object", Key=self.key(name), Body=content)
            return
        target = f"{self.bucket}/{self.key(name)}"
        self.call(
            lambda: self._once(
                self._files._put_file(str(path), target, chunksize=PART_BYTES, max_concurrency=2)
            )
        )

    def document(self, name: str) -> Document | None:
        async def get() -> tuple[bytes, str]:
            answer = await self._files._call_s3(
                "get_object", Bucket=self.bucket, Key=self.key(name)
            )
            if answer["ContentLength"] > DOCUMENT_LIMIT:
                raise BrainbrrError(f"{self.address}/{name} is too large to be what it should be")
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        try:
            content, tag = self.call(lambda: self._once(get()))
        except FileNotFoundError:
            self._check_bucket()
            return None
        return Document(content, tag)

    def remove(self, name: str) -> None:
        self.request("delete_object", Key=self.key(name))

    def replace(self, name: str, content: bytes, known: Document | None) -> bool:
        if not self.has_conditional_writes:
            if self.document(name) != known:
                return False
            self.request("put_object", Key=self.key(name), Body=content)
            return True
        condition = {"IfNoneMatch": "*"} if known is None else {"IfMatch": known.token}

        async def put() -> bool:
            try:
                await self._files._call_s3(
                    "put_object", Bucket=self.bucket, Key=self.key(name), Body=content, **condition
                )
            except (OSError, ClientError) as error:
                if _lost_the_race(error):
                    return False
                if _knows_no_conditions(error):
                    raise _ConditionsRefused(
                        f"{self.address} refused a conditional write: {one_line(error)}"
                    ) from None
                raise
            return True

        try:
            return bool(self.call(lambda: self._once(put())))
        except FileNotFoundError:
            # What was to be replaced is gone: another state than the known one.
            return False

    def try_conditional_writes(self, name: str) -> None:
        """Not every server heeds them: one that ignores a false condition replaces the object."""
        other = Document(b"", '"00000000000000000000000000000000"')
        self.has_conditional_writes = True
        try:
            self.has_conditional_writes = not any(
                self.replace(name, b"", state) for state in (other, None)
            )
        except _ConditionsRefused:
            self.has_conditional_writes = False

    @contextmanager
    def stopping(self) -> Iterator[None]:
        with set_during(self._stop):
            for request in list(self._under_way):
                request.cancel()
            yield

    def _check_bucket(self) -> None:
        """Tell a missing bucket from a missing object."""
        try:
            self.request("list_objects_v2", MaxKeys=1)
        except FileNotFoundError:
            raise BrainbrrError(f"{self.address}: there is no bucket {self.bucket}") from None

    def _once(self, request: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(request, self._files.loop)
        self._under_way.add(future)
        try:
            if self._stop.is_set():
                future.cancel()
            return future.result()
        except CancelledError:
            raise Stopped(self.address) from None
        finally:
            self._under_way.discard(future)
            # Where this thread was interrupted, nobody waits for it any more.
            future.cancel()


def _answer(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of the service's answer; 0 where there was none."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    if not isinstance(cause, ClientError):
        return 0, ""
    status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(cause.response.get("Error", {}).get("Code", ""))


def _is_final(error: Exception) -> bool:
    """Whether the service says that the request itself is wrong."""
    status, code = _answer(error)
    passing = ("SlowDown", "RequestTimeout", "IncompleteBody", "BadDigest", "RequestTimeTooSkewed")
    return 400 <= status < 500 and status not in (408, 409, 429) and code not in passing


def _knows_no_conditions(error: Exception) -> bool:
    """Whether a write was refused for having a condition at all."""
    status, code = _answer(error)
    refusals = ("NotImplemented", "InvalidArgument", "InvalidRequest")
    return status == 501 or (status == 400 and code in refusals)


def _lost_the_race(error: Exception) -> bool:
    """Whether a conditional write was refused because its condition no longer held."""
    status, code = _answer(error)
    return status == 412 or code in ("PreconditionFailed", "ConditionalRequestConflict")
