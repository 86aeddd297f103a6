"""Properties of the machine: file systems, disk speed, processors, memory and GPUs.

Only facts and measurements belong here, and nothing about EEG. Advice to the user that follows
from them belongs in ``doctor`` and in the pre-flight of a training.
"""
