"""What ``cache status --json`` prints: keys and their order are what scripts rely on."""

from __future__ import annotations

import json

from brainbrr_core.cache.clipping import ClippedRecording, ClippingSummary
from brainbrr_core.cache.plan import State
from brainbrr_core.cache.status import CacheStatus, SplitStatus

TEXT = (
    '{"root": "/cache", "version": "v2_256hz_10-20_89f91765f0ac", "profile": "small", '
    '"selected": 12, "fresh": 5, "missing": 4, "stale": 1, "corrupt": 0, "unreadable": 0, '
    '"excluded": 2, "orphaned": 3, "bytes": 28567784, "hours": 0.8, "windows": 223, '
    '"splits": {"train": {"selected": 9, "fresh": 4, "hours": 0.7, "windows": 200}, '
    '"dev": {"selected": 3, "fresh": 1, "hours": 0.1, "windows": 23}}, '
    '"reasons": {"missing: not built": 4}, '
    '"clipping": {"clipped": 5.35e-06, "clipped_in_seizures": null, "recordings": 6, '
    '"not_known": 1, "most": [{"partition_key": "dev/a", "clipped": 0.25, '
    '"clipped_in_seizures": 0.5}]}, "sources_unseen": 7, "other_versions": {"v1": 10}, '
    '"holders": {"v2": ["train (process 1 on a) since now"]}, "foreign": ["/cache/a"], '
    '"manifest": "stale"}'
)


def test_the_json_of_status_is_as_it_was() -> None:
    status = CacheStatus(
        root="/cache",
        version="v2_256hz_10-20_89f91765f0ac",
        profile="small",
        selected=12,
        states=dict(zip(State, (5, 4, 1, 0, 0, 2), strict=True)),
        orphaned=3,
        bytes=28567784,
        hours=0.8,
        windows=223,
        splits={"train": SplitStatus(9, 4, 0.7, 200), "dev": SplitStatus(3, 1, 0.1, 23)},
        reasons={"missing: not built": 4},
        clipping=ClippingSummary(5.35e-06, None, 6, 1, (ClippedRecording("dev/a", 0.25, 0.5),)),
        sources_unseen=7,
        other_versions={"v1": 10},
        holders={"v2": ["train (process 1 on a) since now"]},
        foreign=["/cache/a"],
        manifest="stale",
    )
    assert json.dumps(status.values()) == TEXT
