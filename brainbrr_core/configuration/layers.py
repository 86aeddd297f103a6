"""The configuration files of a run: a profile, a device, and files of the user's own."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainbrr_core.configuration.location import config_dir
from brainbrr_core.configuration.yaml_file import read_mapping
from brainbrr_core.errors import BrainbrrError


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a configuration, as it is named from any folder, and what it sets."""

    name: str
    path: Path
    content: dict[str, Any]
    #: Whether it is one of the files that come with this project.
    bundled: bool

    @property
    def sets_profile(self) -> bool:
        """Whether it says which recordings a run uses."""
        return "profile" in self.content

    @property
    def sets_device(self) -> bool:
        """Whether it says on what a run trains."""
        hardware = self.content.get("hardware")
        return isinstance(hardware, dict) and not hardware.keys().isdisjoint(("name", "device"))


def split_names(given: str) -> list[str]:
    """The names in what ``--config`` takes. Raises :class:`BrainbrrError` where there is none."""
    names = [name for name in given.split(os.pathsep) if name]
    if not names:
        raise BrainbrrError(f"{given!r} names no configuration: use full:cpu, for example")
    return names


def read_layer(name: str) -> Layer:
    """The file that a name or a path means.

    A path has a separator or ends in .yaml; every other name is one of this project's own, never a
    file of the current folder. Raises :class:`BrainbrrError` where there is none.
    """
    if _is_path(name):
        path = expanded(name, "the configuration file")
        if not path.is_file():
            raise BrainbrrError(f"there is no configuration file {path}")
        return Layer(str(path), path, read_mapping(path), bundled=False)
    path = config_dir() / f"{name}.yaml"
    if not path.is_file():
        raise BrainbrrError(f"no configuration named {name!r}: {_what_may_be_meant(name)}")
    return Layer(name, path, read_mapping(path), bundled=True)


def expanded(path: str, what: str) -> Path:
    """An absolute path, of which a leading ~ is replaced by the user's home."""
    try:
        given = Path(path).expanduser()
    except RuntimeError:
        raise BrainbrrError(f"{what} {path} names a home folder that is not known") from None
    # Not resolved: a path through a link is shown as it was given.
    return given if given.is_absolute() else Path.cwd() / given


def read_profile(name: str) -> Layer:
    """The file of what ``--profile`` takes. Raises :class:`BrainbrrError` for anything else."""
    profiles = _bundled("profile")
    if not _is_path(name) and not (config_dir() / f"{name}.yaml").is_file():
        [near] = difflib.get_close_matches(name, profiles, n=1, cutoff=0.0)
        raise BrainbrrError(
            f"no profile named {name!r}: the nearest is {near}, of {', '.join(profiles)}"
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


def check_layers(layers: Sequence[Layer]) -> None:
    """Refuse what does not name one profile and one device.

    A file of the user's own may name either, or change it. Raises :class:`BrainbrrError`.
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
            f"{os.pathsep.join(_completed(layers, missing))}"
        )


def _completed(layers: Sequence[Layer], missing: Sequence[str]) -> list[str]:
    """The names with what is missing, before the user's own files, which win."""
    bundled = [layer.name for layer in layers if layer.bundled]
    own = [layer.name for layer in layers if not layer.bundled]
    profile = ["full"] if "profile" in missing else []
    device = ["cpu"] if "device" in missing else []
    return [*profile, *bundled, *device, *own]


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or os.sep in name


def _bundled(kind: str | None = None) -> list[str]:
    """Names of this project's own configurations, of a kind or all of them."""
    names = []
    for path in sorted(config_dir().glob("*.yaml")):
        layer = Layer(path.stem, path, read_mapping(path), bundled=True)
        if kind is None or {"profile": layer.sets_profile, "device": layer.sets_device}[kind]:
            names.append(path.stem)
    return names


def _what_may_be_meant(name: str) -> str:
    """What to write instead of a name that there is not."""
    for file in (name, f"{name}.yaml", f"{name}.yml"):
        if Path(file).is_file():
            return f"for the file in the current folder write ./{file}"
    names = _bundled()
    [near] = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"the nearest is {near}, of {', '.join(names)}; a file of yours is named by its path"
