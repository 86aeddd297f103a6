"""The runs folder over http: files below it, and nothing else, whatever is asked for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.serving.folder_server import FolderServer

SECRET = b"a secret outside of the folder"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderServer]:
    """A folder of runs with ways out of it, served."""
    above = tmp_path_factory.mktemp("served")
    root = above / "runs"
    (root / "a run" / "report-dev").mkdir(parents=True)
    (root / "a run" / "report-dev" / "report.html").write_text("<p>scores</p>")
    (root / "a run" / "run.json").write_text("{}")
    (above / "secret").write_bytes(SECRET)
    (above / "runs-of-another").mkdir()
    (above / "runs-of-another" / "secret").write_bytes(SECRET)
    (root / "link").symlink_to(above / "secret")
    (root / "folder-link").symlink_to(above)
    (root / "a run" / "up").symlink_to("../..")
    os.mkfifo(root / "pipe")
    with FolderServer(root, "127.0.0.1", 0) as server:
        yield server


def ask(
    server: FolderServer, target: str, method: str = "GET", host: str | None = None
) -> tuple[HTTPResponse, bytes]:
    """The answer to a request whose target is sent exactly so."""
    connection = HTTPConnection(server.address.removeprefix("http://"), timeout=120)
    connection.putrequest(method, target, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_a_report_is_sent_with_its_type(served: FolderServer) -> None:
    target = "/a%20run/report-dev/report.html?print=yes"
    answer, content = ask(served, target)
    assert (answer.status, content) == (200, b"<p>scores</p>")
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head, nothing = ask(served, target, "HEAD")
    assert (head.status, nothing) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content))


def test_a_folder_is_a_list_of_links_without_links_out_of_it(served: FolderServer) -> None:
    _, content = ask(served, "/")
    assert b'href="./a%20run/"' in content
    assert b"link" not in content and b"pipe" not in content
    moved, _ = ask(served, "/a%20run")
    assert (moved.status, moved.headers["Location"]) == (301, "/a%20run/")
    _, below = ask(served, "/a%20run/")
    assert b'href="./report-dev/"' in below and b'href="./run.json"' in below


@pytest.mark.parametrize(
    "target",
    [
        "/../secret",
        "/%2e%2e/secret",
        "/%2E%2E/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/%252e%252e/secret",
        "/a%20run/../../secret",
        "/a%20run/%2e%2e/%2e%2e/secret",
        "//../secret",
        "/./../secret",
        "/..\\secret",
        "/..%5csecret",
        "/../runs-of-another/secret",
        "/link",
        "/folder-link/secret",
        "/folder-link/runs-of-another/secret",
        "/a%20run/up/secret",
        "/a%20run/up/",
        "/pipe",
        "/a%20run/run.json/",
        "/a%20run/run.json/x",
        "/%00",
        "/a%20run/run.json%00.html",
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "http://127.0.0.1/../secret",
        "/" + "x" * 5000,
        "/\udcff",
    ],
)
def test_what_is_no_file_of_the_folder_is_not_found(served: FolderServer, target: str) -> None:
    if target == "/\udcff":
        target = "/%ff"
    answer, content = ask(served, target)
    # The last one but a slash is a file: it is no folder.
    assert answer.status == 404 or target.endswith("run.json/")
    assert SECRET not in content


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(
            ["..", "%2e%2e", ".", "%2e", "", "a%20run", "up", "link", "folder-link", "secret",
             "runs", "runs-of-another", "%2f", "..%2f", "%5c..", "%00", "report-dev"]
        ),
        max_size=8,
    )
)  # fmt: skip
def test_no_path_leads_to_a_file_outside(served: FolderServer, parts: list[str]) -> None:
    answer, content = ask(served, "/" + "/".join(parts))
    assert SECRET not in content and b"secret" not in content
    assert answer.status in (200, 301, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL"])
def test_only_reading_is_allowed(served: FolderServer, method: str) -> None:
    answer, _ = ask(served, "/a%20run/run.json", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:3001", 200),
        ("127.0.0.1", 200),
        ("evil.example.org", 403),
        ("evil.example.org:3001", 403),
        ("127.0.0.1.evil.example.org", 403),
    ],
)
def test_a_page_of_another_site_cannot_read_by_a_name_of_its_own(
    served: FolderServer, host: str, status: int
) -> None:
    assert ask(served, "/a%20run/run.json", host=host)[0].status == status


def test_a_folder_that_is_not_there_yet_is_served_once_it_is(tmp_path: Path) -> None:
    with FolderServer(tmp_path / "runs", "127.0.0.1", 0) as server:
        assert ask(server, "/")[0].status == 404
        (tmp_path / "runs").mkdir()
        assert ask(server, "/")[0].status == 200


def test_it_listens_on_loopback_alone_and_says_when_it_cannot() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrainbrrError, match=f"port {port} of 127.0.0.1 cannot be listened on"):
            FolderServer(Path("/"), "127.0.0.1", port)
