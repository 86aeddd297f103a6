"""The one configuration model: what can be set, and where its value comes from.

Here belong settings and their validation. Names of directories below the cache root do not
belong here: they follow from the preprocessing version (``cache``).
"""

from brainbrr_core.configuration.load import CONFIG_VARIABLE, Overrides, load, project_dir
from brainbrr_core.configuration.model import (
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
    "load",
    "project_dir",
]
