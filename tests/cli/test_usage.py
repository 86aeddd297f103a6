"""What every command does with ``--help`` and with a mistake, and what a shell completes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Protocol, get_args, get_type_hints

import pytest
import typer

from brainbrr_core.benchmark.gpu.measurement import NAMES
from brainbrr_core.cli import choices
from brainbrr_core.cli.app import app, program_for
from brainbrr_core.configuration.settings import LayoutName
from brainbrr_core.constants import SPLITS
from brainbrr_core.evaluation.external import EXTERNAL_SPLITS, OnAnotherCorpus
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.presets import PRESETS
from brainbrr_core.prediction.formats import FORMATS
from brainbrr_core.prediction.raw_samples import SampleType
from brainbrr_core.prediction.traces import TRACES
from tests.support.project import ROOT
from tests.support.shell import BIN, Shell, clean_environment


class Words(Protocol):
    """An option or argument of a command."""

    @property
    def opts(self) -> list[str]: ...

    @property
    def secondary_opts(self) -> list[str]: ...


class Command(Protocol):
    """A command as Typer made it."""

    @property
    def params(self) -> Sequence[Words]: ...


def commands(
    command: Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command and group, with the words that a user types for it."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
ALL = sorted(COMMANDS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_wrong_option_is_one_line_with_the_help_to_read(
    words: tuple[str, ...], shell: Shell
) -> None:
    done = shell.type(*words, "--zzz")
    path = " ".join(["brainbrr", *words])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"brainbrr: no such option: --zzz: see `{path} --help`\n"


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_an_option_without_its_value_is_one_line_with_the_help_of_its_command(
    words: tuple[str, ...], shell: Shell
) -> None:
    path = " ".join(["brainbrr", *words])
    for each in COMMANDS[words].params:
        option, flag = each.opts[0], getattr(each, "is_flag", None)
        if flag is None:  # An argument, which has no name on a command line.
            continue
        said = shell.refused(*words, f"{option}=1" if flag else option)
        what = "does not take a value" if flag else "requires an argument"
        assert said == f"brainbrr: option '{option}' {what}: see `{path} --help`"


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_is_printed_by_every_command(words: tuple[str, ...], shell: Shell) -> None:
    done = shell.type(*words, "--help", environment={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {' '.join(['brainbrr', *words])}" in done.stdout


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(words: tuple[str, ...], shell: Shell) -> None:
    command = COMMANDS[words]
    lines = shell.type(*words, "--help", environment={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    shown = {word for line in lines for word in line.strip("│ ").split()}
    for each in command.params:
        # No name of an option is cut, nor a word of what it means.
        assert {name for name in each.opts if name.startswith("--")} <= {
            own for word in shown for own in word.split(",")
        }
        assert set((getattr(each, "help", None) or "").split()) <= shown
    # A line of the description ends where the next word has no place.
    above = lines[: next(i for i, line in enumerate(lines) if line.startswith("╭"))]
    text = [line.strip() for line in above]
    for line, after in pairwise(text):
        if line and after:
            assert len(line) + 1 + len(after.split()[0]) > 78, line


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_flag_has_no_negative_that_only_repeats_the_default(words: tuple[str, ...]) -> None:
    negatives = {name for each in COMMANDS[words].params for name in each.secondary_opts}
    # The one flag that is on by default.
    assert negatives <= {"--no-baselines"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nothing",), "no such command 'nothing': see `brainbrr --help`"),
        (("cache", "make"), "no such command 'make': see `brainbrr cache --help`"),
        (
            ("status",),
            "no such command 'status', the nearest is `brainbrr cache status`: "
            "see `brainbrr --help`",
        ),
        (
            ("cache", "statu"),
            "no such command 'statu', the nearest is `brainbrr cache status`: "
            "see `brainbrr cache --help`",
        ),
        (
            ("cache", "trian"),
            "no such command 'trian', the nearest is `brainbrr train`: see `brainbrr cache --help`",
        ),
        (
            ("export",),
            "no such command 'export', the nearest are `brainbrr cache export` and "
            "`brainbrr model export`: see `brainbrr --help`",
        ),
        (
            ("cache-status",),
            "no such command 'cache-status', the nearest is `brainbrr cache status`: "
            "see `brainbrr --help`",
        ),
        (
            ("train", "--profil", "smoke"),
            "no such option: --profil, the nearest is --profile: see `brainbrr train --help`",
        ),
        (
            ("train", "--stepz", "5"),
            "no such option: --stepz, the nearest setting is training.steps, which a file that "
            "--config names can set: see `brainbrr train --help`",
        ),
        (
            ("train", "--sedes", "0"),
            "no such option: --sedes, the nearest is --seeds: see `brainbrr train --help`",
        ),
        (
            ("train", "--seeds"),
            "option '--seeds' requires an argument: see `brainbrr train --help`",
        ),
        (("compare", "one"), "missing argument 'RUN_B': see `brainbrr compare --help`"),
        (
            ("compare", "a", "b", "--split", "test"),
            "invalid value for '--split': 'test' is not one of 'dev', 'eval': "
            "see `brainbrr compare --help`",
        ),
        (("evaluate", "--seeds", "0,one"), None),
        (("evaluate", "--seeds", "0", "--across", "there"), None),
        (("evaluate", "--adapt", "threshold"), None),
        (("evaluate", "--split", "train"), None),
        (("predict", "a.edf"), None),
        (("predict", "a.edf", "b.tsv", "--threshold", "2"), None),
        (("train", "--seeds", ""), None),
        (("cache", "build", "--limit", "0"), None),
        (("cache", "status", "--cache-version", "v9"), None),
        (("index", "--layout", "bdis"), None),
        (("manifest", "--profile", "huge"), None),
        (("inspect", "nothing.edf"), None),
        (("replay", "nothing.safetensors"), None),
        (("doctor", "--minutes", "1"), None),
        (("ui", "--port", "100000"), None),
        (("synth", "out", "--hours", "many"), None),
        (("env", "--config", "huge"), None),
        # What is there is something else: FILE has text, and FOLDER only that file.
        (
            ("config", "--config", "FOLDER/"),
            "FOLDER is a folder: name the configuration file in it",
        ),
        (("config", "--config", "FILE"), None),
        (("synth", "FILE"), None),
        (("synth", "FOLDER"), None),
        (("synth", "OUT", "--simulator", "FILE"), None),
        (("index", "--cache-root", "FILE"), None),
        (("manifest", "--cache-root", "FILE"), None),
        (("cache", "status", "--run", "OUT"), None),
        (("cache", "gc", "--cache-root", "FILE"), None),
        (("cache", "pull", "FILE"), None),
        (
            ("cache", "export", "FILE"),
            "FILE exists and is not an archive that `brainbrr cache export` wrote: name another "
            "file, or remove it",
        ),
        (
            ("cache", "export", "FOLDER"),
            "FOLDER is a folder: name a file in it, such as FOLDER/cache.tar.zst",
        ),
        (("cache", "import", "FOLDER"), None),
        (("cache", "import", "FILE"), None),
        (("pretrain", "FILE"), None),
        (("pretrain", "OUT", "--hours", "0"), "0 hours: give more than 0, up to 20000"),
        (("pretrain", "OUT/below/it", "--hours", "nan"), None),
        (("synth", "OUT", "--hours", "0"), None),
        (("predict", "FOLDER", "OUT", "--threshold", "2"), None),
        (("cache", "import-npz", "OUT"), None),
        (("model", "export", "pretrained", "OUT/below/it"), None),
        (("bench", "gpu", "--folder", "OUT", "--minutes", "-1"), None),
        (("sweep", "FILE"), None),
        (("sweep", "FOLDER"), None),
        (
            ("evaluate", "OUT"),
            "no run OUT: it is neither a folder, nor a run in FOLDER (see `brainbrr runs "
            "--runs-dir FOLDER`), nor a model that comes with brainbrr (pretrained, "
            "pretrained-small, pretrained-double-banana)",
        ),
        (("evaluate", "FILE"), None),
        (("runs", "FILE"), None),
        (("compare", "FILE", "FOLDER"), None),
        (("score", "FILE", "FILE"), None),
        (("score", "FOLDER", "FILE"), None),
        (("excerpts", "FILE", "FILE"), None),
        (("replay", "FILE"), None),
        (("replay", "FOLDER"), None),
        (("model", "export", "OUT", "FILE"), None),
        (("model", "push", "FILE", "OUT"), None),
        (("model", "push", "FOLDER", "OUT"), None),
        (("model", "pull", "FILE", "OUT"), None),
        (("bench", "--data", "FILE"), None),
        (("bench", "model", "--network", "nosuch"), None),
    ],
)
def test_a_wrong_value_is_one_line(
    words: tuple[str, ...], line: str | None, shell: Shell, tmp_path: Path
) -> None:
    def path(word: str) -> str:
        for name, there in (("FOLDER", tmp_path), ("FILE", tmp_path / "file"), ("OUT", out)):
            word = word.replace(name, str(there))
        return word

    out = tmp_path / "out"
    (tmp_path / "file").write_text("- text")
    folders = {"BRAINBRR_CACHE_ROOT": str(tmp_path), "BRAINBRR_RUNS_DIR": str(tmp_path)}
    done = shell.type(*map(path, words), environment=folders)
    assert done.returncode == 2, done.stdout + done.stderr
    [said] = done.stderr.splitlines()
    assert said == f"brainbrr: {path(line)}" if line else said.startswith("brainbrr: ")
    assert "Errno" not in said
    # Not even an empty folder is left.
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("words", [(), ("cache",)], ids=str)
def test_a_group_without_a_command_prints_its_help(words: tuple[str, ...], shell: Shell) -> None:
    done = shell.type(*words)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.strip() == shell.type(*words, "--help").stdout.strip()


def test_help_shows_commands_by_what_a_user_does(shell: Shell) -> None:
    lines = shell.type("--help").stdout.splitlines()
    panels = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert panels == [
        "Options",
        "Start here",
        "Corpus",
        "Cache",
        "Train and score",
        "Predict",
        "Dagster",
        "Machine",
    ]


def test_the_version_is_that_of_the_distribution(shell: Shell) -> None:
    done = shell.type("--version")
    assert (done.returncode, done.stdout) == (0, f"brainbrr {version('brainbrr')}\n")


def test_the_choices_are_those_that_the_program_accepts() -> None:
    profiles = [path.stem for path in (ROOT / "configs").glob("*.yaml")]
    assert set(choices.ProfileName) == set(profiles) & {"smoke", "dev", "full"}
    assert set(choices.LayoutChoice) == set(get_args(LayoutName))
    assert set(choices.ScoredSplit) == set(SPLITS) - {"train"}
    assert set(choices.AnySplit) == set(EXTERNAL_SPLITS)
    adapt = get_type_hints(OnAnotherCorpus)["adapt"]
    assert set(choices.AdaptChoice) == {each for part in get_args(adapt) for each in get_args(part)}
    assert list(choices.EventFormat) == list(FORMATS)
    assert list(choices.TraceFormat) == list(TRACES)
    assert list(choices.PresetName) == list(PRESETS)
    assert list(choices.BackendName) == list(get_args(Backend))
    assert list(choices.GpuSection) == list(NAMES)
    assert list(choices.SampleTypeChoice) == list(get_args(SampleType))


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words, which is not finished."""
    script = (
        # As a user's ~/.bashrc has it.
        'eval "$(brainbrr --show-completion)"\n'
        f"COMP_WORDS=(brainbrr {shlex.join(words)}) COMP_CWORD={len(words)}\n"
        'completes="$(complete -p brainbrr | sed "s/.*-F \\([^ ]*\\).*/\\1/")"\n'
        '"$completes" brainbrr\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=clean_environment() | {"PATH": f"{BIN}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_choices() -> None:
    assert completed("ev") == ["evaluate"]
    assert completed("cache", "v") == ["verify"]
    assert completed("evaluate", "--split", "") == ["dev", "eval", "train", "all"]
    assert completed("index", "--layout", "b") == ["bids"]
    assert completed("train", "--cache-v") == ["--cache-version"]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_is_the_same_without_the_others(words: tuple[str, ...]) -> None:
    of_these_words = dict(commands(typer.main.get_command(program_for([*words, "--json"]))))
    alone, together = of_these_words[words], COMMANDS[words]
    assert [p.opts for p in alone.params] == [p.opts for p in together.params]
    assert vars(alone)["help"] == vars(together)["help"]
    if words and not hasattr(together, "commands"):
        # It, and the groups that it is in.
        assert set(of_these_words) == {words[:count] for count in range(len(words) + 1)}


@pytest.mark.parametrize("words", [[], ["--version"], ["cache"], ["cache", "trian"], ["trian"]])
def test_words_that_name_no_command_leave_all_commands(words: list[str]) -> None:
    assert program_for(words) is app
