"""Metadata of materializations, as the UI shows them: tables, statistics, pictures in Markdown.

Dagster's own keys are used where they exist (``dagster/row_count``, ``dagster/column_schema``).
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg

from brainbrr_core.cache.manifest import CATEGORIES, Manifest, counts
from brainbrr_core.cache.manifest_file import UpdatedManifest
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.version import channels_of
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.folds import SplitTotals
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_path
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS, Recording
from brainbrr_core.corpus.several import corpora_of
from brainbrr_core.corpus.summary import RecordingCounts, explain, summarize
from brainbrr_pipeline.dagster_internals import RawMetadataValue
from brainbrr_pipeline.records.inline_curve import LONGEST, operating_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from brainbrr_core.evaluation.evaluate import Evaluation
    from brainbrr_core.evaluation.results import EvaluationResults
    from brainbrr_core.runs.run import Run

Metadata = dict[str, RawMetadataValue]
#: A row of a table: the value of each column.
Row = Mapping[str, str | int | float]
#: Bytes of one sample of one channel stored as float32.
_FLOAT32_BYTES = 4
#: Title for recordings whose annotations cannot be used, as in `brainbrr index`.
_UNLABELED = "unlabeled"
#: The most recordings that a table of a plan lists; `brainbrr cache status` shows all.
_LISTED_TO_BUILD, _LISTED_EXCLUDED = 20, 100
#: Columns of the two tables of splits: counts of a manifest, and their titles. One table of them
#: all is wider than the page.
_SPLIT_COLUMNS = {
    "recordings": "recordings",
    "patients": "patients",
    "hours": "hours",
    "seizures": "seizures",
    "ictal_hours": "hours of seizure",
    "unknown_seconds": "seconds unknown",
}
_WINDOW_COLUMNS = {"none": "without seizure", "partial": "partly seizure", "full": "fully seizure"}
#: Characters with a meaning in Markdown.
_MARKDOWN = re.compile(r"[\\\\`*_{}\[\]<>()#+!|~&-]")
_PER_STEP = ("loss", "gradient_norm", "learning_rate")


def of_index(index: Index, plan: Plan, seizure_labels: tuple[str, ...], notch_hz: int) -> Metadata:
    """Counts per split, reasons of exclusion, findings, and shards without a recording.

    "excluded" means the same as in :func:`of_plan`.
    """
    summary = summarize(index, seizure_labels, notch_hz)
    # For a single corpus without a name, the table would repeat the total.
    corpora: list[Row] = [
        {
            "corpus": corpus.name,
            "layout": corpus.layout,
            **_counts_row(summarize(recordings, seizure_labels, notch_hz)),
        }
        for corpus, recordings in (corpora_of(index) if index.corpora else ())
    ]
    return {
        "dagster/row_count": len(index),
        "path": dg.MetadataValue.path(index_path(plan.store.root)),
        "layout": index.layout,
        "splits": _table(
            [{"split": name, **_counts_row(counts)} for name, counts in summary.splits.items()]
        ),
        **({"corpora": _table(corpora)} if index.corpora else {}),
        **{
            f"{title} because": _table(
                [
                    {"reason": code, "recordings": count, "which means": explain(code)}
                    for code, count in summary.reasons.items()
                    if code in meanings
                ]
            )
            for title, meanings in (("excluded", SIGNAL_REASONS), (_UNLABELED, LABEL_REASONS))
        },
        "findings": _table(
            [
                {"finding": code, "recordings": count, "which means": explain(code)}
                for code, count in summary.findings.items()
            ]
        ),
        "EDFs skipped": len(summary.skipped),
        "not read": _table(
            [
                {"what": kind, "files": files.count, "which means": files.why}
                for kind, files in summary.not_read.items()
            ]
        ),
        **of_plan(plan),
        "orphaned shards": len(plan.orphans),
        "orphans": dg.MetadataValue.json(list(plan.orphans[:100])) if plan.orphans else "none",
    }


def _counts_row(counts: RecordingCounts) -> dict[str, str | int | float]:
    """The cells of a table for some recordings."""
    return {
        "recordings": counts.found,
        "usable": counts.usable,
        "excluded": counts.excluded,
        _UNLABELED: counts.unlabeled,
        "patients": counts.patients,
        "hours": counts.hours,
        "seizures": counts.seizures,
    }


def of_plan(plan: Plan) -> Metadata:
    """Numbers and tables of the recordings of a selection without a fresh shard, with reasons.

    As in ``brainbrr index``, ``brainbrr cache status`` and the sensor, "excluded" recordings are
    those that get no shard. Recordings with unusable annotations get a shard, and are left out of
    training and scores.
    """
    excluded = [item for item in plan.items if item.state is State.EXCLUDED]
    unlabeled = [
        item.recording
        for item in plan.items
        if item.state is not State.EXCLUDED and item.recording.reason is not None
    ]
    return {
        "to build": len(plan.to_build),
        f"not fresh (first {_LISTED_TO_BUILD})": _table(
            [
                {
                    "recording": item.recording.partition_key,
                    "state": item.state.value,
                    "because": item.reason,
                }
                for item in plan.unfit[:_LISTED_TO_BUILD]
            ]
        ),
        "open one to build": _links(item.recording for item in plan.unfit),
        "excluded": len(excluded),
        f"excluded recordings (first {_LISTED_EXCLUDED})": _table(
            [
                {
                    "recording": item.recording.partition_key,
                    "reason": item.reason,
                    "which means": _meaning(item),
                }
                for item in excluded[:_LISTED_EXCLUDED]
            ]
        ),
        "open an excluded one": _links(item.recording for item in excluded),
        f"built, but {_UNLABELED}": len(unlabeled),
        f"{_UNLABELED} (first {_LISTED_EXCLUDED})": _table(
            [
                {
                    "recording": recording.partition_key,
                    "reason": recording.reason,
                    "which means": explain(recording.reason),
                }
                for recording in unlabeled[:_LISTED_EXCLUDED]
                if recording.reason is not None
            ]
        ),
    }


def _links(recordings: Iterable[Recording]) -> dg.MarkdownMetadataValue | str:
    """Links to the partitions of the first recordings, as many as the UI shows without a button.

    They stand next to the tables, since a cell of a table cannot be a link. Without recordings the
    text is "none".
    """
    text = ""
    for recording in recordings:
        key = recording.partition_key
        page = f"/assets/windowed_cache?view=partitions&partition={quote(key, safe='')}"
        name = _MARKDOWN.sub(r"\\\g<0>", key)
        line = f"- [{name}]({page})\n"
        if len(text) + len(line) >= LONGEST:
            break
        text += line
    return dg.MetadataValue.md(text) if text else "none"


def of_excluded(item: Item) -> Metadata:
    """Why a partition has no shard, which changes only with its EDF or the settings."""
    return {
        "excluded": item.reason,
        "which means": _meaning(item),
        "hours": round(item.recording.duration_s / 3600, 4),
        "shard": "none: an excluded recording has none",
    }


def _meaning(item: Item) -> str:
    """The meaning of the reason why an item is excluded."""
    # The reason of an imported version is already a sentence.
    is_code = item.reason == item.recording.signal_reason
    return explain(item.reason) if is_code else item.reason


def of_fold(totals: Mapping[str, SplitTotals]) -> Metadata:
    """Usable recordings in each split of a fold."""
    return {
        "splits": _table(
            [
                {
                    "split": split,
                    "patients": total.patients,
                    "recordings": total.recordings,
                    "hours": round(total.seconds / 3600, 2),
                    "seizures": total.seizures,
                }
                for split, total in totals.items()
            ]
        )
    }


def of_manifest(made: UpdatedManifest, plan: Plan) -> Metadata:
    """Windows and seizures per split and type, class balance, and the size of the shards."""
    manifest = made.manifest
    splits = counts(manifest, SPLITS)
    balance = Counter({name: sum(int(row[name]) for row in splits.values()) for name in CATEGORIES})
    stored = sum(item.bytes for item in plan.items)
    samples = manifest.window_samples * len(channels_of(plan.store.version))
    float32 = len(manifest) * samples * _FLOAT32_BYTES
    return {
        "dagster/row_count": len(manifest),
        "path": dg.MetadataValue.path(made.path),
        **{
            table: _table(
                [
                    {"split": split} | {title: row[name] for name, title in titles.items()}
                    for split, row in splits.items()
                ]
            )
            for table, titles in (("splits", _SPLIT_COLUMNS), ("windows", _WINDOW_COLUMNS))
        },
        "seizures by type": _table(_types(manifest)),
        "class balance": _table(
            [
                {
                    "category": name,
                    "windows": balance[name],
                    "share of all windows": round(balance[name] / max(len(manifest), 1), 4),
                }
                for name in CATEGORIES
            ]
        ),
        "without windows": dg.MetadataValue.json(manifest.without_windows),
        "windows entirely without annotation": sum(manifest.unknown_windows.values()),
        "bytes of the shards": stored,
        "bytes of the same windows as overlapping float32": float32,
        "times smaller": round(float32 / stored, 1) if stored else None,
        "version": manifest.version,
    }


def _types(manifest: Manifest) -> list[Row]:
    numbers: Counter[tuple[str, str]] = Counter()
    seconds: Counter[tuple[str, str]] = Counter()
    for recording in manifest.recordings:
        for start, stop, label in recording.seizures:
            numbers[recording.split, label] += 1
            seconds[recording.split, label] += round(stop - start)
    return [
        {
            "split": split,
            "type": label,
            "seizures": count,
            "seconds of seizure": seconds[split, label],
        }
        for (split, label), count in sorted(numbers.items())
    ]


def of_run(run: Run) -> Metadata:
    """Curves, hardware, speed, and the versions that the model was trained on."""
    record, identity, fit = run.record, run.record.identity, run.record.fit
    return {
        "run": dg.MetadataValue.path(run.directory),
        "preprocessing version": identity.preprocessing_version,
        "manifest": identity.manifest[:12],
        "preset": identity.model.settings.name,
        "parameters": record.parameters,
        "steps": fit.steps,
        "skipped steps": len(fit.skipped_steps),
        "last loss": None if fit.last_loss is None else round(fit.last_loss, 5),
        "windows per second": round(fit.windows_per_s, 1),
        "share of time waiting for data": round(fit.data_wait_share, 4),
        "training seconds": round(record.seconds, 1),
        "hardware": dg.MetadataValue.json(record.hardware),
        "curves": dg.MetadataValue.md(curves(run)),
    }


def curves(run: Run) -> str:
    """Loss, gradient norm, learning rate and validation score of a run, as Markdown with a picture.

    The picture is an embedded PNG, because Dagster has no metadata type for pictures.
    """
    from matplotlib.figure import Figure

    from brainbrr_core.training.metrics import STEPS

    path = run.directory / STEPS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if not lines:
        return f"There is no `{STEPS}` in the run's folder."
    # A resumed run may have steps after its checkpoint twice: the later entries count.
    by_step = {row["step"]: row for row in map(json.loads, lines)}
    steps = sorted(by_step)
    panels = {name: (steps, [by_step[step][name] for step in steps]) for name in _PER_STEP}
    validations = run.record.fit.validations
    if validations:
        panels["score on dev"] = (
            [row.step for row in validations],
            [row.score for row in validations],
        )
    figure = Figure(figsize=(3 * len(panels), 2.6), layout="constrained")
    for number, (name, (x, y)) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        axes.plot(x, y, linewidth=1)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
    return _picture(figure, ", ".join(panels))


def _picture(figure: Figure, text: str) -> str:
    """Markdown with a figure embedded as PNG; ``text`` describes it."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    encoded = base64.b64encode(picture.getvalue()).decode()
    return f"![{text}](data:image/png;base64,{encoded})"


