"""The tables of a report as Parquet and CSV, and what each patient contributes to its figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.results import Estimate, EvaluationResults, GroupRow
from brainbrr_core.evaluation.statistics import Latencies, PatientStatistics, Unit, unit_of
from brainbrr_core.files.canonical import canonical_json
from brainbrr_core.scoring import Counts, RuleSweep, Sweep, UnknownTime, nedc
from brainbrr_core.scoring.recording import scored_events

STATISTICS = "patient_statistics.parquet"
_METADATA = b"brainbrr.statistics"
#: One row of a table. NaN is an undefined figure and becomes null.
Row = tuple[str | float | bool | None, ...]
Floats = NDArray[np.float64]
#: Arrays of the sweep for each patient, in the order of the fields of a rule.
_SWEEP_PARTS = ("detected", "false")


#: Files of tables that not every evaluation has.
OPTIONAL_FILES = tuple(
    f"{name}.{suffix}" for name in ("corpora", "age_groups") for suffix in ("parquet", "csv")
)


def write_tables(folder: Path, results: EvaluationResults, statistics: PatientStatistics) -> None:
    """Write every table of an evaluation into a folder."""
    for name, table in tables(results, statistics.sweep).items():
        _write_both(folder / name, table)
    pq.write_table(_pack(statistics), folder / STATISTICS, compression="zstd")


def write_table(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows to ``path`` with the suffixes .parquet and .csv; undefined figures are null."""
    _write_both(path, _table(names, rows))


def write_groups(path: Path, name: str, rows: Sequence[GroupRow]) -> None:
    """Write groups of recordings, with ``name`` as the first column, as :func:`write_table`."""
    _write_both(path, _groups(name, rows))


def _write_both(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path.with_name(f"{path.name}.parquet"), compression="zstd")
    pa_csv.write_csv(table, path.with_name(f"{path.name}.csv"))


def tables(results: EvaluationResults, sweep: Sweep | None = None) -> dict[str, pa.Table]:
    """The tables of a report by name.

    There is a table of figures for each unit, and one each of recordings, seizures, detections,
    unknown time, patients, corpora (if they have names), age groups (if there are several),
    operating points, the operating curve, and recordings that are not scored.

    Undefined figures are null. Times are not rounded, so that scoring seizures, detections and
    unknown time again gives the counts of the report.
    """
    counts = ("reference", "detected", "missed", "false")
    # A column of corpora only where there are several, or one with a name.
    of_corpus = ("corpus",) if results.corpora else ()
    return {
        **{name: _figures(results, unit) for unit, name in _FIGURE_TABLES.items()},
        "operating_points": _operating_points(results),
        "recordings": _table(
            (
                *("partition_key", "patient", "montage", "duration_s", "unknown_s"),
                *(f"{rule}_{count}" for rule in ("ovlp", "szcore") for count in counts),
                *of_corpus,
            ),
            [
                (
                    row.partition_key,
                    row.patient,
                    row.montage,
                    row.duration_s,
                    UnknownTime.of(row.unknown, row.reference, row.duration_s).seconds,
                    *_counts(row.ovlp),
                    *_counts(row.szcore),
                    *((row.corpus,) if of_corpus else ()),
                )
                for row in results.recordings
            ],
        ),
        "seizures": _table(
            (
                "partition_key",
                "patient",
                "montage",
                "start_s",
                "stop_s",
                "type",
                "detected",
                "latency_s",
                "covered",
            ),
            [astuple(outcome) for outcome in results.outcomes],
        ),
        "detections": _table(
            (
                *("partition_key", "patient", "start_s", "stop_s", "confidence", "false_alarm"),
                "in_unknown_time",
            ),
            list(_detections(results)),
        ),
        "unknown_time": _table(
            ("partition_key", "start_s", "stop_s"),
            [(row.partition_key, *span) for row in results.recordings for span in row.unknown],
        ),
        "patients": _groups("patient", results.patients),
        **({"corpora": _groups("corpus", results.corpora)} if results.corpora else {}),
        **({"age_groups": _groups("age_group", results.ages)} if results.ages else {}),
        "operating_curve": _table(
            (
                "threshold",
                "off_threshold",
                "szcore_sensitivity",
                "szcore_false_per_day",
                "szcore_f1",
                "ovlp_sensitivity",
                "ovlp_false_per_day",
            ),
            [astuple(row) for row in (sweep.rows() if sweep else results.operating_curve)],
        ),
        "unscored": _table(
            ("partition_key", "reason", "duration_s", "seizures"),
            [astuple(row) for row in results.unscored],
        ),
    }


