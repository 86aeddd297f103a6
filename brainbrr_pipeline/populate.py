"""Definitions for a machine that pulls its cache: ``dagster job execute -j populate_and_train``.

``BRAINBRR_REMOTE`` holds the address of the remote copy, as ``brainbrr cache pull`` takes it.
"""

import os

from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs

REMOTE_VARIABLE = "BRAINBRR_REMOTE"


def remote_address() -> str:
    """The address of the remote copy. Raises :class:`BrainbrrError` if it is not set."""
    address = os.environ.get(REMOTE_VARIABLE)
    if not address:
        raise BrainbrrError(
            f"{REMOTE_VARIABLE} is not set: set it to the address of a remote copy, for example "
            "s3://bucket/brainbrr"
        )
    return address


defs = build_defs(remote=remote_address())
