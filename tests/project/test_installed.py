"""Built as a wheel and installed elsewhere, this project does what it does in its checkout."""

from __future__ import annotations

import json
import subprocess
import tomllib
import urllib.request
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from brainbrr_core.training.provenance import code_version
from tests.support.installed import Installation, build_wheel, foreign_folder
from tests.support.project import ROOT
from tests.support.services import Services, free_port, wait_until

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DISTRIBUTION = f"brainbrr-{VERSION}"
PACKAGES = ("brainbrr_core", "brainbrr_pipeline")
QUERY = """{ repositoriesOrError { ... on RepositoryConnection
    { nodes { name location { name } assetNodes { assetKey { path } } } } } }"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return foreign_folder(tmp_path / "elsewhere")


def test_the_wheel_holds_the_code_its_pages_and_its_configurations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    described = {name for name in names if name.startswith(f"{DISTRIBUTION}.dist-info/")}
    code = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.yaml", "py.typed", "templates/*", "weights/*/*")
        for path in (ROOT / package).rglob(pattern)
    }
    configs = {
        f"brainbrr_core/configuration/configs/{path.name}"
        for path in (ROOT / "configs").glob("*.yaml")
    }
    share = f"{DISTRIBUTION}.data/data/share/brainbrr/deploy/"
    deployment = {
        f"{share}{path.relative_to(ROOT / 'configs' / 'deploy').as_posix()}"
        for folder in ("celery", "kubernetes")
        for path in (ROOT / "configs" / "deploy" / folder).glob("*.*")
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= code
    assert f"{DISTRIBUTION}.dist-info/licenses/LICENSE" in described
    assert len(configs) >= 7
    assert len(deployment) >= 5
    assert names - described == code | configs | deployment


def test_the_wheel_says_what_it_is_and_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{DISTRIBUTION}.dist-info/METADATA").decode())
        scripts = archive.read(f"{DISTRIBUTION}.dist-info/entry_points.txt").decode()
        tags = archive.read(f"{DISTRIBUTION}.dist-info/WHEEL").decode()
    assert (metadata["Name"], metadata["Version"]) == ("brainbrr", VERSION)
    assert metadata["Requires-Python"] == ">=3.11"
    assert (metadata["License-Expression"], metadata["Author"]) == (
        "Apache-2.0",
        "The brainbrr authors",
    )
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    needed = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert any(line.startswith("platformdirs") for line in needed)
    assert not any(line.startswith(("pytest", "hatchling", "mypy")) for line in needed)
    assert "brainbrr = brainbrr_core.cli.start:main" in scripts
    assert "Tag: py3-none-any" in tags


def test_the_code_is_the_checkouts_and_so_is_its_version(
    installation: Installation, elsewhere: Path
) -> None:
    """A run is resumed only with the code that started it."""
    program = (
        "import brainbrr_core; from brainbrr_core.training.provenance import code_version\n"
        "print(brainbrr_core.__file__, code_version(), sep='\\n')"
    )
    done = installation.run("python", "-c", program, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    file, version = done.stdout.split()
    assert Path(file).is_relative_to(installation.bin.parent)
    assert version == code_version()


def test_a_mistake_is_one_line_that_says_where_things_would_be(
    installation: Installation, elsewhere: Path, tmp_path: Path
) -> None:
    done = installation.run("brainbrr", "cache", "status", cwd=elsewhere, HOME=str(tmp_path))
    root = tmp_path / ".local" / "share" / "brainbrr" / "cache"
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == (
        f"cache root {root} (default of this user; set BRAINBRR_CACHE_ROOT or --cache-root)"
    )
    assert second.startswith("brainbrr: ")
    assert "brainbrr index" in second
    assert not root.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("index", "--data-dir", "tusz"),
        ("env",),
        ("ui",),
        ("demo",),
    ],
)
def test_a_home_that_cannot_be_written_to_is_one_line_with_the_fix(
    words: tuple[str, ...], installation: Installation, elsewhere: Path
) -> None:
    (elsewhere / "tusz" / "train" / "p" / "s" / "m").mkdir(parents=True)
    (elsewhere / "tusz" / "train" / "p" / "s" / "m" / "one.edf").write_bytes(b"nothing")
    (elsewhere / "home").write_text("a file, in which nobody can make a folder")
    done = installation.run("brainbrr", *words, cwd=elsewhere, HOME=str(elsewhere / "home"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("brainbrr:")]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert "not writable" in lines[0]
    assert "set " in lines[0]


def shell(
    installation: Installation, command: str, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=installation.environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_screen_works_from_any_folder(
    installation: Installation, elsewhere: Path, tmp_path: Path
) -> None:
    """The commands of the README on a corpus of one's own, typed in another project's folder."""
    assert "demo" in installation.run("brainbrr", "--help", cwd=elsewhere).stdout
    corpus, root = tmp_path / "tusz", installation.home / ".local" / "share" / "brainbrr" / "cache"
    before = set(elsewhere.rglob("*"))
    data = {"BRAINBRR_DATA_DIR": str(corpus)}

    def typed(*words: str) -> str:
        done = installation.run("brainbrr", *words, cwd=elsewhere, **data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    typed("synth", str(corpus), "--recordings", "6", "--hours", "0.2", "--workers", "1")
    assert json.loads(typed("index", "--json"))["usable"] == 6
    build = ("cache", "build", "--profile", "smoke", "--workers", "1", "--json")
    assert json.loads(typed(*build))["built"] == 6
    status = json.loads(typed("cache", "status", "--profile", "full", "--json"))
    assert (status["root"], status["profile"], status["fresh"]) == (str(root), "full", 6)
    assert json.loads(typed("manifest", "--json"))["windows"] > 0
    done = shell(
        installation,
        'eval "$(brainbrr env)" && dagster asset materialize --select raw_edf_index',
        elsewhere,
        **data,
    )
    assert done.returncode == 0, done.stderr
    assert "raw_edf_index - 6 recordings: 6 usable" in done.stderr
    assert (root.parent / "dagster" / "dagster.yaml").is_file()
    assert set(elsewhere.rglob("*")) == before


def locations(port: int) -> dict[str, list[str]]:
    """The assets of each code location that a web server shows."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": QUERY}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        nodes = json.load(answer)["data"]["repositoriesOrError"].get("nodes", [])
    return {
        node["location"]["name"]: ["/".join(a["assetKey"]["path"]) for a in node["assetNodes"]]
        for node in nodes
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "exec brainbrr ui --port {port}",
        'eval "$(brainbrr env)"; exec dagster dev --port {port}',
    ],
)
def test_the_ui_shows_this_projects_graph_from_any_folder(
    command: str, installation: Installation, elsewhere: Path, tmp_path: Path
) -> None:
    port = free_port()
    environment = installation.environment(BRAINBRR_DATA_DIR=str(tmp_path / "tusz"))
    with Services(tmp_path / "logs", environment, elsewhere) as services:
        services.start("ui", "bash", "-c", command.format(port=port))
        services.wait_for_port("ui", port, seconds=120)
        wait_until("a code location", lambda: locations(port), seconds=120)
        [(name, assets)] = locations(port).items()
        assert name == "brainbrr_pipeline.definitions"
        assert {"raw_edf_index", "windowed_cache", "eval_report"} <= set(assets)
        # Ending the command ends all that it started.
        services.terminate("ui")
        wait_until("the end of every process", lambda: not services.running(), seconds=120)


@pytest.mark.slow
def test_dagster_validates_this_projects_definitions_from_any_folder(
    installation: Installation, elsewhere: Path
) -> None:
    done = shell(
        installation,
        'eval "$(brainbrr env)" && dagster definitions validate',
        elsewhere,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location brainbrr_pipeline" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_demo_runs_from_any_folder(installation: Installation, elsewhere: Path) -> None:
    done = installation.run("brainbrr", "demo", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    home = installation.home / ".local" / "share" / "brainbrr" / "demo"
    assert str(home / "tusz") in done.stdout
    assert "szcore event" in done.stdout
    assert next(home.glob("runs/*/report-eval/report.html")).is_file()
    again = installation.run("brainbrr", "demo", cwd=elsewhere, BRAINBRR_CACHE_ROOT="/nowhere")
    assert again.returncode == 0, again.stderr
    assert "nothing was rebuilt" in again.stdout
    scores = installation.run("brainbrr", "evaluate", "--json", cwd=elsewhere)
    assert json.loads(scores.stdout)["reused"]
    assert "that of the demo" in scores.stderr
    assert {path.name for path in elsewhere.iterdir()} == {
        "configs",
        "pyproject.toml",
        "workspace.yaml",
    }
