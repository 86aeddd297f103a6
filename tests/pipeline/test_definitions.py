"""The definitions that Dagster loads: names, owners, descriptions, and what they use of Dagster."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

import brainbrr_pipeline
from brainbrr_core.configuration import Configuration
from brainbrr_pipeline.graph import build_defs
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
