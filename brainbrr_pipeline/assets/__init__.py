"""The assets, by stage.

- ``corpus``        raw_edf, raw_edf_index, selected_recordings
- ``cache``         windowed_cache, cache_manifest
- ``pulled_cache``  windowed_cache on a machine that downloads it
- ``model``         trained_model, eval_report
"""
