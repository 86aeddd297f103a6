"""``brainbrr env`` and ``ui``: which configuration they hand to Dagster, and from where."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster._cli import create_dagster_cli
from dagster._core.secrets.env_file import get_env_var_dict

from brainbrr_core.cli import app, dagster, demo
from brainbrr_core.configuration import Overrides, load, location
from brainbrr_core.serving import processes
from brainbrr_core.serving.announcement import Announcement, announcement_of
from tests.support.project import ROOT
from tests.support.services import free_port

DEMO = "demo/demo.yaml"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder of a user of an installed package, who stands in another project's folder."""
    monkeypatch.setattr(location, "PACKAGED_CONFIGS", ROOT / "configs")
    for name in os.environ:
        if name.startswith(("BRAINBRR_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    home = tmp_path / "data" / "brainbrr"
    home.mkdir(parents=True)
    return home


def type_command(
    *words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Exit status, output and standard error of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["brainbrr", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def exported(text: str) -> dict[str, str]:
    """What lines of a shell export."""
    pairs = (shlex.split(line)[1].partition("=") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def write_demo(home: Path) -> None:
    path = home / DEMO
    path.parent.mkdir()
    path.write_text(
        f"cache_root: {path.parent}/cache\ndata_dir: {path.parent}/tusz\n"
        f"runs_dir: {path.parent}/runs\nevaluation: {{split: eval, allow_eval: true}}\n"
    )


def test_env_with_a_folder_given_beside_a_demo_is_not_the_demo(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_demo(home)
    chosen = str(tmp_path / "chosen")
    for words in (("--cache-root", chosen), ("--runs-dir", chosen)):
        status, out, _ = type_command("env", *words, monkeypatch=monkeypatch, capsys=capsys)
        given = load(environment=exported(out))
        assert status == 0
        assert (given.profile, given.evaluation.allow_eval, given.data_dir) == ("full", False, None)
        assert chosen in (str(given.cache_root), str(given.runs_dir))
    _, out, err = type_command("env", monkeypatch=monkeypatch, capsys=capsys)
    given = load(environment=exported(out))
    assert (given.profile, given.evaluation.allow_eval) == ("smoke", True)
    assert f"cache root {home}/demo/cache (that of the demo, since no folder is set;" in err


def test_env_says_on_standard_error_where_the_cache_root_is(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, err = type_command("env", monkeypatch=monkeypatch, capsys=capsys)
    assert err == (
        f"cache root {home}/cache (default of this user; set BRAINBRR_CACHE_ROOT or --cache-root)\n"
    )
    monkeypatch.setenv("BRAINBRR_CACHE_ROOT", str(tmp_path))
    _, _, err = type_command("env", monkeypatch=monkeypatch, capsys=capsys)
    assert err == ""


def test_a_cache_of_the_current_folder_is_mentioned(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path.cwd() / ".brainbrr" / "cache").mkdir(parents=True)
    _, out, err = type_command("env", monkeypatch=monkeypatch, capsys=capsys)
    assert exported(out)["BRAINBRR_CACHE_ROOT"] == str(home / "cache")
    assert "the cache in .brainbrr/cache of this folder is not used: see --cache-root" in err


def test_doctor_and_status_say_where_the_cache_root_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("doctor", "--json"), ("cache", "status"), ("index",), ("train",)):
        _, _, err = type_command(*words, monkeypatch=monkeypatch, capsys=capsys)
        assert err.startswith(f"cache root {home}/cache (default of this user;"), words


def test_dagsters_commands_get_this_project_only_outside_a_checkout(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = code_variables(dagster.variables(load()))
    listed = {f"DAGSTER_CLI_ASSET_{name}_MODULE_NAME" for name in ("LIST", "MATERIALIZE")}
    assert installed.keys() == set(commands_with_code())
    assert {installed[name] for name in installed.keys() - listed} == {
        "brainbrr_pipeline.definitions"
    }
    # Dagster would take this one for its web server and its daemon, too.
    assert "DAGSTER_MODULE_NAME" not in installed
    # In another folder, the pyproject.toml of a checkout does not help either.
    monkeypatch.setattr(location, "PACKAGED_CONFIGS", home / "nothing")
    assert code_variables(dagster.variables(load())) == installed
    monkeypatch.chdir(ROOT)
    assert code_variables(dagster.variables(load())).keys() == listed


def code_variables(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name.endswith("_MODULE_NAME")}


def commands_with_code() -> Iterator[str]:
    """The variable of each command of Dagster, for users, that takes a module."""
    commands = [(create_dagster_cli(), ["DAGSTER_CLI"])]
    while commands:
        command, names = commands.pop()
        # A group of commands has no options of its own.
        below = getattr(command, "commands", {})
        commands += [(one, [*names, name]) for name, one in below.items()]
        if any(option.name == "module_name" for option in command.params):
            variable = "_".join([*names, "MODULE_NAME"]).upper().replace("-", "_")
            # Of servers, and a command that only a very old storage needs.
            if not re.search("_(API_GRPC|CODE_SERVER_START|RUN_MIGRATE_REPOSITORY)_", variable):
                yield variable


def test_dagsters_notice_of_another_program_is_left_out_and_no_other_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    environment = {**os.environ, **dagster.variables(load())}
    monkeypatch.setenv("PYTHONWARNINGS", environment["PYTHONWARNINGS"])
    assert dagster.variables(load())["PYTHONWARNINGS"] == environment["PYTHONWARNINGS"]
    code = (
        "import warnings\n"
        "for name in ('asset_materialize_command', 'dev_command', 'another'):\n"
        "    warnings.warn(f'Function `{name}` is superseded and its usage is discouraged.')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("Warning") == 1
    assert "`another` is superseded" in done.stderr
    assert home


def test_lines_for_a_file_are_read_as_dagster_reads_them(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = tmp_path / "a 'b' $HOME #c \\d"
    words = ("env", "--dotenv", "--cache-root", str(odd), "--profile", "dev")
    _, out, _ = type_command(*words, monkeypatch=monkeypatch, capsys=capsys)
    (tmp_path / ".env").write_text(out)
    values = get_env_var_dict(str(tmp_path))
    assert values["DAGSTER_HOME"] == str(home / "dagster")
    assert values["BRAINBRR_CACHE_ROOT"] == str(odd)
    given = load(environment=dict(values))
    assert (given.profile, given.cache_root) == ("dev", odd)
    # Dagster reads these before the file.
    assert not any(name.startswith(("DAGSTER_CLI", "PYTHON", "PATH")) for name in values)


@pytest.mark.parametrize(
    ("words", "configuration", "line"),
    [
        (("list",), "nope", "no configuration named 'nope'"),
        (("materialize", "--select", "nothing"), None, "AssetKey(s) ['nothing'] were selected"),
        (
            ("materialize", "--select", "trained_model", "--config-json",
             '{"ops": {"trained_model": {"config": {"steps": "many"}}}}'),
            None, "the run configuration is wrong: Invalid scalar at path root:ops:trained_model",
        ),
        (("materialize", "--select", "raw_edf_index"), None, "no data directory: set"),
        (
            ("materialize", "--select", "windowed_cache", "--partition", "eval/a"),
            None, "add -m brainbrr_pipeline.definitions",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_the_last_line_of_dagsters_command(
    words: tuple[str, ...],
    configuration: str | None,
    line: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {**os.environ, **dagster.variables(load()), "OMP_NUM_THREADS": "1"}
    monkeypatch.undo()
    (home / "dagster").mkdir()
    if configuration is not None:
        environment["BRAINBRR_CONFIG"] = configuration
    done = subprocess.run(
        [dagster.dagster_program(), "asset", *words],
        env=environment, cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("brainbrr: ") and line in last
    assert "superseded" not in done.stderr
    assert "Traceback" not in done.stderr and "Stack Trace" not in done.stderr


def test_the_ui_names_its_module_and_starts_in_a_folder_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[tuple[list[str], dict[str, str], Path]] = []
    announcements: list[Announcement | None] = []

    @contextmanager
    def run(
        words: list[str], environment: dict[str, str], folder: Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        started.append((words, environment, folder))
        announcements.append(announcement_of(home / "dagster"))
        with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
            yield process

    monkeypatch.setattr(processes, "running", run)
    port, runs_port = free_port(), free_port()
    words = ("--port", str(port), "--runs-port", str(runs_port), "--profile", "dev")
    status, _, err = type_command("ui", *words, monkeypatch=monkeypatch, capsys=capsys)
    [(command, environment, folder)] = started
    assert Path(command[0]).name == "dagster"
    assert command[1:] == [
        "dev", "--module-name", "brainbrr_pipeline.definitions",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    assert folder == home / "dagster"
    assert load(environment=environment).profile == "dev"
    # Dagster's own end is the end of the command.
    assert status == 7
    assert "starting Dagster" in err and f"runs at http://127.0.0.1:{runs_port}" in err
    # It has ended before it answered.
    assert f"http://127.0.0.1:{port}" not in err
    [announced] = announcements
    assert announced is not None and announced.runs_dir == str(home / "runs")
    assert announced.ui == f"http://127.0.0.1:{port}"
    assert announcement_of(home / "dagster") is None


@pytest.mark.parametrize("option", ["--port", "--runs-port"])
def test_a_taken_port_is_one_line_before_anything_starts(
    home: Path,
    option: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(processes, "running", None)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        others = {"--port": "0", "--runs-port": "0"} | {option: port}
        words = [word for pair in others.items() for word in pair]
        status, _, err = type_command("ui", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2
    [line] = [line for line in err.splitlines() if not line.startswith("cache root")]
    assert f"port {port} of 127.0.0.1 cannot be listened on" in line
    assert f"choose another one with {option}" in line


def test_the_demo_trains_half_as_long_as_smoke_and_scores_eval(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "demo.yaml"
    demo._write_demo_config(path)
    smoke, of_demo = (
        load(Overrides(config=config), {}) for config in ("smoke:cpu", f"smoke:cpu:{path}")
    )
    assert of_demo.training.steps == smoke.training.steps / 2
    assert of_demo.training.steps % of_demo.training.validate_every == 0
    # Everything else is as in smoke.
    short = smoke.training.model_copy(
        update={
            name: getattr(of_demo.training, name)
            for name in ("steps", "warmup_steps", "validate_every")
        }
    )
    assert of_demo.training == short
    assert (of_demo.evaluation.split, of_demo.evaluation.allow_eval) == ("eval", True)
    assert of_demo.cache_root == path.parent / "cache"


def test_the_demo_without_a_folder_to_write_to_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_examine_machine", lambda: None)
    (home / "demo").write_text("a file")
    status, _, err = type_command("demo", monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2
    assert err.count("\n") == 1
    assert f"the demo's folder {home / 'demo'} is not writable" in err
