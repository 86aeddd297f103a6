"""``trained_model`` and ``eval_report``: a run and its scores, as Dagster sees them."""

import dagster as dg

from brainbrr_core.configuration import Configuration
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import report_settings, training_settings
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.records import metadata
from brainbrr_pipeline.records.code_version import check_loaded, op_tags
from brainbrr_pipeline.resources import (
    GPU_POOL,
    GpuResource,
    Workspace,
    users_mistakes_as_failures,
)
from brainbrr_pipeline.training.launch import launch

GROUP = "model"


def trained_model(configuration: Configuration) -> dg.AssetsDefinition:
    """A Bi-Mamba-2 network trained on the profile's windows, in a process of its own.

    A finished run of the same cache, configuration and seed is used again; one that broke off
    goes on from its checkpoint.
    """
    loaded_version = digest(training_settings(configuration))[:12]

    @dg.asset(
        name="trained_model",
        group_name=GROUP,
        owners=OWNERS,
        deps=["cache_manifest"],
        code_version=loaded_version,
        op_tags=op_tags(loaded_version) | {"dagster-celery/queue": "gpu"},
        kinds={"pytorch"},
        pool=GPU_POOL,
        description=trained_model.__doc__,
    )
    def _trained_model(
        context: dg.AssetExecutionContext,
        workspace: Workspace,
        gpu: GpuResource,
        pipes_subprocess_client: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult[None]:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            check_loaded(context, digest(training_settings(configuration))[:12])
            context.log.info(f"device {gpu.verify(configuration)}")
            directory, reused = launch(context, pipes_subprocess_client, configuration)
            # Heavy: whoever only looks at the graph or builds shards does without.
            from brainbrr_core.runs.run import open_run

            run = open_run(directory)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(run.name),
            metadata=metadata.of_run(run) | {"reused": reused},
        )

    return _trained_model


def eval_report(configuration: Configuration) -> dg.AssetsDefinition:
    """Event scores on whole recordings (SzCORE and NEDC rules) and the report.

    The threshold is tuned on dev.
    """
    loaded_version = _report_code_version(configuration)

    @dg.asset(
        name="eval_report",
        group_name=GROUP,
        owners=OWNERS,
        deps=["trained_model"],
        code_version=loaded_version,
        op_tags=op_tags(loaded_version),
        kinds={"html"},
        description=eval_report.__doc__,
    )
    def _eval_report(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        # Heavy: whoever only looks at the graph or builds shards does without.
        from brainbrr_core.evaluation.evaluate import evaluate

        with users_mistakes_as_failures():
            configuration = workspace.load()
            check_loaded(context, _report_code_version(configuration))
            evaluation = evaluate(configuration, log=context.log.info)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(evaluation.identity),
            metadata=metadata.of_evaluation(evaluation),
        )

    return _eval_report


def _report_code_version(configuration: Configuration) -> str:
    settings = report_settings(
        configuration.detection,
        configuration.evaluation,
        configuration.hardware.precision,
        configuration.evaluation.split,
    )
    return digest(settings)[:12]
