"""``brainbrr synth``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import Json
from brainbrr_core.cli.printing import count, print_json
from brainbrr_core.errors import BrainbrrError

_RECORDINGS = 24


def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the corpus to.")],
    recordings: Annotated[
        int | None, typer.Option(help="Number of recordings (default: 24).", show_default=False)
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of EEG in total.")] = 3.0,
    seed: Annotated[
        int, typer.Option(help="Seed of the corpus; the same seed gives the same bytes.")
    ] = 0,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Imitate the corpus in this folder, in its layout: its files, channels, rates and "
            "annotations, with synthetic signals.",
        ),
    ] = None,
    bipolar: Annotated[
        bool,
        typer.Option(
            "--bipolar",
            help="Write bipolar derivations, as CHB-MIT has them, instead of electrodes.",
        ),
    ] = False,
    simulator: Annotated[
        str | None,
        typer.Option(
            metavar="RANGES",
            help="Simulate varied scalp EEG to train on: `varied`, or a YAML file with ranges that "
            "differ from it. The number of recordings follows from --hours.",
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            metavar="RANGES",
            help="With --simulator: what is simulated for the patients of dev and eval, such as "
            "`unseen`, with recorders and artifacts that train does not have.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of processes (default: as cores and memory allow)."),
    ] = None,
    json: Json = False,
) -> int:
    """Write a synthetic corpus like TUSZ, with seizures at known times."""
    from brainbrr_core.synthesis import write_corpus, write_corpus_like

    if like is not None and bipolar:
        raise BrainbrrError(
            "--like gives the channels of the copied corpus: leave --like or --bipolar out"
        )
    if unseen is not None and simulator is None:
        raise BrainbrrError("--unseen is for simulated EEG: give --simulator too")
    if simulator is not None:
        if like is not None or bipolar or recordings is not None:
            raise BrainbrrError(
                "--simulator decides on recordings and channels itself: "
                "leave --like, --bipolar and --recordings out"
            )
        from brainbrr_core.simulation import load_ranges, write_simulated_corpus

        ranges = load_ranges(simulator)
        summary = write_simulated_corpus(
            out,
            hours=hours,
            seed=seed,
            ranges=ranges,
            unseen=None if unseen is None else load_ranges(unseen),
            workers=workers,
        )
    elif like is not None:
        summary = write_corpus_like(out, like, seed=seed, workers=workers)
    else:
        summary = write_corpus(
            out,
            recordings=_RECORDINGS if recordings is None else recordings,
            hours=hours,
            seed=seed,
            bipolar=bipolar,
            workers=workers,
        )
    if json:
        print_json(asdict(summary))
    else:
        splits = ", ".join(f"{split} {number}" for split, number in summary.splits.items())
        shown = f" ({splits})" if splits else ""
        print(
            f"{out}: {count(summary.recordings, 'recording')} of "
            f"{count(summary.patients, 'patient')}, {summary.hours:.2f} h, "
            f"{count(summary.seizures, 'seizure')}{shown}"
        )
    return 0
