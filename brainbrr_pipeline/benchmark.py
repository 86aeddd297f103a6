"""``python -m brainbrr_pipeline.benchmark``: the cost of orchestration at the size of TUSZ.

The corpus consists of hard links to one recording. Dagster stores its events in SQLite, and its
commands run in separate processes, as for a user.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainbrr_core.benchmark.many_recordings import TUSZ_RECORDINGS, wide_cache
from brainbrr_core.cli.dagster import prepare_dagster_home
from brainbrr_core.cli.printing import print_json
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

#: A query like that of the UI's page of a partitioned asset.
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
#: A module with an asset that does nothing.
_EMPTY_ASSET = """\
import dagster as dg


@dg.asset
def empty() -> None:
    pass


defs = dg.Definitions([empty], executor=dg.in_process_executor)
"""


def main(
    recordings: Annotated[
        int, typer.Option(min=10, help="Number of partitions.")
    ] = TUSZ_RECORDINGS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the cost of Dagster: for each recording, a run, a tick of the sensor, a page."""
    with tempfile.TemporaryDirectory(prefix="brainbrr-orchestration-") as folder:
        values = measure(Path(folder), recordings)
    if as_json:
        print_json(values)
        return
    print_table(
        f"{recordings} partitions, SQLite",
        ["", "measured", "limit"],
        [
            ["recording a materialization, ms", f"{values['materialization_ms']:.2f}", "10"],
            ["a run with nothing to build, including start-up, s", f"{values['no_op_s']:.2f}", "5"],
            ["its processor time, s", f"{values['no_op_cpu_s']:.2f}", ""],
            ["processor time of a run of an empty asset, s", f"{values['empty_cpu_s']:.2f}", ""],
            ["a tick of the sensor, s", f"{values['tick_s']:.2f}", "2"],
            ["its processor time, s", f"{values['tick_cpu_s']:.2f}", ""],
            ["the GraphQL query of an asset's page, s", f"{values['page_s']:.2f}", "3"],
        ],
    )


def measure(folder: Path, recordings: int) -> dict[str, float]:
    """Measure the figures with a corpus, a cache and a DAGSTER_HOME below ``folder``."""
    configuration = wide_cache(folder, recordings)
    prepare_dagster_home(configuration.dagster_home)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRAINBRR_", "DAGSTER_"))
    } | {
        "DAGSTER_HOME": str(configuration.dagster_home),
        "BRAINBRR_CONFIG": "full:cpu",
        "BRAINBRR_DATA_DIR": str(configuration.data_dir),
        "BRAINBRR_CACHE_ROOT": str(configuration.cache_root),
        "BRAINBRR_RUNS_DIR": str(configuration.runs_dir),
        "DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": "brainbrr_pipeline.command_line",
    }
    first, _ = _materialize(environment)
    no_op, no_op_cpu = map(min, zip(*(_materialize(environment) for _ in range(2)), strict=True))
    # The time that Dagster needs for a run that does nothing.
    module = folder / "empty_asset.py"
    module.write_text(_EMPTY_ASSET, encoding="utf-8")
    of_empty = {k: v for k, v in environment.items() if not k.startswith("DAGSTER_CLI_")}
    empty = [_materialize(of_empty, "empty", "--python-file", str(module)) for _ in range(2)]
    tick, tick_cpu = _tick(environment)
    return {
        "recordings": recordings,
        # This includes an observation of each EDF, which the first run records as well.
        "materialization_ms": round((first - no_op) / recordings * 1000, 3),
        "no_op_s": round(no_op, 3),
        "no_op_cpu_s": round(no_op_cpu, 3),
        "empty_cpu_s": round(min(cpu for _, cpu in empty), 3),
        "tick_s": round(tick, 3),
        "tick_cpu_s": round(tick_cpu, 3),
        "page_s": round(_page(environment), 3),
    }


def _command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _materialize(
    environment: dict[str, str], assets: str = "raw_edf_index,windowed_cache", *options: str
) -> tuple[float, float]:
    """Elapsed seconds and processor seconds of ``dagster asset materialize``.

    By default it materializes index and cache, with nothing to build.
    """
    command = [_command("dagster"), "asset", "materialize", "--select", assets, *options]
    start, before = time.perf_counter(), _children_s()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise BrainbrrError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return seconds, _children_s() - before


def _children_s() -> float:
    """Processor seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tick(environment: dict[str, str]) -> tuple[float, float]:
    """Elapsed seconds and processor seconds of a tick of the sensor: the least of three."""
    os.environ.update(environment)
    import dagster as dg

    from brainbrr_pipeline.graph import build_defs
    from brainbrr_pipeline.resources import Workspace

    repository = build_defs().get_repository_def()
    sensor = repository.get_sensor_def("keep_up")
    times, processor = [], []
    with dg.DagsterInstance.get() as instance:
        for _ in range(3):
            with dg.build_sensor_context(
                instance=instance, repository_def=repository, resources={"workspace": Workspace()}
            ) as context:
                start, before = time.perf_counter(), time.process_time()
                sensor.evaluate_tick(context)
                times.append(time.perf_counter() - start)
                processor.append(time.process_time() - before)
    return min(times), min(processor)


def _page(environment: dict[str, str]) -> float:
    """Seconds of the query of an asset's page over HTTP: the least of three."""
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
                if answer.errors:
                    raise BrainbrrError(f"the query failed: {answer.errors[0].message}")
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


class _Error(BaseModel):
    message: str


class _Answer(BaseModel):
    """The errors of a GraphQL response."""

    errors: list[_Error] = []


def _ask(port: int, query: str) -> _Answer:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return _Answer.model_validate_json(answer.read())


if __name__ == "__main__":
    typer.run(main)
