"""The definitions that Dagster loads: names, owners, descriptions, and what they use of Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._utils.schedules import schedule_execution_time_iterator

import brainbrr_pipeline
from brainbrr_core.cache.manifest_file import SCHEMA as MANIFEST_SCHEMA
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.configuration.settings import Orchestration
from brainbrr_core.corpus.index_rows import SCHEMA as INDEX_SCHEMA
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.records import columns
from tests.support.pipeline_graph import CACHE

PACKAGE = Path(brainbrr_pipeline.__file__).parent


def test_both_modules_define_the_same_assets() -> None:
    import brainbrr_pipeline.command_line as command_line
    import brainbrr_pipeline.definitions as definitions

    public = {
        "raw_edf",
        "raw_edf_index",
        "selected_recordings",
        "windowed_cache",
        "cache_manifest",
        "trained_model",
        "eval_report",
    }
    for module in (command_line, definitions):
        keys = module.defs.resolve_asset_graph().get_all_asset_keys()
        assert {key.to_user_string() for key in keys} == public
    graph = definitions.defs.resolve_asset_graph()
    assert graph.get(CACHE).partitions_def is not None
    assert {key.to_user_string() for key in graph.get(CACHE).parent_keys} == {
        "raw_edf",
        "raw_edf_index",
    }


def test_every_asset_has_owner_group_kind_description_and_code() -> None:
    from brainbrr_pipeline.definitions import defs

    graph = defs.resolve_asset_graph()
    for node in graph.asset_nodes:
        assert node.group_name in ("corpus", "cache", "model")
        assert node.description
        assert node.kinds or node.is_external
        if not node.is_external:
            assert list(node.owners) == ["team:eeg"]
            assert "dagster/code_references" in node.metadata
    for name in ("raw_edf_index", "cache_manifest"):
        assert "dagster/column_schema" in graph.get(dg.AssetKey(name)).metadata


def test_every_column_of_a_table_has_a_description(one_built: Configuration) -> None:
    graph = build_defs(one_built).resolve_asset_graph()
    for name, schema in (("raw_edf_index", INDEX_SCHEMA), ("cache_manifest", MANIFEST_SCHEMA)):
        shown = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        assert isinstance(shown, dg.TableSchema)
        assert [column.name for column in shown.columns] == schema.names
        assert all(str(column.description).endswith(".") for column in shown.columns)
        # Not how the values are stored, such as dictionary<values=string, ...>.
        types = {column.name: column.type for column in shown.columns}
        assert (types["split"], types["patient"]) == ("string", "string")
        # The UI does not break a type into lines: a long one squeezes the descriptions.
        assert max(map(len, map(str, types.values()))) <= 24, types
    assert set(columns.INDEX) == set(INDEX_SCHEMA.names)
    assert set(columns.MANIFEST) == set(MANIFEST_SCHEMA.names)


def test_the_page_of_each_asset_shows_what_automates_it(one_built: Configuration) -> None:
    repository = RepositorySnap.from_def(build_defs(one_built).get_repository_def())
    jobs = {node.asset_key.to_user_string(): set(node.job_names) for node in repository.asset_nodes}
    [keep_up] = [sensor for sensor in repository.sensors if sensor.name == "keep_up"]
    [schedule] = repository.schedules
    targets = set(keep_up.target_dict or {})
    for name in ("raw_edf_index", "windowed_cache", "cache_manifest"):
        assert jobs[name] & targets, name
        assert name in str(keep_up.description)
    for name in ("trained_model", "eval_report"):
        assert schedule.job_name in jobs[name]
        assert not jobs[name] & targets


def test_the_schedule_has_the_time_zone_of_the_configuration(one_built: Configuration) -> None:
    def schedule(**settings: str) -> dg.ScheduleDefinition:
        changed = one_built.model_copy(
            update={"orchestration": Orchestration.model_validate(settings)}
        )
        [schedule] = build_defs(changed).get_repository_def().schedule_defs
        return schedule

    assert schedule().execution_timezone == "UTC"
    assert "(0 20 * * 5) in the time zone UTC" in str(schedule().description)
    tokyo = schedule(training_cron="30 6 * * 1", time_zone="Asia/Tokyo")
    assert "(30 6 * * 1) in the time zone Asia/Tokyo" in str(tokyo.description)
    first = next(schedule_times(tokyo, datetime(2024, 1, 1, tzinfo=UTC)))
    # 6:30 in Tokyo is 21:30 of the day before in UTC.
    assert first.astimezone(UTC).isoformat() == "2024-01-07T21:30:00+00:00"
    with pytest.raises(BrainbrrError, match="training_cron is 'every day': write a cron"):
        schedule(training_cron="every day")


def schedule_times(schedule: dg.ScheduleDefinition, start: datetime) -> Iterator[datetime]:
    """When a schedule runs."""
    return schedule_execution_time_iterator(
        start.timestamp(), schedule.cron_schedule, schedule.execution_timezone
    )


@pytest.mark.parametrize(
    ("zone", "nearest"),
    [("Europe/Berln", "Europe/Berlin"), ("America", "America/"), ("/etc/passwd", "")],
)
def test_a_time_zone_that_does_not_exist_is_refused(
    zone: str, nearest: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"orchestration: {{time_zone: {zone}}}\n")
    with pytest.raises(BrainbrrError) as error:
        load(Overrides(config=f"smoke:cpu:{path}"), {})
    assert f"time_zone is '{zone}': there is no such time zone" in str(error.value)
    assert f"the nearest is {nearest}" in str(error.value)


def test_every_job_is_tagged_with_profile_and_version(one_built: Configuration) -> None:
    version = Store.of(one_built).version
    repository = build_defs(one_built).get_repository_def()
    for job in repository.get_all_jobs():
        if job.name != "__ASSET_JOB":
            assert job.run_tags["brainbrr/profile"] == one_built.profile, job.name
            assert job.run_tags["brainbrr/version"] == version, job.name
    training = repository.get_job("train_and_evaluate_job").run_tags
    assert training["brainbrr/seed"] == str(one_built.training.seed)
    assert training["brainbrr/steps"] == str(one_built.training.steps)


def descriptions(defs: dg.Definitions) -> dict[str, str | None]:
    """Every description that the UI shows, by what it describes."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    texts: dict[str, str | None] = {}
    for node in graph.asset_nodes:
        texts[f"asset {node.key.to_user_string()}"] = node.description
    for checks in defs.asset_checks or ():
        assert isinstance(checks, dg.AssetChecksDefinition)
        for spec in checks.check_specs:
            texts[f"check {spec.name}"] = spec.description
    for job in repository.get_all_jobs():
        if job.name != "__ASSET_JOB":
            texts[f"job {job.name}"] = job.description
            if job.name == "build_cache":
                for op in job.nodes_in_topological_order:
                    texts[f"op {op.name}"] = op.definition.description
    for sensor in repository.sensor_defs:
        texts[f"sensor {sensor.name}"] = sensor.description
    for schedule in repository.schedule_defs:
        texts[f"schedule {schedule.name}"] = schedule.description
    for name, resource in repository.get_top_level_resources().items():
        if name != "pipes_subprocess_client":
            texts[f"resource {name}"] = resource.description
    return texts


@pytest.mark.parametrize("remote", [None, "/share"])
def test_everything_in_the_ui_has_a_description_that_is_no_block_of_code(
    one_built: Configuration, remote: str | None
) -> None:
    texts = descriptions(build_defs(one_built, remote=remote))
    assert {"asset windowed_cache", "check no_orphans", "resource gpu"} <= texts.keys()
    expected = {"job train_and_evaluate_job"} | (
        {"job update_index", "job build_cache", "job update_manifest", "sensor keep_up"}
        if remote is None
        else {"job populate_and_train"}
    )
    assert expected <= texts.keys()
    for name, text in texts.items():
        assert text, name
        assert text.endswith("."), name
        # Markdown draws an indented paragraph as code.
        assert [line for line in text.splitlines() if line.startswith(" ")] == [], name


def test_each_private_name_of_dagster_has_a_reason_and_a_use() -> None:
    from brainbrr_pipeline import dagster_internals

    names = dagster_internals.__all__
    documented = str(dagster_internals.__doc__)
    assert [name for name in names if f"``{name}``" not in documented] == []
    used = "".join(
        path.read_text("utf-8")
        for path in PACKAGE.rglob("*.py")
        if path.name != "dagster_internals.py"
    )
    assert [name for name in names if name not in used] == []
