"""The documentation: its pages are complete and current, and its commands and examples run."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pybv
import pytest
import typer
import yaml
from numpydoc.docscrape import NumpyDocString
from pydantic import BaseModel

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration, Overrides, apply_assignments, load
from brainbrr_core.constants import CHANNELS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.synthesis import write_corpus
from tests.support.prediction_runs import UNIT, digital_eeg, random_run, write_digital
from tests.support.project import ROOT
from tests.support.shell import BIN, Shell, clean_environment

DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if page.relative_to(DOCS).parts[0] not in {"_build", "_static", "gallery"}
)
API = sorted(DOCS.glob("api/*.md"))
EXAMPLES = sorted(DOCS.glob("examples/*.py"))
#: A line that each example prints.
PRINTED = {
    "folder_to_score.py": r"^szcore_event +sensitivity 1\.00, precision 1\.00, F1 1\.00$",
    "shard_and_report.py": r"^a changed bit: batch \d+ does not match its checksum$",
    "index_a_folder.py": r"aaaaaaac_s001_t000 +0 s +truncated_file",
    "read_windows.py": r"^\(4, 19, 15360\) torch\.float32 \(4, 15360\)$",
    "predict_one_edf.py": r"^1 of 1 detected, 0 false$",
    "score_events.py": r"^SzCORE events +3 of 4 detected, 1 false$",
    "use_the_network.py": r"^tiny +606,848 parameters, 3 layers$",
}


#: Examples that train a network, which takes more than a few seconds.
TRAINING = {"folder_to_score.py", "shard_and_report.py", "predict_one_edf.py"}
#: Languages of blocks with command lines.
SHELLS = ("", "bash", "console", "sh")


@functools.cache
def extension(name: str) -> ModuleType:
    """A module of docs/_extensions."""
    path = DOCS / "_extensions" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"docs_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in fences if name == language]


def test_every_page_is_in_the_navigation() -> None:
    def below(page: str) -> Iterator[str]:
        yield page
        if page.startswith("gallery/"):
            return
        for tree in blocks((DOCS / f"{page}.md").read_text("utf-8"), "{toctree}"):
            for entry in tree.splitlines():
                if entry and not entry.startswith(":"):
                    yield from below(entry)

    reached = list(below("index"))
    assert len(reached) == len(set(reached))
    assert set(reached) == {
        "gallery/index",
        *(page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES),
    }


@pytest.mark.parametrize("page", API, ids=lambda page: page.stem)
def test_every_name_of_the_reference_exists_and_says_what_it_is(page: Path) -> None:
    names = re.findall(
        r"^\.\. auto(class|exception|function|data):: ([\w.]+)", page.read_text("utf-8"), re.M
    )
    assert names
    for kind, path in names:
        module, _, name = path.rpartition(".")
        thing = pkgutil.resolve_name(path)
        if kind == "data":
            # Its comment is in the source alone.
            source = Path(str(sys.modules[module].__file__)).read_text("utf-8")
            assert re.search(rf"^#: .+\n(#: .+\n)*{name}\b.* = ", source, re.MULTILINE), path
            continue
        assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), path
        assert isinstance(thing, type) == (kind != "function"), path
        assert kind != "exception" or issubclass(thing, Exception), path


def callables() -> Iterator[tuple[str, str, bool]]:
    """Every class and function of the reference, and whether its signature is shown."""
    for page in API:
        for kind, path, hidden in re.findall(
            r"^\.\. auto(class|function):: ([\w.]+)(\(\))?", page.read_text("utf-8"), re.MULTILINE
        ):
            yield kind, path, not hidden


@pytest.mark.parametrize(
    ("kind", "path", "has_signature"), list(callables()), ids=[path for _, path, _ in callables()]
)
def test_a_docstring_of_the_reference_names_every_parameter_and_what_is_returned(
    kind: str, path: str, has_signature: bool
) -> None:
    module, _, name = path.rpartition(".")
    thing = pkgutil.resolve_name(f"{module}:{name}")
    # Sections that numpydoc does not understand are warnings, and so errors.
    docstring = NumpyDocString(inspect.cleandoc(thing.__doc__))
    parameters = described_in(docstring, "Parameters", "Other Parameters")
    if isinstance(thing, type) and issubclass(thing, Enum):
        return
    signature = inspect.signature(thing)
    public = {name for name in signature.parameters if not name.startswith("_")}
    if has_signature:
        # What is only received, never made by a caller, has attributes.
        assert public - parameters - described_in(docstring, "Attributes") == set()
        assert parameters - public == set()
    if kind == "function" and signature.return_annotation not in (None, "None"):
        assert docstring["Returns"] or docstring["Yields"]


def described_in(docstring: NumpyDocString, *sections: str) -> set[str]:
    """Names that these sections describe; one line may have several."""
    return {
        name.strip().lstrip("*")
        for section in sections
        for described in docstring[section]
        for name in described.name.split(",")
    }


def test_no_name_is_in_the_reference_twice() -> None:
    names = [
        path
        for page in API
        for path in re.findall(r"^\.\. auto\w+:: ([\w.]+)", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(names) == len(set(names))


def store_in_the_current_folder(master: Configuration) -> None:
    """A cache where the demo and a checkout have theirs, with the manifest of a profile."""
    root = Path(".brainbrr", "cache")
    shutil.copytree(master.cache_root, root, symlinks=True)
    here = master.model_copy(update={"cache_root": root, "profile": "smoke"})
    update_manifest(plan_corpus(here), here.manifest_settings)


def run_in_the_current_folder() -> None:
    """A recording in two formats, and a run."""
    digital = digital_eeg(65, 256)
    write_digital(Path("recording.edf"), digital, 256)
    pybv.write_brainvision(
        data=digital * UNIT * 1e-6,
        sfreq=256,
        ch_names=[*CHANNELS],
        fname_base="recording",
        folder_out=".",
        events=[{"onset": 256, "duration": 1, "description": "lights off", "type": "Comment"}],
    )
    folder, _ = random_run(Path.cwd())
    folder.rename(Path("my-run"))


# Of Lightning itself, and of its wish for processes that load windows.
@pytest.mark.filterwarnings(
    "ignore::FutureWarning:lightning", "ignore:.*does not have many workers"
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: Any, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    if page.stem in ("store", "python"):
        store_in_the_current_folder(request.getfixturevalue("master_cache"))
    if page.stem in ("own-eeg", "python"):
        run_in_the_current_folder()
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    for block in blocks(page.read_text("utf-8"), "python"):
        names: dict[str, Any] = {}
        *lines, last = block.splitlines()
        if not isinstance(ast.parse(block).body[-1], ast.Expr):
            # It defines what another test calls.
            exec(block, names)
            continue
        exec("\n".join(lines), names)
        value, _, stated = last.partition("#")
        result = eval(value, names)
        if stated:
            assert result == eval(stated, names), page.name


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with all its words; a group where it has options."""
    children = getattr(command, "commands", {})
    if options(command) or not children:
        yield name, command
    for child in children:
        yield from commands(children[child], f"{name} {child}")


