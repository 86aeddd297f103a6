"""Failed runs are handed to a person's function: what it gets, and what is wrong with it."""

from __future__ import annotations

import json
import smtplib
import sys
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.configuration.settings import Orchestration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline import failure_notices
from brainbrr_pipeline.failure_notices import RunFailure, load_hook
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.resources import Workspace
from tests.support.pipeline_graph import Graph, wide_graph
from tests.support.project import ROOT

pytestmark = pytest.mark.usefixtures("one_worker")


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[RunFailure]:
    """What the function ``recorder:record`` was called with."""
    failures: list[RunFailure] = []
    module = ModuleType("recorder")
    monkeypatch.setattr(module, "record", failures.append, raising=False)
    monkeypatch.setitem(sys.modules, "recorder", module)
    return failures


class Ticks:
    """Ticks of the sensor one after another, as the daemon makes them."""

    def __init__(self, graph: Graph, **settings: Any) -> None:
        self._instance = graph.instance
        changed = {"orchestration": Orchestration(**settings)}
        self._settings = graph.settings.model_copy(update=changed)
        self._cursor: str | None = None
        # A sensor that was just turned on reports what fails from then on.
        self.next()

    def next(self) -> SensorExecutionData:
        repository = build_defs(self._settings).get_repository_def()
        with dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursor,
            repository_def=repository,
            resources={"workspace": Workspace.of(self._settings)},
        ) as context:
            tick = repository.get_sensor_def("notify_of_failures").evaluate_tick(context)
        self._cursor = tick.cursor
        return tick


def error_of(tick: SensorExecutionData) -> str | None:
    """What a tick's reaction to a failed run failed with."""
    [reaction] = tick.dagster_run_reactions or []
    return None if reaction.error is None else reaction.error.message


