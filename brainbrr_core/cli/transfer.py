"""``brainbrr cache push``, ``pull``, ``export`` and ``import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import ProfileName
from brainbrr_core.cli.options import (
    CacheRoot,
    CacheVersion,
    Config,
    ForRun,
    Json,
    Profile,
    configuration,
)
from brainbrr_core.cli.printing import count, log, print_json

if TYPE_CHECKING:
    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.transfer.receive import Transfer

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Where the copy is: a URL such as s3://bucket/brainbrr, or a folder."
    ),
]
Archive = Annotated[
    Path, typer.Argument(metavar="FILE", help="The archive, such as smoke.tar.zst.")
]
Transfers = Annotated[int, typer.Option(min=1, max=64, help="Number of transfers at a time.")]
ReplaceIndex = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace the index of this cache root even if it is of another corpus."
    ),
]
#: Shards that are named at most, of those missing or refused; --json has them all.
_SHOWN = 20


def push(
    url: Url,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    transfers: Transfers = 16,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Read back what is there, and replace what is damaged."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Push even to a public bucket, or to one with another corpus."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Copy fresh shards and the index to a bucket or folder; only what differs is sent."""
    from brainbrr_core.remote.connect import open_remote
    from brainbrr_core.transfer.push import push as send

    remote = open_remote(url)
    cache = _cache(config, profile, cache_root, cache_version)
    outcome = send(cache, remote, transfers=transfers, force=force, repair=repair, log=log)
    return _report(outcome, "pushed", json)


def pull(
    url: Url,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    run: ForRun = None,
    transfers: Transfers = 16,
    force: ReplaceIndex = False,
    json: Json = False,
) -> int:
    """Copy the shards that the profile lacks, and the index, from a bucket or folder; verified."""
    from brainbrr_core.remote.connect import open_remote
    from brainbrr_core.transfer.pull import pull as fetch

    remote = open_remote(url)
    cache = _cache(config, profile, cache_root, cache_version, run)
    outcome = fetch(cache, remote, transfers=transfers, force=force, log=log)
    return _report(outcome, "pulled", json)


def export(
    file: Archive,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Write the shards of the profile and the index to one archive (.tar.zst)."""
    from brainbrr_core.transfer.archive import export_archive

    cache = _cache(config, profile, cache_root, cache_version)
    return _report(export_archive(cache, file), "exported", json)


def import_(
    file: Archive,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    force: ReplaceIndex = False,
    json: Json = False,
) -> int:
    """Read the shards that the profile lacks, and the index, from an archive; verified."""
    from brainbrr_core.transfer.archive import import_archive

    cache = _cache(config, profile, cache_root, cache_version)
    return _report(import_archive(cache, file, force=force, log=log), "imported", json)


def _cache(
    config: str | None,
    profile: ProfileName | None,
    cache_root: str | None,
    cache_version: str | None,
    run: str | None = None,
) -> ProfileCache:
    """The cache and profile that the options choose."""
    from brainbrr_core.cache.profile_cache import ProfileCache

    return ProfileCache.of(
        configuration(
            config, profile, cache_root=cache_root, cache_version=cache_version, for_run=run
        )
    )


def _report(outcome: Transfer, done: str, json: bool) -> int:
    if json:
        print_json({"action": done, **asdict(outcome)})
    else:
        for problem, keys in (("failed", outcome.failed), ("missing", outcome.absent)):
            for key in sorted(keys)[:_SHOWN]:
                print(f"{problem}: {key}: {keys[key]}")
            if len(keys) > _SHOWN:
                print(f"{problem}: {len(keys) - _SHOWN:,} more (--json lists all)")
        print(
            f"{done} {count(outcome.moved, 'shard')}, {outcome.bytes / 1e6:,.1f} MB in "
            f"{outcome.seconds:.1f} s ({outcome.rate / 1e6:,.1f} MB/s), {outcome.verified:,} "
            f"verified; {outcome.skipped:,} already there, {len(outcome.absent):,} missing, "
            f"{len(outcome.failed):,} failed"
        )
    return 1 if outcome.failed or outcome.absent else 0
