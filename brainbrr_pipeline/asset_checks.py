"""Asset checks: conditions for the next, expensive step to start.

If a blocking check fails, the downstream assets are skipped in the same run. Dagster skips the
checks in a run of partitions, so such a run of ``windowed_cache`` records its checks itself. Each
check can also be executed by itself.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from random import Random

import dagster as dg

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest_file import is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.verify import check_shards
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_pipeline.dagster_internals import RawMetadataValue
from brainbrr_pipeline.records.data_versions import CACHE_MANIFEST, RAW_EDF_INDEX, WINDOWED_CACHE
from brainbrr_pipeline.records.metadata import Metadata, of_plan
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures
from brainbrr_pipeline.training.launch_settings import TRAINED_MODEL, load_of_model

#: The most shards that are read and compared with their checksums.
SAMPLE = 16
#: The most partition keys that a message names.
_NAMED = 5
EVAL_REPORT = dg.AssetKey("eval_report")
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def all_checks() -> list[dg.AssetChecksDefinition]:
    """All checks of the graph."""
    return [index_checks, cache_checks, manifest_checks, model_checks, report_checks]


def _selected(
    context: dg.AssetCheckExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """Results of the checks that the run requests: each check can be executed by itself."""
    names = {key.name for key in context.selected_asset_check_keys}
    return (result for result in results if result.check_name in names)


def _spec(asset: dg.AssetKey, name: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def _result(
    asset: dg.AssetKey,
    name: str,
    problem: str,
    *,
    severity: dg.AssetCheckSeverity = _ERROR,
    tables: Metadata | None = None,
    **metadata: RawMetadataValue,
) -> dg.AssetCheckResult:
    """The result of a check, which has passed if ``problem`` is empty."""
    return dg.AssetCheckResult(
        passed=not problem,
        asset_key=asset,
        check_name=name,
        severity=severity,
        description=problem or None,
        metadata={**metadata, **(tables or {})},
    )


def _abbreviate(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _reason(action: Callable[[], str]) -> str:
    """The text that ``action`` returns, or the message of the error that it raises."""
    try:
        return action()
    except BrainbrrError as error:
        return str(error)


@dg.multi_asset_check(
    can_subset=True,
    name="index_checks",
    specs=[
        _spec(
            RAW_EDF_INDEX,
            "patients_disjoint",
            "No patient is in more than one split.",
            blocking=True,
        ),
        _spec(
            RAW_EDF_INDEX,
            "seizures_present",
            "The usable recordings have at least one seizure by the configured labels.",
            blocking=True,
        ),
    ],
)
def index_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Checks of the corpus, before shards are built."""
    with user_errors_as_failures():
        configuration = workspace.load()
        index = read_index(configuration.cache_root)
    index = index.in_montage(configuration.preprocessing.montage)
    yield from _selected(context, _index_results(index, configuration.labels.seizure))


def _index_results(index: Index, seizure_labels: tuple[str, ...]) -> Iterator[dg.AssetCheckResult]:
    splits: dict[str, set[str]] = {}
    seizures = 0
    for recording in index:
        splits.setdefault(recording.patient, set()).add(recording.split)
        if recording.reason is None:
            seizures += len(recording.seizures(seizure_labels))
    shared = sorted(patient for patient, in_splits in splits.items() if len(in_splits) > 1)
    yield _result(
        RAW_EDF_INDEX,
        "patients_disjoint",
        f"in more than one split: {_abbreviate(shared)}; move each patient's folders into one split"
        if shared
        else "",
        patients=len(splits),
    )
    yield _result(
        RAW_EDF_INDEX,
        "seizures_present",
        "" if seizures else "no seizure: check the annotations and the setting labels.seizure",
        seizures=seizures,
    )


