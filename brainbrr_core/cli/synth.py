"""``brainbrr synth``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import (
    Json,
    print_json,
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
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default as cores and memory allow.")
    ] = None,
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