def of_evaluation(evaluation: Evaluation, link: str | None) -> Metadata:
    """The scores as numbers, as curves and as a table, and where the report is.

    ``link`` is the address at which a browser opens the report; None if it is not served.

    Dagster plots numbers over the materializations of an asset. An undefined figure is left out, so
    that the plot has a gap.
    """
    # Imported here because it imports scipy, which loading the definitions does not need.
    from brainbrr_core.evaluation.key_figures import OPERATING_FIGURES
    from brainbrr_core.evaluation.statistics import Unit, unit_of

    results = evaluation.results
    values = {
        # Rounded to the digits that the report shows.
        figure.title: round(results.estimates[figure.name].value, figure.digits)
        # The primary score first: SzCORE's rule for events.
        for figure in OPERATING_FIGURES
    }
    return {
        **{title: value for title, value in values.items() if math.isfinite(value)},
        "operating curve": dg.MetadataValue.md(operating_curve(results)),
        "operating curve and ROC": dg.MetadataValue.md(score_curves(results)),
        "report": dg.MetadataValue.path(evaluation.report),
        **({} if link is None else {"open the report": dg.MetadataValue.url(link)}),
        "run": evaluation.run.name,
        "split": results.split,
        "reused": evaluation.reused,
        "hours": round(results.hours, 4),
        "hours masked as unknown": round(results.unknown_s / 3600, 4),
        **({"corpora": _table(_corpora(results))} if results.corpora else {}),
        "scores": _table(
            [
                {
                    "rule": rule.replace("_", " "),
                    "sensitivity": _figure(values.sensitivity),
                    "precision": _figure(values.precision),
                    "F1": _figure(values.f1),
                    # False alarms and false seconds are different units, each with its column.
                    **{
                        unit.value: _figure(values.false_per_day)
                        if unit is unit_of(f"{rule}.false_per_day")
                        else ""
                        for unit in (Unit.ALARMS, Unit.FALSE_SECONDS)
                    },
                }
                for rule, values in results.headline.items()
            ]
        ),
    }


