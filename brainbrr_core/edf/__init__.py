"""EDF and EDF+ files: header, time stamps and signals, checked and in µV.

Here belongs everything that can be said of one EDF by itself. Whether a recording of it can be
used, and what lies beside it, belongs to ``corpus``; what is done to its samples to ``signal``.
"""
