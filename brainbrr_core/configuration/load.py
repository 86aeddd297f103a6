"""Where the value of a setting comes from: option, variable, configuration file, or default."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from brainbrr_core.configuration.environment import (
    CONFIG_VARIABLE,
    PATH_VARIABLES,
    PROFILE_VARIABLE,
    refuse_unknown_variables,
)
from brainbrr_core.configuration.layers import (
    Layer,
    check_layers,
    expand_path,
    read_layer,
    read_profile,
    split_names,
)
from brainbrr_core.configuration.location import (
    default_home,
    default_home_owner,
    demo_config_path,
)
from brainbrr_core.configuration.settings import (
    Configuration,
    CorpusReading,
    ListedCorpus,
    Origin,
)
from brainbrr_core.configuration.validation import (
    refuse_empty_sections,
    refuse_replaced_keys,
    source_of,
    validate,
)
from brainbrr_core.configuration.yaml_file import read_value
from brainbrr_core.errors import BrainbrrError

DEFAULT_LAYERS = ("full", "cpu")
DEMO_LAYERS = ("smoke", "cpu")
#: Settings of folders, and the names of these folders below the default home.
_FOLDERS = {"cache_root": "cache", "runs_dir": "runs", "dagster_home": "dagster"}
#: Fields of :class:`Overrides` that set one setting each, and this setting.
_SETTINGS_OF_OPTIONS = {
    "data_dir": "data_dir",
    "cache_root": "cache_root",
    "runs_dir": "runs_dir",
    "cache_version": "version",
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the options of a command give; None where an option is absent.

    Parameters
    ----------
    config : str, optional
        Names of bundled configurations and paths of files, separated by colons; later ones win.
    profile : str, optional
        Name or path of a profile. It wins over the profile of ``config``.
    data_dir : str, optional
        Folder or URL of the corpus.
    cache_root, runs_dir : str, optional
        Folders of the cache and of the runs.
    cache_version : str, optional
        Name of an imported version of the cache.
    """

    config: str | None = None
    profile: str | None = None
    data_dir: str | None = None
    cache_root: str | None = None
    runs_dir: str | None = None
    cache_version: str | None = None

    def options(self) -> str:
        """The options given that every command of the cache takes, each after a space.

        Returns
        -------
        str
            Such as `` --config smoke:cpu``; empty where none is given.
        """
        given = {
            "config": self.config,
            "profile": self.profile,
            "cache-root": self.cache_root,
        }
        return "".join(
            f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None
        )

    def refuse_empty(self) -> None:
        """Refuse an option with an empty value, which an unset variable of a shell gives.

        Raises
        ------
        BrainbrrError
            Naming the option.
        """
        for name in ("config", "profile", "data_dir", "cache_root", "runs_dir", "cache_version"):
            if getattr(self, name) == "":
                raise BrainbrrError(
                    f"--{name.replace('_', '-')} is empty: give it a value, or leave it out"
                )


def load(
    overrides: Overrides | None = None, environment: Mapping[str, str] | None = None
) -> Configuration:
    """The configuration that files, variables and flags give together, its paths absolute.

    Parameters
    ----------
    overrides : Overrides, optional
        What the options of a command give; they win over everything else.
    environment : mapping of str to str, optional
        Variables, such as ``BRAINBRR_CONFIG``; by default those of the process. One with an empty
        value counts as not set.

    Returns
    -------
    Configuration
        All settings; those that nothing sets have their defaults.

    Raises
    ------
    BrainbrrError
        For an unknown key or variable (naming the nearest valid one), a key of brain-go-brr v2, a
        value out of range, or a file that cannot be read.
    """
    overrides = overrides or Overrides()
    environment = os.environ if environment is None else environment
    overrides.refuse_empty()
    refuse_unknown_variables(environment)
    demo = _demo(overrides, environment)
    profile = _chosen_profile(overrides, environment)
    given = overrides.config or environment.get(CONFIG_VARIABLE)
    layers = _layers(given, demo, profile)
    values: dict[str, object] = {}
    for layer in layers:
        refuse_replaced_keys(layer)
        refuse_empty_sections(layer)
        _merge(values, layer.content)
    if profile is not None:
        # It wins over the profile of a file; other settings of the file remain.
        values["profile"] = profile.content["profile"]
        values["selection"] = profile.content.get("selection", {})
    _set_paths(values, overrides, environment)
    origin = Origin(
        options=overrides.options(),
        layers=tuple(layer.name for layer in layers),
        profile=None if profile is None else profile.name,
        cache_root=_reason_of_root(values, demo),
        sources=_sources(layers, profile, overrides, environment),
        set_by_user=frozenset(_sources(layers if given else (), profile, overrides, environment)),
    )
    _set_default_paths(values)
    return _with_absolute_paths(values, layers).with_origin(origin)


