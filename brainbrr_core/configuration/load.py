"""Where a setting's value comes from: flag, variable, configuration file, default."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from brainbrr_core.configuration.model import Configuration
from brainbrr_core.errors import BrainbrrError

CONFIG_VARIABLE = "BRAINBRR_CONFIG"
PROFILES = ("smoke", "dev", "full")
DEFAULT_LAYERS = ("full", "cpu")
DEMO_LAYERS = ("smoke", "cpu")
#: Variables of the environment and the keys they set.
PATH_VARIABLES = {
    "BRAINBRR_DATA_DIR": "data_dir",
    "BRAINBRR_CACHE_ROOT": "cache_root",
    "BRAINBRR_RUNS_DIR": "runs_dir",
    "DAGSTER_HOME": "dagster_home",
}
#: Keys and variables of the program this one succeeds, and what replaces them.
REPLACED_KEYS = {
    "experiment.cache_dir": "cache_root (one root for every profile)",
    "data.cache_dir": "cache_root (one root for every profile)",
    "cache_dir": "cache_root (one root for every profile)",
    "data.data_dir": "data_dir",
    "data.window_size": "windows.length_s",
    "data.stride": "windows.stride_s",
    "data.max_samples": "selection.recordings",
    "experiment.seed": "training.seed",
    "experiment.output_dir": "runs_dir",
    "training.batch_size": "hardware.batch_size",
    "training.mixed_precision": "hardware.precision",
}
REPLACED_VARIABLES = {"BGB_LIMIT_FILES": "--profile smoke (or selection.recordings)"}


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values given as flags; None where the flag is absent."""

    config: str | None = None
    profile: str | None = None
    data_dir: str | None = None
    cache_root: str | None = None
    runs_dir: str | None = None
    version: str | None = None

    def options(self) -> str:
        """The flags given that every command of the store takes, each after a space."""
        given = {
            "config": self.config,
            "profile": self.profile,
            "cache-root": self.cache_root,
        }
        return "".join(
            f" --{name} {shlex.quote(value)}" for name, value in given.items() if value is not None
        )


