"""``brainbrr cache``: the commands on the cache of this machine; ``transfer`` has the others."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    CacheVersion,
    Config,
    DataDir,
    ForRun,
    Json,
    Profile,
    RunsDir,
    configuration,
    next_command,
    next_of_cache,
)
from brainbrr_core.cli.printing import count, log, print_first, print_json
from brainbrr_core.cli.program import Program
from brainbrr_core.cli.tables import print_table

app = typer.Typer(
    cls=Program,
    help="Build, check, clean and copy the cache of preprocessed recordings.",
    no_args_is_help=True,
)
#: Headings of the commands in ``brainbrr cache --help``.
STORE, TRANSFER = "On this machine", "To and from other machines"


@app.command(rich_help_panel=STORE)
def build(
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    run: ForRun = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Build this many recordings at most.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes (default: as cores and memory allow)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be built, and build nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Build the shards that are missing, stale or corrupt, and only those."""
    from brainbrr_core.machine.memory import no_collection

    with no_collection():
        from brainbrr_core.cache.build import build as build_plan
        from brainbrr_core.cache.plan import State, limited, plan_corpus
        from brainbrr_core.corpus.summary import check_usable

        settings = configuration(config, profile, data_dir, cache_root, for_run=run)
        whole = plan_corpus(settings, log)
        plan = limited(whole, limit)
    if dry_run:
        keys = {
            item.recording.partition_key: f"{item.state}: {item.reason}" for item in plan.to_build
        }
        if json:
            print_json({"to_build": keys})
        else:
            for key, reason in keys.items():
                print(f"{key}  {reason}")
            total = count(len(plan.items), "recording")
            print(f"{len(keys):,} of {total} would be built")
        return 1 if keys else 0
    summary = build_plan(plan, settings.preprocessing, workers=workers)
    fresh = plan.count(State.FRESH)
    failed = {
        item.recording.partition_key: f"its shard could not be read and was left: {item.reason}"
        for item in plan.unreadable
    }
    failed |= {result.partition_key: result.error for result in summary.failed}
    if json:
        print_json(
            {
                "built": len(summary.built),
                "built_by_others": len(summary.built_by_others),
                "fresh_before": fresh,
                "failed": failed,
                "seconds": round(summary.seconds, 2),
            }
        )
    else:
        for key, error in failed.items():
            print(f"failed: {key}: {error}")
        hours = sum(result.duration_s for result in summary.built) / 3600
        others = len(summary.built_by_others)
        meanwhile = f"{others:,} built by another process meanwhile, " if others else ""
        print(
            f"built {count(len(summary.built), 'recording')} ({hours:.2f} h) in "
            f"{summary.seconds:.1f} s; {meanwhile}{fresh:,} already fresh, "
            f"{plan.count(State.EXCLUDED):,} excluded, {len(failed):,} failed"
        )
    check_usable(plan.montage_index)
    if failed or plan.index.unsettled:
        return 1
    if not json and len(plan.to_build) < len(whole.to_build):
        next_command("cache build", settings.options, data_dir=data_dir)
    elif not json and not summary.built:
        next_of_cache(plan, settings.manifest_settings, data_dir, run)
    elif not json:
        next_command("manifest", settings.options)
    return 0


