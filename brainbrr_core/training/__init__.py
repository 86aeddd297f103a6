"""From a cache and a configuration to a trained network: pre-flight, loop, checkpoints, runs.

Here belong optimization and its files. Signals are not processed here: if something is missing in
the cache, the pre-flight stops with the command that builds it. Scores belong to ``evaluation``.

Read ``run`` first (what is looked at before a training), then ``new_run`` (from the cache to the
record of a finished run), ``loop`` (the steps in order) and ``trainer`` (one step).
"""
