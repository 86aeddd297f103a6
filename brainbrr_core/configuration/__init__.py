"""The one configuration model: what can be set, and where its value comes from.

Here belong settings and their validation. Names of directories below the cache root do not
belong here: they follow from the preprocessing version (``cache``).
"""

from brainbrr_core.configuration.environment import CONFIG_VARIABLE
from brainbrr_core.configuration.load import Overrides, changed, load
from brainbrr_core.configuration.location import checkout
from brainbrr_core.configuration.settings import (
    Augmentation,
    Configuration,
    Corpus,
    Detection,
    Evaluation,
    Hardware,
    Labels,
    Model,
    Preprocessing,
    Sampling,
    Split,
    Training,
    Windows,
)

__all__ = [
    "CONFIG_VARIABLE",
    "Augmentation",
    "Configuration",
    "Corpus",
    "Detection",
    "Evaluation",
    "Hardware",
    "Labels",
    "Model",
    "Overrides",
    "Preprocessing",
    "Sampling",
    "Split",
    "Training",
    "Windows",
    "changed",
    "checkout",
    "load",
]
