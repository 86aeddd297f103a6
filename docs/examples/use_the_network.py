"""
The network alone
=================

A plain torch module: from windows of 19-channel EEG to the logit of a seizure at each sample. It
needs no corpus, no store and no configuration.
"""

# %%
# There are three presets. ``tiny`` trains on two CPU cores in minutes, ``base`` needs a GPU.

from collections import Counter

import matplotlib.pyplot as plt
import torch

from brainbrr_core.model import PRESETS, NetworkShape, SeizureNetwork, build

networks = {name: build(name, seed=0).eval() for name in PRESETS}
for name, network in networks.items():
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{name:5} {parameters:12,} parameters, {network.shape.layers} layers")

# %%
# A window of a minute at 256 Hz: one logit for each sample, from the signal in standard deviations.
# The number of samples must be a multiple of the product of the strides.

window = torch.randn(2, 19, 60 * 256, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    logits = networks["tiny"](window)
print(tuple(logits.shape), f"{torch.sigmoid(logits).mean():.2f} seizure, before any training")

# %%
# Any other size is a :class:`~brainbrr_core.model.NetworkShape`.

shape = NetworkShape(channels=(16, 32), strides=(4, 8), layers=2, headdim=16)
own = SeizureNetwork(shape)
print(sum(parameter.numel() for parameter in own.parameters()), "parameters")

# %%
# Where the parameters are: the encoder (``down``), the layers at the bottom, and the decoder
# (``up``), which brings the logits back to the full rate.

parts = {}
for name, network in networks.items():
    parts[name] = Counter()
    for path, parameter in network.named_parameters():
        parts[name][path.partition(".")[0]] += parameter.numel()

figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
left = dict.fromkeys(parts, 0.0)
for part in parts["base"]:
    shares = {name: of[part] / of.total() for name, of in parts.items()}
    axes.barh(list(shares), list(shares.values()), left=list(left.values()), label=part)
    left = {name: left[name] + shares[name] for name in parts}
axes.set(xlim=(0, 1), xlabel="share of the parameters")
figure.legend(loc="outside right upper")
plt.show()
