"""``brainbrr cache push``, ``pull``, ``export`` and ``import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    Json,
    Profile,
    Version,
    configuration,
    log,
    print_json,
)

if TYPE_CHECKING:
    from brainbrr_core.transfer.receive import Transfer

Url = Annotated[
    str, typer.Argument(help="Where the copy lies, such as s3://bucket/brainbrr, or a folder.")
]
Archive = Annotated[Path, typer.Argument(help="The archive, such as smoke.tar.zst.")]
Transfers = Annotated[int, typer.Option(min=1, max=64, help="Transfers in flight.")]
#: Names shown of what is missing or refused; --json has them all.
_SHOWN = 20


def push(
    url: Url,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    transfers: Transfers = 16,
    repair: Annotated[
        bool, typer.Option(help="Read what is there back, and replace what is damaged.")
    ] = False,
    force: Annotated[
        bool, typer.Option(help="Even to a public bucket, or one that holds another corpus.")
    ] = False,
    json: Json = False,
) -> int:
    """Copy what is fresh here, and the index, to a remote place; only what differs."""
    from brainbrr_core.remote.connect import open_remote
    from brainbrr_core.transfer.local_cache import LocalCache
    from brainbrr_core.transfer.push import push as send

    remote = open_remote(url)
    cache = LocalCache.of(configuration(config, profile, cache_root=cache_root, version=version))
    outcome = send(cache, remote, transfers=transfers, force=force, repair=repair, log=log)
    return _report(outcome, "pushed", json)


def pull(
    url: Url,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    transfers: Transfers = 16,
    force: Annotated[
        bool, typer.Option(help="Even over the index of another corpus in this cache root.")
    ] = False,
    json: Json = False,
) -> int:
    """Copy what the profile lacks here, and the index, from a remote place; verified."""
    from brainbrr_core.remote.connect import open_remote
    from brainbrr_core.transfer.local_cache import LocalCache
    from brainbrr_core.transfer.pull import pull as fetch

    remote = open_remote(url)
    cache = LocalCache.of(configuration(config, profile, cache_root=cache_root, version=version))
    outcome = fetch(cache, remote, transfers=transfers, force=force, log=log)
    return _report(outcome, "pulled", json)


def export(
    file: Archive,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    json: Json = False,
) -> int:
    """Write the profile's shards and the index to one archive, .tar.zst."""
    from brainbrr_core.transfer.archive import export_archive
    from brainbrr_core.transfer.local_cache import LocalCache

    cache = LocalCache.of(configuration(config, profile, cache_root=cache_root, version=version))
    return _report(export_archive(cache, file), "exported", json)


def import_(
    file: Archive,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    force: Annotated[
        bool, typer.Option(help="Even over the index of another corpus in this cache root.")
    ] = False,
    json: Json = False,
) -> int:
    """Take in what an archive holds of the profile and this cache lacks; verified."""
    from brainbrr_core.transfer.archive import import_archive
    from brainbrr_core.transfer.local_cache import LocalCache

    cache = LocalCache.of(configuration(config, profile, cache_root=cache_root, version=version))
    return _report(import_archive(cache, file, force=force, log=log), "imported", json)


def _report(outcome: Transfer, done: str, json: bool) -> int:
    if json:
        print_json({"action": done, **asdict(outcome)})
    else:
        for what, keys in (("failed", outcome.failed), ("not moved", outcome.absent)):
            for key in sorted(keys)[:_SHOWN]:
                print(f"{what}: {key}: {keys[key]}")
            if len(keys) > _SHOWN:
                print(f"{what}: and {len(keys) - _SHOWN} more (all of them with --json)")
        print(
            f"{done} {outcome.moved} shards, {outcome.bytes / 1e6:,.1f} MB in "
            f"{outcome.seconds:.1f} s ({outcome.rate / 1e6:,.1f} MB/s), {outcome.verified} "
            f"verified; {outcome.skipped} were there already, {len(outcome.absent)} not moved, "
            f"{len(outcome.failed)} failed"
        )
    return 1 if outcome.failed or outcome.absent else 0