def _groups(name: str, rows: Sequence[GroupRow]) -> pa.Table:
    """A table of groups of recordings, with ``name`` as the heading of its first column."""
    return _table(
        (
            name,
            "recordings",
            "hours",
            "seizures",
            "szcore_sensitivity",
            "szcore_precision",
            "szcore_f1",
            "szcore_false_per_day",
            *(f"ovlp_{count}" for count in ("reference", "detected", "missed", "false")),
        ),
        [
            (
                row.name,
                row.recordings,
                row.hours,
                row.seizures,
                *astuple(row.figures),
                *_counts(row.ovlp),
            )
            for row in rows
        ],
    )


#: The table of each unit: all values of a column have the same unit.
_FIGURE_TABLES = {
    Unit.SHARE: "figures",
    Unit.ALARMS: "false_alarms_per_day",
    Unit.FALSE_SECONDS: "false_seconds_per_day",
    Unit.SECONDS: "latencies_s",
}
_INTERVAL = ("low", "high", "interval", "patients", "few_patients")


def _figures(results: EvaluationResults, unit: Unit) -> pa.Table:
    """The figures of a unit. For an external corpus, columns say what was scored and adapted."""
    names: tuple[str, ...] = ("figure", "value", *_INTERVAL)
    scored: tuple[str | None, ...] = ()
    if results.external is not None:
        names = (*names, "scored", "adapted")
        scored = (results.split, results.external.adapted)
    return _table(
        names,
        [
            (name, estimate.value, *_interval(estimate), *scored)
            for name, estimate in results.estimates.items()
            if unit_of(name) is unit
        ],
    )


def _operating_points(results: EvaluationResults) -> pa.Table:
    """Operating points at limits of false alarms, tuned and read off the split's own curve."""
    figures = ("sensitivity", "false_per_day", "f1")
    columns = [(name, *(f"{name}_{field}" for field in _INTERVAL)) for name in figures]
    own = Estimate(math.nan)
    rows = []
    for row in results.limits:
        tuned = (row.tuned_sensitivity, row.tuned_false_per_day, row.tuned_f1)
        read_off = (row.sensitivity, replace(own, value=row.false_per_day), own)
        for chosen, estimates in (
            (results.threshold.split or "", tuned),
            (f"{results.split}, the scored split itself", read_off),
        ):
            values = [
                value for estimate in estimates for value in (estimate.value, *_interval(estimate))
            ]
            rows.append((row.rule, row.limit, chosen, *values))
    return _table(("rule", "limit_per_day", "chosen_on", *chain(*columns)), rows)


def _interval(estimate: Estimate) -> Row:
    return (
        estimate.low,
        estimate.high,
        estimate.method,
        estimate.patients,
        estimate.few_patients,
    )


def read_statistics(folder: Path) -> PatientStatistics:
    """Read the statistics of each patient that :func:`write_tables` wrote.

    Raises :class:`WorkRemains` if the file is missing, and :class:`BrainbrrError` if it is damaged.
    """
    path = folder / STATISTICS
    try:
        return _unpack(pq.read_table(path))
    except FileNotFoundError:
        raise WorkRemains(f"no {STATISTICS} in {folder}: run `brainbrr evaluate`") from None
    except (pa.ArrowException, KeyError, ValueError, TypeError):
        raise BrainbrrError(f"{path} is damaged: remove {folder} and evaluate again") from None


