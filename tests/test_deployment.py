"""``configs/deploy/celery``, run as it stands: PostgreSQL, Redis, Celery workers, one cache root.

Needs Debian's packages postgresql and redis-server; run with `make test-deploy`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from edf_files import write_edf
from services import ROOT, Services, answers, free_port, needed, wait_until

from brainbrr_core.annotation import tuh
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration, Overrides, load

pytestmark = pytest.mark.deploy

DEPLOYMENT = ROOT / "configs" / "deploy" / "celery"
RECORDINGS, KEYS_PER_RUN = 500, 50
#: Files of a version that say when something happened, and so differ between two builds.
_DATED = {"records.jsonl"}

LAUNCH = """
mutation ($runs: [ExecutionParams!]!) {
  launchMultipleRuns(executionParamsList: $runs) {
    __typename
    ... on LaunchMultipleRunsResult {
      launchMultipleRunsResult {
        __typename
        ... on LaunchRunSuccess { run { runId } }
        ... on PythonError { message }
        ... on RunConfigValidationInvalid { errors { message } }
      }
    }
    ... on PythonError { message }
  }
}
"""
RUNS = """
{ runsOrError { ... on Runs { results {
    runId status rootRunId jobName runConfig tags { key value }
} } } }
"""
SENSOR_ON = """
mutation ($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) {
    __typename ... on Sensor { id } ... on PythonError { message }
  }
}
"""
SENSOR_OFF = """
mutation ($id: String!) {
  stopSensor(id: $id) { __typename ... on PythonError { message } }
}
"""
PARTITIONS = """
{ assetNodeOrError(assetKey: {path: ["windowed_cache"]}) { ... on AssetNode {
    partitionStats { numPartitions numMaterialized numFailed }
} } }
"""


def write_recordings(data_dir: Path) -> None:
    """500 recordings of 12 to 20 s, five for each patient."""
    for number in range(RECORDINGS):
        split = ("train", "train", "train", "dev", "eval")[number // 5 % 5]
        name = f"pat{number // 5:05d}_s001_t{number % 5:03d}"
        folder = data_dir / split / f"pat{number // 5:05d}" / "s001_2020" / "01_tcp_ar"
        seconds = 12 + number % 9
        path = write_edf(folder / f"{name}.edf", seconds=seconds, seed=number)
        path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([], seconds, name))


def shards(folder: Path) -> dict[str, bytes]:
    """Every file of a version but the dated ones, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _DATED
    }


