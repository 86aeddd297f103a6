"""A folder over http, read-only: what a browser needs to open a report.

A path is followed folder by folder from the root, each opened relative to the one before and never
through a symbolic link. Whatever a path says, nothing outside the root can be opened, also while
somebody changes the folder.
"""

from __future__ import annotations

import errno
import html
import mimetypes
import os
import shutil
import stat
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes, urlsplit

from brainbrr_core.errors import BrainbrrError

#: Hosts by which a browser on this machine names it.
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: What an open flag adds so that neither a link is followed nor a pipe waited for.
_CAREFUL = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderServer:
    """Context manager that serves a folder until it is left.

    Parameters
    ----------
    root : Path
        The folder. It need not exist yet.
    host : str
        Address to listen on. On loopback only requests that name loopback are answered, so that no
        page of another site can read the folder through a name of its own.
    port : int
        Port to listen on; 0 takes a free one.

    Raises
    ------
    BrainbrrError
        Where the port cannot be listened on.
    """

    def __init__(self, root: Path, host: str, port: int) -> None:
        try:
            self._server = _Server((host, port), root)
        except OSError as error:
            raise BrainbrrError(
                f"port {port} of {host} cannot be listened on ({error.strerror})"
            ) from None
        self._host = host

    @property
    def address(self) -> str:
        """The address of the folder, without a slash at its end."""
        return f"http://{self._host}:{self._server.server_address[1]}"

    def __enter__(self) -> FolderServer:
        Thread(target=self._server.serve_forever, name="folder server", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], root: Path) -> None:
        super().__init__(address, _Handler)
        self.root = root
        self.only_loopback = address[0] in _LOOPBACK


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "brainbrr", ""
    protocol_version = "HTTP/1.1"
    # A client that sends nothing does not keep its thread.
    timeout = 30

    def do_GET(self) -> None:
        """Send a file, or the list of a folder."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what do_GET sends before the content."""
        self._answer(with_body=False)

    def __getattr__(self, name: str) -> object:
        """Whatever else is asked: read-only means GET and HEAD."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: names of recordings do not belong in a log."""

    def _refuse_method(self) -> None:
        self._send_text(HTTPStatus.METHOD_NOT_ALLOWED, "read-only", ("Allow", "GET, HEAD"))
        self.close_connection = True

    def _answer(self, *, with_body: bool) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if self.server.only_loopback and host not in _LOOPBACK:
            self._send_text(HTTPStatus.FORBIDDEN, "this address is of this machine alone")
            return
        parts = _parts(self.path)
        descriptor = None if parts is None else _open_below(self.server.root, parts)
        if parts is None or descriptor is None:
            self._send_text(HTTPStatus.NOT_FOUND, "there is no such file", with_body=with_body)
            return
        try:
            self._send(descriptor, parts, with_body=with_body)
        finally:
            os.close(descriptor)

    def _send(self, descriptor: int, parts: list[str], *, with_body: bool) -> None:
        state = os.fstat(descriptor)
        if stat.S_ISREG(state.st_mode):
            kind, encoding = mimetypes.guess_type(parts[-1])
            self._begin(HTTPStatus.OK, "application/octet-stream" if encoding else kind or "",
                        state.st_size)  # fmt: skip
            if with_body:
                with open(descriptor, "rb", closefd=False) as file, suppress(ConnectionError):
                    shutil.copyfileobj(_Limited(file, state.st_size), self.wfile)
            return
        if not urlsplit(self.path).path.endswith("/"):
            # Links of the list are relative to the folder.
            self._send_text(
                HTTPStatus.MOVED_PERMANENTLY,
                "",
                ("Location", f"/{'/'.join(map(quote, parts))}/"),
                with_body=with_body,
            )
            return
        content = _listing(descriptor, parts).encode("utf-8", "surrogateescape")
        self._begin(HTTPStatus.OK, "text/html; charset=utf-8", len(content))
        if with_body:
            self.wfile.write(content)

    def _send_text(
        self, status: HTTPStatus, text: str, *headers: tuple[str, str], with_body: bool = True
    ) -> None:
        content = f"{text}\n".encode()
        self._begin(status, "text/plain; charset=utf-8", len(content), *headers)
        if with_body and self.command != "HEAD":
            self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, length: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(length))
        # A file of a run may be replaced by that of a resumed one.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()


class _Limited:
    """A file that ends where its announced length does, though it may have grown since."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length

    def read(self, size: int = -1, /) -> bytes:
        """Read at most ``size`` bytes."""
        content = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        return content


def _parts(target: str) -> list[str] | None:
    """The names in the path of a request; None where one is no name of a file."""
    # Decoded once, after it is split: an encoded slash is part of a name, and so of no file.
    parts = [
        os.fsdecode(unquote_to_bytes(part)) for part in urlsplit(target).path.split("/") if part
    ]
    if any(part in (".", "..") or "/" in part or "\0" in part for part in parts):
        return None
    return parts


def _open_below(root: Path, parts: list[str]) -> int | None:
    """Open a file or folder below the root; None where there is none, or only through a link."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    for position, part in enumerate(parts):
        kind = os.O_DIRECTORY if position < len(parts) - 1 else 0
        try:
            below = os.open(part, _CAREFUL | kind, dir_fd=descriptor)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return None
        finally:
            os.close(descriptor)
        descriptor = below
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        return None
    return descriptor


def _listing(descriptor: int, parts: list[str]) -> str:
    """A page with the files and folders of a folder, links left out."""
    names = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                names.append(f"{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                names.append(entry.name)
    title = html.escape("/".join(parts) or "runs")
    above = ["../"] if parts else []
    rows = "\n".join(
        f'<li><a href="./{quote(os.fsencode(name))}">{html.escape(name)}</a></li>'
        for name in [*above, *sorted(names)]
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f"<h1>{title}</h1>\n<ul>\n{rows}\n</ul></html>\n"
    )
