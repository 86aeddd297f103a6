"""Convolutions of float32 that are computed in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_products() -> Iterator[None]:
    """Until the block ends, have cuDNN compute convolutions of float32 in float32.

    By default it uses TF32 on a GPU, whose products have a mantissa of 10 bits. Training and every
    use of a network must agree in that: a threshold of one is used with the scores of the other.
    Matrix products are computed in float32 by default.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
