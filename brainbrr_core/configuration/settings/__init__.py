"""The settings, as pydantic models, one module for each section.

The name of a setting ends with its unit.
"""

from brainbrr_core.configuration.settings.annotations import (
    SEIZURE_LABELS,
    AnnotationTexts,
    Labels,
    SeizureLabel,
)
from brainbrr_core.configuration.settings.configuration import (
    Configuration,
    CorpusSource,
    ManifestSettings,
    Origin,
)
from brainbrr_core.configuration.settings.corpus import (
    ChannelRules,
    Corpus,
    CorpusReading,
    LayoutName,
    ListedCorpus,
)
from brainbrr_core.configuration.settings.detection import Detection
from brainbrr_core.configuration.settings.evaluation import Evaluation
from brainbrr_core.configuration.settings.hardware import Compilation, Hardware, Precision
from brainbrr_core.configuration.settings.model import BRAINDECODE, DEFAULT_NETWORK, NETWORKS, Model
from brainbrr_core.configuration.settings.orchestration import Orchestration
from brainbrr_core.configuration.settings.preprocessing import Preprocessing
from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.configuration.settings.split import SCHEMES_WITH_FOLDS, Split, SplitScheme
from brainbrr_core.configuration.settings.training import Augmentation, Training
from brainbrr_core.configuration.settings.windows import Sampling, Selection, Windows

__all__ = [
    "BRAINDECODE",
    "DEFAULT_NETWORK",
    "NETWORKS",
    "SCHEMES_WITH_FOLDS",
    "SEIZURE_LABELS",
    "AnnotationTexts",
    "Augmentation",
    "ChannelRules",
    "Compilation",
    "Configuration",
    "Corpus",
    "CorpusReading",
    "CorpusSource",
    "Detection",
    "Evaluation",
    "Hardware",
    "Labels",
    "LayoutName",
    "ListedCorpus",
    "ManifestSettings",
    "Model",
    "Orchestration",
    "Origin",
    "Precision",
    "Preprocessing",
    "Sampling",
    "Section",
    "SeizureLabel",
    "Selection",
    "Split",
    "SplitScheme",
    "Training",
    "Windows",
]