@dg.multi_asset_check(
    can_subset=True,
    name="cache_checks",
    specs=[
        _spec(
            WINDOWED_CACHE,
            "complete_for_the_profile",
            "Every recording of the profile that is not excluded has a fresh shard.",
            blocking=True,
        ),
        _spec(
            WINDOWED_CACHE,
            "checksums_on_a_sample",
            f"{SAMPLE} shards, chosen at random for each run, match their checksums. A damaged "
            "shard is moved to quarantine, and the next run builds it again.",
            blocking=True,
        ),
        _spec(
            WINDOWED_CACHE,
            "no_orphans",
            "Every shard belongs to a recording of the index. Orphaned shards are removed by "
            "`brainbrr cache gc`.",
            blocking=False,
        ),
    ],
)
def cache_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Checks of the stored shards."""
    selected = {key.name for key in context.selected_asset_check_keys}
    with user_errors_as_failures():
        cache = ProfileCache.of(workspace.load())
        yield from cache_results(cache, context.run.run_id, selected)


#: Names of the checks of ``windowed_cache``.
CACHE_CHECKS = ("complete_for_the_profile", "checksums_on_a_sample", "no_orphans")


def cache_results(
    cache: ProfileCache, seed: str, names: Collection[str] = CACHE_CHECKS
) -> Iterator[dg.AssetCheckResult]:
    """The results of some checks of ``windowed_cache``; ``seed`` chooses the sample of shards."""
    plan, options = cache.plan(), cache.settings.options
    if "complete_for_the_profile" in names:
        yield completeness(plan, cache.profile, options)
    if "checksums_on_a_sample" in names:
        fresh = [item.recording.partition_key for item in plan.items if item.state is State.FRESH]
        sample = Random(seed).sample(fresh, min(SAMPLE, len(fresh)))
        yield checksums(plan.store, sample, options)
    if "no_orphans" in names:
        yield _result(
            WINDOWED_CACHE,
            "no_orphans",
            f"{count(len(plan.orphans), 'shard')} of recordings that are excluded or not in the "
            f"index: {_abbreviate(plan.orphans)}; `brainbrr cache gc{options}` lists what it would "
            "remove"
            if plan.orphans
            else "",
            severity=_WARN,
        )


def log_cache_checks(context: dg.AssetExecutionContext, cache: ProfileCache) -> None:
    """Record the checks of ``windowed_cache`` from within a run of partitions.

    Such a run has no output, so Dagster skips the step of the checks and would show them as
    skipped. These evaluations replace the ones that Dagster planned.
    """
    for result in cache_results(cache, context.run.run_id):
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=WINDOWED_CACHE,
                check_name=str(result.check_name),
                passed=result.passed,
                metadata=result.metadata,
                severity=result.severity,
                description=result.description,
            )
        )


def checksums(store: Store, sample: list[str], options: str) -> dg.AssetCheckResult:
    """Compare some shards with their checksums, and move damaged ones to quarantine."""
    with hold(store, "check of checksums"):
        # The plan has already compared each shard's identity with its recording.
        checked = check_shards(store, sample, whose=False)
    problems = []
    if checked.damaged:
        problems.append(
            f"damaged: {_abbreviate(checked.damaged)}; run `brainbrr cache verify"
            f"{options}`, then materialize windowed_cache"
        )
    reasons = sorted({*checked.unreadable.values(), *checked.not_moved.values()})
    if reasons:
        keys = [*checked.unreadable, *checked.not_moved]
        problems.append(
            f"not readable, or not moved to quarantine ({', '.join(reasons)}): {_abbreviate(keys)}"
        )
    return _result(
        WINDOWED_CACHE, "checksums_on_a_sample", "; ".join(problems), checked=checked.checked
    )


def completeness(plan: Plan, profile: str, options: str) -> dg.AssetCheckResult:
    """Check that every recording of a profile that is not excluded has a fresh shard."""
    problem = ""
    if plan.unfit:
        missing = _abbreviate(item.recording.partition_key for item in plan.unfit)
        problem = (
            f"{len(plan.unfit)} of {len(plan.items)} are not fresh: {missing}; materialize "
            f"windowed_cache or run `brainbrr cache build{options}`"
        )
    return _result(
        WINDOWED_CACHE,
        "complete_for_the_profile",
        problem,
        profile=profile,
        version=plan.store.version,
        states=dg.MetadataValue.json({state.value: plan.count(state) for state in State}),
        reasons=dg.MetadataValue.json(plan.reasons()),
        tables=of_plan(plan),
    )


@dg.multi_asset_check(
    can_subset=True,
    name="manifest_checks",
    specs=[
        _spec(
            CACHE_MANIFEST,
            "matches_the_cache",
            "The manifest was written from the current shards, annotations and settings.",
            blocking=True,
        ),
        _spec(
            CACHE_MANIFEST,
            "fit_for_training",
            "Training would start: cache and manifest are fresh, and each split that it needs has "
            "recordings and seizures.",
            blocking=True,
        ),
    ],
)
def manifest_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Checks of the manifest, before a model is trained."""
    with user_errors_as_failures():
        cache = ProfileCache.of(workspace.load())
        yield from _selected(context, _manifest_results(cache))


