"""Past one machine: what Dagster's and dagster-celery's own parts lack for this graph.

``dagster.yaml`` names these classes; nothing else imports them.

- ``queues``    which queue a run belongs to
- ``launcher``  whether the worker of a run is alive

Here belongs no step of the graph. Files to deploy with are in ``configs/deploy``.
"""
