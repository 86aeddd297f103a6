"""The graph of a machine that pulls its cache, for ``dagster job execute -j populate_and_train``.

``BRAINBRR_REMOTE`` says from where, as ``brainbrr cache pull`` takes it.
"""

import os

from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs

REMOTE_VARIABLE = "BRAINBRR_REMOTE"


def remote_address() -> str:
    """What the variable says. Raises :class:`BrainbrrError` where it is not set."""
    address = os.environ.get(REMOTE_VARIABLE)
    if not address:
        raise BrainbrrError(
            f"no remote copy is named: set {REMOTE_VARIABLE}, for example to s3://bucket/brainbrr"
        )
    return address


defs = build_defs(remote=remote_address())