def _corpora(results: EvaluationResults) -> list[Row]:
    """The figures of each corpus by SzCORE's event rule."""
    return [
        {
            "corpus": row.name,
            "recordings": row.recordings,
            "hours": round(row.hours, 4),
            "seizures": row.seizures,
            "sensitivity": _figure(row.figures.sensitivity),
            "precision": _figure(row.figures.precision),
            "F1": _figure(row.figures.f1),
            "false alarms per 24 h": _figure(row.figures.false_per_day),
        }
        for row in results.corpora
    ]


def score_curves(results: EvaluationResults) -> str:
    """Sensitivity against false alarms by SzCORE's event rule, and the ROC, as Markdown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    by_event, by_second = figure.subplots(1, 2)
    rows = [
        (row.false_per_day, row.sensitivity)
        for row in results.operating_curve
        if math.isfinite(row.false_per_day) and math.isfinite(row.sensitivity)
    ]
    by_event.plot([rate for rate, _ in rows], [share for _, share in rows], linewidth=1)
    in_use = results.headline["szcore_event"]
    by_event.plot([in_use.false_per_day], [in_use.sensitivity], "o", markersize=4)
    by_event.set_xscale("symlog", linthresh=1)
    by_event.set_xlim(left=0)
    by_event.set_title("SzCORE event, all thresholds (dot: in use)", fontsize=8)
    by_event.set_xlabel("false alarms per 24 h", fontsize=8)
    roc = results.seconds.roc
    by_second.plot([x for x, _ in roc], [y for _, y in roc], linewidth=1)
    by_second.plot([0, 1], [0, 1], ":", color="gray", linewidth=1)
    by_second.set_title(f"ROC of each second, AUROC {_figure(results.seconds.auroc)}", fontsize=8)
    by_second.set_xlabel("false positive rate", fontsize=8)
    for axes in (by_event, by_second):
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("sensitivity", fontsize=8)
        axes.tick_params(labelsize=7)
    return _picture(figure, "sensitivity against false alarms per 24 h, and ROC of each second")


def _figure(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def _table(rows: Sequence[Row]) -> dg.TableMetadataValue | str:
    """A table, or "none" without rows, since Dagster derives the columns from the first row."""
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows]) if rows else "none"
