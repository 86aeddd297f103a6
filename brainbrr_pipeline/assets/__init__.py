"""The assets: ``corpus`` (raw_edf, raw_edf_index, selected_recordings), ``cache`` (windowed_cache,
cache_manifest, the job build_cache), ``model`` (trained_model, eval_report), and ``populate``, a
windowed_cache that is pulled. Each calls one thing in core.
"""
