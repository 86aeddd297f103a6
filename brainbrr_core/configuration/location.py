"""Where this package lies, and the folders that follow from it."""

from __future__ import annotations

from pathlib import Path

#: A built package holds its configurations here; a checkout holds them in its root.
_PACKAGED_CONFIGS = Path(__file__).parent / "configs"


def checkout() -> Path | None:
    """The checkout that this package runs from; None where it was installed as a package."""
    return None if _PACKAGED_CONFIGS.is_dir() else Path(__file__).resolve().parents[2]


def config_dir() -> Path:
    """The folder in which a configuration is found by its bare name."""
    root = checkout()
    return _PACKAGED_CONFIGS if root is None else root / "configs"


def default_home() -> Path | None:
    """The folder of cache, runs and DAGSTER_HOME where none of them is set.

    It never depends on the current folder: one below the checkout, or the user's data folder
    where this is an installed package. None where this user has no home.
    """
    root = checkout()
    if root is not None:
        return root / ".brainbrr"
    import platformdirs

    folder = platformdirs.user_data_path("brainbrr", appauthor=False)
    return folder if folder.is_absolute() else None


def default_home_is_of() -> str:
    """Whose :func:`default_home` is, in words."""
    return "user" if checkout() is None else "checkout"


def demo_config_path() -> Path | None:
    """Where ``brainbrr demo`` writes the configuration file of its own folders."""
    home = default_home()
    return None if home is None else home / "demo" / "demo.yaml"
