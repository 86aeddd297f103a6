"""Recordings in other formats than EDF: the same signal and the same facts in each of them."""

from __future__ import annotations

import datetime
import tracemalloc
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.annotation.texts import DEFAULT_TEXTS
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.edf_annotations import read_edf_labels
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.deidentification.recording import open_source
from brainbrr_core.edf.formats import choose, part_names, reader_of
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf, recording_file, recording_start
from tests.support.edf_files import cut, patch
from tests.support.format_files import (
    INSTANT,
    NAMES,
    RATE,
    SILENT,
    START,
    WRITERS,
    microvolts,
    raw_of,
    read_by_mne,
    write_bdf,
    write_brainvision,
    write_eeglab,
    write_fif,
    write_format,
    write_persyst,
)


@pytest.mark.parametrize("name", WRITERS)
def test_a_signal_is_in_microvolts_as_it_was_written_and_as_mne_reads_it(
    tmp_path: Path, name: str
) -> None:
    signal = microvolts()
    path = write_format(name, tmp_path, raw_of(signal))
    recording = open_edf(path)
    assert (recording.rate, recording.samples) == (Fraction(RATE), 30 * RATE)
    got = recording.read(1000, 5000)
    # Only what float32 itself cannot hold is added to the tolerance of the format.
    in_float32 = 3e-5
    tolerance = WRITERS[name][2] + in_float32
    written = signal[: len(CHANNELS)]
    assert np.abs(got - (written[:, 1000:5000] - written[:, :1])).max() < tolerance
    by_mne = read_by_mne(path)
    of_mne = 1e6 * by_mne.get_data()[: len(CHANNELS)]
    assert np.abs(got - (of_mne[:, 1000:5000] - of_mne[:, :1])).max() < in_float32
    assert recording.facts.signals == len(NAMES)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in SILENT])
def test_the_annotations_in_a_file_are_interpreted_as_those_of_an_edf_plus(
    tmp_path: Path, name: str
) -> None:
    path = write_format(name, tmp_path, raw_of(microvolts()))
    labels = read_edf_labels(recording_file(path), 30.0, DEFAULT_TEXTS)
    assert labels.reason is None
    expected = (6.0, 30.0, UNKNOWN) if name in INSTANT else (6.0, 10.0, "seiz")
    assert [(e.start, e.stop, e.label) for e in labels.events] == [expected]
    silent = write_format(name, tmp_path / "silent", raw_of(microvolts(), notes=[(3, 0, "asleep")]))
    assert read_edf_labels(recording_file(silent), 30.0, DEFAULT_TEXTS).reason == "no_annotation"


@pytest.mark.parametrize("name", WRITERS)
def test_the_start_is_that_of_the_file(tmp_path: Path, name: str) -> None:
    path = write_format(name, tmp_path, raw_of(microvolts(12)))
    # Of a Neuroscan file, 03/02/24 may be in March or in February.
    expected = None if name.startswith(("EEGLAB", "Neuroscan")) else START.replace(tzinfo=None)
    assert recording_start(path) == expected
    codes = [finding.code for finding in open_edf(path).findings]
    assert codes == (["impossible_date"] if expected is None else [])


def test_a_marker_of_one_sample_is_an_instant(tmp_path: Path) -> None:
    notes = [(5.0, 0.0, "seizure onset"), (9.0, 0.0, "seizure end"), (20.0, 0.0, "seizure")]
    path = write_brainvision(tmp_path / "a.vhdr", raw_of(microvolts(), notes=notes))
    labels = read_edf_labels(recording_file(path), 30.0, DEFAULT_TEXTS)
    # The last one says nothing about its end: what follows is neither seizure nor background.
    expected = [Event(5.0, 9.0, "seiz"), Event(20.0, 30.0, "unkn")]
    assert [(e.start, e.stop) for e in labels.events] == [(e.start, e.stop) for e in expected]
    assert [finding.code for finding in labels.findings] == ["event_without_end"]


def test_a_cropped_fif_has_times_from_its_own_first_sample(tmp_path: Path) -> None:
    cropped = raw_of(microvolts()).crop(4, 26)
    path = write_fif(tmp_path / "a_eeg.fif", cropped)
    labels = read_edf_labels(recording_file(path), 22.0, DEFAULT_TEXTS)
    assert [(e.start, e.stop) for e in labels.events] == [(2.0, 6.0)]
    assert recording_start(path) == START.replace(tzinfo=None) + datetime.timedelta(seconds=4)


def test_channels_that_a_fif_marks_as_bad_count_as_missing(tmp_path: Path) -> None:
    raw = raw_of(microvolts(12))
    raw.info["bads"] = ["C3"]
    recording = open_edf(write_fif(tmp_path / "a_eeg.fif", raw))
    assert recording.missing == ("C3",)
    assert ("bad_channel", "C3") in {(f.code, f.detail) for f in recording.findings}


