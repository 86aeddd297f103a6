"""The code of a network that is not the program's own, as a part of a run's identity.

A name such as ``package.module:Class`` says nothing of what that class computes, so a hash stands
beside it: of its source file, and of the files of its package or folder that it imports. Nothing is
imported but the packages that the module is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as library_version
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.configuration.settings import BRAINDECODE, NETWORKS, Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.files.state import content_hash
from brainbrr_core.machine.modules import imported_files

#: The copy, in a run's folder, of the source of a network's class that is not the program's own.
NETWORK_SOURCE = "network.py"
#: The folder with copies of all files, by module, where a class needs several.
NETWORK_SOURCES = Path("network")


def network_identity(model: Model) -> dict[str, JsonValue]:
    """What decides which network the settings of a model lead to.

    Raises :class:`BrainbrrError` where the source of a class cannot be found.
    """
    values = model.shaping()
    if model.network in NETWORKS:
        return values
    package = model.network.partition(":")[0]
    if package == BRAINDECODE:
        return {**values, "source": f"{BRAINDECODE} {_braindecode_version()}"}
    return {**values, "source": _source_hash(source_files(model.network))}


def is_own_class(network: str) -> bool:
    """Whether a network is a class that is neither the program's own nor braindecode's."""
    return network not in NETWORKS and network.partition(":")[0] != BRAINDECODE


def source_files(network: str) -> dict[str, Path]:
    """The files, by module, that ``package.module:Class`` is made of.

    Modules in the current folder are found, as those that are installed or on ``PYTHONPATH`` are.
    Raises :class:`BrainbrrError` where there is none.
    """
    module = network.partition(":")[0]
    try:
        files = imported_files(module)
    # What somebody's package does on import may raise anything.
    except Exception as error:
        raise _not_importable(network, f"{type(error).__name__}: {error}") from error
    if not files:
        raise _not_importable(network, f"there is no file of a module {module}")
    return files


def _source_hash(files: Mapping[str, Path]) -> str:
    """The hash of a file; of several, that of their hashes by module."""
    hashes = {module: content_hash(path) for module, path in files.items()}
    return digest(hashes) if len(hashes) > 1 else next(iter(hashes.values()))


def _not_importable(network: str, reason: str) -> BrainbrrError:
    return BrainbrrError(
        f"model.network is {network}, and {network.partition(':')[0]} cannot be imported "
        f"({' '.join(reason.split())}): install its package, put its folder on PYTHONPATH, or run "
        "the command from that folder"
    )


def keep_source(network: str, directory: Path) -> None:
    """Copy the source of a class that is not the program's own to a run's folder."""
    if not is_own_class(network):
        return
    files = source_files(network)
    for module, path in files.items():
        copy = NETWORK_SOURCES / _relative(module, path) if len(files) > 1 else NETWORK_SOURCE
        with replacing(directory / copy) as temporary:
            temporary.write_bytes(path.read_bytes())


def check_source(network: str, source: str, directory: Path) -> None:
    """Check that the class of a run's network is the one that was trained.

    Parameters
    ----------
    network : str
        The network, as the configuration names it.
    source : str
        What the run's identity has of its source.
    directory : Path
        The run's folder, or that of a model which was exported from it, which has no copies.

    Raises
    ------
    BrainbrrError
        Where a file of it has changed since, or cannot be imported.
    """
    if not is_own_class(network):
        return
    files = source_files(network)
    if _source_hash(files) == source:
        return
    own = network.partition(":")[0]
    folder, single = directory / NETWORK_SOURCES, directory / NETWORK_SOURCE
    copies: dict[str, Path] = {}
    kept = ""
    if folder.is_dir():
        copies = {module: folder / _relative(module, path) for module, path in files.items()}
        kept = f" from {folder}"
    elif single.is_file():
        copies, kept = {own: single}, f" from {single}"
    changed = [
        str(path)
        for module, path in files.items()
        if copies and not _same(copies.get(module), path)
    ]
    several = " or a file that it imports" if len(files) > 1 else ""
    raise BrainbrrError(
        f"{', '.join(changed) or f'{files[own]}{several}'} has changed since run {directory.name} "
        f"was trained with {network}: restore it{kept or ' as it was then'}, or train again"
    )


def _same(copy: Path | None, path: Path) -> bool:
    return copy is not None and copy.is_file() and copy.read_bytes() == path.read_bytes()


def _relative(module: str, path: Path) -> Path:
    """Where the file of a module is below the folder of its top-level package."""
    parts = module.split(".")
    return Path(*(parts if path.name.startswith("__init__.") else parts[:-1]), path.name)


def _braindecode_version() -> str:
    try:
        return library_version(BRAINDECODE)
    except PackageNotFoundError:
        raise BrainbrrError(
            "model.network is of braindecode, which is not installed: "
            "pip install 'brainbrr[braindecode]'"
        ) from None
