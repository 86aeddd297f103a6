"""``brainbrr manifest``."""

from __future__ import annotations

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    Json,
    Profile,
    Version,
    configuration,
    print_json,
    print_table,
)


def manifest(
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    version: Version = None,
    json: Json = False,
) -> int:
    """Write the profile's manifest: one row per window, without touching a signal."""
    from brainbrr_core.cache.clipping import clipping_lines, clipping_summary
    from brainbrr_core.cache.manifest import counts
    from brainbrr_core.cache.manifest_file import update_manifest
    from brainbrr_core.cache.plan import plan_profile
    from brainbrr_core.constants import SPLITS

    settings = configuration(config, profile, cache_root=cache_root, version=version)
    plan = plan_profile(settings)
    made = update_manifest(plan, settings)
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
                "clipping": clipping,
            }
        )
        return 0
    columns = ["recordings", "patients", "hours", "seizures", "none", "partial", "full"]
    print_table(
        f"{len(made.manifest):,} windows",
        ["split", *columns],
        [[split, *(f"{row[name]:,}" for name in columns)] for split, row in summary.items()],
    )
    for reason, count in made.manifest.without_windows.items():
        print(f"without windows: {count} recordings: {reason}")
    unknown = {split: row["unknown_seconds"] for split, row in summary.items()}
    if any(unknown.values()):
        seconds = ", ".join(f"{split} {value:,.2f}" for split, value in unknown.items())
        left_out = sum(made.manifest.unknown_windows.values())
        print(
            f"unknown seconds, neither seizure nor background: {seconds}; {left_out:,} windows "
            "would be wholly unknown and are left out"
        )
    for line in clipping_lines(clipping):
        print(line)
    print(f"{'written' if made.rewritten else 'current already'}: {made.path}")
    return 0
