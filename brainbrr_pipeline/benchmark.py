"""``python -m brainbrr_pipeline.benchmark``: what orchestration costs at the size of TUSZ.

A corpus of hard links to one recording, SQLite, Dagster's own commands as a user types them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from brainbrr_core.benchmark.many_recordings import TUSZ_RECORDINGS, wide_cache
from brainbrr_core.cli.dagster import prepare_dagster_home
from brainbrr_core.cli.options import print_json, print_table
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError

#: What a page of the UI asks of a partitioned asset.
_ASSET_PAGE = """
query Page {
  assetNodeOrError(assetKey: {path: ["windowed_cache"]}) {
    ... on AssetNode {
      description staleStatus staleCauses { reason } partitionStats {
        numPartitions numMaterialized numFailed numMaterializing }
      partitionKeysByDimension { partitionKeys }
      assetPartitionStatuses { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions } }
      assetMaterializations(limit: 100) { timestamp partition tags { key value } }
    }
  }
  assetNodes { assetKey { path } staleStatus }
}
"""


def main(
    recordings: Annotated[int, typer.Option(min=10, help="How many partitions.")] = TUSZ_RECORDINGS,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Measure materializations recorded, a run without work, a sensor's tick, an asset's page."""
    with tempfile.TemporaryDirectory(prefix="brainbrr-orchestration-") as folder:
        values = measure(Path(folder), recordings)
    if as_json:
        print_json(values)
        return
    print_table(
        f"{recordings} partitions, SQLite",
        ["", "measured", "limit"],
        [
            ["ms for each materialization recorded", f"{values['materialization_ms']:.2f}", "10"],
            ["a run without work, with Dagster's start, s", f"{values['no_op_s']:.2f}", "5"],
            ["a sensor's tick, s", f"{values['tick_s']:.2f}", "2"],
            ["an asset's page by GraphQL, s", f"{values['page_s']:.2f}", "3"],
        ],
    )


def measure(folder: Path, recordings: int) -> dict[str, float]:
    """The figures, everything written below ``folder``."""
    settings = wide_cache(folder, recordings)
    environment = _environment(settings)
    first = _materialize(environment)
    no_op = min(_materialize(environment) for _ in range(2))
    return {
        "recordings": recordings,
        # Observed, too: each EDF's content version is new to this Dagster.
        "materialization_ms": round((first - no_op) / recordings * 1000, 3),
        "no_op_s": round(no_op, 3),
        "tick_s": round(_tick(environment), 3),
        "page_s": round(_page(environment), 3),
    }


def _environment(settings: Configuration) -> dict[str, str]:
    prepare_dagster_home(settings.dagster_home)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BRAINBRR_", "DAGSTER_"))}
    return clean | {
        "DAGSTER_HOME": str(settings.dagster_home),
        "BRAINBRR_CONFIG": "full:cpu",
        "BRAINBRR_DATA_DIR": str(settings.data_dir),
        "BRAINBRR_CACHE_ROOT": str(settings.cache_root),
        "BRAINBRR_RUNS_DIR": str(settings.runs_dir),
        "DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": "brainbrr_pipeline.command_line",
    }


def _command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _materialize(environment: dict[str, str]) -> float:
    """Seconds of ``dagster asset materialize`` for index and cache, with nothing to build."""
    return _timed(
        [_command("dagster"), "asset", "materialize", "--select", "raw_edf_index,windowed_cache"],
        environment,
    )


def _timed(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise BrainbrrError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return seconds


def _tick(environment: dict[str, str]) -> float:
    """Seconds of a tick as the code server evaluates it, the best of three."""
    os.environ.update(environment)
    import dagster as dg

    from brainbrr_pipeline.graph import build_defs
    from brainbrr_pipeline.resources import Workspace

    repository = build_defs().get_repository_def()
    sensor = repository.get_sensor_def("keep_up")
    times = []
    with dg.DagsterInstance.get() as instance:
        for _ in range(3):
            with dg.build_sensor_context(
                instance=instance, repository_def=repository, resources={"workspace": Workspace()}
            ) as context:
                start = time.perf_counter()
                sensor.evaluate_tick(context)
                times.append(time.perf_counter() - start)
    return min(times)


def _page(environment: dict[str, str]) -> float:
    """Seconds of the asset page's query over HTTP, the best of three."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [_command("dagster-webserver"), "-m", "brainbrr_pipeline.definitions"]
    with subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_for(port, server)
            times = []
            for _ in range(3):
                start = time.perf_counter()
                answer = _ask(port, _ASSET_PAGE)
                times.append(time.perf_counter() - start)
                if answer.get("errors"):
                    raise BrainbrrError(f"the query failed: {answer['errors'][0]['message']}")
            return min(times)
        finally:
            server.terminate()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        if server.poll() is not None:
            raise BrainbrrError("dagster-webserver ended before it answered")
        try:
            _ask(port, "{ version }")
        except OSError:
            time.sleep(0.25)
        else:
            return
    raise BrainbrrError("dagster-webserver did not answer in a minute")


def _ask(port: int, query: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: dict[str, Any] = json.load(answer)
    return content


if __name__ == "__main__":
    typer.run(main)
