"""An S3 server on loopback, and a proxy before it that fails on demand."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BUCKET = "eeg-cache"
#: What a request meets: nothing, an error of the service, a cut connection, or waiting.
Fault = str
#: The fault that a request meets, from its method and its path.
FaultRule = Callable[[str, str], Fault]


def no_fault(_method: str, _path: str) -> Fault:
    """What a calm proxy does."""
    return ""


_ERRORS = {
    "500": (500, "InternalError"),
    "slowdown": (503, "SlowDown"),
    "denied": (403, "AccessDenied"),
}


class FaultyProxy:
    """Passes requests on to ``upstream`` and counts them; ``rule`` says which fail and how.

    Faults: ``500``, ``slowdown`` (503), ``denied`` (403), ``cut`` (half of the answer, then the
    connection ends; an upload is cut before it is passed on), ``lost`` (passed on, but never
    answered), ``slow`` (a tenth of a second a piece), ``damage`` (a byte is changed), ``hang`` (no
    answer until ``released`` is set). Like the real service, and unlike moto, it refuses to list
    for strangers unless ``listable``, and to read unless ``readable``: moto takes a policy for
    everybody's, whoever it names. ``unconditional``: conditions of a write are ignored, or refused
    as unknown.
    """

    def __init__(self, upstream: str) -> None:
        self.requests: list[tuple[str, str]] = []
        #: Bytes of answers, passed on.
        self.sent = 0
        self.rule: FaultRule = no_fault
        self.listable = False
        self.readable = True
        self.unconditional = ""
        self.released = threading.Event()
        self._lock = threading.Lock()
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "", parts.port or 0)
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def note(self, method: str, path: str) -> Fault:
        with self._lock:
            self.requests.append((method, path))
        return self.rule(method, path)

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def objects(self, method: str) -> list[str]:
        """Hashes of the objects that were asked for or sent, in order."""
        return [
            path.partition("?")[0].rpartition("/")[2]
            for verb, path in self.requests
            if verb == method and "/objects/" in path
        ]

    def calm(self) -> None:
        """Forget counts, faults and whatever else was set."""
        self.requests.clear()
        self.sent = 0
        self.rule = no_fault
        self.listable = False
        self.readable = True
        self.unconditional = ""
        self.released.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.owner.note(self.command, self.path)
        listing = self.command == "GET" and "list-type=2" in self.path
        allowed = self.owner.listable if listing else self.owner.readable
        if "Authorization" not in self.headers and not allowed:
            self._error(403, "AccessDenied")
            return
        if fault == "hang":
            self.owner.released.wait()
            self.close_connection = True
            return
        if self.owner.unconditional and self._without_conditions():
            return
        if fault in _ERRORS:
            self._error(*_ERRORS[fault])
            return
        if fault == "cut" and self.command == "PUT":
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(*self.owner.upstream)
        headers = {key: value for key, value in self.headers.items() if key != "Connection"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.owner.count(len(content))
        if fault == "lost":
            self.close_connection = True
            return
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(key, value)
        self.end_headers()
        if fault == "damage" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "slow":
            for start in range(0, len(content), max(1, len(content) // 3)):
                self.wfile.write(content[start : start + max(1, len(content) // 3)])
                time.sleep(0.1)
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _without_conditions(self) -> bool:
        """Drop the conditions of a write, or refuse it; whether it was refused."""
        conditions = [name for name in ("If-Match", "If-None-Match") if name in self.headers]
        for name in conditions:
            del self.headers[name]
        if conditions and self.owner.unconditional == "refused":
            self._error(501, "NotImplemented")
            return True
        return False

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

    def _error(self, status: int, code: str) -> None:
        content = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def s3_server() -> Iterator[FaultyProxy]:
    """moto's server behind a proxy, with an empty bucket; its address is the proxy's ``url``."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    proxy = FaultyProxy(f"http://{host}:{port}")
    try:
        yield proxy
    finally:
        proxy.close()
        server.stop()