def apply_assignments(configuration: Configuration, assignments: Sequence[str]) -> Configuration:
    """A configuration in which some settings have another value.

    Parameters
    ----------
    configuration : Configuration
        The configuration to start from, which is not changed.
    assignments : sequence of str
        Each as in ``training.label_smoothing=0.1``, with a value in YAML; later ones win.

    Returns
    -------
    Configuration
        A copy with the values assigned.

    Raises
    ------
    BrainbrrError
        For a text that assigns nothing, an unknown key (naming the nearest valid one), or a value
        out of range.
    """
    assigned: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not all(key.strip().split(".")):
            raise BrainbrrError(
                f"--set {assignment}: write SECTION.KEY=VALUE, such as training.seed=1"
            )
        assigned.pop(key.strip(), None)
        assigned[key.strip()] = read_value(value, f"--set {assignment}")
    return apply_values(configuration, assigned, "--set")


def apply_values(
    configuration: Configuration, assigned: Mapping[str, object], source: str
) -> Configuration:
    """A configuration in which some settings have another value.

    Parameters
    ----------
    configuration : Configuration
        The configuration to start from, which is not changed.
    assigned : mapping of str to object
        The new values by their keys, such as ``training.seed``; later ones win.
    source : str
        How messages name the source of the values.

    Returns
    -------
    Configuration
        A copy with the values assigned.

    Raises
    ------
    BrainbrrError
        For an unknown key (naming the nearest valid one), or a value out of range.
    """
    content: dict[str, object] = {}
    for key, value in assigned.items():
        set_value(content, key, value)
    values = configuration.model_dump()
    _merge(values, content)
    layer = Layer(source, Path(source), content, bundled=False)
    refuse_empty_sections(layer)
    return validate(values, [layer]).with_origin(configuration.origin)


def set_value(content: dict[str, object], key: str, value: object) -> None:
    """Set a key such as ``training.seed`` in the content of a configuration file."""
    *sections, name = key.split(".")
    nested: dict[str, object] = {name: value}
    for section in reversed(sections):
        nested = {section: nested}
    _merge(content, nested)


def _demo(overrides: Overrides, environment: Mapping[str, str]) -> str | None:
    """The configuration file of the demo, where no folder is set and there is a demo."""
    folders = [name for name in PATH_VARIABLES if name != "DAGSTER_HOME"]
    if (
        any((overrides.config, overrides.data_dir, overrides.cache_root, overrides.runs_dir))
        or any(environment.get(name) for name in (CONFIG_VARIABLE, *folders))
        or (path := demo_config_path()) is None
        or not path.is_file()
    ):
        return None
    return str(path)


def _chosen_profile(overrides: Overrides, environment: Mapping[str, str]) -> Layer | None:
    """The profile of the option, or of the variable where there is no ``--config``."""
    name = overrides.profile
    if name is None and overrides.config is None:
        name = environment.get(PROFILE_VARIABLE) or None
    return None if name is None else read_profile(name)


def _layers(given: str | None, demo: str | None, profile: Layer | None) -> list[Layer]:
    """The files of the configuration; later ones win.

    A chosen profile replaces the bundled one that is named, and comes before a user's own files.
    """
    if given:
        names = split_names(given)
    elif demo is not None:
        names = [*DEMO_LAYERS, demo]
    else:
        names = list(DEFAULT_LAYERS)
    layers = [read_layer(name) for name in names]
    if profile is not None:
        others = (layer for layer in layers if not (layer.bundled and layer.sets_profile))
        layers = [profile, *(layer for layer in others if layer.path != profile.path)]
    check_layers(layers)
    return layers


def _set_paths(
    values: dict[str, object], overrides: Overrides, environment: Mapping[str, str]
) -> None:
    """Set what variables and options give, which win over the files."""
    for variable, key in PATH_VARIABLES.items():
        if environment.get(variable):
            values[key] = environment[variable]
    for name, key in _SETTINGS_OF_OPTIONS.items():
        if (given := getattr(overrides, name)) is not None:
            values[key] = given


