"""From a cache and a configuration to a trained network: pre-flight, loop, checkpoints, runs.

Here belongs optimization and what is kept of it. Nothing is processed or built here: what is
missing stops the pre-flight with the command that makes it. Scores belong to ``evaluation``.
"""
