"""Asset checks: what a person would want to know before the next step spends a night.

A blocking check stops what is downstream of it in the same run. Dagster runs no check in a run of
partitions: after a backfill, the sensor's ``update_manifest`` runs those of the cache, or a person
does in the UI.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import dagster as dg

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest_file import is_current, manifest_path, read_manifest
from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.verify import check_shards
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.records.data_versions import CACHE_MANIFEST, RAW_EDF_INDEX, WINDOWED_CACHE
from brainbrr_pipeline.resources import Workspace

#: Shards whose every byte is checked after a build.
SAMPLE = 16
TRAINED_MODEL, EVAL_REPORT = dg.AssetKey("trained_model"), dg.AssetKey("eval_report")
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def all_checks() -> list[dg.AssetChecksDefinition]:
    """Every check of the graph."""
    return [index_checks, cache_checks, manifest_checks, model_checks, report_checks]


def _spec(asset: dg.AssetKey, name: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def _result(
    asset: dg.AssetKey,
    name: str,
    wrong: str,
    *,
    severity: dg.AssetCheckSeverity = _ERROR,
    **metadata: Any,
) -> dg.AssetCheckResult:
    """A result that passed where nothing is ``wrong``."""
    return dg.AssetCheckResult(
        passed=not wrong,
        asset_key=asset,
        check_name=name,
        severity=severity,
        description=wrong or None,
        metadata=metadata,
    )


def _listed(keys: Iterable[str], limit: int = 5) -> str:
    keys = list(keys)
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more


def _mistake(action: Callable[[], str]) -> str:
    """What ``action`` says is wrong, or the line with which it refuses."""
    try:
        return action()
    except BrainbrrError as error:
        return str(error)


@dg.multi_asset_check(
    name="index_checks",
    specs=[
        _spec(RAW_EDF_INDEX, "patients_disjoint", "No patient is in two splits.", blocking=True),
        _spec(
            RAW_EDF_INDEX,
            "seizures_present",
            "Usable recordings have seizures under the label map.",
            blocking=True,
        ),
    ],
)
def index_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """What must hold of the corpus before hours are spent on it."""
    configuration = workspace.load()
    index = read_index(configuration.cache_root)
    splits: dict[str, set[str]] = {}
    seizures = 0
    for recording in index:
        splits.setdefault(recording.patient, set()).add(recording.split)
        if recording.reason is None:
            seizures += len(recording.seizures(configuration.labels.seizure))
    shared = sorted(patient for patient, found in splits.items() if len(found) > 1)
    yield _result(
        RAW_EDF_INDEX,
        "patients_disjoint",
        f"in more than one split: {_listed(shared)}; mend the folders" if shared else "",
        patients=len(splits),
    )
    yield _result(
        RAW_EDF_INDEX,
        "seizures_present",
        "" if seizures else "not one seizure: check the annotations and labels.seizure",
        seizures=seizures,
    )


@dg.multi_asset_check(
    name="cache_checks",
    specs=[
        _spec(
            WINDOWED_CACHE,
            "complete_for_the_profile",
            "Every recording of the profile that can have a shard has a fresh one.",
            blocking=True,
        ),
        _spec(
            WINDOWED_CACHE,
            "checksums_on_a_sample",
            f"Every byte of {SAMPLE} shards, others each time; a damaged one goes to quarantine "
            "and is built anew.",
            blocking=True,
        ),
        _spec(
            WINDOWED_CACHE,
            "no_orphans",
            "No shard is left of a recording that is gone; `brainbrr cache gc` removes them.",
            blocking=False,
        ),
    ],
)
def cache_checks(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """What the store holds against what the profile needs."""
    configuration = workspace.load()
    plan = plan_profile(configuration)
    yield completeness(plan, configuration)
    fresh = [item.recording.partition_key for item in plan.items if item.state is State.FRESH]
    sample = Random(context.run.run_id).sample(fresh, min(SAMPLE, len(fresh)))
    yield checksums(plan.store, sample, configuration)
    yield _result(
        WINDOWED_CACHE,
        "no_orphans",
        f"{len(plan.orphans)} shards of recordings that are gone: {_listed(plan.orphans)}; run "
        f"`brainbrr cache gc{configuration.options}`"
        if plan.orphans
        else "",
        severity=_WARN,
    )


def checksums(store: Store, sample: list[str], configuration: Configuration) -> dg.AssetCheckResult:
    """Whether every byte of some shards is right; what is damaged goes to quarantine."""
    with hold(store, "check of checksums"):
        # Whose they are, the plan has seen.
        checked = check_shards(store, sample, whose=False)
    wrong = []
    if checked.damaged:
        wrong.append(
            f"damaged: {_listed(checked.damaged)}; run `brainbrr cache verify"
            f"{configuration.options}`, then materialize windowed_cache"
        )
    reasons = sorted({*checked.unreadable.values(), *checked.not_moved.values()})
    if reasons:
        keys = [*checked.unreadable, *checked.not_moved]
        wrong.append(f"not readable or not moved ({', '.join(reasons)}): {_listed(keys)}")
    return _result(
        WINDOWED_CACHE, "checksums_on_a_sample", "; ".join(wrong), checked=checked.checked
    )


def completeness(plan: Plan, configuration: Configuration) -> dg.AssetCheckResult:
    """Whether the plan of a profile has nothing to build."""
    wrong = ""
    if plan.unfit:
        missing = _listed(item.recording.partition_key for item in plan.unfit)
        wrong = (
            f"{len(plan.unfit)} of {len(plan.items)} are not fresh: {missing}; materialize "
            f"windowed_cache or run `brainbrr cache build{configuration.options}`"
        )
    return _result(
        WINDOWED_CACHE,
        "complete_for_the_profile",
        wrong,
        profile=configuration.profile,
        version=plan.store.version,
        states=dg.MetadataValue.json({state.value: plan.count(state) for state in State}),
        reasons=dg.MetadataValue.json(plan.reasons()),
    )


@dg.multi_asset_check(
    name="manifest_checks",
    specs=[
        _spec(
            CACHE_MANIFEST,
            "matches_the_cache",
            "The manifest is made of exactly the shards, annotations and settings of now.",
            blocking=True,
        ),
        _spec(
            CACHE_MANIFEST,
            "fit_for_training",
            "What a training would check before its first batch, splits and seizures included.",
            blocking=True,
        ),
    ],
)
def manifest_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """What a training of a night would stop at in its first seconds, or would not notice."""
    # Heavy: whoever only looks at the graph does without.
    from brainbrr_core.cache.readiness import check

    configuration = workspace.load()

    def match() -> str:
        plan = plan_profile(configuration)
        manifest = read_manifest(manifest_path(plan.store, configuration))
        current = is_current(manifest, plan, configuration)
        return "" if current else "not of the cache as it is: materialize cache_manifest"

    def fit() -> str:
        check(configuration)
        return ""

    yield _result(CACHE_MANIFEST, "matches_the_cache", _mistake(match))
    yield _result(CACHE_MANIFEST, "fit_for_training", _mistake(fit))


@dg.multi_asset_check(
    name="model_checks",
    specs=[
        _spec(
            TRAINED_MODEL,
            "trained_on_the_current_version",
            "There is a finished run of the cache, manifest and settings of now.",
            blocking=True,
        ),
        _spec(TRAINED_MODEL, "loss_is_finite", "The last loss is a number.", blocking=True),
    ],
)
def model_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """Whether the model is the one that would be scored, and learnt something."""
    # Heavy: whoever only looks at the graph does without.
    from brainbrr_core.runs.run import current_run

    configuration = workspace.load()
    try:
        run, _ = current_run(configuration)
    except BrainbrrError as error:
        for name in ("trained_on_the_current_version", "loss_is_finite"):
            yield _result(TRAINED_MODEL, name, str(error))
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
        TRAINED_MODEL, "loss_is_finite", "" if finite else f"the last loss is {loss}", loss=loss
    )


@dg.multi_asset_check(
    name="report_checks",
    specs=[
        _spec(
            EVAL_REPORT,
            "scores_are_finite",
            "Sensitivity, precision and F1 by SzCORE's events are defined.",
            blocking=False,
        )
    ],
)
def report_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """Whether the report says anything."""
    # Heavy: whoever only looks at the graph does without.
    from brainbrr_core.evaluation.evaluate import evaluate

    configuration = workspace.load()
    try:
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
        f"undefined: {', '.join(undefined)} (no event in the split, or none detected)"
        if undefined
        else "",
    )
