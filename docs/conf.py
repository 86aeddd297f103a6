"""How Sphinx builds the site: `make docs` writes it to docs/_build/html."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))
# Examples compute little: threads that wait for each other would only slow them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The examples import it, unless they are as they were and are not run again. Imported by autodoc,
# pydantic 2.14 refuses models that keep values without a field.
importlib.import_module("brainbrr_core.runs.record")

_METADATA = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _METADATA["name"]
author = _METADATA["authors"][0]["name"]
# Without a year: the same sources give the same pages.
copyright = author
version = release = _METADATA["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "generated_pages",
    "public_names",
]
exclude_patterns = [
    "_build",
    "examples",
    "gallery/*.ipynb",
    "gallery/*.py",
    "gallery/*.codeobj.json",
]
nitpicky = True
# A block is of the language that it names: most are lines of a shell, or trees of folders.
highlight_language = "none"
# Two dashes are those of an option.
smartquotes = False

myst_enable_extensions = ["deflist"]
# Headings that other pages link to.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
# Longer ones get a line for each argument.
python_maximum_signature_line_length = 170
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    # All of them are run.
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery.ExampleOrder",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "gallery.without_progress"),
    "download_all_examples": False,
    "show_signature": False,
    # How long an example took is another figure in each build.
    "min_reported_time": 10_000,
    "write_computation_times": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "brainbrr"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# Pages with nothing beside them.
html_sidebars = {"index": [], "start": []}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_align": "left",
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
