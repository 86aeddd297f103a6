"""The graph without partitions, for ``dagster asset materialize --select windowed_cache``.

Dagster refuses a partitioned asset there without ``--partition``. This one has the same keys and
records the same partitions, so the UI shows what it built. The variable that ``brainbrr env`` sets
gives this module to that command and to no other.
"""

import gc

from brainbrr_pipeline.graph import build_defs

defs = build_defs(partitioned=False)

# The command ends soon and keeps most of what it makes: looking for garbage as often as a server
# does takes a fifth of the time of a run without work.
gc.set_threshold(200_000, 50, 50)
