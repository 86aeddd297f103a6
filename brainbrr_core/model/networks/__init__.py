"""The networks that the program has beside its default one, each written from its paper.

Their names are those of ``configuration.settings.NETWORKS``. Each is a class that takes
(channels, samples, rate) and options, as :mod:`brainbrr_core.model.contract` says.
"""

from torch import nn

from brainbrr_core.model.networks.dcrnn import DCRNN
from brainbrr_core.model.networks.eegnet import EEGNet
from brainbrr_core.model.networks.line_length import LineLength
from brainbrr_core.model.networks.seizure_transformer import SeizureTransformer
from brainbrr_core.model.networks.tcn import TCN
from brainbrr_core.model.networks.tcn_bimamba import TcnBiMamba
from brainbrr_core.model.networks.unet import UNet

__all__ = [
    "BUILT_IN",
    "DCRNN",
    "TCN",
    "EEGNet",
    "LineLength",
    "SeizureTransformer",
    "TcnBiMamba",
    "UNet",
]

#: Class by name.
BUILT_IN: dict[str, type[nn.Module]] = {
    "dcrnn": DCRNN,
    "eegnet": EEGNet,
    "line_length": LineLength,
    "seizure_transformer": SeizureTransformer,
    "tcn": TCN,
    "tcn_bimamba": TcnBiMamba,
    "unet": UNet,
}
