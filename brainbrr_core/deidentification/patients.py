"""Whose recording a file is: by its path, or by what its header says."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from brainbrr_core.corpus.layouts.base import patient_in
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.deidentification.header import HeaderFields
from brainbrr_core.errors import BrainbrrError

#: What tells patients apart, in the words of a report.
BY_PATTERN = "--patient-pattern"
BY_NAME = "the file name or folder of BIDS or TUSZ"
BY_CODE = "the code in the header"
BY_PERSON = "name and birth date in the header"
BY_TEXT = "the text about the patient in the header"
BY_FOLDER = "the topmost folder"
BY_FILE = "nothing: each file counts as a patient"


def patient_of(
    relative: PurePosixPath, fields: HeaderFields, pattern: re.Pattern[str] | None
) -> tuple[str, str]:
    """The patient of a file, the same text for all files of one, and which rule told it.

    Raises :class:`BrainbrrError` for a path in which a pattern finds no patient.
    """
    if pattern is not None:
        match = pattern.search(relative.as_posix())
        if match is None or not match[1]:
            raise BrainbrrError(
                f"--patient-pattern {pattern.pattern!r} finds no patient in {relative}: correct it"
            )
        return name_form(match[1]), BY_PATTERN
    subject = next((part for part in relative.parts[:-1] if part.startswith("sub-")), "")
    named = subject or patient_in(relative.stem)
    if named:
        return name_form(named), BY_NAME
    said = fields.patient
    if "patient_code" in said:
        return name_form(said["patient_code"]), BY_CODE
    if "patient_name" in said:
        birth = said.get("patient_birth_date", "")
        return name_form(f"{said['patient_name']} {birth}"), BY_PERSON
    if "patient_text" in said:
        return name_form(said["patient_text"]), BY_TEXT
    if len(relative.parts) > 1:
        return name_form(relative.parts[0]), BY_FOLDER
    return name_form(relative.as_posix()), BY_FILE
