"""What the machine is like: file systems, disk speed, torch's build, cards; nothing of EEG.

Here belong only facts and measurements. What follows from them for a user belongs to ``doctor``
and to the pre-flight of a training.
"""
