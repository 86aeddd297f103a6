"""Settings that a user gives when launching a training, in place of those of the configuration.

They are part of the run's identity like those of the configuration. They are recorded with the
materialization of the model, so that its checks and scores use the same settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import dagster as dg
from dagster import DagsterEventType
from pydantic import Field

from brainbrr_core.configuration import Configuration, apply_values
from brainbrr_pipeline.dagster_internals import PARTITION_NAME_TAG
from brainbrr_pipeline.records.event_writer import Context
from brainbrr_pipeline.resources import Workspace

TRAINED_MODEL = dg.AssetKey("trained_model")
#: Key of the metadata of a materialization: settings that differ from the configuration's.
LAUNCHED_WITH = "launched with"
#: How a message names the source of these settings.
_SOURCE = f"ops.{TRAINED_MODEL.to_user_string()}.config"


class Preset(Enum):
    """Sizes of the network, by the names that Dagster shows and accepts."""

    tiny = "tiny"
    small = "small"
    base = "base"


class TrainingConfig(dg.Config):
    """Run configuration of ``trained_model``: each setting replaces that of the configuration."""

    steps: int | None = Field(
        default=None, description="Length of the training in optimizer steps (training.steps)."
    )
    learning_rate: float | None = Field(
        default=None, description="Highest learning rate (training.learning_rate)."
    )
    preset: Preset | None = Field(
        default=None, description="Size of the network: tiny, small or base (model.preset)."
    )
    seed: int | None = Field(
        default=None,
        description="Seed of the weights, the order of the windows and the augmentation "
        "(training.seed).",
    )
    profile: str | None = Field(
        default=None,
        description="Name or path of a profile, as the option --profile takes it. Its manifest "
        "must be current.",
    )

    def values(self) -> dict[str, str | int | float]:
        """The given settings, by the keys of a configuration file."""
        given: dict[str, str | int | float | None] = {
            "training.steps": self.steps,
            "training.learning_rate": self.learning_rate,
            "model.preset": None if self.preset is None else self.preset.value,
            "training.seed": self.seed,
            "profile": self.profile,
        }
        return {key: value for key, value in given.items() if value is not None}


def load_with(
    workspace: Workspace, values: Mapping[str, object], fold: str | None = None
) -> Configuration:
    """Load the configuration, and replace settings by those of a launch.

    ``fold`` is the partition that is trained or scored, if there are folds. A profile has the
    effect of the option ``--profile``: all settings of its file apply. Raises
    :class:`BrainbrrError` for a value out of range, and for a profile that does not exist.
    """
    profile = values.get("profile")
    configuration = workspace.load(None if profile is None else str(profile))
    settings = {key: value for key, value in values.items() if key != "profile"}
    if fold is not None and configuration.corpus.split.has_folds:
        settings["corpus.split.fold"] = int(fold)
    return apply_values(configuration, settings, _SOURCE) if settings else configuration


def load_of_model(
    context: Context | dg.AssetCheckExecutionContext, workspace: Workspace
) -> Configuration:
    """Load the configuration of the model to which a check or a report applies.

    That is the model that the same run has trained, or otherwise the one that was materialized last
    (for the same fold, if the run has one). Raises as :func:`load_with` does.
    """
    fold = context.run.tags.get(PARTITION_NAME_TAG)
    event = _trained_in(context.instance, context.run.run_id)
    if event is None:
        event = _trained_last(context.instance, fold)
    if fold is None and event is not None:
        fold = event.partition
    launched = None if event is None else event.metadata.get(LAUNCHED_WITH)
    values = launched.value if isinstance(launched, dg.JsonMetadataValue) else None
    return load_with(workspace, values if isinstance(values, dict) else {}, fold)


def _trained_last(instance: dg.DagsterInstance, fold: str | None) -> dg.AssetMaterialization | None:
    """The newest materialization of ``trained_model``, or of one fold of it."""
    partitions = None if fold is None else [fold]
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(TRAINED_MODEL, asset_partitions=partitions), limit=1
    ).records
    return records[0].asset_materialization if records else None


def _trained_in(instance: dg.DagsterInstance, run_id: str) -> dg.AssetMaterialization | None:
    """The materialization of ``trained_model`` that a run has recorded; None without one."""
    records = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
    ).records
    events = (record.event_log_entry.asset_materialization for record in records)
    return next((event for event in events if event and event.asset_key == TRAINED_MODEL), None)
