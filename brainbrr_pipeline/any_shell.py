"""Making ``dagster`` find this project in any shell of a checkout; ``make setup`` installs this.

Dagster's commands find code and storage by variables, which ``eval "$(brainbrr env)"`` sets. If
they are not set, as in a new shell, :func:`find_project` sets them according to the configuration.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from brainbrr_core.cli.dagster import SUPERSEDED, prepare_dagster_home, variables
from brainbrr_core.configuration import checkout, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.dagster_internals import get_env_var_dict
from brainbrr_pipeline.terminal import print_mistakes_last

#: Dagster's commands for users that need code or storage.
_COMMANDS = {"asset", "definitions", "dev", "instance", "job", "run", "schedule", "sensor"}
#: Options that name the code, which a variable must not override.
_CODE_OPTIONS = {
    *("-w", "--workspace", "-f", "--python-file", "--package-name", "--autoload-defs-module-name")
}

#: The option that holds a run configuration.
_JSON_OPTION = "--config-json"


def find_project() -> None:
    """Set the variables for the command of Dagster that this process runs.

    Raises :class:`BrainbrrError`, which is printed as one line, if the configuration is wrong, or
    if a run configuration in the command is not JSON.
    """
    words, root = sys.argv[1:], checkout()
    if not words or words[0] not in _COMMANDS:
        return
    if root is None or not Path.cwd().is_relative_to(root):
        # A command in another folder may concern another project.
        return
    print_mistakes_last()
    _check_json(words)
    for name in SUPERSEDED:
        warnings.filterwarnings("ignore", f"Function `{name}` is superseded")
    _set_variables(words)


def _check_json(words: Sequence[str]) -> None:
    # Dagster reads it before any code, and prints its own stack trace where it is wrong.
    for option, following in zip(words, (*words[1:], ""), strict=True):
        name, equals, text = option.partition("=")
        if name != _JSON_OPTION:
            continue
        text = text if equals else following
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise BrainbrrError(
                f"{name} {text} is not JSON: {error.msg} at character {error.pos + 1}: write it in "
                f"single quotes, such as {name} '{{\"ops\": {{}}}}'"
            ) from None


def _set_variables(words: Sequence[str]) -> None:
    # Dagster also reads a file .env in this folder, after this: the file wins.
    environment = {**os.environ, **get_env_var_dict(str(Path.cwd()))}
    settings = load(environment=environment)
    prepare_dagster_home(settings.dagster_home)
    for name, value in variables(settings).items():
        names_code = name.startswith("DAGSTER_CLI_")
        if (name == "DAGSTER_HOME" or names_code) and not os.environ.get(name):
            if names_code and _CODE_OPTIONS & set(words):
                continue
            os.environ[name] = value