class Cluster:
    """The deployment on loopback, with an own folder for each thing."""

    def __init__(self, place: Path, logs: Path) -> None:
        self.place = place
        self.ports = {name: free_port() for name in ("postgres", "redis", "code", "web")}
        settings = place / "deploy.yaml"
        settings.write_text(
            f"data_dir: {place / 'tusz'}\ncache_root: {place / 'cache'}\n"
            f"orchestration: {{recordings_per_run: {KEYS_PER_RUN}}}\n"
        )
        config = f"full:cpu:{settings}"
        self.settings: Configuration = load(Overrides(config=config), environment={})
        home = place / "dagster"
        home.mkdir()
        instance = yaml.safe_load((DEPLOYMENT / "dagster.yaml").read_text())
        # As it stands, but for the waiting.
        instance["run_monitoring"]["poll_interval_seconds"] = 2
        (home / "dagster.yaml").write_text(yaml.safe_dump(instance))
        for name in ("workspace.yaml", "dagster_celery_config.py"):
            shutil.copy(DEPLOYMENT / name, home / name)
        self.home = home
        self.services = Services(
            logs,
            {
                "BRAINBRR_CONFIG": config,
                "BRAINBRR_POSTGRES_URL": (
                    f"postgresql://brainbrr@127.0.0.1:{self.ports['postgres']}/brainbrr"
                ),
                "BRAINBRR_BROKER_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
                "BRAINBRR_CODE_SERVER_HOST": "127.0.0.1",
                "BRAINBRR_CODE_SERVER_PORT": str(self.ports["code"]),
                "DAGSTER_HOME": str(home),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(home)]),
                "OMP_NUM_THREADS": "1",
            },
        )

    def start(self) -> None:
        """Everything but the workers."""
        self._start_postgres()
        start, ports = self.services.start, self.ports
        start(
            "redis", needed("redis-server", "redis-server"), "--bind", "127.0.0.1", "--port",
            str(ports["redis"]), "--save", "", "--dir", self.place,
        )  # fmt: skip
        self.services.wait_for_port("redis", ports["redis"])
        start(
            "code", _beside("dagster"), "api", "grpc", "-m", "brainbrr_pipeline.definitions",
            "--host", "127.0.0.1", "--port", str(ports["code"]),
        )  # fmt: skip
        self.services.wait_for_port("code", ports["code"], seconds=120)
        workspace = self.home / "workspace.yaml"
        start(
            "web", _beside("dagster-webserver"), "-w", workspace, "-h", "127.0.0.1", "-p",
            str(ports["web"]),
        )  # fmt: skip
        start("daemon", _beside("dagster-daemon"), "run", "-w", workspace)
        self.services.wait_for_port("web", ports["web"], seconds=120)

    def _start_postgres(self) -> None:
        # A folder that the user postgres may enter, which those of pytest are not.
        data = self.place / "postgres"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        folders = [str(path) for path in reversed(versions)]
        needed("initdb", "postgresql", *folders)
        port = str(self.ports["postgres"])
        self.services.run(
            needed("initdb", "postgresql", *folders), "-D", data, "-U", "brainbrr", "-A", "trust",
            user="postgres",
        )  # fmt: skip
        self.services.start(
            "postgres", needed("postgres", "postgresql", *folders), "-D", data, "-p", port,
            "-h", "127.0.0.1", "-k", data, "-F", user="postgres",
        )  # fmt: skip
        self.services.wait_for_port("postgres", self.ports["postgres"])
        createdb = needed("createdb", "postgresql", *folders)
        wait_until(
            "PostgreSQL takes a database",
            lambda: _succeeds(
                self.services, createdb, "-h", "127.0.0.1", "-p", port, "-U", "brainbrr",
                "brainbrr",
            ),
            seconds=30,
        )  # fmt: skip

    def start_worker(self, name: str, queue: str) -> None:
        """A Celery worker of one slot."""
        self.services.start(
            name, _beside("celery"), "-A", "dagster_celery.app", "worker", "-l", "INFO", "-Q",
            queue, "-c", "1",
            "-n", f"{name}@%h",
        )  # fmt: skip

    def wait_for_workers(self, *names: str) -> None:
        """Wait until workers say that they are ready."""
        wait_until(
            f"{names} are ready",
            lambda: all(" ready." in self.services.log(name) for name in names),
            seconds=90,
        )

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The answer of the web server."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['web']}/graphql",
            json.dumps({"query": query, "variables": variables or {}}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, *parameters: dict[str, Any]) -> list[str]:
        """Ask for runs; their ids."""
        outcome = self.ask(LAUNCH, {"runs": list(parameters)})["launchMultipleRuns"]
        results = outcome["launchMultipleRunsResult"]
        assert {result["__typename"] for result in results} == {"LaunchRunSuccess"}, results
        return [result["run"]["runId"] for result in results]

    def build_by_sensor(self) -> dict[str, set[str]]:
        """Turn the sensor on until it has asked for runs; the partitions that each has."""
        before = set(self.runs())
        location = {"repositoryName": "__repository__", "repositoryLocationName": "brainbrr"}
        sensor = self.ask(SENSOR_ON, {"sensor": {**location, "sensorName": "keep_up"}})
        sensor = sensor["startSensor"]
        assert sensor["__typename"] == "Sensor", sensor

        def asked() -> dict[str, set[str]]:
            return {
                number: set(run["runConfig"]["ops"]["build_recordings"]["config"]["keys"])
                for number, run in self.runs().items()
                if number not in before and run["jobName"] == "build_cache"
            }

        def all_asked() -> bool:
            return sum(len(keys) for keys in asked().values()) == RECORDINGS

        wait_until("the sensor has asked for every recording", all_asked, seconds=150, every=0.5)
        stopped = self.ask(SENSOR_OFF, {"id": sensor["id"]})["stopSensor"]
        assert stopped["__typename"] == "StopSensorMutationResult", stopped
        return asked()

    def runs(self) -> dict[str, dict[str, Any]]:
        """All runs, by id."""
        return {run["runId"]: run for run in self.ask(RUNS)["runsOrError"]["results"]}

    def wait_for_end(self, *ids: str, seconds: float) -> dict[str, str]:
        """Wait until runs and those that replace them have ended; the last status of each."""
        last: dict[str, str] = {}

        def ended() -> bool:
            runs = self.runs()
            for number in ids:
                tries = [run for run in runs.values() if number in (run["runId"], run["rootRunId"])]
                newest = max(tries, key=lambda run: _retry(run))
                last[number] = newest["status"]
                waits = any(
                    tag == {"key": "dagster/will_retry", "value": "true"} for tag in newest["tags"]
                )
                if newest["status"] not in ("SUCCESS", "FAILURE", "CANCELED") or waits:
                    return False
            return True

        wait_until(f"the end of {len(ids)} runs", ended, seconds=seconds, every=1)
        return last

    def queue(self, run: dict[str, Any]) -> str:
        """The Celery queue that a run was sent to."""
        return next(tag["value"] for tag in run["tags"] if tag["key"] == "dagster-celery/queue")

    @property
    def folder(self) -> Path:
        """The version's folder in the shared cache root."""
        return plan_profile(self.settings).store.folder

    def built(self) -> Counter[str]:
        """How often records.jsonl says that each recording was built."""
        path = self.folder / "records.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return Counter(json.loads(line)["partition_key"] for line in lines)


