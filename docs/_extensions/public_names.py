"""References to the library by any path: a name leads to where the API reference documents it.

Docstrings and annotations name a class as their own module imports it, such as ``BrainbrrError``
or ``brainbrr_core.model.network.SeizureNetwork``; the reference has it under the path that one
imports it from.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils.nodes import TextElement, reference
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from brainbrr_core.configuration import Configuration

#: What stands in a module by itself, and is named without a class.
_OF_MODULES = {"class", "exception", "function", "data"}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement
) -> reference | TextElement | None:
    """Where a name of Python is documented; the name alone where only an annotation has it."""
    if node.get("refdomain") != "py" or node.get("reftype") == "mod":
        return None
    # A member is named with its class, and an object of the library maybe with its module.
    target: str = node["reftarget"]
    name = target.rpartition(".")[2] if target.startswith("brainbrr_core.") else target
    documented = env.domains.python_domain.objects
    matches = [
        path
        for path, entry in documented.items()
        if path.endswith(f".{name}") and ("." in name or entry.objtype in _OF_MODULES)
    ]
    if len(matches) == 1:
        entry = documented[matches[0]]
        page, anchor = entry.docname, entry.node_id
    elif name in _SECTIONS:
        page, anchor = "settings", _SECTIONS[name].replace(".", "-")
    elif "refexplicit" not in node:
        # An annotation, maybe of another library: nothing is fetched to find it there.
        return content
    else:
        return None
    return make_refnode(app.builder, node["refdoc"], page, anchor, content, name)


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Classes of the configuration's sections, with the headings of the page of settings."""
    for field, info in model.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield section.__name__, f"{prefix}{field}"
            yield from _sections(section, f"{prefix}{field}.")


_SECTIONS = dict(_sections(Configuration))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
