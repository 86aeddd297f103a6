"""``configs/deploy/celery`` as it is shipped: PostgreSQL, Redis, Celery workers, one cache root.

Needs Debian's packages postgresql and redis-server; run with `make test-deploy`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from brainbrr_core.annotation import tuh
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.store import MARKER
from tests.support.deployment import PARTITIONS, Cluster, run_of
from tests.support.edf_files import write_edf
from tests.support.services import answers, wait_until

pytestmark = pytest.mark.deploy

RECORDINGS, KEYS_PER_RUN = 500, 50
#: Files of a version that say when something happened, and so differ between two builds.
_DATED = {"records.jsonl", MARKER}


def write_recordings(data_dir: Path) -> None:
    """500 recordings of 12 to 20 s, five for each patient, one of them with a seizure."""
    for number in range(RECORDINGS):
        split = ("train", "train", "train", "dev", "eval")[number // 5 % 5]
        name = f"pat{number // 5:05d}_s001_t{number % 5:03d}"
        folder = data_dir / split / f"pat{number // 5:05d}" / "s001_2020" / "01_tcp_ar"
        seconds = 12 + number % 9
        path = write_edf(folder / f"{name}.edf", seconds=seconds, seed=number)
        seizure = "" if number % 5 else "TERM,2.0000,7.0000,seiz,1.0000\n"
        path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([], seconds, name) + seizure)


def shards(folder: Path) -> dict[str, bytes]:
    """Every file of a version but the dated ones, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _DATED
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # /tmp itself: sockets have short paths, and the user postgres enters.
    root = Path(tempfile.mkdtemp(prefix="brainbrr-"))
    root.chmod(0o755)
    try:
        write_recordings(root / "tusz")
        cluster = Cluster(root, tmp_path_factory.mktemp("logs"), recordings_per_run=KEYS_PER_RUN)
        with cluster.services:
            cluster.start()
            yield cluster
        assert not cluster.services.running()
        assert not any(answers(port) for port in cluster.ports.values())
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def local(cluster: Cluster) -> dict[str, bytes]:
    """The shards of a build on this machine alone, in a root of its own."""
    settings = cluster.settings.model_copy(update={"cache_root": cluster.root / "local"})
    plan = plan_corpus(settings)
    assert not build(plan, settings.preprocessing).failed
    return shards(plan.store.folder)


def test_two_workers_build_what_one_machine_builds(
    cluster: Cluster, local: dict[str, bytes]
) -> None:
    assert len(local) == RECORDINGS
    cluster.start_worker("first", "cpu")
    cluster.start_worker("second", "cpu")
    cluster.wait_for_workers("first", "second")
    index = cluster.launch(run_of("raw_edf_index"))
    assert cluster.wait_for_end(*index, seconds=120) == {index[0]: "SUCCESS"}

    started = time.monotonic()
    lists = cluster.build_by_sensor(RECORDINGS)
    ended = cluster.wait_for_end(*lists, seconds=300)
    print(f"{RECORDINGS} recordings in {len(lists)} runs: {time.monotonic() - started:.1f} s")

    assert sorted(len(keys) for keys in lists.values()) == [KEYS_PER_RUN] * 10
    assert set(ended.values()) == {"SUCCESS"}
    assert shards(cluster.version_folder) == local
    assert set(cluster.built().values()) == {1}
    assert len(cluster.built()) == RECORDINGS
    assert all(" received" in cluster.services.log(name) for name in ("first", "second"))
    stats = cluster.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"]
    assert stats == {"numPartitions": 500, "numMaterialized": 500, "numFailed": 0}


def test_what_a_killed_worker_had_is_finished_by_another(
    cluster: Cluster, local: dict[str, bytes]
) -> None:
    shutil.rmtree(cluster.version_folder)
    before = set(cluster.runs())
    lists = cluster.build_by_sensor(RECORDINGS)

    def in_the_middle() -> int:
        """Runs that have made a part of their partitions."""
        done = cluster.built().keys()
        return sum(5 <= len(keys & done) <= KEYS_PER_RUN - 10 for keys in lists.values())

    wait_until("two runs are in the middle", lambda: in_the_middle() == 2, seconds=120, every=0.01)
    cluster.services.kill("first")
    killed_at, done = time.monotonic(), set(cluster.built())
    ended = cluster.wait_for_end(*lists, seconds=300)
    print(f"killed with {len(done)} built; all ended {time.monotonic() - killed_at:.1f} s later")

    assert set(ended.values()) == {"SUCCESS"}
    again = [r for n, r in cluster.runs().items() if n not in before and n not in lists]
    assert [run["jobName"] for run in again] == ["build_cache"]
    lost = lists[again[0]["rootRunId"]]
    assert 5 <= len(lost & done) < KEYS_PER_RUN
    assert shards(cluster.version_folder) == local
    assert cluster.built() == Counter({key.removesuffix(".arrow"): 1 for key in local})
    assert plan_profile(cluster.settings).count(State.FRESH) == RECORDINGS
    stats = cluster.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"]
    assert stats == {"numPartitions": 500, "numMaterialized": 500, "numFailed": 0}


def test_what_needs_a_gpu_goes_to_its_worker_and_nothing_else_does(cluster: Cluster) -> None:
    cluster.start_worker("gpu-worker", "gpu")
    cluster.wait_for_workers("gpu-worker")
    ids = cluster.launch(run_of("eval_report"), run_of("raw_edf_index"))
    cluster.wait_for_end(*ids, seconds=120)
    runs = cluster.runs()
    # There is no model to evaluate here: what counts is where that was found out.
    assert [runs[number]["status"] for number in ids] == ["FAILURE", "SUCCESS"]
    assert [cluster.queue(runs[number]) for number in ids] == ["gpu", "cpu"]
    assert cluster.services.log("gpu-worker").count(" received") == 1
