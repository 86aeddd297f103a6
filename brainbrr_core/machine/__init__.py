"""Properties of the machine: file systems, disk speed, processors, memory, GPUs; nothing of EEG.

Here belong only facts and measurements. What follows from them for a user belongs to ``doctor``
and to the pre-flight of a training.
"""
