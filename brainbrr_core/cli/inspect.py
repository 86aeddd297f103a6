"""``brainbrr inspect``."""

from __future__ import annotations

from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.options import CacheRoot, Config, DataDir, Json, configuration, print_json
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.corpus.recording import Recording
    from brainbrr_core.inspection.channels import Channel
    from brainbrr_core.inspection.inspection import Inspection


def inspect(
    recording: Annotated[
        str, typer.Argument(help="A partition key of the index, or the path of an EDF.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="A folder, or a name ending in .html or .png to write only that."),
    ] = Path(),
    start: Annotated[float, typer.Option(min=0, help="Draw from this second on.")] = 0.0,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Draw this many seconds; all by default.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Draw a recording, raw and preprocessed, with its events, figures and findings."""
    from brainbrr_core.annotation.texts import Texts
    from brainbrr_core.inspection.files import write_inspection
    from brainbrr_core.inspection.inspection import inspect_recording

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    path, row = _find(recording, settings.cache_root)
    seen = inspect_recording(
        path,
        settings.preprocessing,
        row,
        settings.corpus,
        texts=Texts(settings.corpus.annotation_texts),
        start_s=start,
        seconds=seconds,
        seizure_labels=settings.labels.seizure,
    )
    files = write_inspection(seen, out, path.stem, settings.preprocessing.clip_sd)
    if json:
        print_json(_values(seen) | {"files": [str(file) for file in files]})
        return 0
    for code, meaning in seen.reasons:
        print(f"excluded: {code}: {meaning}")
    for finding in seen.findings:
        print(f"finding: {finding}")
    for line in _clipped(seen):
        print(line)
    for file in files:
        print(file)
    return 0


def _clipped(seen: Inspection) -> list[str]:
    """The channels with something clipped, those with most of it within seizures first."""
    channels = [
        (channel.name, channel.preprocessed)
        for channel in seen.channels
        if channel.preprocessed is not None and channel.preprocessed.clipped
    ]
    channels.sort(key=lambda row: (-(row[1].clipped_in_seizures or 0), -row[1].clipped))
    lines = []
    for name, signal in channels:
        ictal = signal.clipped_in_seizures
        within = "" if ictal is None else f", {ictal:.4%} of those in seizures"
        lines.append(f"clipped: {name}: {signal.clipped:.4%} of its samples{within}")
    return lines


def _find(name: str, cache_root: Path) -> tuple[Path, Recording | None]:
    """The EDF that is meant, and its row of the index where it has one."""
    from brainbrr_core.corpus.index_file import UnusableIndex, index_path, read_index

    path = Path(name)
    is_path = path.suffix.lower() == ".edf"
    if is_path and not path.is_file():
        raise BrainbrrError(f"there is no file {path}: give an EDF or a partition key")
    if not index_path(cache_root).is_file():
        if is_path:
            return path, None
        raise BrainbrrError(
            f"there is no index at {index_path(cache_root)} to find {name} in: run "
            "`brainbrr index`, or give the path of an EDF"
        )
    try:
        index = read_index(cache_root)
    except UnusableIndex:
        if is_path:
            # A file can be drawn without the index.
            return path, None
        raise
    if is_path:
        same = (row for row in index if Path(row.path).resolve() == path.resolve())
        return path, next(same, None)
    known = index.by_key()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f" (the nearest is {near[0]})" if near else ""
        raise BrainbrrError(
            f"no recording {name} in {index_path(cache_root)}{hint}: give a partition key or the "
            "path of an EDF"
        )
    if known[name].is_remote:
        raise BrainbrrError(
            f"{known[name].path} is not on this machine: copy it here and give its path"
        )
    return Path(known[name].path), known[name]


def _values(seen: Inspection) -> dict[str, Any]:
    return {
        "recording": seen.name,
        "duration_s": seen.duration_s,
        "annotated_duration_s": seen.annotated_duration_s,
        "reasons": [code for code, _ in seen.reasons],
        "findings": [asdict(finding) for finding in seen.findings],
        "events": [asdict(event) for event in seen.events],
        "channels": [_channel(channel) for channel in seen.channels],
        "unused": [{"label": label, "match": what} for label, what in seen.unused],
    }


def _channel(channel: Channel) -> dict[str, Any]:
    raw, preprocessed = channel.raw, channel.preprocessed
    return {
        "name": channel.name,
        "match": channel.match,
        "label": channel.label,
        "rate": raw and raw.rate,
        "unit": raw.unit if raw else "",
        "mean": raw and raw.mean,
        "deviation": raw and raw.deviation,
        "at_range_end": raw and raw.at_range_end,
        "flat_s": raw and raw.flat_s,
        "saturated_s": raw and raw.saturated_s,
        "mains_s": raw and raw.mains_s,
        "disconnected_s": raw and raw.disconnected_s,
        "interpolated": channel.interpolated,
        "filtered_mean": preprocessed and preprocessed.mean,
        "filtered_deviation": preprocessed and preprocessed.deviation,
        "clipped": preprocessed and preprocessed.clipped,
        "clipped_in_seizures": preprocessed and preprocessed.clipped_in_seizures,
    }
