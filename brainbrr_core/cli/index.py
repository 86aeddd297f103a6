"""``brainbrr index``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.choices import LayoutChoice
from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    configuration,
    next_of_cache,
)
from brainbrr_core.cli.printing import count, log, print_first, print_json
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from brainbrr_core.corpus.index import Index
    from brainbrr_core.corpus.recording import Recording
    from brainbrr_core.corpus.summary import IndexSummary, RecordingCounts


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
    """Scan the corpora: list their recordings, and report which cannot be used and why."""
    from brainbrr_core.cache.plan import plan_selection
    from brainbrr_core.cache.store import Store
    from brainbrr_core.constants import SPLITS
    from brainbrr_core.corpus.index_file import index_corpora, index_path
    from brainbrr_core.corpus.same_content import SharedContent
    from brainbrr_core.corpus.several import corpora_of
    from brainbrr_core.corpus.split_report import describe_assignment, describe_splits
    from brainbrr_core.corpus.summary import check_usable, summarize
    from brainbrr_core.errors import BrainbrrError

    settings = configuration(config, data_dir=data_dir, cache_root=cache_root)
    sources = settings.corpus_sources
    if layout is not None:
        if settings.corpora:
            raise BrainbrrError("--layout is of one corpus: set layout in its entry of corpora")
        corpus = settings.corpus.model_copy(update={"layout": layout.value})
        sources = (replace(sources[0], settings=corpus),)
    labels = settings.labels.seizure
    try:
        indexed = index_corpora(sources, settings.cache_root, force=force, log=log)
    except SharedContent as refused:
        if list_ and not json:
            _print_outcomes(refused.recordings, labels)
        raise
    recordings = indexed.in_montage(settings.preprocessing.montage)
    notch_hz = settings.preprocessing.notch_hz
    summary = summarize(recordings, labels, notch_hz)
    alone = [
        (source, summarize(part, labels, notch_hz), part)
        for source, (_, part) in zip(sources, corpora_of(recordings), strict=True)
    ]
    expected = {source.name for source in sources if source.data_dir is not None}
    status = 1 if recordings.unsettled or expected & {*recordings.absent} else 0
    if json:
        values = asdict(summary)
        if recordings.corpora:
            values["corpora"] = {source.name: asdict(counts) for source, counts, _ in alone}
            values["absent"] = list(recordings.absent)
        if list_:
            values["recordings"] = [_outcome(recording, labels) for recording in recordings]
        print_json(values)
        check_usable(recordings)
        return status
    if list_:
        _print_outcomes(recordings, labels)
    for source, counts, part in alone:
        layout_and_release = f"{counts.layout} {counts.release}".strip()
        name = f"{source.name}: " if source.name else ""
        _print_counts(
            f"{name}{source.data_dir or 'not here'} ({layout_and_release})",
            counts,
            part,
            describe_assignment(part, part.assignment),
        )
    if recordings.corpora:
        rows = {source.name: counts for source, counts, _ in alone} | {"all": summary}
        print_table("All corpora", ["corpus", *_TITLES], [_row(*row) for row in rows.items()])
    for line in describe_splits(recordings, recordings.resplit, labels, settings.corpus.split):
        print(line)
    empty = set(SPLITS) - set(summary.splits)
    if empty:
        print(f"no recording in {', '.join(sorted(empty))}")
    print(f"index: {index_path(settings.cache_root)}")
    check_usable(recordings)
    if status == 0:
        plan = plan_selection(
            Store.of(settings),
            settings.preprocessing,
            settings.selection,
            indexed,
            just_indexed=True,
        )
        next_of_cache(plan, settings.manifest_settings, data_dir)
    return status


def _outcome(recording: Recording, labels: tuple[str, ...]) -> dict[str, Any]:
    """One recording: whether it can be used, its seizures, and every finding about it."""
    return {
        "recording": recording.partition_key,
        "split": recording.split,
        "status": _status(recording),
        "reason": recording.reason or "",
        "seconds": round(recording.duration_s, 2),
        "seizures": len(recording.seizures(labels)),
        "findings": [str(finding) for finding in recording.findings],
        "events": [[event.start, event.stop, event.label] for event in recording.events],
    }


def _status(recording: Recording) -> str:
    """Whether a recording is used, gets no shard, or gets one without usable annotations."""
    if recording.signal_reason is not None:
        return "excluded"
    return "ok" if recording.reason is None else "unlabeled"


def _print_outcomes(recordings: Iterable[Recording], labels: tuple[str, ...]) -> None:
    """Print a line for each recording, for `grep`, `cut` and `sort`."""
    print("recording\tsplit\tstatus\treason\tseconds\tseizures\tfindings\tevents")
    for recording in recordings:
        *columns, findings, events = _outcome(recording, labels).values()
        times = (f"{start:g} to {stop:g} s {label}" for start, stop, label in events)
        print("\t".join([*map(str, columns), "; ".join(findings), "; ".join(times)]))


def _print_counts(
    title: str, summary: IndexSummary, recordings: Index, split_lines: Iterable[str]
) -> None:
    """Print the counts of each split, why recordings are not usable, and the other findings."""
    from brainbrr_core.corpus.skipped import describe_skipped
    from brainbrr_core.corpus.summary import explain

    splits = [*summary.splits.items(), ("all", summary)]
    print_table(title, ["split", *_TITLES], [_row(*row) for row in splits])
    if summary.completeness:
        print(summary.completeness)
    if summary.usable_unknown_hours:
        print(
            f"unknown, neither seizure nor background: {summary.usable_unknown_hours:g} h of "
            "the usable recordings"
        )
    if summary.reasons:
        print_table(
            "Excluded and unlabeled recordings by reason",
            ["reason", *(name for name, _ in splits)],
            [
                [reason, *(f"{counts.reasons.get(reason, 0):,}" for _, counts in splits)]
                for reason in summary.reasons
            ],
        )
    for reason in summary.reasons:
        print(f"{reason}: {explain(reason)}")
        print_first(
            [each.partition_key for each in recordings if each.reason == reason],
            "brainbrr index --list",
        )
    for code, number in summary.findings.items():
        print(f"{code} in {count(number, 'recording')}: {explain(code)}")
    for line in describe_skipped(recordings.skipped):
        print(line)
    for line in split_lines:
        print(line)


#: Columns of the tables of counts, and their titles.
_COLUMNS = (
    *("found", "usable", "excluded", "unlabeled"),
    *("patients", "hours", "seizures", "usable_seizures"),
)
_TITLES = [name.replace("_", " ") for name in _COLUMNS]


def _row(name: str, counts: RecordingCounts) -> list[str]:
    return [name, *(f"{getattr(counts, column):,}" for column in _COLUMNS)]
