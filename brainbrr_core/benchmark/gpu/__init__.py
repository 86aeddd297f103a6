"""``brainbrr bench gpu``: what a GPU does with the network, and whether it does it right.

Each section runs in a process of its own and within a time of its own, so that one that fails or
hangs costs nothing but itself. All of it is meant to take less than nine minutes on a GPU of the
data center.
"""
