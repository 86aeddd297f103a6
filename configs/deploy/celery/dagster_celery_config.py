"""What a Celery worker needs to know; found by dagster-celery on the worker's PYTHONPATH."""

import os

broker_url = os.environ["BRAINBRR_BROKER_URL"]
result_backend = os.environ["BRAINBRR_BROKER_URL"]
#: Seconds after which Redis gives a task that a worker has reserved to another one.
broker_transport_options = {"visibility_timeout": 86400}
#: A worker takes a run when a slot is free, and none in advance: it would keep it from an idle
#: worker, and take it with it when it is killed.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
task_default_queue = "cpu"
