"""Where this package is installed, and the folders that follow from that."""

from __future__ import annotations

from pathlib import Path

#: The configurations of an installed package; a checkout has them in its root.
PACKAGED_CONFIGS = Path(__file__).parent / "configs"


def checkout() -> Path | None:
    """The root of the checkout that this package runs from; None for an installed package."""
    return None if PACKAGED_CONFIGS.is_dir() else Path(__file__).resolve().parents[2]


def config_dir() -> Path:
    """The folder of the bundled configurations."""
    root = checkout()
    return PACKAGED_CONFIGS if root is None else root / "configs"


def default_home() -> Path | None:
    """The folder of cache, runs and DAGSTER_HOME where they are not set.

    It never depends on the current folder: it lies in the checkout, or is the user's data folder
    for an installed package. None where this user has no home.
    """
    root = checkout()
    if root is not None:
        return root / ".brainbrr"
    import platformdirs

    folder = platformdirs.user_data_path("brainbrr", appauthor=False)
    return folder if folder.is_absolute() else None


def default_home_owner() -> str:
    """What :func:`default_home` belongs to, for messages: the user or the checkout."""
    return "user" if checkout() is None else "checkout"


def demo_config_path() -> Path | None:
    """Path of the configuration file that ``brainbrr demo`` writes; None where there is no home."""
    home = default_home()
    return None if home is None else home / "demo" / "demo.yaml"
