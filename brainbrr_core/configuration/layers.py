"""The configuration files of a run: a profile, a device, and the user's files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.configuration.location import config_dir
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.configuration.yaml_file import read_mapping
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a configuration: a name that holds in any folder, the path, and its settings."""

    name: str
    path: Path
    content: dict[str, object]
    #: Whether it comes with this project.
    bundled: bool

    @property
    def sets_profile(self) -> bool:
        """Whether it is a profile: it says which recordings a run uses."""
        return "profile" in self.content

    @property
    def sets_device(self) -> bool:
        """Whether it is a device: it says where a run trains."""
        hardware = self.content.get("hardware")
        return isinstance(hardware, dict) and not hardware.keys().isdisjoint(("name", "device"))


def split_names(given: str) -> list[str]:
    """Split the value of ``--config``. Raises :class:`BrainbrrError` where it has no name."""
    names = [name for name in given.split(os.pathsep) if name]
    if not names:
        raise BrainbrrError(f"{given!r} names no configuration: use full:cpu, for example")
    return names


def read_layer(name: str) -> Layer:
    """Read the file of a name or a path.

    A path has a separator or ends in .yaml. Any other name is that of a bundled configuration,
    never a file in the current folder. Raises :class:`BrainbrrError` where there is no such file.
    """
    if _is_path(name):
        path = expand_path(name, "the configuration file")
        if path.is_dir():
            raise BrainbrrError(f"{path} is a folder: name the configuration file in it")
        if not path.is_file():
            raise BrainbrrError(
                f"there is no configuration file {path}: correct the path, or write the settings "
                "there that differ from the bundled ones (`brainbrr config` prints them)"
            )
        return Layer(str(path), path, read_mapping(path), bundled=False)
    path = config_dir() / f"{name}.yaml"
    if not path.is_file():
        raise BrainbrrError(f"no configuration named {name!r}: {_suggestion(name)}")
    return Layer(name, path, read_mapping(path), bundled=True)


def expand_path(path: str, what: str) -> Path:
    """An absolute path, with a leading ~ replaced by the user's home."""
    try:
        given = Path(path).expanduser()
    except RuntimeError:
        raise BrainbrrError(f"{what} {path} names a home folder that does not exist") from None
    # Not resolved: a path through a link is shown as it was given.
    return given if given.is_absolute() else Path.cwd() / given


def read_profile(name: str) -> Layer:
    """Read the profile that ``--profile`` names. Raises :class:`BrainbrrError` if it is none."""
    profiles = _bundled("profile")
    if not _is_path(name) and not (config_dir() / f"{name}.yaml").is_file():
        raise BrainbrrError(
            f"no profile named {name!r}: the nearest is {nearest(name, profiles)}, of "
            f"{', '.join(profiles)}"
        )
    layer = read_layer(name)
    if layer.sets_profile:
        return layer
    if layer.sets_device and layer.bundled:
        raise BrainbrrError(
            f"{name} is a device, not a profile: use --config full:{name} "
            f"(profiles are {', '.join(profiles)})"
        )
    raise BrainbrrError(
        f"{name} is not a profile, since it sets no `profile:`: use it as --config full:cpu:{name}"
    )


def bundled_selections() -> dict[str, Selection]:
    """Which recordings each profile that comes with this project uses, by its name."""
    return {
        name: Selection.model_validate(read_layer(name).content.get("selection", {}))
        for name in _bundled("profile")
    }


def check_layers(layers: Sequence[Layer]) -> None:
    """Refuse files that do not give one profile and one device.

    A user's file may give either, or change it. Raises :class:`BrainbrrError`.
    """
    setters = {
        "profile": [layer for layer in layers if layer.sets_profile],
        "device": [layer for layer in layers if layer.sets_device],
    }
    given = os.pathsep.join(layer.name for layer in layers)
    for kind, setting in setters.items():
        bundled = [layer.name for layer in setting if layer.bundled]
        if len(bundled) > 1:
            raise BrainbrrError(
                f"the configuration {given} names {len(bundled)} {kind}s, "
                f"{' and '.join(bundled)}: keep one"
            )
    missing = [kind for kind, setting in setters.items() if not setting]
    if missing:
        kinds = " and ".join(f"no {kind} ({', '.join(_bundled(kind))})" for kind in missing)
        raise BrainbrrError(
            f"the configuration {given} names {kinds}: use, for example, "
            f"{os.pathsep.join(_complete(layers, missing))}"
        )


def _complete(layers: Sequence[Layer], missing: Sequence[str]) -> list[str]:
    """The names of a complete configuration; the user's files come last and win."""
    bundled = [layer.name for layer in layers if layer.bundled]
    own = [layer.name for layer in layers if not layer.bundled]
    profile = ["full"] if "profile" in missing else []
    device = ["cpu"] if "device" in missing else []
    return [*profile, *bundled, *device, *own]


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or os.sep in name


def _bundled(kind: str | None = None) -> list[str]:
    """Names of the bundled configurations: profiles, devices, or all."""
    names = []
    for path in sorted(config_dir().glob("*.yaml")):
        layer = Layer(path.stem, path, read_mapping(path), bundled=True)
        if kind is None or {"profile": layer.sets_profile, "device": layer.sets_device}[kind]:
            names.append(path.stem)
    return names


def _suggestion(name: str) -> str:
    """What to write instead of a name that does not exist."""
    for file in (name, f"{name}.yaml", f"{name}.yml"):
        if Path(file).is_file():
            return f"for the file in the current folder write ./{file}"
    names = _bundled()
    return (
        f"the nearest is {nearest(name, names)}, of {', '.join(names)}; name a file of yours by "
        "its path"
    )
