"""``configs/deploy/celery`` on loopback: its servers and workers, and queries of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.configuration import Configuration, Overrides, load
from tests.support.project import ROOT
from tests.support.services import Services, free_port, needed, wait_until

DEPLOYMENT = ROOT / "configs" / "deploy" / "celery"

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


class Cluster:
    """The deployment on loopback. All its files are below one folder."""

    def __init__(self, root: Path, logs: Path, *, recordings_per_run: int) -> None:
        self.root = root
        self.ports = {name: free_port() for name in ("postgres", "redis", "code", "web")}
        settings = root / "deploy.yaml"
        settings.write_text(
            f"data_dir: {root / 'tusz'}\ncache_root: {root / 'cache'}\n"
            f"orchestration: {{recordings_per_run: {recordings_per_run}}}\n"
        )
        config = f"full:cpu:{settings}"
        self.settings: Configuration = load(Overrides(config=config), environment={})
        home = root / "dagster"
        home.mkdir()
        instance = yaml.safe_load((DEPLOYMENT / "dagster.yaml").read_text())
        # As it is shipped, but with shorter waits.
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
            str(ports["redis"]), "--save", "", "--dir", self.root,
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
        data = self.root / "postgres"
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

    def build_by_sensor(self, recordings: int) -> dict[str, set[str]]:
        """Turn the sensor on until it has asked for that many; the partitions of each run."""
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
            return sum(len(keys) for keys in asked().values()) == recordings

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
        return next(
            str(tag["value"]) for tag in run["tags"] if tag["key"] == "dagster-celery/queue"
        )

    @property
    def version_folder(self) -> Path:
        """The version's folder in the shared cache root."""
        return plan_profile(self.settings).store.folder

    def built(self) -> Counter[str]:
        """How often each recording was built, by records.jsonl."""
        path = self.version_folder / "records.jsonl"
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
