"""Windows of the store as torch tensors, and the order in which a training sees them.

Here belong reading from shards, the draw of windows and their augmentation. EDFs are never
touched here, and nothing is ever built: a missing shard is an error with its remedy.
"""

from brainbrr_core.data.sampling import BalancedSampling
from brainbrr_core.data.windows import UNKNOWN_LABEL, Batch, WindowDataset, known_samples

__all__ = ["UNKNOWN_LABEL", "BalancedSampling", "Batch", "WindowDataset", "known_samples"]
