"""``brainbrr manifest``."""

from __future__ import annotations

import shlex
from dataclasses import asdict

from brainbrr_core.cli.options import (
    CacheRoot,
    CacheVersion,
    Config,
    ForRun,
    Json,
    Profile,
    configuration,
    next_command,
)
from brainbrr_core.cli.printing import count, log, print_json
from brainbrr_core.cli.tables import print_table


def manifest(
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    cache_version: CacheVersion = None,
    run: ForRun = None,
    json: Json = False,
) -> int:
    """Write the manifest of a profile: one row for each window, without reading any signal."""
    from brainbrr_core.cache.clipping import clipping_lines, clipping_summary
    from brainbrr_core.cache.manifest import counts
    from brainbrr_core.cache.manifest_file import update_manifest
    from brainbrr_core.cache.plan import plan_profile
    from brainbrr_core.constants import SPLITS
    from brainbrr_core.machine.memory import no_collection

    settings = configuration(
        config, profile, cache_root=cache_root, cache_version=cache_version, for_run=run
    )
    with no_collection():
        plan = plan_profile(settings)
        made = update_manifest(plan, settings.manifest_settings)
        summary = counts(made.manifest, SPLITS)
        clipping = clipping_summary(plan, settings.labels.seizure)
    if json:
        print_json(
            {
                "path": str(made.path),
                "rewritten": made.rewritten,
                "windows": len(made.manifest),
                "splits": summary,
                "without_windows": made.manifest.without_windows,
                "clipping": asdict(clipping),
            }
        )
        return 0
    columns = ["recordings", "patients", "hours", "seizures", "none", "partial", "full"]
    print_table(
        count(len(made.manifest), "window"),
        ["split", *columns],
        [[split, *(f"{row[name]:,}" for name in columns)] for split, row in summary.items()],
    )
    threshold = settings.manifest_settings.full_threshold
    print(
        "none, partial, full: windows without a seizure, with one in less than "
        f"{threshold:.4g} of their time, and with one in that or more (sampling.full_threshold)"
    )
    for reason, number in made.manifest.without_windows.items():
        print(f"without windows: {count(number, 'recording')}: {reason}")
    unknown = {split: row["unknown_seconds"] for split, row in summary.items()}
    if any(unknown.values()):
        seconds = ", ".join(f"{split} {value:,.2f}" for split, value in unknown.items())
        left_out = sum(made.manifest.unknown_windows.values())
        print(
            f"unknown seconds, neither seizure nor background: {seconds}; left out for having "
            f"nothing else: {count(left_out, 'window')}"
        )
    for line in clipping_lines(clipping):
        print(line)
    print(f"{'written' if made.rewritten else 'already current'}: {made.path}")
    if run is None:
        next_command("train", settings.options, cache_version=cache_version)
    else:
        log(f"next: brainbrr evaluate {shlex.quote(run)}")
    return 0
