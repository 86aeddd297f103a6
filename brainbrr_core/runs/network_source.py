"""The code of a network that is not the program's own, as a part of a run's identity.

A name such as ``package.module:Class`` says nothing of what that class computes, so the hash of its
source file stands beside it. Nothing is imported but the packages that the module is in.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as library_version
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.configuration.settings import BRAINDECODE, NETWORKS, Model
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.state import content_hash
from brainbrr_core.machine.modules import module_file

#: The copy, in a run's folder, of the source of a network's class that is not the program's own.
NETWORK_SOURCE = "network.py"


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
    return {**values, "source": content_hash(source_file(model.network))}


def is_own_class(network: str) -> bool:
    """Whether a network is a class that is neither the program's own nor braindecode's."""
    return network not in NETWORKS and network.partition(":")[0] != BRAINDECODE


def source_file(network: str) -> Path:
    """The file of the module in ``package.module:Class``.

    Modules in the current folder are found, as those that are installed or on ``PYTHONPATH`` are.
    Raises :class:`BrainbrrError` where there is none.
    """
    module = network.partition(":")[0]
    try:
        path = module_file(module)
    # What somebody's package does on import may raise anything.
    except Exception as error:
        raise _not_importable(network, f"{type(error).__name__}: {error}") from error
    if path is None:
        raise _not_importable(network, f"there is no file of a module {module}")
    return path


def _not_importable(network: str, reason: str) -> BrainbrrError:
    return BrainbrrError(
        f"model.network is {network}, and {network.partition(':')[0]} cannot be imported "
        f"({' '.join(reason.split())}): install its package, put its folder on PYTHONPATH, or run "
        "the command from that folder"
    )


def keep_source(network: str, directory: Path) -> None:
    """Copy the source file of a class that is not the program's own to a run's folder."""
    if not is_own_class(network):
        return
    with replacing(directory / NETWORK_SOURCE) as temporary:
        temporary.write_bytes(source_file(network).read_bytes())


def _braindecode_version() -> str:
    try:
        return library_version(BRAINDECODE)
    except PackageNotFoundError:
        raise BrainbrrError(
            "model.network is of braindecode, which is not installed: "
            "pip install 'brainbrr[braindecode]'"
        ) from None
