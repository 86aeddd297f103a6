"""``brainbrr index``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.choices import LayoutChoice
from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    configuration,
    next_command,
)
from brainbrr_core.cli.printing import count, log, print_json, print_table

if TYPE_CHECKING:
    from brainbrr_core.corpus.recording import Recording
    from brainbrr_core.corpus.skipped import Skipped
    from brainbrr_core.corpus.summary import IndexSummary


def index(
    config: Config = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    layout: Annotated[
        LayoutChoice | None,
        typer.Option(help="How the corpus is laid out (default: recognized by its files)."),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option("--list", help="Also print a line for each recording, separated by tabs."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Accept that many recordings are gone, or that this is another corpus."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Scan a corpus: list its recordings, and report which cannot be used and why."""
    from brainbrr_core.corpus.index_file import index_path, update_index
    from brainbrr_core.corpus.same_content import SharedContent
    from brainbrr_core.corpus.split_report import describe_splits
    from brainbrr_core.corpus.summary import check_usable, summarize

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    corpus = settings.corpus
    if layout is not None:
        corpus = corpus.model_copy(update={"layout": layout.value})
    labels = settings.labels.seizure
    try:
        recordings = update_index(
            settings.data_dir,
            settings.cache_root,
            corpus,
            force=force,
            named_by=settings.origin.data_dir,
            log=log,
        ).in_montage(settings.preprocessing.montage)
    except SharedContent as refused:
        if list_ and not json:
            _print_outcomes(refused.recordings, labels)
        raise
    summary = summarize(recordings, labels, settings.preprocessing.notch_hz)
    status = 1 if recordings.unsettled else 0
    if json:
        outcomes = [_outcome(recording, labels) for recording in recordings] if list_ else None
        print_json(asdict(summary) | ({"recordings": outcomes} if outcomes is not None else {}))
        check_usable(recordings)
        return status
    if list_:
        _print_outcomes(recordings, labels)
    split_lines = describe_splits(
        recordings, recordings.assignment, recordings.resplit, settings.labels.seizure
    )
    layout_and_release = f"{summary.layout} {summary.release}".strip()
    title = f"{settings.data_dir} ({layout_and_release})"
    _print_counts(title, summary, recordings.skipped, split_lines)
    print(f"index: {index_path(settings.cache_root)}")
    check_usable(recordings)
    if status == 0:
        next_command("cache build", settings.options, data_dir=data_dir)
    return status


def _outcome(recording: Recording, labels: tuple[str, ...]) -> dict[str, Any]:
    """One recording: whether it can be used, its seizures, and every finding about it."""
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


def _print_outcomes(recordings: Iterable[Recording], labels: tuple[str, ...]) -> None:
    """Print a line for each recording, for `grep`, `cut` and `sort`."""
    print("recording\tsplit\tstatus\treason\tseconds\tseizures\tfindings\tevents")
    for recording in recordings:
        *columns, findings, events = _outcome(recording, labels).values()
        times = (f"{start:g} to {stop:g} s {label}" for start, stop, label in events)
        print("\t".join([*map(str, columns), "; ".join(findings), "; ".join(times)]))


def _print_counts(
    title: str, summary: IndexSummary, skipped: Iterable[Skipped], split_lines: Iterable[str]
) -> None:
    """Print the counts of each split, why recordings are excluded, and the other findings."""
    from brainbrr_core.constants import SPLITS
    from brainbrr_core.corpus.skipped import describe_skipped
    from brainbrr_core.corpus.summary import explain

    columns = ["found", "usable", "excluded", "patients", "hours", "seizures", "usable_seizures"]
    splits = [*summary.splits.items(), ("all", summary)]
    rows = [
        [name, *(f"{getattr(counts, column):,}" for column in columns)] for name, counts in splits
    ]
    print_table(title, ["split", *(name.replace("_", " ") for name in columns)], rows)
    if summary.completeness:
        print(summary.completeness)
    if summary.usable_unknown_hours:
        print(
            f"unknown, neither seizure nor background: {summary.usable_unknown_hours:g} h of "
            "the usable recordings"
        )
    if summary.reasons:
        print_table(
            "Excluded recordings by reason",
            ["reason", *(name for name, _ in splits)],
            [
                [reason, *(f"{counts.reasons.get(reason, 0):,}" for _, counts in splits)]
                for reason in summary.reasons
            ],
        )
    for reason in summary.reasons:
        print(f"{reason}: {explain(reason)}")
    for code, number in summary.findings.items():
        print(f"{code} in {count(number, 'recording')}: {explain(code)}")
    for line in describe_skipped(skipped):
        print(line)
    for line in split_lines:
        print(line)
    empty = set(SPLITS) - {name for name, _ in splits}
    if empty:
        print(f"no recording in {', '.join(sorted(empty))}")
