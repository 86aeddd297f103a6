"""``trained_model`` and ``eval_report``."""

import dagster as dg

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.serving.announcement import announcement_of
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.records import metadata
from brainbrr_pipeline.records.code_version import CodeVersions, check_loaded, op_tags
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    FOLD_RECORDINGS,
    record_folds,
)
from brainbrr_pipeline.records.run_tags import run_tags, training_tags
from brainbrr_pipeline.resources import (
    GPU_POOL,
    GpuResource,
    Workspace,
    user_errors_as_failures,
)
from brainbrr_pipeline.training.launch import launch
from brainbrr_pipeline.training.launch_settings import (
    LAUNCHED_WITH,
    TRAINED_MODEL,
    TrainingConfig,
    load_of_model,
    load_with,
)

GROUP = "model"


def trained_model(
    code_version: str, folds: dg.PartitionsDefinition[str] | None
) -> dg.AssetsDefinition:
    """The asset of a training run, one partition per fold where there are ``folds``."""

    @dg.asset(
        name=TRAINED_MODEL.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        # The manifest is one for all folds; of each, only its train and dev shape the model.
        deps=[CACHE_MANIFEST] if folds is None else [FOLD_RECORDINGS],
        partitions_def=folds,
        code_version=code_version,
        op_tags=op_tags(code_version) | {"dagster-celery/queue": "gpu"},
        kinds={"pytorch"},
        pool=GPU_POOL,
    )
    def _trained_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        workspace: Workspace,
        gpu: GpuResource,
        pipes_subprocess_client: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult[None]:
        """A Bi-Mamba-2 network trained on the profile's windows.

        Training runs in a separate process on the device that the gpu resource names. A finished
        run of the same cache, configuration and seed is reused, and an interrupted one resumes
        from its last checkpoint. In the launchpad, steps, learning rate, preset, seed and profile
        can replace those of the configuration. In a cross-validation, a partition is the training
        of one fold.
        """
        launched_with = config.values()
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            versions = CodeVersions.of(configuration)
            check_loaded(context, versions.trained_model)
            fold = context.partition_key if folds is not None else None
            if fold is not None:
                # What this model is recorded to be made of is what the fold is now.
                of_profile = ProfileCache.of(configuration)
                record_folds(
                    context, of_profile, of_profile.plan(), [fold], versions.fold_recordings
                )
            configuration = load_with(workspace, launched_with, fold)
            cache = ProfileCache.of(configuration)
            tags = run_tags(cache) | training_tags(configuration.model, configuration.training)
            context.instance.add_run_tags(context.run.run_id, tags)
            context.log.info(f"device {gpu.verify(configuration.hardware)}")
            directory, reused = launch(
                context,
                pipes_subprocess_client,
                configuration.model_dump_json(),
                cache,
                TrainingSettings.of(configuration),
                configuration.runs_dir,
            )
            # Imported here because it imports torch, which loading the definitions does not need.
            from brainbrr_core.runs.run import open_run

            run = open_run(directory)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(run.name),
            metadata=metadata.of_run(run)
            | {"reused": reused, LAUNCHED_WITH: dg.MetadataValue.json(launched_with)},
        )

    return _trained_model


def eval_report(
    code_version: str, folds: dg.PartitionsDefinition[str] | None
) -> dg.AssetsDefinition:
    """The asset of scores, one partition per fold where there are ``folds``."""

    @dg.asset(
        name="eval_report",
        group_name=GROUP,
        owners=OWNERS,
        # The model of a fold does not depend on the held-out patients; its scores do.
        deps=[TRAINED_MODEL] if folds is None else [TRAINED_MODEL, CACHE_MANIFEST],
        partitions_def=folds,
        code_version=code_version,
        op_tags=op_tags(code_version),
        kinds={"html"},
    )
    def _eval_report(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        """Scores of the model on whole recordings of one split, and the HTML report.

        Events are scored by the rules of SzCORE and NEDC. The detection threshold is tuned on dev.
        The model is that of the last materialization of trained_model.
        """
        # Imported here because it imports torch, which loading the definitions does not need.
        from brainbrr_core.evaluation.evaluate import evaluate

        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            check_loaded(context, CodeVersions.of(configuration).eval_report)
            configuration = load_of_model(context, workspace)
            evaluation = evaluate(configuration, log=context.log.info)
        served = announcement_of(configuration.dagster_home)
        link = None if served is None else served.link(evaluation.report)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(evaluation.identity),
            metadata=metadata.of_evaluation(evaluation, link),
        )

    return _eval_report
