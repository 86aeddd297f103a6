"""Fixtures that several test modules share: a small corpus, and the settings of a small run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before anything imports torch or numpy: threads that wait for each other at barriers make a test
# many times slower where other work has a core, and small arrays gain nothing by them.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings as hypothesis_settings

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration
from brainbrr_core.remote import retry
from brainbrr_core.synthesis import write_corpus
from tests.support.examples import REPEATABLE
from tests.support.machines import empty_bucket, machine
from tests.support.object_store import FaultyProxy, s3_server
from tests.support.project import REAL
from tests.support.shell import Shell
from tests.support.small_run import small_settings

# A shell has what it starts in the background ignore Ctrl+C, and so would the commands under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Unless --hypothesis-profile names another one, whatever the environment's CI variable says.
hypothesis_settings.load_profile(REPEATABLE)


@pytest.fixture(autouse=True)
def same_initial_weights() -> None:
    """A network without a seed has the same weights in whatever order the tests run."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def master_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 12 recordings, 0.4 h, written once; never changed by a test."""
    place = tmp_path_factory.mktemp("corpus") / "tusz"
    write_corpus(place, recordings=12, hours=0.4, seed=5, workers=1)
    return place


@pytest.fixture
def corpus(master_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that a test may change."""
    return Path(shutil.copytree(master_corpus, tmp_path / "tusz"))


@pytest.fixture
def settings(corpus: Path, tmp_path: Path) -> Configuration:
    """The configuration of a small run on the test's own corpus, cache and runs."""
    return small_settings(tmp_path, corpus)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Types ``brainbrr`` in this process."""
    return Shell(monkeypatch, capsys)


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds in this process: starting workers would take longer than the work."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0}, raising=False)


@pytest.fixture(scope="session")
def one_built(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The configuration of a cache that holds every shard of the small corpus."""
    settings = small_settings(tmp_path_factory.mktemp("one"), master_corpus)
    plan = plan_corpus(settings, lambda _line: None)
    build(plan, settings.preprocessing, workers=1)
    return settings


@pytest.fixture
def real() -> Iterator[Path]:
    """The real recordings, where this checkout lies beside them."""
    if not REAL.is_dir():
        pytest.skip("the real recordings are not here")
    yield REAL


@pytest.fixture(scope="session")
def server() -> Iterator[FaultyProxy]:
    with s3_server() as proxy:
        yield proxy


@pytest.fixture
def s3(server: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    """An empty bucket, credentials in the environment, and pauses cut short."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-secret-0123456789")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setattr(retry, "PAUSE_S", 0.005)
    server.calm()
    empty_bucket()
    server.calm()
    return server


@pytest.fixture(scope="session")
def master_cache(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A built cache of 12 recordings, never changed by a test."""
    settings = small_settings(tmp_path_factory.mktemp("built"), master_corpus)
    assert build(plan_corpus(settings), settings.preprocessing, workers=1).failed == []
    return settings


@pytest.fixture(scope="module")
def prepared(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """A built cache with a current manifest; the tests of a module share it and its runs."""
    settings = small_settings(tmp_path_factory.mktemp("prepared"), master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    return settings


@pytest.fixture
def built(master_cache: Configuration, tmp_path: Path) -> Configuration:
    """The machine that built the cache: a copy that a test may change."""
    root = tmp_path / "built"
    shutil.copytree(master_cache.cache_root, root, symlinks=True)
    return master_cache.model_copy(update={"cache_root": root})


@pytest.fixture
def other(built: Configuration, tmp_path: Path) -> Configuration:
    """A machine without EDFs and without a cache."""
    return machine(built, tmp_path / "other")