def test_channels_that_are_no_voltage_are_no_electrodes(tmp_path: Path) -> None:
    raw = raw_of(microvolts(12))
    raw.set_channel_types({"Fz": "misc"}, verbose="error")
    with pytest.raises(UnusableEdf) as error:
        open_edf(write_fif(tmp_path / "a_eeg.fif", raw))
    assert (error.value.reason, error.value.detail) == ("unknown_unit", "Fz: 'n/a'")


def test_bdf_has_24_bits_and_keeps_an_offset_exactly(tmp_path: Path) -> None:
    # 200 mV of offset, as a DC amplifier has, with a signal of a digital step or two.
    signal = 200_000 + 0.1 * np.random.default_rng(1).integers(-20, 20, (len(NAMES), 12 * RATE))
    path = write_bdf(tmp_path / "a.bdf", raw_of(signal))
    got = open_edf(path).read(0, 12 * RATE)
    read = edfio.read_bdf(path)
    for row, own in zip(got, read.signals, strict=False):
        assert np.abs(row - (own.data - own.data[0])).max() < 1e-6
    assert got.std() > 0.5


def test_a_bdf_is_followed_while_it_is_written_and_is_not_copied_as_an_edf(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", raw_of(microvolts()))
    pieces = list(GrowingEdf(path).pieces(0))
    assert np.array_equal(np.concatenate(pieces, axis=1), open_edf(path).read(0, 30 * RATE))
    with pytest.raises(UnusableEdf, match="only EDFs are copied"):
        open_source(path)


def test_bdf_plus_time_stamps_are_checked(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", raw_of(microvolts()))
    content = bytearray(path.read_bytes())
    for number in range(20, 30):
        old, new = f"+{number}\x14\x14".encode(), f"+{number + 9}\x14\x14".encode()
        at = content.index(old)
        content[at : at + len(old)] = new
    content[192:197] = b"BDF+D"
    path.write_bytes(content)
    with pytest.raises(UnusableEdf) as error:
        open_edf(path)
    assert error.value.reason == "discontinuous"


def test_memory_does_not_grow_with_a_recording(tmp_path: Path) -> None:
    for name in WRITERS:
        if name in ("EDF", "EEGLAB"):
            continue
        path = write_format(name, tmp_path / name, raw_of(microvolts(1200)))
        whole = 8 * len(NAMES) * 1200 * RATE
        recording = open_edf(path)
        recording.read(0, 10)
        tracemalloc.start()
        for start in range(0, recording.samples, 15_360):
            recording.read(start, min(start + 15_360, recording.samples))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < whole / 3, name


BROKEN = {
    "BDF cut short": ("BDF", lambda p: cut(p, lambda size: size * 2 // 3), "truncated_file"),
    "BDF header cut": ("BDF", lambda p: cut(p, lambda _: 300), "unreadable"),
    "an EDF named BDF": ("BDF", lambda p: patch(p, 0, b"0", 8), "unreadable"),
    "vhdr cut short": ("BrainVision int16", lambda p: cut(p, lambda n: n // 2), "unreadable"),
    "vhdr of noise": (
        "BrainVision int16",
        lambda p: p.write_bytes(bytes(range(256))),
        "unreadable",
    ),
    "eeg cut within a sample": (
        "BrainVision int16",
        lambda p: cut(p.with_suffix(".eeg"), lambda size: size - 7),
        "truncated_file",
    ),
    "eeg with fewer samples than promised": (
        "BrainVision int16",
        lambda p: p.write_text(
            p.read_text("utf-8").replace("[Common Infos]", "[Common Infos]\nDataPoints=9999"),
            "utf-8",
        ),
        "truncated_file",
    ),
    "eeg gone": ("BrainVision int16", lambda p: p.with_suffix(".eeg").unlink(), "missing_part"),
    "markers gone": (
        "BrainVision int16",
        lambda p: p.with_suffix(".vmrk").unlink(),
        "missing_part",
    ),
    "empty eeg": (
        "BrainVision int16",
        lambda p: p.with_suffix(".eeg").write_bytes(b""),
        None,
    ),
    "set cut short": ("EEGLAB", lambda p: cut(p, lambda size: size // 2), "unreadable"),
    "set of noise": ("EEGLAB", lambda p: p.write_bytes(bytes(range(256)) * 9), "unreadable"),
    "fdt cut short": (
        "EEGLAB with fdt",
        lambda p: cut(p.with_suffix(".fdt"), lambda size: size // 2),
        "truncated_file",
    ),
    "fdt gone": ("EEGLAB with fdt", lambda p: p.with_suffix(".fdt").unlink(), "missing_part"),
    "fif cut short": ("FIF", lambda p: cut(p, lambda size: size // 2), "unreadable"),
    "fif of noise": ("FIF", lambda p: p.write_bytes(bytes(range(256)) * 9), "unreadable"),
    "dat gone": ("Persyst", lambda p: p.with_suffix(".dat").unlink(), "missing_part"),
    "data gone": ("Nicolet", lambda p: p.with_suffix(".data").unlink(), "missing_part"),
    "data cut short": (
        "Nicolet",
        lambda p: cut(p.with_suffix(".data"), lambda size: size - 2 * len(NAMES)),
        "truncated_file",
    ),
    "head with fewer samples": (
        "Nicolet",
        lambda p: p.write_text(p.read_text().replace("num_samples=3072", "num_samples=3000")),
        "unreadable",
    ),
    "head cut short": ("Nicolet", lambda p: cut(p, lambda size: size // 2), "unreadable"),
    "lay cut short": ("Persyst", lambda p: cut(p, lambda size: size // 3), "unreadable"),
    "gdf cut short": ("GDF", lambda p: cut(p, lambda size: size // 2), "truncated_file"),
    "gdf 1 cut short": ("GDF 1.25", lambda p: cut(p, lambda size: size // 2), "truncated_file"),
    "gdf header cut": ("GDF", lambda p: cut(p, lambda _: 300), "unreadable"),
    "gdf events cut": ("GDF", lambda p: cut(p, lambda size: size - 5), "truncated_file"),
    "gdf 1 events cut": ("GDF 1.25", lambda p: cut(p, lambda size: size - 5), "truncated_file"),
    "gdf of noise": ("GDF", lambda p: p.write_bytes(bytes(range(256)) * 9), "unreadable"),
    "cnt cut short": ("Neuroscan", lambda p: cut(p, lambda size: size // 2), "truncated_file"),
    "cnt events cut": ("Neuroscan", lambda p: cut(p, lambda size: size - 19), "truncated_file"),
    "cnt header cut": ("Neuroscan", lambda p: cut(p, lambda _: 600), "unreadable"),
    "cnt of noise": ("Neuroscan", lambda p: p.write_bytes(bytes(range(256)) * 9), None),
    "cnt of ANT Neuro": ("Neuroscan", lambda p: patch(p, 0, b"RIFF", 4), "unreadable"),
    "EEG cut short": ("Nihon Kohden", lambda p: cut(p, lambda n: n // 2), "truncated_file"),
    "EEG header cut": ("Nihon Kohden", lambda p: cut(p, lambda _: 300), "unreadable"),
    "EEG of noise": ("Nihon Kohden", lambda p: p.write_bytes(bytes(range(256)) * 9), "unreadable"),
    "labels gone": ("Nihon Kohden", lambda p: p.with_suffix(".21E").unlink(), "missing_part"),
    "comments in small letters": (
        "Nihon Kohden",
        lambda p: p.with_suffix(".LOG").rename(p.with_suffix(".log")),
        "missing_part",
    ),
    "labels cut short": (
        "Nihon Kohden",
        lambda p: p.with_suffix(".21E").write_text("[ELECTRODE]\n0000"),
        "unreadable",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_their_reason(tmp_path: Path, name: str) -> None:
    kind, damage, reason = BROKEN[name]
    path = write_format(kind, tmp_path, raw_of(microvolts(12)))
    damage(path)
    with pytest.raises(UnusableEdf) as error:
        open_edf(path)
    assert error.value.reason in SIGNAL_REASONS
    assert reason is None or error.value.reason == reason
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("BrainVision int16", "EEGLAB", "FIF", "Persyst", "Nicolet", "BDF"),
        *("GDF", "GDF 1.25", "Neuroscan", "Nihon Kohden"),
    ],
)
def test_damage_anywhere_is_a_reason_or_another_signal(tmp_path: Path, name: str) -> None:
    path = write_format(name, tmp_path, raw_of(microvolts(12)))
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(60):
        content = bytearray(whole)
        for position in rng.integers(0, min(len(whole), 5000), 4):
            content[position] = rng.integers(256)
        path.write_bytes(bytes(content[: rng.integers(len(whole) // 2, len(whole))]))
        try:
            open_edf(path).read(0, 100)
        except UnusableEdf as error:
            assert error.reason in SIGNAL_REASONS


@pytest.mark.parametrize("name", ["BrainVision float32", "EEGLAB", "EEGLAB with fdt", "FIF"])
def test_a_sample_that_is_no_number_is_never_read_as_one(tmp_path: Path, name: str) -> None:
    signal = microvolts()
    signal[2, 20 * RATE], signal[5, 3000:3010] = np.nan, np.inf
    signal[NAMES.index("ECG")] = np.nan
    recording = open_edf(write_format(name, tmp_path, raw_of(signal)))
    assert np.isfinite(recording.read(0, 3000)).all()
    for interval, names in {
        (2900, 3001): CHANNELS[5],
        (20 * RATE, 20 * RATE + 1): CHANNELS[2],
        (0, 30 * RATE): f"{CHANNELS[2]}, {CHANNELS[5]}",
    }.items():
        with pytest.raises(UnusableEdf) as error:
            recording.read(*interval)
        assert (error.value.reason, error.value.detail) == ("not_finite", names)
    with pytest.raises(UnusableEdf, match="not_finite"):
        recording.check_samples()
    open_edf(write_format(name, tmp_path / "whole", raw_of(microvolts()))).check_samples()


def test_a_sample_that_float32_cannot_hold_is_no_number(tmp_path: Path) -> None:
    signal = microvolts()
    signal[2, 20 * RATE] = 1e36
    recording = open_edf(write_format("BrainVision float32", tmp_path, raw_of(signal)))
    with pytest.raises(UnusableEdf, match="not_finite") as error:
        recording.check_samples()
    assert error.value.detail == CHANNELS[2]


def test_gaps_that_a_file_states_exclude_it(tmp_path: Path) -> None:
    boundary = raw_of(microvolts(), notes=[(12.0, 0.0, "boundary"), (14.0, 2.0, "seizure")])
    paths = [write_eeglab(tmp_path / "a.set", boundary)]
    paths.append(write_brainvision(tmp_path / "b.vhdr", raw_of(microvolts())))
    markers = tmp_path / "b.vmrk"
    markers.write_text(
        markers.read_text("utf-8") + "Mk9=New Segment,,3000,1,0,20240302102200000000\n", "utf-8"
    )
    joined = raw_of(microvolts(15))
    joined.append(raw_of(microvolts(15, seed=1)))
    paths.append(write_fif(tmp_path / "c_eeg.fif", joined))
    paths.append(write_persyst(tmp_path / "d.lay", raw_of(microvolts())))
    text = paths[-1].read_text().replace("37230.000000\n", "37230.000000\n2560=37260.000000\n")
    paths[-1].write_text(text)
    for path in paths:
        with pytest.raises(UnusableEdf) as error:
            open_edf(path)
        assert error.value.reason == "discontinuous", path.name


def test_nothing_is_printed_while_a_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in WRITERS:
        open_edf(write_format(name, tmp_path, raw_of(microvolts(12)))).read(0, 100)
    assert capsys.readouterr() == ("", "")


def test_only_an_edf_depends_on_no_reader() -> None:
    import mne

    assert reader_of("a.EDF") == reader_of("notes.txt") == ""
    assert reader_of("a.bdf") == "brainbrr bdf 1"
    assert reader_of("a.vhdr") == f"mne.io.read_raw_brainvision {mne.__version__}"


def test_which_files_of_a_folder_are_recordings(tmp_path: Path) -> None:
    names = ["a.edf", "a.vhdr", "a.eeg", "a.vmrk", "b.set", "b.fdt", "c.fif", "c-1.fif", "d.txt"]
    names += ["sub-1_split-01_eeg.fif", "sub-1_split-02_eeg.fif", "e-1.fif"]
    chosen = choose(names, {".edf", ".vhdr", ".set", ".fif"})
    assert chosen.recordings == ("a.edf", "b.set", "c.fif", "sub-1_split-01_eeg.fif", "e-1.fif")
    assert chosen.doubled == ("a.vhdr",)
    assert chosen.parts == {"a.eeg", "a.vmrk", "b.fdt", "c-1.fif", "sub-1_split-02_eeg.fif"}
    assert choose(names, {".edf"}) == (("a.edf",), (), frozenset())
    for name in names:
        (tmp_path / name).touch()
    assert part_names(tmp_path / "c.fif") == ("c-1.fif",)
    assert part_names(tmp_path / names[9]) == ("sub-1_split-02_eeg.fif",)
    assert part_names(tmp_path / "b.set") == ("b.fdt",)
    assert part_names(tmp_path / "e.head") == ("e.data",)
    (tmp_path / "a.vhdr").write_text("[Common Infos]\nDataFile=other.eeg\nMarkerFile=$b.vmrk\n")
    assert part_names(tmp_path / "a.vhdr") == ("other.eeg", "a.vmrk")


def test_a_split_fif_is_one_recording(tmp_path: Path) -> None:
    raw = raw_of(microvolts(900))
    raw.save(
        tmp_path / "a_eeg.fif", split_size="10MB", fmt="double", verbose="error", overwrite=True
    )
    path = tmp_path / "a_eeg.fif"
    assert (
        part_names(path) == ("a_eeg-1.fif", "a_eeg-2.fif", "a_eeg-3.fif")[: len(part_names(path))]
    )
    assert part_names(path)
    assert open_edf(path).samples == 900 * RATE
