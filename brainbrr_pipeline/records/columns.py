"""Descriptions of the columns of the index and of a manifest, for the UI."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

#: Columns of ``raw_edf_index``.
INDEX = {
    "partition_key": "Path of the EDF below the corpus, without its suffix.",
    "corpus": "Name of the corpus; absent in an index of one corpus without a name.",
    "split": "Split of the patient: train, dev or eval.",
    "patient": "Name of the patient, from the path.",
    "session": "Name of the session, from the path; empty where the layout has none.",
    "montage": "Montage, from the path; empty where the layout has none.",
    "status": "ok, or excluded.",
    "reason": "Code of the reason why the recording is excluded; empty where it is not.",
    "duration_s": "Duration of the signal, in seconds.",
    "seizures": "Number of annotated seizures of any type.",
    "seizure_s": "Total duration of the annotated seizures, in seconds.",
    "path": "Path or URL of the EDF.",
    "state": "Size in bytes, modification time in ns and inode of the EDF.",
    "content_hash": "Hash of the EDF.",
    "rate_numerator": "Sampling rate in Hz, as a fraction: its numerator.",
    "rate_denominator": "Sampling rate in Hz, as a fraction: its denominator.",
    "samples": "Number of samples of each electrode.",
    "signals": "Number of signals of the file, without annotations.",
    "discontinuous": "Whether there are gaps between the data records.",
    "matched": "Each electrode of the file, and the label of its signal.",
    "missing": "Electrodes, of the 19, that the file lacks and that are interpolated.",
    "signal_reason": "Code of the reason why the signal cannot be used, so that there is no shard.",
    "label_reason": "Code of the reason why the annotations cannot be used, so that there are no "
    "windows.",
    "label_source": "Kind of the annotation files; empty where there are none.",
    "companions": "Files that describe the EDF, each with its state.",
    "annotated_duration_s": "Duration that the annotation file states, in seconds.",
    "events": "Annotated events: start and stop in seconds, label, confidence and channels.",
    "findings": "Irregularities of the files, by their codes.",
    "label_texts": "Digest of the patterns that interpreted free text; empty where there was none.",
    "data_hash": "Hash of the EDF without its header; empty where it is unknown.",
    "bipolar": "A bipolar recording in the montage double-banana: reason of exclusion, rate, "
    "samples, derivations and findings; empty for a referential one.",
    "reader": "Name and version of the library that read the file; empty for an EDF.",
    "age": "Age of the patient in years, 90 for all above 89; empty if no table has it.",
    "sex": "F, M or O (other); empty if no table of the corpus has it.",
}

#: Columns of ``cache_manifest``.
MANIFEST = {
    "partition_key": "Recording that the window is from.",
    "corpus": "Name of its corpus; absent in a manifest of one corpus without a name.",
    "split": "Split of the patient: train, dev or eval.",
    "patient": "Name of the patient.",
    "start_sample": "First sample of the window in the shard, at 256 Hz.",
    "ictal_fraction": "Fraction of seizure among the labeled samples, from 0 to 1.",
    "category": "none, partial or full: how much of the window is seizure.",
    "seizure_type": "Type of the seizure in the window; empty where there is none.",
    "unknown_fraction": "Fraction of samples whose label is unknown, from 0 to 1.",
}


def column_schema(schema: pa.Schema, descriptions: Mapping[str, str]) -> dg.TableSchema:
    """The columns of a Parquet file with their descriptions, in Dagster's form."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(field.name, _type(field.type), descriptions[field.name])
            for field in schema
        ]
    )


def _type(column: pa.DataType) -> str:
    """The type of a column's values in a word or a few, however they are stored.

    The fields of nested values are left out: the UI never breaks a type into lines, so that a long
    one leaves no room for the descriptions.
    """
    if pa.types.is_dictionary(column):
        return _type(column.value_type)
    if pa.types.is_list(column):
        return f"list of {_type(column.value_type)}"
    return "struct" if pa.types.is_struct(column) else str(column)
