"""From a cache and a configuration to a trained network: pre-flight, loop, checkpoints, runs.

This package has the optimization and its files. It never processes signals: if something is missing
in the cache, the pre-flight stops with the command that builds it. Scores are in ``evaluation``.

Read ``run`` first (the checks before a training), then ``new_run`` (from the cache to the record of
a finished run), ``loop`` (the steps in order) and ``trainer`` (one step).
"""
