"""The environment variables that this project reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest
from brainbrr_core.progress import REPORT_VARIABLE

CONFIG_VARIABLE = "BRAINBRR_CONFIG"
#: Wins over the profile of the configuration files, as ``--profile`` does.
PROFILE_VARIABLE = "BRAINBRR_PROFILE"
#: Variables of folders, and the settings that they set.
PATH_VARIABLES = {
    "BRAINBRR_DATA_DIR": "data_dir",
    "BRAINBRR_CACHE_ROOT": "cache_root",
    "BRAINBRR_RUNS_DIR": "runs_dir",
    "DAGSTER_HOME": "dagster_home",
}
#: Variables that the pipeline and the deployments in ``configs/deploy`` read.
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
#: Variables of brain-go-brr v2, and what replaces them.
_REPLACED = {"BGB_LIMIT_FILES": "--profile smoke (or selection.recordings)"}
#: Names that are meant for this project, including mistyped prefixes.
_OURS = re.compile(r"brainbr+_", re.IGNORECASE)
#: Variables that Kubernetes sets in every pod for a service whose name begins with "brainbrr".
_OF_A_SERVICE = re.compile(
    r"BRAINBRR(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is meant for this project but does not exist.

    Raises :class:`BrainbrrError`, naming the nearest existing variable, or what replaces it.
    """
    for name, replacement in _REPLACED.items():
        if name in environment:
            raise BrainbrrError(f"{name} is not used any more: unset it and use {replacement}")
    for name in sorted(environment):
        if not _OURS.match(name) or name in VARIABLES or _OF_A_SERVICE.fullmatch(name):
            continue
        raise BrainbrrError(
            f"the variable {name} is set and nothing reads it: the nearest one is "
            f"{nearest(name, VARIABLES)}; rename it, or `unset {name}`"
        )
