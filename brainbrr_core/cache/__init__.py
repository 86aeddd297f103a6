"""The store: every second of EEG once, versioned by what shaped it, verified.

Here belong shards, versions, the plan, the build and the manifest. How windows become tensors
belongs to ``data``; what is done to samples belongs to ``signal``.
"""
