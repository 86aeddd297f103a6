"""The tables beside a report, as Parquet and CSV, and what each patient contributes to figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from brainbrr_core.atomic import replacing
from brainbrr_core.cache.version import canonical_json
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.evaluation.statistics import PatientStatistics
from brainbrr_core.scoring import Counts, RuleSweep, Sweep, UnknownTime, nedc

STATISTICS = "patient_statistics.parquet"
_METADATA = b"brainbrr.statistics"
#: Arrays of a patient beside the counts, all of whose figures are sums.
_SWEEP_PARTS = ("detected", "false")


def write_tables(folder: Path, results: EvaluationResults, statistics: PatientStatistics) -> None:
    """Write every table of an evaluation into a folder, each whole or not at all."""
    for name, table in tables(results, statistics.sweep).items():
        with replacing(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
        with replacing(folder / f"{name}.csv") as temporary:
            pa_csv.write_csv(table, temporary)
    with replacing(folder / STATISTICS) as temporary:
        pq.write_table(_packed(statistics), temporary, compression="zstd")


def tables(results: EvaluationResults, sweep: Sweep | None = None) -> dict[str, pa.Table]:
    """The tables by name: figures, recordings, seizures, detections, patients, the curve.

    Undefined figures are null.
    """
    counts = ("reference", "detected", "missed", "false")
    return {
        "figures": _table(
            ("figure", "value", "low", "high"),
            [(name, part.value, part.low, part.high) for name, part in results.estimates.items()],
        ),
        "recordings": _table(
            (
                *("partition_key", "patient", "montage", "duration_s", "unknown_s"),
                *(f"{rule}_{count}" for rule in ("ovlp", "szcore") for count in counts),
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
        "patients": _table(
            (
                "patient",
                "recordings",
                "hours",
                "seizures",
                "szcore_sensitivity",
                "szcore_precision",
                "szcore_f1",
                "szcore_false_per_day",
                *tuple(f"ovlp_{count}" for count in counts),
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
                for row in results.patients
            ],
        ),
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


def read_statistics(folder: Path) -> PatientStatistics:
    """What :func:`write_tables` kept of each patient.

    Raises :class:`WorkRemains` where there is nothing, :class:`BrainbrrError` where it is
    damaged.
    """
    path = folder / STATISTICS
    try:
        return _unpacked(pq.read_table(path))
    except FileNotFoundError:
        raise WorkRemains(f"no {STATISTICS} in {folder}: run `brainbrr evaluate`") from None
    except (pa.ArrowException, KeyError, ValueError, TypeError):
        raise BrainbrrError(f"{path} is damaged: remove {folder} and evaluate again") from None


def _detections(results: EvaluationResults) -> Iterator[tuple[Any, ...]]:
    for row in results.recordings:
        reference, kept = nedc.joined_events(row.events)
        scored = set(kept)
        # As they were before unknown time left some of them out.
        _, hypothesis = nedc.joined_events(replace(row.events, unknown=()))
        _, alone = nedc.overlaps(reference, hypothesis)
        for event, alarm in zip(hypothesis, alone.tolist(), strict=True):
            left_out = event not in scored
            yield (
                *(row.partition_key, row.patient, event.start, event.stop, event.confidence),
                *(alarm and not left_out, left_out),
            )


def _counts(counts: Counts) -> tuple[float, ...]:
    return counts.reference, counts.detected, counts.missed, counts.false


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    # NaN is an undefined figure: null in every format.
    arrays = [pa.array(column, from_pandas=True) for column in columns]
    return pa.table(dict(zip(names, arrays, strict=True)))


def _packed(statistics: PatientStatistics) -> pa.Table:
    """One row for each patient, arrays as lists; what is not of a patient, in the metadata."""
    columns: dict[str, Any] = {"patient": list(statistics.patients)}
    for rule, counts in statistics.counts.items():
        columns[f"counts/{rule}"] = list(counts)
    columns["other_seconds"], columns["ictal_seconds"] = map(list, statistics.ranked)
    columns["calibration"] = [part.ravel() for part in statistics.calibration]
    columns["latency_s"] = [
        statistics.latency_s[statistics.latency_patient == number]
        for number in range(len(statistics.patients))
    ]
    sweep = statistics.sweep
    if sweep is not None:
        for rule, part in (("szcore", sweep.szcore), ("ovlp", sweep.ovlp)):
            columns[f"sweep/{rule}/reference"] = part.reference
            columns[f"sweep/{rule}/seconds"] = part.seconds
            columns[f"sweep/{rule}/detected"] = list(part.detected.T)
            columns[f"sweep/{rule}/false"] = list(part.false.T)
    metadata = {
        "units": statistics.units,
        "thresholds": None if sweep is None else sweep.thresholds.tolist(),
        "off_thresholds": None if sweep is None else sweep.off_thresholds.tolist(),
        "rules": list(statistics.counts),
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    return table.replace_schema_metadata({_METADATA: canonical_json(metadata)})


def _unpacked(table: pa.Table) -> PatientStatistics:
    values = json.loads(table.schema.metadata[_METADATA])
    patients = tuple(table["patient"].to_pylist())

    def arrays(name: str) -> Any:
        return np.array(table[name].to_pylist(), dtype=np.float64)

    def part(rule: str) -> RuleSweep:
        return RuleSweep(
            arrays(f"sweep/{rule}/reference"),
            arrays(f"sweep/{rule}/seconds"),
            *(arrays(f"sweep/{rule}/{name}").T for name in _SWEEP_PARTS),
        )

    latencies = table["latency_s"].to_pylist()
    sweep = None
    if values["thresholds"] is not None:
        thresholds, off = (
            np.array(values[name], dtype=np.float64) for name in ("thresholds", "off_thresholds")
        )
        sweep = Sweep(thresholds, off, patients, part("szcore"), part("ovlp"))
    return PatientStatistics(
        patients,
        {rule: arrays(f"counts/{rule}") for rule in values["rules"]},
        values["units"],
        sweep,
        np.stack([arrays("other_seconds"), arrays("ictal_seconds")]),
        arrays("calibration").reshape(len(patients), -1, 3),
        np.array([value for row in latencies for value in row], dtype=np.float64),
        np.repeat(np.arange(len(patients)), [len(row) for row in latencies]),
    )
