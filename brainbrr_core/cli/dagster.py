"""``brainbrr ui`` and ``brainbrr env``: Dagster's own commands, with the settings of this project.

Dagster is started as a command here, never imported.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Profile,
    RunsDir,
    configuration,
)
from brainbrr_core.cli.printing import log
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

#: What ``dagster dev`` loads.
DEFINITIONS_MODULE = "brainbrr_pipeline.definitions"
#: Definitions without partitions, for ``dagster asset materialize`` alone.
COMMAND_LINE_MODULE = "brainbrr_pipeline.command_line"
#: Functions behind commands that say at each call that another program replaces them.
SUPERSEDED = (
    "asset_materialize_command",
    "definitions_validate_command",
    "dev_command",
    "job_execute_command",
)
#: The other commands for users that need the code, as Dagster names their variables.
_COMMANDS = (
    *("DEV", "DEFINITIONS_VALIDATE"),
    *("JOB_BACKFILL", "JOB_EXECUTE", "JOB_LAUNCH", "JOB_LIST", "JOB_PRINT", "JOB_SCAFFOLD_CONFIG"),
    *("SCHEDULE_LIST", "SCHEDULE_LOGS", "SCHEDULE_PREVIEW", "SCHEDULE_RESTART", "SCHEDULE_START"),
    *("SCHEDULE_STOP", "SENSOR_CURSOR", "SENSOR_LIST", "SENSOR_PREVIEW", "SENSOR_START"),
    "SENSOR_STOP",
)
#: ``dagster.yaml`` of a new DAGSTER_HOME.
INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
# What the assets log, without Dagster's own events: these are in its UI.
python_logs:
  python_log_level: INFO
# One run at a time in each pool: two trainings never share a GPU.
concurrency:
  pools:
    default_limit: 1
    granularity: op
"""


def variables(settings: Configuration) -> dict[str, str]:
    """Variables that reproduce these settings, and make Dagster's own commands find this project.

    An empty value counts as not set: it undoes what the shell may have set before. Raises
    :class:`BrainbrrError` where the path of a configuration file contains the separator of paths.
    """
    from brainbrr_core.configuration import checkout

    for layer in settings.origin.layers:
        if os.pathsep in layer:
            raise BrainbrrError(
                f"the path {layer} contains {os.pathsep!r}, which separates configurations: rename "
                "the file or its folder"
            )
    values = {
        "DAGSTER_HOME": str(settings.dagster_home),
        "BRAINBRR_CONFIG": os.pathsep.join(settings.origin.layers),
        "BRAINBRR_PROFILE": settings.origin.profile or "",
        "BRAINBRR_DATA_DIR": settings.data_dir or "",
        "BRAINBRR_CACHE_ROOT": str(settings.cache_root),
        "BRAINBRR_RUNS_DIR": str(settings.runs_dir),
        # Each variable is for one command: the one for all of them would redirect deployments too.
        "DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": COMMAND_LINE_MODULE,
        "DAGSTER_CLI_ASSET_LIST_MODULE_NAME": COMMAND_LINE_MODULE,
        "PYTHONWARNINGS": _without_notices(os.environ.get("PYTHONWARNINGS", "")),
    }
    root = checkout()
    if root is None or Path.cwd() != root:
        # There, pyproject.toml names the module, which leaves `dagster dev -w` to its users.
        values |= {f"DAGSTER_CLI_{name}_MODULE_NAME": DEFINITIONS_MODULE for name in _COMMANDS}
    scripts = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if scripts not in path.split(os.pathsep):
        values["PATH"] = os.pathsep.join([scripts, path])
    return values


def _without_notices(warnings: str) -> str:
    """PYTHONWARNINGS that also leaves out what Dagster says at each call of some of its commands.

    It recommends another program, which cannot be given the definitions without partitions. Other
    warnings are shown as before.
    """
    own = [f"ignore:Function `{name}` is superseded" for name in SUPERSEDED]
    given = [entry for entry in warnings.split(",") if entry and entry not in own]
    # Later entries win.
    return ",".join([*given, *own])