def options(command: Any) -> set[str]:
    return {
        name
        for each in command.params
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("--") and name != "--help"
    }


COMMANDS = dict(commands(typer.main.get_command(app), "brainbrr"))


def test_the_page_of_commands_has_what_their_help_has(shell: Shell) -> None:
    sections = dict(
        re.findall(
            r"^## (brainbrr[^\n]*)\n(.*?)(?=^## |\Z)",
            extension("generated_pages").command_reference(),
            re.MULTILINE | re.DOTALL,
        )
    )
    assert set(COMMANDS) <= set(sections)
    for name in COMMANDS:
        shown = shell.type(*name.split()[1:], "--help", environment={"COLUMNS": "300"}).stdout
        listed = set(
            re.findall(r"--[a-z][\w-]*", " ".join(re.findall(r"^`.+`$", sections[name], re.M)))
        )
        assert listed == options(COMMANDS[name]), name
        assert all(option in shown for option in listed), name


def commands_in(code: str) -> Iterator[list[str]]:
    """The words of every command line of brainbrr in some lines of a shell."""
    for line in code.replace("\\\n", " ").splitlines():
        for match in re.finditer(r"\bbrainbrr (?=[a-z-])([^#|;&()\"]*)", line):
            yield shlex.split(match[1])


def commands_of_blocks(text: str) -> Iterator[list[str]]:
    """The command lines in the blocks of a page."""
    for language in SHELLS:
        for block in blocks(text, language):
            yield from commands_in(block)


