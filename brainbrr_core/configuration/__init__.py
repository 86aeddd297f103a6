"""The configuration: all settings, and where their values come from.

Settings and their validation belong here. Names of folders below the cache root do not: they follow
from the preprocessing version (``cache``).
"""

from brainbrr_core.configuration.environment import CONFIG_VARIABLE
from brainbrr_core.configuration.load import (
    Overrides,
    apply_assignments,
    apply_values,
    load,
)
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
    "apply_assignments",
    "apply_values",
    "checkout",
    "load",
]
