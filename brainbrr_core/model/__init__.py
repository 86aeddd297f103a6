"""The networks: from a window of EEG to a seizure logit for every sample.

Here belong the default network (Bi-Mamba-2), its layers, the state-space recurrence and the named
sizes; the other networks by name, and what makes a network of any resolution one that gives a logit
for every sample. How one is trained belongs to ``training``; what its logits mean for events
belongs to ``detection``.
"""

from brainbrr_core.model.contract import AdaptedNetwork, check_on_one_batch
from brainbrr_core.model.named import (
    AnyNetwork,
    build_network,
    can_recompute_activations,
    has_state_space_layers,
)
from brainbrr_core.model.network import NetworkShape, SeizureNetwork
from brainbrr_core.model.presets import PRESETS, build

__all__ = [
    "PRESETS",
    "AdaptedNetwork",
    "AnyNetwork",
    "NetworkShape",
    "SeizureNetwork",
    "build",
    "build_network",
    "can_recompute_activations",
    "check_on_one_batch",
    "has_state_space_layers",
]
