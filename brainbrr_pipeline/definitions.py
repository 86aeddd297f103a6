"""Definitions with one partition per recording: what ``dagster dev`` and the daemon load."""

from brainbrr_pipeline.graph import build_defs

defs = build_defs()
