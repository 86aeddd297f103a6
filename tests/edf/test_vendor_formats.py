"""GDF, Neuroscan and Nihon Kohden: what MNE's readers of them do not check, drop or mistake."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.configuration.settings import AnnotationTexts
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.edf_annotations import read_edf_labels
from brainbrr_core.edf.decoded import MneFile
from brainbrr_core.edf.formats import choose, part_names, suffix_of
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf, recording_file, recording_start
from tests.support.format_files import NAMES, RATE, microvolts, raw_of
from tests.support.vendor_files import write_cnt, write_gdf, write_nihon_kohden


def refusal(path: Path) -> tuple[str, str]:
    """Reason and detail of a file that is not read."""
    with pytest.raises(UnusableEdf) as error:
        open_edf(path)
    return error.value.reason, error.value.detail


def units(unit: str) -> tuple[str, ...]:
    """One unit for the 19 electrodes; the further signal is in µV."""
    return (unit,) * len(CHANNELS) + ("uV",)


@pytest.mark.parametrize("version", ["1.25", "2.20"])
@pytest.mark.parametrize("unit", ["nV", "mV", ""])
def test_a_gdf_in_a_unit_that_mne_takes_for_volts_is_not_read(
    tmp_path: Path, version: str, unit: str
) -> None:
    path = write_gdf(tmp_path / "a.gdf", raw_of(microvolts(12)), version, units(unit))
    if version == "2.20" and unit == "mV":
        # This one MNE converts.
        got, of_mv = open_edf(path).read(0, 1000), 1e3 * microvolts(12)[: len(CHANNELS), :1000]
        assert np.allclose(got, of_mv - of_mv[:, :1], atol=0.1)
        return
    assert refusal(path) == ("unknown_unit", "Fp1: 'n/a'")


def test_signals_of_another_rate_in_a_gdf_are_not_resampled(tmp_path: Path) -> None:
    path = write_gdf(tmp_path / "a.gdf", raw_of(microvolts(12)))
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 256 + 216 * len(NAMES) + 4 * (len(NAMES) - 1), RATE // 2)
    path.write_bytes(bytes(content))
    assert refusal(path) == ("uneven_rates", "128 Hz, 256 Hz")


def test_events_of_a_gdf_have_ends_of_their_own_or_a_duration(tmp_path: Path) -> None:
    notes = [(5.0, 0.0, "seizure"), (9.0, 0.0, "seizure end"), (20.0, 4.0, "seizure")]
    path = write_gdf(tmp_path / "a.gdf", raw_of(microvolts(), notes=notes))
    labels = read_edf_labels(recording_file(path), 30.0, DEFAULT_TEXTS)
    assert [(e.start, e.stop, e.label) for e in labels.events] == [
        (5.0, 9.0, "seiz"),
        (20.0, 24.0, "seiz"),
    ]


def test_a_new_segment_of_a_gdf_is_a_gap(tmp_path: Path) -> None:
    raw = raw_of(microvolts(), notes=[(12.0, 0.0, "boundary")])
    path = write_gdf(tmp_path / "a.gdf", raw)
    assert refusal(path) == ("discontinuous", "1 gap, the first at 12 s")


@pytest.mark.parametrize("version", ["1.25", "2.20"])
def test_events_that_are_counted_at_another_rate_are_not_taken_for_samples(
    tmp_path: Path, version: str
) -> None:
    raw = raw_of(microvolts(12))
    reason, detail = refusal(write_gdf(tmp_path / "a.gdf", raw, version, event_rate=512))
    assert (reason, detail) == (
        "unreadable",
        "its events are counted at 512 Hz, its samples at 256 Hz",
    )
    # A table that does not say it is one of samples.
    assert open_edf(write_gdf(tmp_path / "b.gdf", raw, version, event_rate=0)).samples == 3072


def test_further_blocks_in_the_header_of_a_gdf_are_named(tmp_path: Path) -> None:
    path = write_gdf(tmp_path / "a.gdf", raw_of(microvolts(12)))
    content = path.read_bytes()
    whole = 256 * (len(NAMES) + 1)
    longer = content[:184] + struct.pack("<H", len(NAMES) + 2) + content[186:whole] + bytes(256)
    path.write_bytes(longer + content[whole:])
    assert refusal(path) == ("unreadable", "its header has further blocks, which MNE does not read")


def test_numbers_of_events_of_a_neuroscan_file_mean_what_the_configuration_says(
    tmp_path: Path,
) -> None:
    path = write_cnt(tmp_path / "a.cnt", raw_of(microvolts()))
    texts = Texts(AnnotationTexts(onset=("1",), end=("2",)))
    labels = read_edf_labels(recording_file(path), 30.0, texts)
    assert [(e.start, e.stop, e.label) for e in labels.events] == [(3.0, 6.0, "seiz")]


@pytest.mark.parametrize("sample_bytes", [2, 4])
def test_an_interruption_of_a_neuroscan_file_is_a_gap(tmp_path: Path, sample_bytes: int) -> None:
    raw = raw_of(microvolts())
    path = write_cnt(tmp_path / "a.cnt", raw, sample_bytes, accept={1: 14})
    assert refusal(path) == ("discontinuous", "1 gap, the first at 6.00391 s")
    # The start and the end of what someone rejected are none.
    open_edf(write_cnt(tmp_path / "b.cnt", raw, sample_bytes, accept={0: 12, 1: 13}))


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("03/25/24", (2024, 3, 25)),
        ("25/03/24", (2024, 3, 25)),
        ("05/05/98", (1998, 5, 5)),
        ("05/06/98", None),
        ("31/31/24", None),
        ("", None),
    ],
)
def test_the_date_of_a_neuroscan_file_is_told_where_it_is_certain(
    tmp_path: Path,
    date: str,
    expected: tuple[int, int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    path = write_cnt(tmp_path / "a.cnt", raw_of(microvolts(12)), date=date or "?")
    start = None if expected is None else datetime(*expected, 10, 20, 30)
    assert recording_start(path) == start


def test_a_label_of_more_than_four_characters_is_not_a_bad_channel(tmp_path: Path) -> None:
    names = [f"{name}-REF" for name in CHANNELS]
    path = write_cnt(tmp_path / "a.cnt", raw_of(microvolts(12, names=names), names))
    assert mne.io.read_raw_cnt(path, verbose="error").info["bads"]
    assert open_edf(path).missing == ()


def test_samples_of_a_neuroscan_file_in_blocks_are_read_in_any_range(tmp_path: Path) -> None:
    path = write_cnt(tmp_path / "a.cnt", raw_of(microvolts(12)))
    content = bytearray(path.read_bytes())
    count, first, block = len(NAMES), 900 + 75 * len(NAMES), 32
    whole = 2 * count * 12 * RATE
    values = np.frombuffer(content, "<i2", count * 12 * RATE, first).reshape(-1, block, count)
    content[first : first + whole] = values.transpose(0, 2, 1).tobytes()
    struct.pack_into("<i", content, 894, 2 * block)
    path.write_bytes(bytes(content))
    recording = open_edf(path)
    signal = microvolts(12)[: len(CHANNELS)]
    for start, stop in [(0, 3072), (0, 1), (32, 64), (5, 100), (40, 41), (3071, 3072), (90, 3000)]:
        got = recording.read(start, stop)
        assert np.abs(got - (signal[:, start:stop] - signal[:, :1])).max() < 1e-4, (start, stop)


def test_two_blocks_of_nihon_kohden_have_a_gap_between_them(tmp_path: Path) -> None:
    path = write_nihon_kohden(tmp_path / "a.EEG", raw_of(microvolts()), blocks=2)
    reason, detail = refusal(path)
    assert reason == "discontinuous"
    assert detail.endswith("the first at 14.998 s")


def test_midline_electrodes_in_capital_letters_are_electrodes(tmp_path: Path) -> None:
    path = write_nihon_kohden(tmp_path / "a.EEG", raw_of(microvolts(12)))
    kinds = mne.io.read_raw_nihon(path, verbose="error").get_channel_types(["FZ", "CZ", "PZ"])
    assert set(kinds) == {"misc"}
    assert open_edf(path).missing == ()


def test_an_electrode_on_an_input_in_millivolts_is_not_read(tmp_path: Path) -> None:
    path = write_nihon_kohden(tmp_path / "a.EEG", raw_of(microvolts(12)))
    text = path.with_suffix(".21E").read_text("latin-1")
    path.with_suffix(".21E").write_text(
        text.replace("=FP1", "=X").replace("[REF", "0042=FP1\n[REF")
    )
    content = path.read_bytes()
    # The number of the first signal, which was 0.
    at = 0x1800 + 0x27
    assert content[at] == 0
    path.write_bytes(content[:at] + b"\x2a" + content[at + 1 :])
    assert refusal(path) == ("unknown_unit", "FP1: 'n/a'")


def test_a_comment_in_another_encoding_is_not_lost(tmp_path: Path) -> None:
    notes = [(4.25, 0.0, "crise (d\xe9but)"), (9.5, 0.0, "seizure onset"), (12, 0, "seizure end")]
    path = write_nihon_kohden(tmp_path / "a.EEG", raw_of(microvolts(), notes=notes))
    lists = b"".join(MneFile(path).annotation_lists())
    assert "+4.250000000\x14crise (d\xe9but)\x14".encode() in lists
    labels = read_edf_labels(recording_file(path), 30.0, DEFAULT_TEXTS)
    assert [(e.start, e.stop, e.label) for e in labels.events] == [(9.5, 12.0, "seiz")]


def test_a_recording_of_nihon_kohden_needs_its_labels_and_neither_start_nor_comments(
    tmp_path: Path,
) -> None:
    path = write_nihon_kohden(tmp_path / "a.EEG", raw_of(microvolts(12)))
    assert part_names(path) == ("a.21E", "a.PNT", "a.LOG")
    path.with_suffix(".PNT").rename(tmp_path / "a.pnt")
    assert part_names(path) == ("a.21E", "a.pnt", "a.LOG")
    assert recording_start(path) == datetime(2024, 3, 2, 10, 20, 30, tzinfo=UTC).replace(
        tzinfo=None
    )
    (tmp_path / "a.pnt").unlink()
    path.with_suffix(".LOG").unlink()
    assert part_names(path) == ("a.21E",)
    assert recording_start(path) is None
    labels = read_edf_labels(recording_file(path), 12.0, DEFAULT_TEXTS)
    assert (labels.reason, labels.events) == ("no_annotation", ())
    path.with_suffix(".21E").unlink()
    assert refusal(path) == ("missing_part", "a.21E")


def test_an_eeg_is_a_recording_next_to_labels_or_start_and_without_a_vhdr() -> None:
    names = ["a.EEG", "a.21E", "a.PNT", "a.LOG", "b.eeg", "b.vhdr", "b.vmrk", "c.eeg", "d.eeg"]
    names += ["d.pnt", "e.eeg", "e.vhdr", "e.21e", "f.log", "f.EEG"]
    chosen = choose(names, {".eeg", ".vhdr", ".edf"})
    assert chosen.recordings == ("a.EEG", "b.vhdr", "d.eeg", "e.vhdr")
    assert {"a.21E", "a.PNT", "a.LOG", "b.eeg", "d.pnt", "e.eeg"} <= chosen.parts
    assert choose(names, {".edf"}).recordings == ()
    assert suffix_of("a.EEG") == ".eeg"