def _sources(
    layers: Sequence[Layer],
    profile: Layer | None,
    overrides: Overrides,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """What sets each setting that does not have its default: see :class:`Origin`."""
    sources: dict[str, str] = {}
    for layer in layers:
        sources.update(dict.fromkeys(_keys(layer.content), str(layer.path)))
    if profile is not None:
        sources = {k: v for k, v in sources.items() if not k.startswith("selection.")}
        of_profile = {"selection": profile.content.get("selection", {})}
        sources.update(dict.fromkeys(_keys(of_profile), str(profile.path)))
        sources["profile"] = PROFILE_VARIABLE if overrides.profile is None else "--profile"
    for variable, key in PATH_VARIABLES.items():
        if environment.get(variable):
            sources[key] = variable
    for name, key in _SETTINGS_OF_OPTIONS.items():
        if getattr(overrides, name) is not None:
            sources[key] = f"--{name.replace('_', '-')}"
    return sources


def _keys(content: Mapping[str, object], above: str = "") -> Iterator[str]:
    """The keys of all settings in the content of a file, such as ``training.steps``."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _reason_of_root(values: dict[str, object], demo: str | None) -> str | None:
    """Why the cache root is this folder, where the user set none."""
    if demo is not None:
        return "that of the demo, since no folder is set"
    return None if "cache_root" in values else f"default of this {default_home_owner()}"


def _set_default_paths(values: dict[str, object]) -> None:
    """Set the folders that nothing sets to folders below the default home."""
    missing = {key: name for key, name in _FOLDERS.items() if key not in values}
    if not missing:
        return
    home = default_home()
    if home is None:
        variables = [name for name, key in PATH_VARIABLES.items() if key in missing]
        raise BrainbrrError(
            "this user has no folder for data: set HOME (and XDG_DATA_HOME, if it is set) to an "
            f"absolute path, or set {' and '.join(variables)}"
        )
    values.update({key: str(home / name) for key, name in missing.items()})


def _with_absolute_paths(values: dict[str, object], layers: Sequence[Layer]) -> Configuration:
    """The valid configuration of these values, in which folders have absolute paths."""
    for key in _FOLDERS:
        if "://" in (value := str(values[key])):
            raise BrainbrrError(_remote_folder(key, value))
    for key in (*_FOLDERS, "data_dir"):
        if values.get(key) == "":
            raise BrainbrrError(f"{source_of((key,), layers)}: {key} is empty: name a folder")
    configuration = validate(values, layers)
    absolute: dict[str, object] = {
        key: expand_path(str(getattr(configuration, key)), key) for key in _FOLDERS
    }
    data_dir = configuration.data_dir
    if data_dir is not None and "://" not in data_dir:
        absolute["data_dir"] = str(expand_path(data_dir, "data_dir"))
    absolute["corpus"] = _with_absolute_table(configuration.corpus, "corpus")
    absolute["corpora"] = tuple(
        _with_absolute_folder(listed, f"corpora.{number}")
        for number, listed in enumerate(configuration.corpora)
    )
    return configuration.model_copy(update=absolute)


_Reading = TypeVar("_Reading", bound=CorpusReading)


def _with_absolute_table(corpus: _Reading, key: str) -> _Reading:
    """The settings of a corpus in which the table of splits has an absolute path."""
    if corpus.split.table is None:
        return corpus
    path = str(expand_path(corpus.split.table, f"{key}.split.table"))
    return corpus.model_copy(update={"split": corpus.split.model_copy(update={"table": path})})


def _with_absolute_folder(listed: ListedCorpus, key: str) -> ListedCorpus:
    """One of several corpora, in which its folder and its table of splits have absolute paths."""
    folder = listed.data_dir
    if folder == "":
        raise BrainbrrError(f"{key}.data_dir ({listed.name}) is empty: name a folder")
    if folder is not None and "://" not in folder:
        folder = str(expand_path(folder, f"{key}.data_dir"))
    return _with_absolute_table(listed.model_copy(update={"data_dir": folder}), key)


def _remote_folder(key: str, address: str) -> str:
    """The error of an address where a folder is needed; secrets of the address are left out."""
    scheme, _, rest = address.partition("://")
    shown = " ".join(f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}".split())
    wrong = f"{key} is {shown}: it must be a local folder, since nothing is trained from a remote"
    if key == "cache_root":
        return (
            f"{wrong} path: run `brainbrr cache pull {shown} --cache-root FOLDER` and set "
            "BRAINBRR_CACHE_ROOT to that folder"
        )
    return f"{wrong} path: set it to a folder"


def _merge(target: dict[str, object], layer: Mapping[str, object]) -> None:
    """Set in ``target`` what the layer sets, section by section."""
    for key, value in layer.items():
        if isinstance(value, dict):
            below = target.get(key)
            # A copy: a later layer must not change the content of this one.
            merged = dict(below) if isinstance(below, dict) else {}
            _merge(merged, value)
            target[key] = merged
        else:
            target[key] = value
