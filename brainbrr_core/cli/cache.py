"""``brainbrr cache``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Json,
    Profile,
    RunsDir,
    Version,
    configuration,
    log,
    print_json,
    print_table,
)

app = typer.Typer(help="Build, look at and verify the store.", no_args_is_help=True)


@app.command()
def build(
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Build no more than this many.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default as cores and memory allow.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be built.")] = False,
    json: Json = False,
) -> int:
    """Build what the plan says: missing, stale and corrupt shards, and only those."""
    from brainbrr_core.cache.build import build as build_plan
    from brainbrr_core.cache.plan import State, limited, plan_corpus

    settings = configuration(config, profile, data_dir, cache_root)
    plan = limited(plan_corpus(settings, log), limit)
    if dry_run:
        keys = {
            item.recording.partition_key: f"{item.state}: {item.reason}" for item in plan.to_build
        }
        if json:
            print_json({"to_build": keys})
        else:
            for key, why in keys.items():
                print(f"{key}  {why}")
            print(f"{len(keys)} of {len(plan.items)} recordings would be built")
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
                "fresh_before": fresh,
                "failed": failed,
                "seconds": round(summary.seconds, 2),
            }
        )
    else:
        for key, error in failed.items():
            print(f"failed: {key}: {error}")
        hours = sum(result.duration_s for result in summary.built) / 3600
        print(
            f"built {len(summary.built)} recordings ({hours:.2f} h) in {summary.seconds:.1f} s; "
            f"{fresh} were fresh, {plan.count(State.EXCLUDED)} are excluded, "
            f"{len(failed)} failed"
        )
    return 1 if failed or plan.index.unsettled else 0


@app.command()
def status(
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    json: Json = False,
) -> int:
    """Say what is in the store, what is missing and why, who uses it, and what is foreign."""
    from brainbrr_core.cache.clipping import clipping_lines
    from brainbrr_core.cache.plan import plan_profile
    from brainbrr_core.cache.status import status as describe

    settings = configuration(config, profile, cache_root=cache_root, version=version)
    plan = plan_profile(settings)
    values = describe(plan, settings)
    if json:
        print_json(values)
    else:
        states = ["selected", "fresh", "missing", "stale", "corrupt", "excluded", "orphaned"]
        if values["unreadable"]:
            states.insert(-2, "unreadable")
        print(f"root     {values['root']}\nversion  {values['version']}")
        print_table(
            f"profile {values['profile']}",
            list(states),
            [[f"{values[state]:,}" for state in states]],
        )
        columns = ["split", "selected", "fresh", "hours", "windows"]
        rows = [
            [split, *(f"{counts[column]:,}" for column in columns[1:])]
            for split, counts in values["splits"].items()
        ]
        total = [values[column] for column in columns[1:]]
        print_table("by split", columns, [*rows, ["all", *(f"{value:,}" for value in total)]])
        print(f"{values['bytes'] / 1e6:,.1f} MB")
        for reason, count in values["reasons"].items():
            print(f"{reason}: {count}")
        for line in clipping_lines(values["clipping"]):
            print(line)
        for version, size in values["other_versions"].items():
            print(f"another version: {version}, {size / 1e6:,.1f} MB")
        for version, names in values["holders"].items():
            for name in names:
                print(f"in use: {version}: {name}")
        for path in values["foreign"]:
            print(f"foreign, never touched: {path}")
        if values["sources_unseen"]:
            print(f"not checked, since their EDFs are not here: {values['sources_unseen']}")
        if plan.to_build:
            print(f"to mend: brainbrr cache build{settings.options}")
    return 1 if plan.unfit else 0


@app.command()
def verify(
    deep: Annotated[
        bool, typer.Option(help="Hash the EDFs again, too, and compare with the index.")
    ] = False,
    config: Config = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Check every byte of every shard; move what fails to quarantine.

    A shard that cannot be read (permission, memory, open files, the disk) is not damaged: it stays
    where it is, is named, and the exit status is 1.
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
            f"{store.root} holds no version {store.version}: set BRAINBRR_CACHE_ROOT, or run "
            f"`brainbrr cache build{settings.options}`"
        )
    result = check(store, read_index(settings.cache_root) if deep else ())
    if json:
        print_json(asdict(result))
    else:
        for key, how in result.damaged.items():
            if key in result.not_moved:
                print(f"damaged, and not moved ({result.not_moved[key]}): {key}: {how}")
            else:
                print(f"damaged, moved to quarantine: {key}: {how}")
        for key, why in result.unreadable.items():
            print(f"could not be read, left as it is: {key}: {why}")
        for key in result.changed_sources:
            print(f"the EDF is not the indexed one, though its size and time are: {key}")
        print(
            f"{result.checked} shards checked, {len(result.damaged)} damaged, "
            f"{len(result.unreadable)} not readable"
        )
        if result.damaged:
            print(f"to mend: brainbrr cache build{settings.options}")
        if result.changed_sources:
            print(f"to mend: touch these EDFs, then brainbrr cache build{settings.options}")
    return 1 if result.damaged or result.unreadable or result.changed_sources else 0


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    force: Annotated[bool, typer.Option(help="Even more than 5 % orphans.")] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Also this version, though a run was trained on it or it was imported."),
    ] = None,
    config: Config = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """List, and with --yes remove, versions and shards that nothing selects.

    Nothing goes that a process is at work on, that a run was or is trained on (unless it is named
    with --drop), or that the store did not write: those are listed as kept and as foreign.
    """
    from brainbrr_core.cache.gc import find, kept, remove
    from brainbrr_core.cache.plan import make_plan
    from brainbrr_core.cache.store import Store
    from brainbrr_core.corpus.index_file import read_index
    from brainbrr_core.runs.used_versions import used_versions

    settings = configuration(config, cache_root=cache_root, runs_dir=runs_dir)
    index = read_index(settings.cache_root)
    plan = make_plan(Store.derived(settings), settings.preprocessing, index, index)
    trained = used_versions(settings.runs_dir)
    garbage = find(plan, trained, drop or (), force=force)
    staying = kept(plan, trained, drop or ())
    foreign = plan.store.foreign()
    dropped = set(drop or ())

    def is_used(version: str) -> bool:
        return version not in dropped and version in used_versions(settings.runs_dir)

    stayed = remove(garbage, is_used) if yes else []
    refused = {item.path for item in stayed}
    done = [item for item in garbage if item.path not in refused]
    size = sum(item.bytes for item in done)
    if json:
        print_json(
            {
                "removed": yes,
                "bytes": size,
                "items": [
                    {"path": str(item.path), "why": item.why, "bytes": item.bytes} for item in done
                ],
                "kept": {str(item.path): item.why for item in [*staying, *stayed]},
                "foreign": [str(path) for path in foreign],
            }
        )
    else:
        for item in done:
            print(f"{item.bytes / 1e6:10,.1f} MB  {item.why}: {item.path}")
        for reason in [*staying, *stayed]:
            print(f"kept: {reason.path}: {reason.why}")
        for path in foreign:
            print(f"foreign, never touched: {path}")
        what = "removed" if yes else "to be removed with --yes"
        print(f"{len(done)} {what}, {size / 1e6:,.1f} MB")
    return 1 if stayed or (garbage and not yes) else 0


@app.command(name="import-npz")
def import_npz(
    folder: Annotated[Path, typer.Argument(help="The predecessor's cache folder.")],
    config: Config = None,
    cache_root: CacheRoot = None,
    json: Json = False,
) -> int:
    """Bring the predecessor's archives along, as shards of a version of their own."""
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
        for path, why in summary.refused.items():
            print(f"refused: {path}: {why}")
        print(
            f"{len(summary.imported)} archives imported, {len(summary.refused)} refused; "
            f"{before / 1e6:,.1f} MB became {after / 1e6:,.1f} MB, "
            f"{(before - after) / 1e6:,.1f} MB less"
        )
        print(
            f"labels differ from the index in {len(differing)} recordings, {seconds:,.1f} s: the "
            "index's are used"
        )
        print(f"to use it: --version {summary.version}")
    return 1 if summary.refused else 0