def run_of(asset: str) -> dict[str, Any]:
    """What GraphQL takes for a run of one asset."""
    return {
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "brainbrr",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
        },
        "runConfigData": {},
        "mode": "default",
    }


def _retry(run: dict[str, Any]) -> int:
    return next(
        (int(tag["value"]) for tag in run["tags"] if tag["key"] == "dagster/retry_number"), 0
    )


def _beside(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _succeeds(services: Services, *command: str) -> bool:
    try:
        services.run(*command, user="postgres")
    except pytest.fail.Exception:
        return False
    return True


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # /tmp itself: sockets have short paths, and the user postgres enters.
    place = Path(tempfile.mkdtemp(prefix="brainbrr-"))
    place.chmod(0o755)
    try:
        write_recordings(place / "tusz")
        cluster = Cluster(place, tmp_path_factory.mktemp("logs"))
        with cluster.services:
            cluster.start()
            yield cluster
        assert not cluster.services.running()
        assert not any(answers(port) for port in cluster.ports.values())
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def local(cluster: Cluster) -> dict[str, bytes]:
    """The shards of a build on this machine alone, in a root of its own."""
    settings = cluster.settings.model_copy(update={"cache_root": cluster.place / "local"})
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
    lists = cluster.build_by_sensor()
    ended = cluster.wait_for_end(*lists, seconds=300)
    print(f"{RECORDINGS} recordings in {len(lists)} runs: {time.monotonic() - started:.1f} s")

    assert sorted(len(keys) for keys in lists.values()) == [KEYS_PER_RUN] * 10
    assert set(ended.values()) == {"SUCCESS"}
    assert shards(cluster.folder) == local
    assert set(cluster.built().values()) == {1}
    assert len(cluster.built()) == RECORDINGS
    assert all(" received" in cluster.services.log(name) for name in ("first", "second"))
    stats = cluster.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"]
    assert stats == {"numPartitions": 500, "numMaterialized": 500, "numFailed": 0}


def test_what_a_killed_worker_had_is_finished_by_another(
    cluster: Cluster, local: dict[str, bytes]
) -> None:
    shutil.rmtree(cluster.folder)
    before = set(cluster.runs())
    lists = cluster.build_by_sensor()

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
    assert shards(cluster.folder) == local
    assert cluster.built() == Counter({key.removesuffix(".arrow"): 1 for key in local})
    assert plan_profile(cluster.settings).count(State.FRESH) == RECORDINGS
    stats = cluster.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"]
    assert stats == {"numPartitions": 500, "numMaterialized": 500, "numFailed": 0}


def test_what_needs_a_gpu_goes_to_its_worker_and_nothing_else_does(cluster: Cluster) -> None:
    cluster.start_worker("card", "gpu")
    cluster.wait_for_workers("card")
    ids = cluster.launch(run_of("eval_report"), run_of("raw_edf_index"))
    cluster.wait_for_end(*ids, seconds=120)
    runs = cluster.runs()
    # There is no model to evaluate here: what counts is where that was found out.
    assert [runs[number]["status"] for number in ids] == ["FAILURE", "SUCCESS"]
    assert [cluster.queue(runs[number]) for number in ids] == ["gpu", "cpu"]
    assert cluster.services.log("card").count(" received") == 1
