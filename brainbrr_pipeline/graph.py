"""``build_defs``: assets, checks and resources put together; nothing is wired at import."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg

from brainbrr_core.configuration import Configuration, load
from brainbrr_pipeline.assets import cache, corpus, model
from brainbrr_pipeline.resources import GpuResource, Workspace


def build_defs(
    configuration: Configuration | None = None,
    *,
    partitioned: bool = True,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """The graph for a configuration (by default the environment's).

    ``partitioned`` off gives ``windowed_cache`` without partitions: one run builds all that is
    needed. ``resources`` replace those of the same name.
    """
    configuration = configuration or load()
    return dg.Definitions(
        assets=[
            corpus.raw_edf(partitioned=partitioned),
            corpus.raw_edf_index,
            cache.windowed_cache(configuration, partitioned=partitioned),
            cache.cache_manifest(configuration),
            model.trained_model(configuration),
            model.eval_report(configuration),
        ],
        resources={
            "workspace": Workspace(),
            "gpu": GpuResource(profile=configuration.hardware.name),
            "pipes_subprocess_client": dg.PipesSubprocessClient(),
            **(resources or {}),
        },
        # Training has a process of its own and the build has workers: more processes gain nothing.
        executor=dg.in_process_executor,
        loggers={"console": console},
    )


@dg.logger(
    config_schema={"log_level": dg.Field(str, is_required=False, default_value="INFO")},
    description="What the assets say, one plain line each; Dagster's own events are in its UI.",
)
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """Log lines of assets on standard error."""
    logger = logging.Logger("brainbrr", level=context.logger_config["log_level"])
    handler = logging.StreamHandler()
    handler.setFormatter(_StepFormatter())
    logger.addHandler(handler)
    return logger


class _StepFormatter(logging.Formatter):
    """``asset: message``, without run and step identifiers."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        step = meta.get("step_key") or "dagster"
        message = meta.get("orig_message") or record.getMessage()
        return f"{step}: {message}"
