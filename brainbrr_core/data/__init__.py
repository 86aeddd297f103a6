"""Windows of the store as torch tensors, and the order in which a training sees them.

Here belong reading from shards, the draw of windows and their augmentation. EDFs are never read
here, and nothing is built: a missing shard is an error that names the command to run.
"""

from brainbrr_core.data.sampling import BalancedSampling
from brainbrr_core.data.windows import UNKNOWN_LABEL, Batch, WindowDataset, known_samples

__all__ = ["UNKNOWN_LABEL", "BalancedSampling", "Batch", "WindowDataset", "known_samples"]
