"""The drawing of a recording in the montage of derivations."""

from __future__ import annotations

from pathlib import Path

import pytest

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from brainbrr_core.inspection.inspection import Inspection, inspect_recording
from brainbrr_core.inspection.page import page
from tests.support.bipolar_files import CHBMIT_LABELS, bipolar_signals, electrodes, write_signals

BANANA = Preprocessing(montage="double-banana")


def referential(path: Path, *missing: str) -> Path:
    data = {f"EEG {n}-REF": row for n, row in electrodes(256, 20).items() if n in CHANNELS}
    for name in missing:
        del data[f"EEG {name}-REF"]
    return write_signals(path, data, 256)[0]


def bipolar(path: Path, *labels: str) -> Path:
    return write_signals(path, bipolar_signals(labels, electrodes(256, 20)), 256)[0]


def look(path: Path, settings: Preprocessing = BANANA) -> Inspection:
    return inspect_recording(path, settings)


def test_derivations_are_drawn_above_their_electrodes(tmp_path: Path) -> None:
    inspection = look(referential(tmp_path / "a.edf", "Fz", "Cz"))
    rows = inspection.channels
    present = [name for name in CHANNELS if name not in ("Fz", "Cz")]
    assert [row.name for row in rows] == [*DOUBLE_BANANA, *present]
    by_name = {row.name: row for row in rows}
    one = by_name["F7-T7"]
    assert (one.match, one.label) == ("derived", "EEG F7-REF - EEG T3-REF")
    assert one.raw is None and one.preprocessed is not None
    assert by_name["F7"].raw is not None and by_name["F7"].preprocessed is None
    # Both electrodes, or one of them, are interpolated.
    assert by_name["Fz-Cz"].interpolated
    assert by_name["Fz-Cz"].match == "derived: Fz and Cz interpolated"
    assert not by_name["Cz-Pz"].interpolated
    assert by_name["Cz-Pz"].match == "derived: Cz interpolated"
    assert inspection.preprocessed
    html = page(inspection, 10.0)
    assert all(name in html for name in DOUBLE_BANANA)


def test_a_bipolar_recording_has_its_own_signals(tmp_path: Path) -> None:
    labels = [label for label in CHBMIT_LABELS if label != "T7-P7"]
    inspection = look(bipolar(tmp_path / "a.edf", *labels))
    rows = {row.name: row for row in inspection.channels}
    assert list(rows) == list(DOUBLE_BANANA)
    assert rows["T7-P7"].match == "matched, with the opposite sign"
    assert rows["T7-P7"].label == "P7-T7"
    assert rows["Fp1-F7"].match == "matched"
    assert all(row.raw is not None and row.preprocessed is not None for row in rows.values())
    assert ("T8-P8", "bipolar derivation") in inspection.unused
    assert ("T7-FT9", "not one of the derivations") in inspection.unused


@pytest.mark.parametrize(
    ("settings", "code"),
    [(BANANA, "missing_derivations"), (Preprocessing(), "bipolar_montage")],
    ids=["double-banana", "10-20"],
)
def test_an_excluded_one_is_drawn_with_its_reason(
    tmp_path: Path, settings: Preprocessing, code: str
) -> None:
    inspection = look(bipolar(tmp_path / "a.edf", *CHBMIT_LABELS[:6]), settings)
    assert [reason for reason, _ in inspection.reasons if reason == code] == [code]
    drawn = [row.label for row in inspection.channels if row.raw is not None]
    assert drawn == [*CHBMIT_LABELS[:6]]
    assert not inspection.preprocessed
