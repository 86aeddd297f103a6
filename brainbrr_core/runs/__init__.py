"""What a training leaves behind: a folder with its weights, its record and its threshold.

Here belong the name of a run and what shapes it, opening a finished run, and the ledgers of a
folder of runs. Making a run belongs to ``training``, what it is worth to ``evaluation``.
"""