def _manifest_results(cache: ProfileCache) -> Iterator[dg.AssetCheckResult]:
    # Imported here because loading the definitions does not need it.
    from brainbrr_core.cache.readiness import check, check_folds

    def match() -> str:
        plan = cache.plan()
        manifest = read_manifest(manifest_path(plan.store, cache.settings))
        current = is_current(manifest, plan, cache.settings)
        return "" if current else "it does not match the cache: materialize cache_manifest"

    def fit() -> str:
        if cache.split.has_folds:
            check_folds(cache)
        else:
            check(cache)
        return ""

    yield _result(CACHE_MANIFEST, "matches_the_cache", _reason(match))
    yield _result(CACHE_MANIFEST, "fit_for_training", _reason(fit))


@dg.multi_asset_check(
    can_subset=True,
    name="model_checks",
    specs=[
        _spec(
            TRAINED_MODEL,
            "trained_on_the_current_version",
            "There is a finished run for the current cache, manifest and settings.",
            blocking=True,
        ),
        _spec(
            TRAINED_MODEL,
            "loss_is_finite",
            "The last loss of the training is a finite number.",
            blocking=True,
        ),
    ],
)
def model_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Checks of the model, before it is scored."""
    try:
        configuration = load_of_model(context, workspace)
        results = _model_results(
            ProfileCache.of(configuration),
            configuration.runs_dir,
            TrainingSettings.of(configuration),
        )
    except BrainbrrError as error:
        results = _no_model(str(error))
    yield from _selected(context, results)


def _no_model(reason: str) -> Iterator[dg.AssetCheckResult]:
    """Results of the checks of the model if there is no model."""
    for name in ("trained_on_the_current_version", "loss_is_finite"):
        yield _result(TRAINED_MODEL, name, reason)


def _model_results(
    cache: ProfileCache, runs_dir: Path, settings: TrainingSettings
) -> Iterator[dg.AssetCheckResult]:
    # Imported here because it imports torch, which loading the definitions does not need.
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.runs.run import current_run

    try:
        run = current_run(runs_dir, settings, check(cache).manifest)
    except BrainbrrError as error:
        yield from _no_model(str(error))
        return
    yield _result(
        TRAINED_MODEL,
        "trained_on_the_current_version",
        "",
        version=run.record.identity.preprocessing_version,
        run=run.name,
    )
    loss = run.record.fit.last_loss
    finite = loss is None or math.isfinite(loss)
    yield _result(
        TRAINED_MODEL,
        "loss_is_finite",
        "" if finite else f"the last loss is {loss}",
        loss=None if loss is None else round(loss, 5),
    )


@dg.multi_asset_check(
    name="report_checks",
    specs=[
        _spec(
            EVAL_REPORT,
            "scores_are_finite",
            "Sensitivity, precision and F1 by SzCORE's event rule are defined.",
            blocking=False,
        )
    ],
)
def report_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Checks of the scores."""
    # Imported here because it imports torch, which loading the definitions does not need.
    from brainbrr_core.evaluation.evaluate import evaluate

    try:
        configuration = load_of_model(context, workspace)
        figures = evaluate(configuration, log=lambda _line: None).results.headline["szcore_event"]
    except BrainbrrError as error:
        yield _result(EVAL_REPORT, "scores_are_finite", str(error))
        return
    undefined = [
        name
        for name in ("sensitivity", "precision", "f1")
        if not math.isfinite(getattr(figures, name))
    ]
    yield _result(
        EVAL_REPORT,
        "scores_are_finite",
        f"undefined: {', '.join(undefined)} (the split has no seizure, or none was detected)"
        if undefined
        else "",
    )
