"""The variables of the environment that this project reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.progress import REPORT_VARIABLE

CONFIG_VARIABLE = "BRAINBRR_CONFIG"
#: Wins over the profile of the configuration files, as ``--profile`` does.
PROFILE_VARIABLE = "BRAINBRR_PROFILE"
#: Variables and the keys they set.
PATH_VARIABLES = {
    "BRAINBRR_DATA_DIR": "data_dir",
    "BRAINBRR_CACHE_ROOT": "cache_root",
    "BRAINBRR_RUNS_DIR": "runs_dir",
    "DAGSTER_HOME": "dagster_home",
}
#: Read by the pipeline and by what ``configs/deploy`` describes, not by the configuration.
_DEPLOYMENT_VARIABLES = (
    "BRAINBRR_REMOTE",
    "BRAINBRR_POSTGRES_URL",
    "BRAINBRR_BROKER_URL",
    "BRAINBRR_CODE_SERVER_HOST",
    "BRAINBRR_CODE_SERVER_PORT",
)
#: Every variable of this project.
VARIABLES = (
    CONFIG_VARIABLE,
    PROFILE_VARIABLE,
    *(name for name in PATH_VARIABLES if name.startswith("BRAINBRR_")),
    *_DEPLOYMENT_VARIABLES,
    REPORT_VARIABLE,
)
#: Variables of the program this one succeeds, and what replaces them.
_REPLACED = {"BGB_LIMIT_FILES": "--profile smoke (or selection.recordings)"}
#: Names that are meant for this project, also with the prefix mistyped.
_OURS = re.compile(r"brainbr+_", re.IGNORECASE)
#: What Kubernetes sets in every pod for a service whose name starts with "brainbrr".
_OF_A_SERVICE = re.compile(
    r"BRAINBRR(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is meant for this project and that nothing reads.

    Raises :class:`BrainbrrError` naming the nearest one there is, or what replaces it.
    """
    for name, replacement in _REPLACED.items():
        if name in environment:
            raise BrainbrrError(f"{name} is not used any more: unset it and use {replacement}")
    for name in sorted(environment):
        if not _OURS.match(name) or name in VARIABLES or _OF_A_SERVICE.fullmatch(name):
            continue
        [nearest] = difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.0)
        raise BrainbrrError(
            f"the variable {name} is set and nothing reads it: the nearest one is {nearest}; "
            f"rename it, or `unset {name}`"
        )
