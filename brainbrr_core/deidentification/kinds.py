"""What a recording may hold that says who was recorded, or when; a closed list."""

from __future__ import annotations

#: Each kind with its meaning, in the order of reports.
KINDS = {
    "patient_code": "the patient's code in the hospital",
    "patient_sex": "the patient's sex",
    "patient_birth_date": "the patient's birth date",
    "patient_name": "the patient's name",
    "patient_text": "other text about the patient",
    "recording_code": "the hospital's code of the investigation",
    "recording_technician": "the technician",
    "recording_equipment": "the equipment",
    "recording_text": "other text about the recording",
    "date": "the date of the recording (shifted)",
    "lost_date": "a date that an EDF cannot have once it is shifted (removed)",
    "time": "a start time that is none",
    "header_text": "text in the reserved field of the header",
    "label": "the label of a signal that names the patient or has control characters",
    "transducer": "the transducer of a signal",
    "unit": "a unit that is none",
    "prefiltering": "text about the filters of a signal",
    "signal_text": "text in the reserved field of a signal",
    "annotation": "an annotation that says nothing about seizures",
    "annotation_wording": "the wording of an annotation about a seizure",
    "hidden_bytes": "bytes beside the annotations that are none",
    "trailing_bytes": "bytes after the last data record",
    "table_comment": "a line in a file of annotations that is not needed",
    "table_date": "a date in a file of annotations (shifted)",
    "table_wording": "the wording of a cell in a table",
    "table_column": "a column of a table that is not needed",
    "channel_row": "a channel with an unusual name in a table",
    "json_field": "a field of an eeg.json that is not needed",
    "person": "somebody in a table of people of whom there is no copy",
    "age": "an age above 89 (written as 90)",
}
