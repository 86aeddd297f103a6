"""The graph without partitions, for ``dagster asset materialize --select windowed_cache``.

Dagster refuses a partitioned asset there without ``--partition``. This one has the same keys and
records the same partitions, so the UI shows what it built. The variable that ``brainbrr env`` sets
gives this module to that command and to no other.
"""

from brainbrr_pipeline.graph import build_defs

defs = build_defs(partitioned=False)