@app.command(rich_help_panel=STORE)
def status(
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    run: ForRun = None,
    json: Json = False,
) -> int:
    """Report what is stored, what is missing and why, and which processes use it."""
    from brainbrr_core.machine.memory import no_collection

    with no_collection():
        from brainbrr_core.cache.clipping import clipping_lines
        from brainbrr_core.cache.plan import State, plan_profile
        from brainbrr_core.cache.status import status as describe
        from brainbrr_core.cache.stored_settings import stored_settings

        settings = configuration(
            config, profile, cache_root=cache_root, cache_version=cache_version, for_run=run
        )
        plan = plan_profile(settings)
        report = describe(plan, settings.manifest_settings)
    if json:
        print_json(report.values())
    else:
        numbers = {
            "selected": report.selected,
            **{
                state.value: number
                for state, number in report.states.items()
                if number or state is not State.UNREADABLE
            },
            "orphaned": report.orphaned,
        }
        print(f"root     {report.root}\nversion  {report.version}")
        print_table(
            f"Recordings of profile {report.profile}",
            list(numbers),
            [[f"{number:,}" for number in numbers.values()]],
        )
        columns = ["split", "selected", "fresh", "hours", "windows"]
        rows = [
            [split, *(f"{number:,}" for number in astuple(of_split))]
            for split, of_split in report.splits.items()
        ]
        total = [report.selected, report.states[State.FRESH], report.hours, report.windows]
        print_table("By split", columns, [*rows, ["all", *(f"{value:,}" for value in total)]])
        print(f"{report.bytes / 1e6:,.1f} MB; manifest {report.manifest}")
        for reason, keys in plan.by_reason().items():
            print(f"{reason}: {count(len(keys), 'recording')}")
            excluded = reason.startswith(f"{State.EXCLUDED}:")
            print_first(keys, f"brainbrr {'index --list' if excluded else 'cache build --dry-run'}")
        for difference in stored_settings(plan, settings.preprocessing):
            print(f"stored with {difference}")
        for line in clipping_lines(report.clipping):
            print(line)
        for version, size in report.other_versions.items():
            print(f"other version: {version}, {size / 1e6:,.1f} MB")
        for version, names in report.holders.items():
            for name in names:
                print(f"in use: {version}: {name}")
        for path in report.foreign:
            print(f"not written by brainbrr, never touched: {path}")
        if report.sources_unseen:
            unseen = count(report.sources_unseen, "recording")
            print(f"not compared with the EDFs, which are not on this machine: {unseen}")
        if plan.to_build:
            print(f"to fix this, run: brainbrr cache build{settings.options}")
        elif report.manifest != "current":
            next_command("manifest", settings.options)
    return 1 if plan.unfit else 0


