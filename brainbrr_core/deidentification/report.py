"""The report of a de-identification, which itself names nobody: it has counts alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.corpus.layouts.base import stem_of
from brainbrr_core.deidentification.folder import Copied
from brainbrr_core.deidentification.kinds import KINDS
from brainbrr_core.edf.formats import is_edf
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.machine.filesystem import real_path


def as_json(copied: Copied) -> dict[str, JsonValue]:
    """The counts of a report, without paths and without anything that was removed."""
    return {
        "brainbrr": version("brainbrr"),
        "written": copied.written,
        "there_already": copied.present,
        "annotation_files": copied.tables,
        "patients_told_by": dict(copied.patients),
        "removed": {
            kind: {"files": copied.files[kind], "items": copied.items[kind]}
            for kind in KINDS
            if copied.files[kind]
        },
        "edfs_not_copied": dict(Counter(one.code for one in copied.refused)),
        "other_files_not_copied": dict(Counter(why for _, why in copied.left)),
    }


def write_report(out: Path, copied: Copied) -> Path:
    """Write the report beside ``out`` and return its path; an earlier report stays.

    Raises :class:`WorkRemains` where the folder cannot be written to.
    """
    # ``.`` has no name.
    out = real_path(out)
    stem = stem_of(out.name) if is_edf(out.name) else out.name
    text = json.dumps(as_json(copied), indent=1) + "\n"
    number = 1
    while True:
        end = "" if number == 1 else f"-{number}"
        path = out.with_name(f"{stem}.deidentified{end}.json")
        try:
            if not os.path.lexists(path):
                with replacing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                return path
        except OSError as error:
            raise WorkRemains(
                f"the report {path} could not be written ({error.strerror or error}): make its "
                "folder writable and run the same command"
            ) from None
        number += 1
