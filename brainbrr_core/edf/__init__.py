"""EDF and BDF, and other formats read as such: header, time stamps and signals, checked, in µV.

Everything that can be said about one EDF by itself belongs here. The files next to it, and whether
it can be used as a recording, belong to ``corpus``; processing its samples belongs to ``signal``.
"""
