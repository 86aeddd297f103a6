"""The networks that the program has beside its default one, each written from its paper.

Their names are those of ``configuration.settings.NETWORKS``. Each is a class that takes
(channels, samples, rate) and options, as :mod:`brainbrr_core.model.contract` says.
"""

from torch import nn

from brainbrr_core.model.networks.eegnet import EEGNet

__all__ = ["BUILT_IN", "EEGNet"]

#: Class by name.
BUILT_IN: dict[str, type[nn.Module]] = {
    "eegnet": EEGNet,
}