def commands_of(text: str) -> Iterator[list[str]]:
    """The command lines of a page, those in its sentences included."""
    yield from commands_of_blocks(text)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        if span.startswith("brainbrr "):
            yield from commands_in(re.sub(r"\s+", " ", span))


def parse(words: list[str]) -> None:
    """Parse a command line as the program does, values included, without running it.

    Asking for help is left to the page of commands.
    """
    words = [word for word in words if word != "--help"]
    if not words:
        return
    command: Any = typer.main.get_command(app)
    context, rest = None, words
    name = "brainbrr"
    while True:
        context = command.make_context(name, list(rest), parent=context)
        rest = [*context._protected_args, *context.args]
        if not getattr(command, "commands", {}) or not rest:
            return
        name, command, rest = command.resolve_command(context, rest)


def usage_error() -> type[Exception]:
    """What is raised for any mistake in a command line: missing, unknown and unsuitable values."""
    [error] = typer.BadParameter.__bases__
    assert issubclass(error, Exception)
    return error


#: A command raises the one, a group of commands the other.
USAGE_ERROR = (usage_error(), BrainbrrError)
COMMAND_PAGES = [*PAGES, *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("configs/deploy/**/*.md"))]


@pytest.mark.parametrize("page", COMMAND_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_in_a_block_is_accepted_by_the_command_line(page: Path) -> None:
    for words in commands_of_blocks(page.read_text("utf-8")):
        try:
            parse(words)
        except USAGE_ERROR as error:
            pytest.fail(f"brainbrr {shlex.join(words)}: {error}")


def test_a_command_that_is_not_accepted_would_be_noticed() -> None:
    for line in ("train --seed zero", "inspect", "cache build --workers 0", "bench nothing"):
        with pytest.raises(USAGE_ERROR):
            parse(line.split())
    parse(["cache", "build", "--workers", "2"])


@pytest.mark.slow
def test_the_commands_of_the_first_page_run_on_a_corpus(tmp_path: Path) -> None:
    corpus = tmp_path / "tusz"
    write_corpus(corpus, recordings=8, hours=0.3, seed=5, workers=1)
    page = (DOCS / "start.md").read_text("utf-8")
    [tusz] = [block for block in blocks(page, "") if "BRAINBRR_DATA_DIR" in block]
    [edf] = [block for block in blocks(page, "") if "brainbrr predict" in block]
    recording = next(path for path in sorted(corpus.rglob("*.edf")) if "eval" in path.parts)
    lines = f"{tusz}\n{edf}"
    for shown, real in (
        ("/data/tusz/edf", corpus),
        ("/ssd/brainbrr/cache", tmp_path / "cache"),
        ("recording.edf", recording),
        ("events.tsv", tmp_path / "events.tsv"),
    ):
        assert shown in lines
        lines = lines.replace(shown, shlex.quote(str(real)))
    environment = clean_environment()
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    # The page leaves the default, which is in the checkout.
    environment["BRAINBRR_RUNS_DIR"] = str(tmp_path / "runs")
    done = subprocess.run(
        ["bash", "-e", "-c", lines],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/*/report-dev/report.html"))) == 1
    assert (tmp_path / "events.tsv").read_text("utf-8").startswith("onset\tduration")


@pytest.mark.parametrize("name", ["cache", "event_rule"])
def test_a_picture_is_the_one_that_its_program_draws(name: str) -> None:
    drawn = getattr(extension("pictures"), name)()
    assert (DOCS / "_static" / f"{name.replace('_', '-')}.svg").read_text("utf-8") == drawn


def test_pictures_of_the_pages_exist_are_small_and_are_described() -> None:
    shown = set()
    for page in COMMAND_PAGES:
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text("utf-8")):
            if "://" in target:
                continue
            path = page.parent / target
            assert path.is_file(), f"{page.name}: {target}"
            assert path.stat().st_size < 200_000, target
            assert len(words.split()) > 3, f"{page.name}: {target} has no description"
            shown.add(path.name)
    committed = {path.name for path in (DOCS / "_static").iterdir() if path.suffix != ".css"}
    assert shown == committed


@pytest.mark.parametrize("page", COMMAND_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    for words in commands_of(page.read_text("utf-8")):
        line = f"brainbrr {shlex.join(words)}"
        named = [word for word in words[:2] if not word.startswith("-")]
        names = [" ".join(["brainbrr", *named[:n]]) for n in (2, 1, 0)]
        name = next((name for name in names if name in COMMANDS or name in groups), "")
        # What follows a group is one of its commands or an option.
        assert name not in groups or len(name.split()) == 1 + len(named), f"no command {line}"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        accepted = options(COMMANDS[name]) if name in COMMANDS else set()
        assert given <= accepted | {"--help"}, f"no such option: {line}"


def settings_of(
    model: type[BaseModel], prefix: str = ""
) -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key that is not a section, with the model and the field that it is of."""
    for field, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from settings_of(info.annotation, f"{prefix}{field}.")
        else:
            yield f"{prefix}{field}", model, field


def test_every_setting_has_a_comment() -> None:
    described = extension("generated_pages").described
    assert [
        key for key, model, field in settings_of(Configuration) if not described(model, field)
    ] == []


def test_the_page_of_settings_has_every_key_and_its_default() -> None:
    page = extension("generated_pages").setting_reference()
    stated = dict(
        re.findall(r"^`([\w.]+)`\n:.*?Default: (?:`(.*?)`|see [^\n]+)\.$", page, re.M | re.DOTALL)
    )
    assert list(stated) != [] and set(stated) == {key for key, _, _ in settings_of(Configuration)}
    settings = load(Overrides(config="full:cpu"), environment={})
    # Of the program alone, without what the files of a profile say.
    bare = Configuration(
        cache_root=settings.cache_root,
        runs_dir=settings.runs_dir,
        dagster_home=settings.dagster_home,
    )
    again = apply_assignments(bare, [f"{key}={value}" for key, value in stated.items() if value])
    assert again == bare
    for key, value in stated.items():
        if value:
            default: Any = bare
            for part in key.split("."):
                default = getattr(default, part)
            read = yaml.safe_load(value)
            assert (tuple(read) if isinstance(read, list) else read) == default, key


def test_the_gallery_has_every_example() -> None:
    names = [path.name for path in EXAMPLES]
    assert sorted(extension("gallery").EXAMPLES) == names == sorted(PRINTED)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, marks=pytest.mark.slow if path.name in TRAINING else ())
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_an_example_runs_as_a_script(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env=clean_environment() | {"MPLBACKEND": "agg", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PRINTED[example.name], done.stdout, re.MULTILINE), done.stdout
    # The folder that it wrote to is gone; what torch keeps for itself has another name.
    assert list(tmp_path.glob("tmp*")) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy of what `make docs` builds it from."""
    checkout = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "gallery", "__pycache__")
    for folder in ("docs", "configs", "brainbrr_core"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=made)
    for path in [*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "LICENSE"]:
        shutil.copy(path, checkout)
    # A page links to it.
    (checkout / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "README.md", checkout / "tests")
    recipe = re.search(r"^docs: .*\n\t(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    done = subprocess.run(
        shlex.split(recipe[1].replace("$(BIN)", str(BIN))),
        cwd=checkout,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return checkout / "docs" / "_build" / "html"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for page in PAGES:
        assert page.relative_to(DOCS).with_suffix(".html").as_posix() in built
    for example in EXAMPLES:
        assert f"gallery/{example.stem}.html" in built
        assert list(site.glob(f"_images/sphx_glr_{example.stem}_001.png")), example


@pytest.mark.slow
def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"(?:https?:)?//"
        r"|<link[^>]*\shref=\"(?:https?:)?//(?![^>]*rel=\"canonical\")"
        r"|(?:url\(|@import )[\"']?(?:https?:)?//"
    )
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        match = fetched.search(path.read_text("utf-8"))
        assert match is None, f"{path}: {match}"