@app.command(rich_help_panel=STORE)
def verify(
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also hash the EDFs again and compare them with the index."),
    ] = False,
    config: Config = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Check every byte of every shard, and move damaged shards to quarantine.

    A shard that cannot be read (for want of permission, memory or open files, or because of the
    disk) does not count as damaged: it is named and left as it is. The exit status is 1 then too.
    """
    from dataclasses import asdict

    from brainbrr_core.cache.store import Store
    from brainbrr_core.cache.verify import verify as check
    from brainbrr_core.corpus.index_file import read_index
    from brainbrr_core.errors import BrainbrrError

    settings = configuration(config, cache_root=cache_root)
    store = Store.of(settings)
    if not store.folder.is_dir():
        raise BrainbrrError(
            f"{store.root} has no version {store.version}: set BRAINBRR_CACHE_ROOT, or run "
            f"`brainbrr cache build{settings.options}`"
        )
    result = check(store, read_index(settings.cache_root) if deep else ())
    if json:
        print_json(asdict(result))
    else:
        for key, damage in result.damaged.items():
            if key in result.not_moved:
                print(f"damaged, but not moved ({result.not_moved[key]}): {key}: {damage}")
            else:
                print(f"damaged, moved to quarantine: {key}: {damage}")
        for key, reason in result.unreadable.items():
            print(f"not readable, left as it is: {key}: {reason}")
        for key in result.changed_sources:
            print(
                f"the EDF has other content than the index says, at the same size and time: {key}"
            )
        print(
            f"{count(result.checked, 'shard')} checked, {len(result.damaged):,} damaged, "
            f"{len(result.unreadable):,} not readable"
        )
        rebuild = f"brainbrr cache build{settings.options}"
        if result.damaged:
            print(f"to fix this, run: {rebuild}")
        if result.changed_sources:
            print(f"to fix this, `touch` these EDFs and run: {rebuild}")
    return 1 if result.damaged or result.unreadable or result.changed_sources else 0


@app.command(rich_help_panel=STORE)
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Accept that more than 5 % of the shards are orphans.")
    ] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION",
            help="Also remove this version, although a run was trained on it or it was imported; "
            "may be repeated.",
        ),
    ] = None,
    config: Config = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """List versions and shards that no index selects, and with --yes remove them.

    Nothing is removed that a process is using, that a run was trained on (unless --drop names it),
    or that brainbrr did not write: these are listed as kept or as not written by brainbrr.
    """
    from brainbrr_core.cache.gc import find, kept, remove
    from brainbrr_core.cache.plan import make_plan
    from brainbrr_core.cache.store import Store
    from brainbrr_core.corpus.index_file import read_index
    from brainbrr_core.runs.used_versions import used_versions

    settings = configuration(config, cache_root=cache_root, runs_dir=runs_dir)
    index = read_index(settings.cache_root)
    plan = make_plan(
        Store.derived(settings.cache_root, settings.preprocessing),
        settings.preprocessing,
        index,
        index,
    )
    trained = used_versions(settings.runs_dir)
    garbage = find(plan, trained, drop or (), force=force)
    staying = kept(plan, trained, drop or ())
    foreign = plan.store.foreign()
    dropped = set(drop or ())

    def is_used(version: str) -> bool:
        return version not in dropped and version in used_versions(settings.runs_dir)

    stayed = remove(garbage, is_used) if yes else []
    refused = {item.path for item in stayed}
    removable = [item for item in garbage if item.path not in refused]
    size = sum(item.bytes for item in removable)
    if json:
        print_json(
            {
                "removed": yes,
                "bytes": size,
                "items": [
                    {"path": str(item.path), "why": item.why, "bytes": item.bytes}
                    for item in removable
                ],
                "kept": {str(item.path): item.why for item in [*staying, *stayed]},
                "foreign": [str(path) for path in foreign],
            }
        )
    else:
        for item in removable:
            print(f"{item.bytes / 1e6:10,.1f} MB  {item.why}: {item.path}")
        for reason in [*staying, *stayed]:
            print(f"kept: {reason.path}: {reason.why}")
        for path in foreign:
            print(f"not written by brainbrr, never touched: {path}")
        outcome = "removed" if yes else "to remove with --yes"
        print(f"{count(len(removable), 'item')} {outcome}, {size / 1e6:,.1f} MB")
    return 1 if stayed or (garbage and not yes) else 0


@app.command(name="import-npz", rich_help_panel=STORE)
def import_npz(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The cache folder of brain-go-brr v2.")
    ],
    config: Config = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Import the *_windows.npz archives of brain-go-brr v2 as a separate cache version."""
    from brainbrr_core.cache.npz_import import import_archives
    from brainbrr_core.constants import RATE
    from brainbrr_core.corpus.index_file import read_index

    settings = configuration(config, cache_root=cache_root)
    index = read_index(settings.cache_root)
    summary = import_archives(folder, settings.cache_root, index, settings.labels.seizure)
    before = sum(item.archive_bytes for item in summary.imported)
    after = sum(item.shard_bytes for item in summary.imported)
    differing = [item for item in summary.imported if item.differing_samples]
    seconds = sum(item.differing_samples for item in differing) / RATE
    if json:
        print_json(
            {
                "version": summary.version,
                "imported": len(summary.imported),
                "refused": summary.refused,
                "bytes_before": before,
                "bytes_after": after,
                "recordings_with_other_labels": len(differing),
                "seconds_with_other_labels": round(seconds, 2),
            }
        )
    else:
        for path, reason in summary.refused.items():
            print(f"refused: {path}: {reason}")
        print(
            f"{count(len(summary.imported), 'archive')} imported, "
            f"{len(summary.refused):,} refused; {before / 1e6:,.1f} MB became "
            f"{after / 1e6:,.1f} MB, {(before - after) / 1e6:,.1f} MB less"
        )
        print(
            f"labels differ from those of the index in {count(len(differing), 'recording')}, "
            f"{seconds:,.1f} s in total: the labels of the index are used"
        )
        print(f"to use these shards, add: --cache-version {summary.version}")
    return 1 if summary.refused else 0