def _detections(results: EvaluationResults) -> Iterator[Row]:
    """A row for each detection, even if it touches another one, which NEDC's rules merge."""
    for row in results.recordings:
        reference, joined = nedc.join_events(row.events)
        _, alone = nedc.overlaps(reference, joined)
        alarms = [event for event, alarm in zip(joined, alone.tolist(), strict=True) if alarm]
        _, scored, _ = scored_events(row.events, touching=False)
        for event in scored_events(replace(row.events, unknown=()), touching=False)[1]:
            false = any(event.start >= alarm.start and event.stop <= alarm.stop for alarm in alarms)
            left_out = event not in scored
            yield (
                *(row.partition_key, row.patient, event.start, event.stop, event.confidence),
                *(false and not left_out, left_out),
            )


def _counts(counts: Counts) -> tuple[float, ...]:
    return counts.reference, counts.detected, counts.missed, counts.false


def _table(names: Sequence[str], rows: Sequence[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    # NaN is an undefined figure: null in every format.
    arrays = [pa.array(column, from_pandas=True) for column in columns]
    return pa.table(dict(zip(names, arrays, strict=True)))


class _Metadata(BaseModel):
    """The parts of the statistics that do not belong to single patients."""

    units: dict[str, float]
    thresholds: list[float] | None
    off_thresholds: list[float] | None
    rules: list[str]
    latencies: list[str]


def _pack(statistics: PatientStatistics) -> pa.Table:
    """A table with a row for each patient, arrays as lists; the rest is in its metadata."""
    columns: dict[str, Sequence[object] | Floats] = {"patient": list(statistics.patients)}
    for rule, counts in statistics.counts.items():
        columns[f"counts/{rule}"] = list(counts)
    columns["other_seconds"], columns["ictal_seconds"] = map(list, statistics.ranked)
    columns["calibration"] = [sums.ravel() for sums in statistics.calibration]
    for name, late in statistics.latencies.items():
        columns[f"latency/{name}"] = [
            late.seconds[late.patient == number] for number in range(len(statistics.patients))
        ]
    sweep = statistics.sweep
    if sweep is not None:
        for rule, rule_sweep in (("szcore", sweep.szcore), ("ovlp", sweep.ovlp)):
            columns[f"sweep/{rule}/reference"] = rule_sweep.reference
            columns[f"sweep/{rule}/seconds"] = rule_sweep.seconds
            columns[f"sweep/{rule}/detected"] = list(rule_sweep.detected.T)
            columns[f"sweep/{rule}/false"] = list(rule_sweep.false.T)
    metadata = _Metadata(
        units=statistics.units,
        thresholds=None if sweep is None else sweep.thresholds.tolist(),
        off_thresholds=None if sweep is None else sweep.off_thresholds.tolist(),
        rules=list(statistics.counts),
        latencies=list(statistics.latencies),
    )
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    return table.replace_schema_metadata({_METADATA: canonical_json(metadata.model_dump())})


def _unpack(table: pa.Table) -> PatientStatistics:
    metadata = _Metadata.model_validate_json(table.schema.metadata[_METADATA])
    patients = tuple(table["patient"].to_pylist())

    def arrays(name: str) -> Floats:
        return np.array(table[name].to_pylist(), dtype=np.float64)

    def sweep_of(rule: str) -> RuleSweep:
        return RuleSweep(
            arrays(f"sweep/{rule}/reference"),
            arrays(f"sweep/{rule}/seconds"),
            *(arrays(f"sweep/{rule}/{name}").T for name in _SWEEP_PARTS),
        )

    def latencies(name: str) -> Latencies:
        rows = table[f"latency/{name}"].to_pylist()
        return Latencies(
            np.array([value for row in rows for value in row], dtype=np.float64),
            np.repeat(np.arange(len(patients)), [len(row) for row in rows]),
        )

    sweep = None
    if metadata.thresholds is not None:
        thresholds, off = (
            np.array(values, dtype=np.float64)
            for values in (metadata.thresholds, metadata.off_thresholds)
        )
        sweep = Sweep(thresholds, off, patients, sweep_of("szcore"), sweep_of("ovlp"))
    return PatientStatistics(
        patients,
        {rule: arrays(f"counts/{rule}") for rule in metadata.rules},
        metadata.units,
        sweep,
        np.stack([arrays("other_seconds"), arrays("ictal_seconds")]),
        arrays("calibration").reshape(len(patients), -1, 3),
        {name: latencies(name) for name in metadata.latencies},
    )
