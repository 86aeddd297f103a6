"""``brainbrr synth`` and ``brainbrr index``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    configuration,
    print_json,
    print_table,
)


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write the corpus to.")],
    recordings: Annotated[int, typer.Option(help="Number of recordings.")] = 24,
    hours: Annotated[float, typer.Option(help="Hours of EEG in all.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    like: Annotated[
        Path | None,
        typer.Option(help="Take channels, rates and annotations of the tree below this folder."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; all cores by default.")] = None,
    json: Json = False,
) -> int:
    """Write a TUSZ-like corpus with known seizures."""
    from brainbrr_core.synthesis import write_corpus, write_corpus_like

    if like is not None:
        summary = write_corpus_like(out, like, seed=seed, workers=workers)
    else:
        summary = write_corpus(out, recordings=recordings, hours=hours, seed=seed, workers=workers)
    if json:
        print_json(asdict(summary))
    else:
        splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
        print(
            f"{out}: {summary.recordings} recordings of {summary.patients} patients, "
            f"{summary.hours:.2f} h, {summary.seizures} seizures ({splits})"
        )
    return 0


def index(
    config: Config = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    force: Annotated[
        bool, typer.Option(help="Accept that recordings vanished or that the corpus changed.")
    ] = False,
    json: Json = False,
) -> int:
    """Scan the corpus and say what is in it, what is not usable and why."""
    from brainbrr_core.corpus.index import summarize
    from brainbrr_core.corpus.index_file import index_path, update_index
    from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    found = update_index(settings.data_dir, settings.cache_root, force=force)
    summary = summarize(found, settings.labels.seizure)
    if json:
        print_json(summary)
        return 0
    columns = ["split", "found", "usable", "excluded", "patients", "hours", "seizures"]
    rows = [
        [name, *(f"{counts[column]:,}" for column in columns[1:])]
        for name, counts in [*summary["splits"].items(), ("all", summary)]
    ]
    print_table(f"{settings.data_dir} ({summary['layout']})", columns, rows)
    for reason, count in summary["reasons"].items():
        text = SIGNAL_REASONS.get(reason) or LABEL_REASONS[reason]
        print(f"excluded {count}: {reason}: {text}")
    for code, count in summary["findings"].items():
        print(f"finding {count}: {code}")
    print(f"index: {index_path(settings.cache_root)}")
    return 0
