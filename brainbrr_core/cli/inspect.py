"""``brainbrr inspect``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import CacheRoot, Config, DataDir, Json, configuration
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import print_json

if TYPE_CHECKING:
    from brainbrr_core.corpus.recording import Recording
    from brainbrr_core.inspection.channels import Channel
    from brainbrr_core.inspection.inspection import Inspection


def inspect(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="A partition key of the index, the end of one that no other has, or the path of "
            "an EDF.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Where to write the page and the picture: a folder, or a name that ends in .html "
            "or .png to write only that."
        ),
    ] = Path(),
    start: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Where in the recording to start.")
    ] = 0.0,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="How much to draw (default: to the end)."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Draw a recording, raw and preprocessed, with its events, channel figures and findings."""
    from brainbrr_core.annotation.texts import Texts
    from brainbrr_core.corpus.lookup import find_edf
    from brainbrr_core.inspection.files import write_inspection
    from brainbrr_core.inspection.inspection import inspect_recording

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    path, row = find_edf(recording, settings.cache_root)
    inspection = inspect_recording(
        path,
        settings.preprocessing,
        row,
        settings.corpus,
        texts=Texts(settings.corpus.annotation_texts),
        start_s=start,
        seconds=seconds,
        seizure_labels=settings.labels.seizure,
    )
    files = write_inspection(inspection, out, path.stem, settings.preprocessing.clip_sd)
    if json:
        print_json(_as_json(inspection) | _person(row) | {"files": [str(f) for f in files]})
        return 0
    if row is not None and (row.sex or row.age is not None):
        age = "" if row.age is None else f"{row.age:g} years"
        print(f"patient: {', '.join(filter(None, (age, row.sex)))}")
    for code, meaning in inspection.reasons:
        print(f"excluded: {code}: {meaning}")
    for finding in inspection.findings:
        print(f"finding: {finding}")
    for line in _clipped(inspection):
        print(line)
    for file in files:
        print(file)
    return 0


def _person(recording: Recording | None) -> dict[str, JsonValue]:
    """Age and sex of the patient of a recording that is in the index."""
    return {} if recording is None else {"age": recording.age, "sex": recording.sex or None}


def _clipped(inspection: Inspection) -> list[str]:
    """A line for each channel with clipped samples, most of them within seizures first."""
    channels = [
        (channel.name, channel.preprocessed)
        for channel in inspection.channels
        if channel.preprocessed is not None and channel.preprocessed.clipped
    ]
    channels.sort(key=lambda row: (-(row[1].clipped_in_seizures or 0), -row[1].clipped))
    lines = []
    for name, signal in channels:
        ictal = signal.clipped_in_seizures
        within = "" if ictal is None else f", {ictal:.4%} of those in seizures"
        lines.append(f"clipped: {name}: {signal.clipped:.4%} of its samples{within}")
    return lines


def _as_json(inspection: Inspection) -> dict[str, JsonValue]:
    return {
        "recording": inspection.name,
        "duration_s": inspection.duration_s,
        "annotated_duration_s": inspection.annotated_duration_s,
        "reasons": [code for code, _ in inspection.reasons],
        "findings": [asdict(finding) for finding in inspection.findings],
        "events": [asdict(event) for event in inspection.events],
        "channels": [_channel_as_json(channel) for channel in inspection.channels],
        "unused": [{"label": label, "match": match} for label, match in inspection.unused],
    }


def _channel_as_json(channel: Channel) -> dict[str, JsonValue]:
    """The figures of a channel, without its curves."""
    raw, preprocessed = channel.raw, channel.preprocessed
    return {
        "name": channel.name,
        "match": channel.match,
        "label": channel.label,
        "rate": None if raw is None else raw.rate,
        "unit": raw.unit if raw else "",
        "mean": None if raw is None else raw.mean,
        "deviation": None if raw is None else raw.deviation,
        "at_range_end": None if raw is None else raw.at_range_end,
        "flat_s": None if raw is None else raw.flat_s,
        "saturated_s": None if raw is None else raw.saturated_s,
        "mains_s": None if raw is None else raw.mains_s,
        "disconnected_s": None if raw is None else raw.disconnected_s,
        "interpolated": channel.interpolated,
        "filtered_mean": None if preprocessed is None else preprocessed.mean,
        "filtered_deviation": None if preprocessed is None else preprocessed.deviation,
        "clipped": None if preprocessed is None else preprocessed.clipped,
        "clipped_in_seizures": None if preprocessed is None else preprocessed.clipped_in_seizures,
    }
