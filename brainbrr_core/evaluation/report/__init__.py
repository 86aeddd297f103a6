"""The report of an evaluation: one HTML page with its figures, tables and segments of EEG."""
