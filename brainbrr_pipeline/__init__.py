"""The Dagster project: orchestration only. Each asset calls one function of ``brainbrr_core``.

- ``definitions``       what ``dagster dev`` and the daemon load
- ``graph``             ``build_defs``: the definitions for a configuration, with overrides
- ``assets``            the assets, by stage
- ``asset_checks``      conditions for the next step to start
- ``jobs``              the jobs that the sensor, the schedule or a user launches
- ``sensors``           the sensor that follows the corpus, stopped until it is turned on
- ``failure_notices``   the sensor that reports failed runs, stopped until it is turned on
- ``schedules``         the schedule that trains, stopped until it is turned on
- ``resources``         the configuration, and the device that a training is bound to
- ``pending_work``      what the sensor requests, derived from the plan
- ``cache_build``       building shards and recording them, in one run
- ``records``           partitions, data versions, code versions, events and metadata
- ``training``          the process that trains
- ``command_line``      the definitions without partitions, for ``dagster asset materialize``
- ``terminal``          printing a user's mistake as the last line of a command
- ``any_shell``         how ``dagster`` finds this project in a shell without variables
- ``populate``          the definitions of a machine that pulls its cache
- ``deployment``        run launcher and run coordinator for workers on several machines
- ``benchmark``         what orchestration costs at the size of TUSZ
- ``dagster_internals`` the private names of Dagster that are used, and why

Only ``brainbrr_core.cache.plan`` decides what has to be rebuilt.
"""

import warnings

import dagster as dg

# Observable source assets and Pipes are marked as beta or preview. They are used as documented,
# and Dagster is pinned to one release, so a warning in every run would be of no use.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)
