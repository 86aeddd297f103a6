"""Files of BIDS that describe channels and acquisition, with fixed words and numbers alone."""

from __future__ import annotations

import json
import math

from brainbrr_core.deidentification.header import is_unit
from brainbrr_core.deidentification.tables import NotInVocabulary, TableContext, is_channel
from brainbrr_core.signal.montage import electrode_of

#: Types of channels of BIDS that are usual beside an EEG.
_TYPES = (
    "EEG",
    "EOG",
    "HEOG",
    "VEOG",
    "ECG",
    "EMG",
    "RESP",
    "TEMP",
    "REF",
    "TRIG",
    "MISC",
    "OTHER",
)
_STATUS = ("good", "bad", "n/a", "")
#: Numbers in a ``*_eeg.json`` that say nothing of a patient.
_NUMBERS = (
    "PowerLineFrequency",
    "SamplingFrequency",
    "EEGChannelCount",
    "ECGChannelCount",
    "EMGChannelCount",
    "EOGChannelCount",
    "MiscChannelCount",
    "TriggerChannelCount",
    "RecordingDuration",
    "EpochLength",
)


def clean_channels(text: str, context: TableContext) -> str:
    """A ``channels.tsv`` with name, type, unit and status of the channels with usual names.

    Raises :class:`NotInVocabulary` where a table is none of channels.
    """
    lines = list(filter(str.strip, text.removeprefix("\ufeff").splitlines()))
    names = [cell.strip().lower() for cell in lines[0].split("\t")] if lines else []
    if "name" not in names or len(set(names)) != len(names):
        raise NotInVocabulary
    kept = [name for name in names if name in ("name", "type", "units", "status")]
    context.removed["table_column"] += len(names) - len(kept)
    rows = ["\t".join(kept)]
    for line in lines[1:]:
        cells = dict(zip(names, (cell.strip() for cell in line.split("\t")), strict=False))
        if len(cells) != len(names):
            raise NotInVocabulary
        if not is_channel(cells["name"]) and electrode_of(cells["name"]) is None:
            context.removed["channel_row"] += 1
            continue
        rows.append("\t".join(_channel_cell(name, cells[name], context) for name in kept))
    return "\n".join(rows) + "\n"


def _channel_cell(name: str, cell: str, context: TableContext) -> str:
    word = cell
    if name == "status":
        word = "bad" if cell.lower().startswith("bad") else cell
    is_kept = (
        name == "name"
        or (name == "type" and cell.upper() in _TYPES)
        or (name == "units" and (cell == "n/a" or is_unit(cell)))
        or (name == "status" and word.lower() in _STATUS)
    )
    word = word if is_kept else "n/a"
    context.removed["table_wording"] += word != cell
    return word


def clean_acquisition(text: str, context: TableContext) -> str:
    """An ``eeg.json`` with its numbers alone.

    Raises :class:`NotInVocabulary` for a file that is no JSON, or has nothing to keep.
    """
    try:
        content = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise NotInVocabulary from None
    if not isinstance(content, dict):
        raise NotInVocabulary
    kept = {name: content[name] for name in _NUMBERS if _is_number(content.get(name))}
    context.removed["json_field"] += len(content) - len(kept)
    if not kept:
        raise NotInVocabulary
    return json.dumps(kept, indent=2) + "\n"


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(float(str(value)))
