"""The Dagster graph: orchestration only. Each asset calls one thing in ``brainbrr_core``.

- ``assets``            the six assets, by stage
- ``partitions``        one dynamic partition per recording, and keeping them in step
- ``provenance``        the events that tell Dagster what a shard was made of
- ``resources``         configuration and the GPU a training is bound to
- ``training_process``  the process of its own in which a training runs
- ``graph``             ``build_defs``: everything put together, with overrides
- ``definitions``       the graph with partitions, for the UI and the daemon
- ``command_line``      the same graph without partitions, for ``dagster asset materialize``
- ``deployment``        what Dagster's own parts lack where workers are on several machines

What is to be rebuilt is worked out by ``brainbrr_core.cache.plan`` alone.
"""

import warnings

import dagster as dg

# Observable source assets and Pipes are used as Dagster documents them: that they may change is
# met by the pinned release, not by a warning in every run.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)
