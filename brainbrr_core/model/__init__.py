"""The Bi-Mamba-2 network: from a window of EEG to a seizure logit for every sample.

Here belong the network, its layers, the state-space recurrence and the named sizes. How it is
trained belongs to ``training``; what its logits mean for events belongs to ``detection``.
"""

from brainbrr_core.model.network import NetworkShape, SeizureNetwork
from brainbrr_core.model.presets import PRESETS, build

__all__ = ["PRESETS", "NetworkShape", "SeizureNetwork", "build"]
