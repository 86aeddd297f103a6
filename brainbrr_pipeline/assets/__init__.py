"""The six assets: ``corpus`` (raw_edf, raw_edf_index), ``cache`` (windowed_cache,
cache_manifest) and ``model`` (trained_model, eval_report). Each calls one thing in core.
"""