def test_a_failed_run_is_reported_once_with_what_a_person_needs(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    received: list[RunFailure],
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    before = graph.build(["no/such/partition"])
    ticks = Ticks(graph, on_failure="recorder:record", ui_url="https://dagster.example.org/eeg/")
    assert not before.success and received == []
    failed = graph.build(["no/such/partition", "nor/this"])
    assert graph.materialize("raw_edf_index").success
    assert error_of(ticks.next()) is None
    assert received == [
        RunFailure(
            "build_cache",
            failed.run_id,
            f"https://dagster.example.org/eeg/runs/{failed.run_id}",
            "the index lacks 2 partitions, such as no/such/partition: materialize "
            "raw_edf_index, which drops the partitions of removed recordings",
            ("no/such/partition", "nor/this"),
        )
    ]
    ticks.next()
    assert len(received) == 1


def test_a_run_without_a_job_is_named_by_its_assets_and_its_partitions(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    received: list[RunFailure],
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 4)
    keys = [recording.partition_key for recording in read_index(graph.settings.cache_root)]
    ticks = Ticks(graph, on_failure="recorder:record")
    # Nothing can be built where the index is gone and cannot be made.
    Path(str(graph.settings.data_dir)).rename(tmp_path / "elsewhere")
    tags = {
        "dagster/asset_partition_range_start": keys[1],
        "dagster/asset_partition_range_end": keys[3],
        "dagster/will_retry": "true",
    }
    assert not graph.materialize("windowed_cache", tags=tags).success
    assert not graph.materialize("windowed_cache", partition=keys[2]).success
    for _ in range(2):
        ticks.next()
    ranged, single = received
    assert (ranged.job, ranged.partitions) == ("windowed_cache", tuple(keys[1:]))
    assert (single.job, single.partitions) == ("windowed_cache", (keys[2],))
    assert (ranged.will_retry, single.will_retry) == (True, False)
    assert "wide/tusz, which does not exist" in ranged.error
    assert "\n" not in ranged.error
    assert ranged.link == f"http://127.0.0.1:3000/runs/{ranged.run_id}"


def test_an_error_of_the_function_is_the_error_of_the_tick(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    received: list[RunFailure],
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    ticks = Ticks(graph)
    graph.build(["no/such/partition"])
    assert "orchestration.on_failure is not set" in str(error_of(ticks.next()))
    ticks = Ticks(graph, on_failure="recorder:nothing")
    graph.build(["no/such/partition"])
    assert "recorder has no function nothing" in str(error_of(ticks.next()))
    with pytest.raises(BrainbrrError, match=r"no_such_module:f, .* on PYTHONPATH"):
        load_hook("no_such_module:f")
    assert received == []


@pytest.mark.parametrize("name", ["notices", "notices.send", ":send", "notices:", "a-b:c", "a:b c"])
def test_a_name_that_is_no_function_is_refused_by_the_configuration(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"orchestration: {{on_failure: {json.dumps(name)}}}\n")
    with pytest.raises(
        BrainbrrError, match=r"write package\.module:function, such as notices:send"
    ):
        load(Overrides(config=f"smoke:cpu:{path}"), {})


def test_a_malformed_address_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("orchestration: {ui_url: dagster.example.org}\n")
    with pytest.raises(BrainbrrError, match=r"orchestration\.ui_url is .* write an address"):
        load(Overrides(config=f"smoke:cpu:{path}"), {})


def test_the_text_names_few_partitions_and_ends_with_the_link() -> None:
    keys = tuple(f"train/p{number}" for number in range(5))
    failure = RunFailure("build_cache", "7", "http://ui/runs/7", "no space left", keys)
    assert failure.title() == "brainbrr: build_cache failed"
    assert failure.text().splitlines() == [
        "no space left",
        "partitions: train/p0, train/p1, train/p2 and 2 more",
        "http://ui/runs/7",
    ]


def test_the_function_can_be_tried_before_a_run_fails(
    received: list[RunFailure],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("orchestration: {on_failure: 'recorder:record'}\n")
    monkeypatch.setenv("BRAINBRR_CONFIG", f"smoke:cpu:{path}")
    assert failure_notices.main() == 0
    assert [failure.error for failure in received] == ["this is a test: no run has failed"]
    path.write_text("orchestration: {on_failure: 'recorder:nothing'}\n")
    assert failure_notices.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def documented(name: str) -> Callable[[RunFailure], None]:
    """The function of an example in the documentation, by what it is about."""
    page = (ROOT / "docs" / "dagster.md").read_text("utf-8")
    [code] = [part for part in page.split("```python\n")[1:] if name in part.partition("```")[0]]
    names: dict[str, Any] = {}
    exec(code.partition("```")[0], names)
    send: Callable[[RunFailure], None] = names["send"]
    return send


FAILURE = RunFailure("build_cache", "7", "http://ui/runs/7", "no space left")


def test_the_documented_mail_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[EmailMessage] = []

    class Server:
        def __init__(self, host: str) -> None:
            assert host == "mail.example.org"

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def send_message(self, message: EmailMessage) -> None:
            sent.append(message)

    monkeypatch.setattr(smtplib, "SMTP", Server)
    documented("smtplib")(FAILURE)
    [message] = sent
    assert message["Subject"] == "brainbrr: build_cache failed"
    assert message.get_content().splitlines() == ["no space left", "http://ui/runs/7"]


def test_the_documented_slack_message_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[urllib.request.Request] = []

    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def post(request: urllib.request.Request, timeout: float) -> Answer:
        assert timeout > 0
        sent.append(request)
        return Answer()

    monkeypatch.setattr(urllib.request, "urlopen", post)
    monkeypatch.setenv("SLACK_WEBHOOK", "https://hooks.example.org/abc")
    documented("SLACK_WEBHOOK")(FAILURE)
    [request] = sent
    assert request.full_url == "https://hooks.example.org/abc"
    assert isinstance(request.data, bytes)
    assert json.loads(request.data) == {
        "text": "brainbrr: build_cache failed\nno space left\nhttp://ui/runs/7"
    }