def prepare_dagster_home(home: Path) -> None:
    """Create DAGSTER_HOME with a ``dagster.yaml``, unless there is one."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").is_file():
            (home / "dagster.yaml").write_text(INSTANCE, encoding="utf-8")
    except OSError as error:
        raise BrainbrrError(
            f"DAGSTER_HOME {home} is not writable ({error.strerror}): set it to a folder that is"
        ) from None


def env(
    dotenv: Annotated[
        bool,
        typer.Option(
            "--dotenv",
            help="Print lines for a file .env instead, which `dagster dev`, `dagster sensor start` "
            "and other commands that use Dagster's storage read in the current folder.",
        ),
    ] = False,
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
) -> int:
    """Print variables for `eval "$(brainbrr env)"`, so that `dagster` finds this project."""
    from brainbrr_core.remote.address import normalize_address

    settings = configuration(config, profile, data_dir, cache_root, runs_dir)
    if settings.data_dir is not None and "://" in settings.data_dir:
        # One with a password would be printed, and every command refuses it.
        normalize_address(settings.data_dir)
    values = variables(settings)
    prepare_dagster_home(settings.dagster_home)
    for name, value in values.items():
        if not dotenv:
            print(f"export {name}={shlex.quote(value)}")
        elif name in _OF_STORAGE:
            print(f"{name}={_quoted(value)}")
    return 0


#: Variables that a file .env can set: the others are read before Dagster reads the file.
_OF_STORAGE = (
    "DAGSTER_HOME",
    "BRAINBRR_CONFIG",
    "BRAINBRR_PROFILE",
    "BRAINBRR_DATA_DIR",
    "BRAINBRR_CACHE_ROOT",
    "BRAINBRR_RUNS_DIR",
)


def _quoted(value: str) -> str:
    """A value as a file .env has it: in single quotes nothing is replaced."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def ui(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the UI; 0 takes a free one.")
    ] = 3000,
    runs_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the runs folder, read-only, for links to reports; by default the next.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Another than loopback shows all to the network."),
    ] = "127.0.0.1",
    config: Config = None,
    profile: Profile = None,
) -> int:
    """Start Dagster's UI, its sensors and its schedules for this project, until Ctrl+C or SIGTERM.

    The runs folder is served beside it, so that the links to reports in the UI open.
    """
    from brainbrr_core.serving.announcement import Announcement, announced, refuse_another
    from brainbrr_core.serving.folder_server import FolderServer
    from brainbrr_core.serving.processes import check_port, running, wait_until_it_answers

    settings = configuration(config, profile)
    home = settings.dagster_home
    environment = os.environ | variables(settings)
    prepare_dagster_home(home)
    # All that can be wrong is said before anything starts.
    program = dagster_program()
    refuse_another(home)
    _refuse_another_daemon(home)
    if runs_port is None:
        runs_port = port + 1 if 0 < port < 65535 else 0
    port = check_port(host, port, "--port")
    check_port(host, runs_port, "--runs-port")
    command = [
        program, "dev", "--module-name", DEFINITIONS_MODULE, "--host", host, "--port", str(port)
    ]  # fmt: skip
    with FolderServer(settings.runs_dir, host, runs_port) as server:
        address = f"http://{host}:{port}"
        here = Announcement(os.getpid(), address, server.address, str(settings.runs_dir))
        with (
            announced(home, here),
            running(command, environment, working_folder(home)) as process,
        ):
            log(f"starting Dagster (some 20 s; stop with Ctrl+C); runs at {server.address}")
            if wait_until_it_answers(process, host, port):
                log(f"the UI is at {address}")
            return process.wait()


def _refuse_another_daemon(home: Path) -> None:
    """Two daemons on one DAGSTER_HOME would both start what sensors and schedules ask for."""
    from brainbrr_core.serving.processes import daemon_on

    other = daemon_on(home)
    if other is not None:
        raise BrainbrrError(
            f"process {other} is Dagster's daemon on DAGSTER_HOME {home} already: end what started "
            f"it (`kill {other}` ends `dagster dev`, too), or set DAGSTER_HOME to another folder"
        )


def dagster_program() -> str:
    """The path of the `dagster` command next to this Python."""
    command = Path(sys.executable).with_name("dagster")
    if not command.is_file():
        raise BrainbrrError(
            f"dagster is not installed next to {sys.executable}: run `make setup` in a checkout, "
            "or install this package again"
        )
    return str(command)


def working_folder(dagster_home: Path) -> Path:
    """Where Dagster's commands start: they would read files of the user's current folder."""
    from brainbrr_core.configuration import checkout

    return checkout() or dagster_home
