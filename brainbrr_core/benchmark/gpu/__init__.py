"""``brainbrr bench gpu``: how fast the network is on a GPU, and whether its results are right.

Each section runs in its own process with its own time limit, so that a section that fails or hangs
does not affect the others. All sections together take less than nine minutes on a GPU for data
centers.
"""
