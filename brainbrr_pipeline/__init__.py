"""The Dagster graph: orchestration only. Each asset calls one thing in ``brainbrr_core``.

- ``assets``            the assets, by stage, and the job that builds a list of partitions
- ``asset_checks``      what must hold before the next step spends a night
- ``sensors``           a sensor and a schedule, off until turned on
- ``pending_work``      what the sensor would ask for, worked out from the plan
- ``cache_build``       building and recording in one run
- ``records``           partitions, data versions, the code version that is loaded, events, and
                        what the UI shows of each materialization
- ``resources``         configuration and the device a training is bound to
- ``training``          starting a training in a process of its own, and its last output
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
