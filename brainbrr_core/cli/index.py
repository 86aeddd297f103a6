"""``brainbrr index``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    configuration,
    log,
    print_json,
    print_table,
)
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.corpus.recording import Recording
    from brainbrr_core.corpus.skipped import Skipped
    from brainbrr_core.corpus.summary import IndexSummary


def index(
    config: Config = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    layout: Annotated[
        str | None, typer.Option(help="tusz, bids or folder; found by itself where it can be.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Also print what became of each recording, tab-separated")
    ] = False,
    force: Annotated[
        bool, typer.Option(help="Accept that recordings vanished or that the corpus changed.")
    ] = False,
    json: Json = False,
) -> int:
    """Scan the corpus and say what is in it, what is not usable and why."""
    from brainbrr_core.corpus.index_file import index_path, update_index
    from brainbrr_core.corpus.layouts.known import LAYOUTS
    from brainbrr_core.corpus.same_content import SharedContent
    from brainbrr_core.corpus.summary import summarize

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    if layout is not None and layout not in LAYOUTS:
        raise BrainbrrError(f"no layout named {layout!r}: use one of {', '.join(LAYOUTS)}")
    corpus = settings.corpus
    if layout is not None:
        corpus = corpus.model_copy(update={"layout": layout})
    labels = settings.labels.seizure
    try:
        found = update_index(settings.data_dir, settings.cache_root, corpus, force=force, log=log)
    except SharedContent as refused:
        if list_ and not json:
            _print_outcomes(refused.recordings, labels)
        raise
    summary = summarize(found, labels)
    status = 1 if found.unsettled else 0
    if json:
        outcomes = [_outcome(recording, labels) for recording in found] if list_ else None
        print_json(asdict(summary) | ({"recordings": outcomes} if outcomes is not None else {}))
        return status
    if list_:
        _print_outcomes(found, labels)
    _print_counts(f"{settings.data_dir} ({summary.layout})", summary, found.skipped)
    print(f"index: {index_path(settings.cache_root)}")
    return status


def _outcome(recording: Recording, labels: tuple[str, ...]) -> dict[str, Any]:
    """What became of one recording, and everything that was found about it."""
    return {
        "recording": recording.partition_key,
        "split": recording.split,
        "status": "ok" if recording.reason is None else "excluded",
        "reason": recording.reason or "",
        "seconds": round(recording.duration_s, 2),
        "seizures": len(recording.seizures(labels)),
        "findings": [str(finding) for finding in recording.findings],
        "events": [[event.start, event.stop, event.label] for event in recording.events],
    }


def _print_outcomes(found: Iterable[Recording], labels: tuple[str, ...]) -> None:
    """One line for each recording, for `grep`, `cut` and `sort`."""
    print("recording\tsplit\tstatus\treason\tseconds\tseizures\tfindings\tevents")
    for recording in found:
        *columns, findings, events = _outcome(recording, labels).values()
        times = (f"{start:g} to {stop:g} s {label}" for start, stop, label in events)
        print("\t".join([*map(str, columns), "; ".join(findings), "; ".join(times)]))


def _print_counts(title: str, summary: IndexSummary, skipped: Iterable[Skipped]) -> None:
    """The counts of each split, why recordings are excluded, and what else was found."""
    from brainbrr_core.constants import SPLITS
    from brainbrr_core.corpus.skipped import describe_skipped
    from brainbrr_core.corpus.summary import explain

    columns = ["found", "usable", "excluded", "patients", "hours", "seizures", "usable_seizures"]
    splits = [*summary.splits.items(), ("all", summary)]
    rows = [
        [name, *(f"{getattr(counts, column):,}" for column in columns)] for name, counts in splits
    ]
    print_table(title, ["split", *(name.replace("_", " ") for name in columns)], rows)
    if summary.usable_unknown_hours:
        print(
            f"unknown, and so neither seizure nor background: {summary.usable_unknown_hours:g} "
            "h of the usable recordings"
        )
    if summary.reasons:
        print_table(
            "excluded, by reason",
            ["reason", *(name for name, _ in splits)],
            [
                [reason, *(f"{counts.reasons.get(reason, 0):,}" for _, counts in splits)]
                for reason in summary.reasons
            ],
        )
    for reason in summary.reasons:
        print(f"{reason}: {explain(reason)}")
    for code, count in summary.findings.items():
        print(f"found in {count:,} recordings: {code}: {explain(code)}")
    for line in describe_skipped(skipped):
        print(line)
    empty = set(SPLITS) - {name for name, _ in splits}
    if empty:
        print(f"no recording in {', '.join(sorted(empty))}")
