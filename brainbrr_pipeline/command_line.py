"""Definitions without partitions, for ``dagster asset materialize --select windowed_cache``.

That command refuses a partitioned asset without ``--partition``. These definitions have the same
asset keys and record the same partitions, so the UI shows what they have built. ``brainbrr env``
sets a variable through which this command and ``dagster asset list``, and no others, load this
module.
"""

from brainbrr_core.machine.memory import collect_rarely
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.terminal import print_mistakes_last

collect_rarely()
print_mistakes_last()

defs = build_defs(partitioned=False)
