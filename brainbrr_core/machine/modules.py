"""Python modules of a user, which a setting names."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def look_in_current_folder() -> None:
    """Have modules of the current folder imported, after all others.

    ``python -m`` does so; a program such as ``brainbrr`` has the folder of its own script instead.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)


def module_file(name: str) -> Path | None:
    """The file of a module, which is not imported; None where there is no such file.

    The packages that it is in are imported. Raises what they raise.
    """
    look_in_current_folder()
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path if path.is_file() else None
