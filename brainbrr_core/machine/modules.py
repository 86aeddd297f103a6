"""Python modules of a user, which a setting names."""

from __future__ import annotations

import ast
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path

from brainbrr_core.machine.filesystem import real_path

#: Packages that are never a user's.
_OWN = ("brainbrr_core", "brainbrr_pipeline")


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


def imported_files(name: str) -> dict[str, Path]:
    """The files, by module, of a user's module and of those beside it that it imports.

    Beside it are the modules of its top-level package, and those of the folder that the package, or
    the module itself, is in, unless packages are installed there. Imports are read from the source
    of one module after the other, wherever in it they stand, and nothing is imported but the
    packages that ``name`` is in. An import of a name that is computed is not seen.

    Parameters
    ----------
    name : str
        The module, as an import names it.

    Returns
    -------
    dict
        The files in the order of the names of their modules. Empty where ``name`` has no file.

    Raises
    ------
    Exception
        What the packages that the module is in raise when they are imported.
    """
    start = module_file(name)
    files: dict[str, Path] = {}
    pending = [] if start is None else [name]
    top = name.partition(".")[0]
    folder = _folder(top)
    while pending:
        module = pending.pop()
        if module in files:
            continue
        if module.partition(".")[0] != top and not _is_beside(module, folder):
            continue
        # With a module, the packages that it is in are imported.
        parent = module.rpartition(".")[0]
        pending += [parent] if parent else []
        path = start if module == name else _file(module)
        if path is None:
            continue
        files[module] = path
        pending += _imports(path, module)
    return dict(sorted(files.items()))


def _spec(top: str) -> ModuleSpec | None:
    """Where a top-level module is, which is not imported."""
    try:
        return importlib.util.find_spec(top)
    # One that is running, or was made by hand, has none.
    except ValueError:
        return None


def _folder(top: str) -> Path | None:
    """The folder that a top-level module or package is in; None where packages are installed."""
    spec = _spec(top)
    if spec is None:
        return None
    package = [*(spec.submodule_search_locations or ())]
    inside = package[0] if package else spec.origin if spec.has_location else None
    folder = real_path(Path(inside)).parent if inside else None
    installed = {*sysconfig.get_paths().values(), *site.getsitepackages()}
    installed.add(site.getusersitepackages())
    return None if folder is None or str(folder) in installed else folder


def _is_beside(module: str, folder: Path | None) -> bool:
    top = module.partition(".")[0]
    return folder is not None and top not in _OWN and _folder(top) == folder


def _file(module: str) -> Path | None:
    """The file of a module, without importing the packages that it is in."""
    top, *inner = module.split(".")
    spec = _spec(top)
    if spec is None:
        return None
    if not inner:
        path = Path(spec.origin) if spec.has_location and spec.origin else None
        return path if path is not None and path.is_file() else None
    for location in spec.submodule_search_locations or ():
        path = Path(location, *inner)
        for base in (path / "__init__", path):
            for suffix in all_suffixes():
                if (found := base.with_name(base.name + suffix)).is_file():
                    return found
    return None


def _imports(path: Path, module: str) -> Iterator[str]:
    """Names that the import statements of a file may mean: modules, or names within them."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    # Whoever imports it says where.
    except (SyntaxError, ValueError):
        return
    package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            for alias in node.names:
                yield f"{base}.{alias.name}" if base else alias.name
