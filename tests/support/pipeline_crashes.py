"""A training process that ends in the way that ``CRASH`` names, run as a module by the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn
from unittest.mock import patch

from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.training import process


def _train(*_: object, **__: object) -> NoReturn:
    kind = os.environ["CRASH"]
    if kind == "mistake":
        raise BrainbrrError("the manifest is stale: run `brainbrr manifest`")
    if kind == "memory":
        raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")
    if kind == "defect":
        raise ZeroDivisionError("division by zero")
    if kind == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    with patch("brainbrr_pipeline.training.process.train", _train):
        sys.exit(process.main())
