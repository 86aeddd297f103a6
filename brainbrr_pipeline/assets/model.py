"""``trained_model`` and ``eval_report``: a run and its scores, as Dagster sees them."""

import math
import os
import sys

import dagster as dg

from brainbrr_core.cache.version import digest
from brainbrr_core.configuration import Configuration
from brainbrr_core.evaluation.identity import settings_identity as report_settings
from brainbrr_core.training.identity import settings_identity as training_settings
from brainbrr_pipeline.resources import GpuResource, Workspace, users_mistakes_as_failures

GROUP = "model"


def trained_model(configuration: Configuration) -> dg.AssetsDefinition:
    """The training, in a process of its own, so that a crash there takes nothing else along."""

    @dg.asset(
        name="trained_model",
        group_name=GROUP,
        deps=["cache_manifest"],
        code_version=digest(training_settings(configuration))[:12],
        kinds={"pytorch"},
        pool="gpu",
        description="A Bi-Mamba-2 network trained on the profile's windows. A finished run of "
        "the same cache, configuration and seed is used again.",
    )
    def _trained_model(
        context: dg.AssetExecutionContext,
        workspace: Workspace,
        gpu: GpuResource,
        pipes_subprocess_client: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult[None]:
        with users_mistakes_as_failures():
            configuration = workspace.load()
        if configuration.hardware.name != gpu.profile:
            raise dg.Failure(
                f"the configuration is for {configuration.hardware.name} and the gpu resource "
                f"is bound to {gpu.profile}: set BRAINBRR_CONFIG to a profile and {gpu.profile}"
            )
        return pipes_subprocess_client.run(
            context=context,
            command=[sys.executable, "-m", "brainbrr_pipeline.training_process"],
            env=dict(os.environ),
            extras={"settings": configuration.model_dump_json()},
        ).get_materialize_result()

    return _trained_model


def eval_report(configuration: Configuration) -> dg.AssetsDefinition:
    """The scores on whole recordings, and the report."""

    @dg.asset(
        name="eval_report",
        group_name=GROUP,
        deps=["trained_model"],
        code_version=digest(report_settings(configuration, configuration.evaluation.split))[:12],
        kinds={"html"},
        description="Event scores on whole recordings (SzCORE and NEDC rules) and the report. "
        "The threshold is tuned on dev.",
    )
    def _eval_report(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        # Heavy: whoever only looks at the graph or builds shards does without.
        from brainbrr_core.evaluation.evaluate import evaluate

        with users_mistakes_as_failures():
            configuration = workspace.load()
            evaluation = evaluate(configuration, log=context.log.info)
        results = evaluation.results
        return dg.MaterializeResult(
            data_version=dg.DataVersion(evaluation.identity),
            metadata={
                "report": dg.MetadataValue.path(evaluation.report),
                "run": evaluation.run.name,
                "split": results.split,
                "reused": evaluation.reused,
                "scores": dg.MetadataValue.table(
                    [
                        dg.TableRecord(
                            {
                                "rule": rule.replace("_", " "),
                                "sensitivity": _shown(values.sensitivity),
                                "precision": _shown(values.precision),
                                "F1": _shown(values.f1),
                                "false alarms per 24 h": _shown(values.false_per_day),
                            }
                        )
                        for rule, values in results.headline.items()
                    ]
                ),
            },
        )

    return _eval_report


def _shown(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
