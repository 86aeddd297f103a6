"""Classes for workers on several machines, for use in ``dagster.yaml``.

- ``queues``    a run coordinator that sends each run to the queue for CPUs or GPUs
- ``launcher``  a run launcher that notices when the worker of a run was killed

The files of a deployment are in ``configs/deploy``.
"""
