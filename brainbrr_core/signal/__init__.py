"""Montage and signal chain: pure functions of arrays, rates and settings.

Here belongs what happens to samples between an EDF and the store. Files do not belong here
(``corpus`` reads them, ``cache`` writes them), and nothing here knows what a seizure is.
"""
