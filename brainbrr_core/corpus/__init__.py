"""Recordings as they lie on disk: layouts, EDF files, content hashes, the index.

Here belongs everything read from a corpus that is not the signal itself, and the decision
whether a recording can be used. What is done to samples belongs to ``signal``, what an
annotation file says to ``annotation``, what is stored to ``cache``.
"""
