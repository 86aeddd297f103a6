"""The Dagster graph: orchestration only. Each asset calls one thing in ``brainbrr_core``.

- ``assets``            the assets, by stage, and the job that builds a list of partitions
- ``checks``            asset checks: what must hold before the next step spends a night
- ``showing``           what the UI shows of each materialization
- ``automation``        a sensor and a schedule, off until turned on
- ``reconciling``       what the sensor would ask for, worked out from the plan
- ``building``          building and recording in one run
- ``partitions``        one dynamic partition per recording, and keeping them in step
- ``provenance``        the events that tell Dagster what a shard was made of
- ``events``            many events at little cost
- ``loaded``            whether what Dagster loaded is what the configuration says now
- ``resources``         configuration and the device a training is bound to
- ``training_launch``   starting a training in ``training_process``, and its last words
- ``graph``             ``build_defs``: everything put together, with overrides
- ``definitions``       the graph with partitions, for the UI and the daemon
- ``command_line``      the same graph without partitions, for ``dagster asset materialize``
- ``populate``          the graph of a machine that pulls its cache
- ``benchmark``         what orchestration costs at the size of TUSZ
- ``deployment``        what Dagster's own parts lack where workers are on several machines

What is to be rebuilt is worked out by ``brainbrr_core.cache.plan`` alone.
"""

import warnings

import dagster as dg

# Observable source assets and Pipes are used as Dagster documents them: that they may change is
# met by the pinned release, not by a warning in every run.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)