def project_dir() -> Path:
    """The checkout this package is installed from, or the current folder outside of one."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def demo_config_path() -> Path:
    """Where ``brainbrr demo`` writes the configuration file of its own folders."""
    return project_dir() / ".brainbrr" / "demo" / "demo.yaml"


def config_dirs() -> list[Path]:
    """Folders in which a configuration is found by its bare name, the first one first."""
    return [project_dir() / "configs", Path(__file__).parent / "configs"]


def layer_names(overrides: Overrides, environment: Mapping[str, str]) -> list[str]:
    """Names or paths of the files that make up the configuration, later ones winning.

    With no folder set and a demo at hand, that is the demo. A profile given as a flag takes the
    place of the one that is named, and comes before a user's own files.
    """
    given = overrides.config or environment.get(CONFIG_VARIABLE)
    if given:
        layers = [name for name in given.split(os.pathsep) if name]
    elif (
        not any(getattr(overrides, key) for key in ("data_dir", "cache_root", "runs_dir"))
        and not any(environment.get(name) for name in PATH_VARIABLES if name != "DAGSTER_HOME")
        and demo_config_path().is_file()
    ):
        layers = [*DEMO_LAYERS, str(demo_config_path())]
    else:
        layers = list(DEFAULT_LAYERS)
    if overrides.profile is not None:
        layers = [overrides.profile, *(name for name in layers if name not in PROFILES)]
    return layers


def load(
    overrides: Overrides | None = None, environment: Mapping[str, str] | None = None
) -> Configuration:
    """The configuration of this run, its paths absolute.

    Raises :class:`BrainbrrError` for an unknown key (naming the nearest valid one), a key of
    the predecessor, a value out of range, or a file that cannot be read.
    """
    overrides = overrides or Overrides()
    environment = os.environ if environment is None else environment
    for variable, replacement in REPLACED_VARIABLES.items():
        if variable in environment:
            raise BrainbrrError(f"{variable} is not used any more: unset it and use {replacement}")
    values = _default_paths()
    layers = layer_names(overrides, environment)
    for name in layers:
        _merge(values, _read_layer(name))
    if overrides.profile is not None:
        # The flag wins over a file's profile; whatever else the file sets stands.
        flagged = _read_layer(overrides.profile)
        values["profile"] = flagged.get("profile", overrides.profile)
        values["selection"] = flagged.get("selection", {})
    for variable, key in PATH_VARIABLES.items():
        if environment.get(variable):
            values[key] = environment[variable]
    for key in ("data_dir", "cache_root", "runs_dir", "version"):
        flag = getattr(overrides, key)
        if flag is not None:
            values[key] = flag
    for key in _default_paths():
        if "://" in (value := str(values.get(key, ""))):
            raise BrainbrrError(_remote_folder(key, value))
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        raise BrainbrrError(_explain(error, ", ".join(layers))) from None
    return _with_absolute_paths(configuration).chosen_by(overrides.options())


def _remote_folder(key: str, address: str) -> str:
    """What is wrong with a remote path where a folder must be, without what may be secret in it."""
    scheme, _, rest = address.partition("://")
    place = " ".join(f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}".split())
    wrong = f"{key} is {place}: it must be a local folder, since nothing is trained from a remote"
    if key == "cache_root":
        return (
            f"{wrong} path: run `brainbrr cache pull {place} --cache-root FOLDER` and set "
            "BRAINBRR_CACHE_ROOT to that folder"
        )
    return f"{wrong} path: set it to a folder"


def _read_layer(name: str) -> dict[str, Any]:
    candidates = [Path(name)] if name.endswith((".yaml", ".yml")) or os.sep in name else []
    candidates += [folder / f"{name}.yaml" for folder in config_dirs()]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        known = sorted({file.stem for folder in config_dirs() for file in folder.glob("*.yaml")})
        raise BrainbrrError(f"no configuration named {name!r}: use a path or one of {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BrainbrrError(f"{path} is not readable YAML: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BrainbrrError(f"{path} must hold a mapping of settings")
    _refuse_replaced(content, path)
    return content


def _refuse_replaced(content: dict[str, Any], path: Path) -> None:
    for key, replacement in REPLACED_KEYS.items():
        section, _, name = key.rpartition(".")
        holder = content.get(section) if section else content
        if isinstance(holder, dict) and name in holder:
            raise BrainbrrError(f"{path}: the key {key} is replaced by {replacement}")


def _merge(target: dict[str, Any], layer: dict[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _explain(error: ValidationError, layers: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"configuration ({layers}): {key}: {first['msg']}"
    section, _, name = key.rpartition(".")
    near = difflib.get_close_matches(name, _keys_below(section), n=1, cutoff=0.0)
    hint = f"{section}.{near[0]}" if section and near else near[0] if near else "none"
    return f"configuration ({layers}): unknown key {key}: the nearest valid key is {hint}"


def _keys_below(section: str) -> list[str]:
    model: type[BaseModel] = Configuration
    for part in filter(None, section.split(".")):
        annotation = model.model_fields[part].annotation
        options = [annotation, *get_args(annotation)]
        model = next(
            (kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)),
            Configuration,
        )
    return list(model.model_fields)


def _default_paths() -> dict[str, Any]:
    home = project_dir() / ".brainbrr"
    return {
        "cache_root": home / "cache",
        "runs_dir": home / "runs",
        "dagster_home": home / "dagster",
    }


def _with_absolute_paths(configuration: Configuration) -> Configuration:
    # Not resolved: a path through a link is shown as it was given.
    absolute: dict[str, Any] = {
        key: Path.cwd() / getattr(configuration, key).expanduser() for key in _default_paths()
    }
    data_dir = configuration.data_dir
    if data_dir is not None and "://" not in data_dir:
        absolute["data_dir"] = str(Path.cwd() / Path(data_dir).expanduser())
    return configuration.model_copy(update=absolute)
