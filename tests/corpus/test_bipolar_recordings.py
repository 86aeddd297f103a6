"""Bipolar recordings: used by the montage of derivations, refused by name by the other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import edfio
import mne
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.gc import find
from brainbrr_core.cache.plan import Plan, State, plan_corpus, plan_profile
from brainbrr_core.cache.shard import Shard
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA, MontageName
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import index_path, read_index, write_index
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.signal.quantization import SCALE
from tests.support.bipolar_files import (
    CHBMIT_LABELS,
    ELECTRODES_OF,
    bipolar_signals,
    electrodes,
    write_signals,
)
from tests.support.edf_files import another_copy
from tests.support.signal_reference import chain

ANNOTATION = "version = tse_v1.0.0\n\n0.0000 5.0000 bckg 1.0000\n5.0000 40.0000 seiz 1.0000\n"
BANANA: MontageName = "double-banana"


def bipolar_file(path: Path, labels: Sequence[str] = CHBMIT_LABELS, seconds: float = 40) -> Path:
    """A bipolar recording with these labels, whose signals follow from 22 electrodes."""
    write_signals(path, bipolar_signals(labels, electrodes(256, seconds)), 256)
    return path


def in_split(root: Path, name: str = "p0_s001_t000", split: str = "train") -> Path:
    """The path of a recording in a corpus like TUSZ, with its annotations."""
    path = root / split / name.split("_")[0] / "s001_2010" / "01_tcp_ar" / f"{name}.edf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tse_bi").write_text(ANNOTATION)
    return path


def configured(tmp_path: Path, montage: MontageName) -> Configuration:
    """Settings with a montage, on the corpus and the cache of a test."""
    settings = tmp_path / f"{montage}.yaml"
    settings.write_text(f"preprocessing: {{montage: {montage}}}\n")
    folders = {"data_dir": str(tmp_path / "data"), "cache_root": str(tmp_path / "cache")}
    return load(Overrides(config=f"smoke:cpu:{settings}", **folders), environment={})


def built(settings: Configuration) -> Plan:
    """The plan of a corpus of which every shard was built that can be."""
    summary = build(plan_corpus(settings, lambda _line: None), settings.preprocessing, workers=1)
    assert not summary.failed
    return plan_profile(settings)


def stored(plan: Plan, key: str) -> NDArray[np.float64]:
    """The stored signal of a recording in standard deviations."""
    shard = Shard(plan.store.shard_path(key))
    blocks = np.concatenate([*shard.blocks(0, shard.header.blocks)], axis=1)
    return blocks[:, : shard.header.samples] * SCALE


def derivations_by_mne(path: Path, signs: dict[str, tuple[str, int]]) -> NDArray[np.float64]:
    """The 18 derivations in µV as MNE reads them; ``signs`` has label and sign of some."""
    raw = mne.io.read_raw_edf(path, verbose="error")
    rows = []
    for name in DOUBLE_BANANA:
        label, sign = signs.get(name, (name.upper(), 1))
        rows.append(sign * raw.get_data(picks=[label])[0] * 1e6)
    return np.array(rows)


def reason(path: Path, montage: MontageName = BANANA, bad: Sequence[str] = ()) -> tuple[str, str]:
    with pytest.raises(UnusableEdf) as error:
        open_edf(path, bad, None, montage)
    return error.value.reason, error.value.detail


def test_a_bipolar_recording_is_taken_as_it_is(tmp_path: Path) -> None:
    path = bipolar_file(in_split(tmp_path / "data"))
    plan = built(configured(tmp_path, BANANA))
    (item,) = plan.items
    assert (item.state, item.recording.missing) == (State.FRESH, ())
    assert item.recording.matched[0] == ("Fp1-F7", "FP1-F7")
    shard = Shard(plan.store.shard_path(item.recording.partition_key))
    assert shard.header.channels == DOUBLE_BANANA
    # MNE numbers the two channels T8-P8.
    expected = derivations_by_mne(path, {"T8-P8": ("T8-P8-0", 1)})
    got = stored(plan, item.recording.partition_key)
    assert np.abs(got - chain(expected, Fraction(256))).max() < 0.001


def test_a_referential_and_a_bipolar_file_of_one_recording_agree(tmp_path: Path) -> None:
    potentials = electrodes(512, 40)
    referential = in_split(tmp_path / "data", "p0_s001_t000")
    write_signals(referential, {f"EEG {n}-REF": potentials[n] for n in CHANNELS}, 512)
    bipolar = in_split(tmp_path / "data", "p0_s001_t001")
    write_signals(bipolar, bipolar_signals(CHBMIT_LABELS, potentials), 512)
    plan = built(configured(tmp_path, BANANA))
    one, other = (stored(plan, item.recording.partition_key) for item in plan.items)
    assert one.shape == other.shape == (18, 40 * 256)
    # Each was rounded to steps of 0.1 µV on its own, of signals of some 40 µV.
    assert np.abs(one - other).max() < 0.02
    assert one.std() > 0.9


@pytest.mark.parametrize(
    "change",
    [
        {"T7-P7": "", "P7-T7": "P7-T7"},
        {"F7-T7": "F7-T3", "T7-P7": "T3-T5", "P7-O1": "T5-O1"},
        {"T8-P8": "T8-P8-0"},
        {"FP1-F7": "EEG Fp1-F7"},
        {"FT9-FT10": "-", "T7-FT9": ".", "FT10-T8": "--0"},
        {"FP1-F7": "F7-FP1", "CZ-PZ": "PZ-CZ"},
    ],
    ids=str,
)
def test_labels_of_chbmit(tmp_path: Path, change: dict[str, str]) -> None:
    labels = [new for label in CHBMIT_LABELS if (new := change.get(label, label))]
    path = bipolar_file(tmp_path / "a.edf", labels)
    source = open_edf(path, montage=BANANA)
    got = source.read(0, source.samples)
    potentials = electrodes(256, 40)
    expected = np.array([potentials[a] - potentials[b] for a, b in ELECTRODES_OF.values()])
    expected -= expected[:, :1]
    assert got.shape == (18, 40 * 256)
    assert np.abs(got - expected).max() < 0.11


def test_doubled_channels_must_be_the_same(tmp_path: Path) -> None:
    rows = bipolar_signals(CHBMIT_LABELS, electrodes(256, 40))
    same, _ = write_signals(tmp_path / "same.edf", rows, 256)
    assert open_edf(same, montage=BANANA).samples == 40 * 256
    changed = rows[-1][1].copy()
    changed[-1] += 0.2
    path, _ = write_signals(tmp_path / "other.edf", [*rows[:-1], ("T8-P8", changed)], 256)
    assert reason(path) == (
        "duplicate_channel",
        "T8-P8: the file has two signals 'T8-P8' and 'T8-P8', which differ",
    )
    # Numbered by a program; one of them is marked as bad.
    numbered = [("T8-P8-0" if n == 14 else label, row) for n, (label, row) in enumerate(rows)]
    path, _ = write_signals(tmp_path / "n.edf", [*numbered[:-1], ("T8-P8-1", changed)], 256)
    assert reason(path)[0] == "duplicate_channel"
    assert open_edf(path, ["T8-P8-1"], None, BANANA).facts.missing == ("T8-P8-1",)
    # Another range has other steps: the same signal within them.
    wide, _ = write_signals(
        tmp_path / "wide.edf",
        [*numbered[:-1], ("T8-P8-1", rows[-1][1])],
        256,
        ranges={"T8-P8-1": (-10000.0, 10000.0)},
    )
    assert open_edf(wide, montage=BANANA).samples == 40 * 256


def test_a_derivation_that_is_missing_is_named(tmp_path: Path) -> None:
    labels = [name for name in CHBMIT_LABELS if name not in ("C3-P3", "FZ-CZ")]
    path = bipolar_file(tmp_path / "a.edf", labels)
    assert reason(path) == ("missing_derivations", "C3-P3, Fz-Cz")
    whole = bipolar_file(tmp_path / "b.edf")
    assert reason(whole, bad=["C3-P3"]) == ("missing_derivations", "C3-P3")
    assert "missing_derivations" in SIGNAL_REASONS


def test_the_montage_of_electrodes_refuses_it_by_name(tmp_path: Path) -> None:
    path = bipolar_file(tmp_path / "a.edf")
    code, detail = reason(path, "10-20")
    assert code == "bipolar_montage"
    assert detail == (
        "20 derivations, 18 of the 18 of double-banana; preprocessing.montage: double-banana reads "
        "them"
    )
    few = bipolar_file(tmp_path / "b.edf", CHBMIT_LABELS[:4])
    assert reason(few, "10-20")[1] == "4 derivations, 4 of the 18 of double-banana"


def test_common_reference_and_limits_hold_for_derivations_too(tmp_path: Path) -> None:
    from brainbrr_core.configuration.settings import ChannelRules

    potentials = electrodes(256, 20)
    mixed = {f"{n}-{'A1' if n in ('Fp1', 'F7') else 'A2'}": potentials[n] for n in CHANNELS}
    path, _ = write_signals(tmp_path / "a.edf", mixed, 256)
    assert [f.code for f in open_edf(path, montage=BANANA).findings] == ["mixed_references"]
    with pytest.raises(UnusableEdf, match="no_common_reference"):
        open_edf(path, (), ChannelRules(references="common"), BANANA)
    lacking = {name: potentials[name] for name in CHANNELS if name not in ("Fp1", "F7")}
    path, _ = write_signals(tmp_path / "b.edf", lacking, 256)
    assert reason(path)[0] == "missing_channels"
    midline = {name: potentials[name] for name in CHANNELS if name not in ("Fz", "Cz")}
    path, _ = write_signals(tmp_path / "c.edf", midline, 256)
    assert open_edf(path, montage=BANANA).interpolated == ("Fz", "Cz")
    with pytest.raises(UnusableEdf, match="missing_channels"):
        open_edf(path, (), ChannelRules(interpolate_at_most=1), BANANA)


def test_one_index_serves_both_montages(tmp_path: Path) -> None:
    data = tmp_path / "data"
    bipolar_file(in_split(data, "p0_s001_t000"))
    bipolar_file(in_split(data, "p1_s001_t000"), CHBMIT_LABELS[:10], 30)
    referential = in_split(data, "p2_s001_t000")
    write_signals(referential, {n: electrodes(256, 20)[n] for n in CHANNELS}, 256)
    plans = {m: built(configured(tmp_path, m)) for m in ("10-20", BANANA)}
    reasons = {m: [item.recording.signal_reason for item in p.items] for m, p in plans.items()}
    assert reasons == {
        "10-20": ["bipolar_montage", "bipolar_montage", None],
        BANANA: [None, "missing_derivations", None],
    }
    index = read_index(tmp_path / "cache")
    assert index == scan(data)
    assert [r.duration_s for r in index.in_montage(BANANA)] == [40, 30, 20]
    assert index.in_montage("10-20") is index
    first, second, third = index.in_montage(BANANA)
    assert (first.findings, first.bipolar) == ((), None)
    assert second.findings[0].code == "missing_derivations"
    assert "bipolar_montage" not in {f.code for f in second.findings}
    assert third == index.recordings[2]
    # What one version does not use is not garbage in the other's eyes.
    assert plans[BANANA].orphans == ()
    garbage = find(plans[BANANA])
    assert {item.path.name for item in garbage} == {plans["10-20"].store.version}


def test_an_index_that_knows_no_derivations_is_judged_again(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    bipolar_file(in_split(data))
    referential = in_split(data, "p1_s001_t000")
    write_signals(referential, {n: electrodes(256, 20)[n] for n in CHANNELS}, 256)
    now = scan(data)
    old = replace(now, recordings=tuple(replace(r, bipolar=None) for r in now))
    write_index(old, cache)
    table = pq.read_table(index_path(cache))
    # The file of an earlier program has no such column.
    assert table["bipolar"].null_count == 2
    again = scan(data, read_index(cache))
    assert again == now
    assert again.recordings[0].bipolar is not None


def test_an_index_without_the_column_is_read(tmp_path: Path) -> None:
    from brainbrr_core.corpus.index_rows import index_table, read_recordings

    path = in_split(tmp_path / "data")
    write_signals(path, {n: electrodes(256, 20)[n] for n in CHANNELS}, 256)
    index = scan(tmp_path / "data")
    table = index_table(index).drop_columns(["bipolar"])
    read = read_recordings(1, table.column_names, lambda name: table[name].combine_chunks())
    assert read == index.recordings


def test_a_copy_of_a_bipolar_recording_is_used_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = bipolar_file(in_split(data, "p0_s001_t000"), CHBMIT_LABELS[:-1])
    in_split(data, "p0_s001_t001").write_bytes(first.read_bytes())
    index = scan(data)
    assert [r.signal_reason for r in index] == ["bipolar_montage"] * 2
    assert [r.signal_reason for r in index.in_montage(BANANA)] == [None, "same_content"]
    assert scan(data, index) == index
    another_copy(first, in_split(data, "p0_s001_t001"))
    changed = scan(data, index)
    assert [r.signal_reason for r in changed.in_montage(BANANA)] == [None, None]


def test_annotations_of_a_bipolar_edf_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data" / "alice" / "night.edf"
    bipolar_file(path)
    edf = edfio.read_edf(path)
    edf.add_annotations([edfio.EdfAnnotation(5, 12, "seizure")])
    edf.write(path)
    from brainbrr_core.configuration.settings import Corpus

    index: Index = scan(tmp_path / "data", corpus=Corpus(layout="folder"))
    (recording,) = index.in_montage(BANANA)
    assert [(e.start, e.stop) for e in recording.events] == [(5, 17)]
    assert recording.reason is None


def test_a_growing_bipolar_recording(tmp_path: Path) -> None:
    path = bipolar_file(tmp_path / "a.edf", seconds=70)
    source = open_edf(path, montage=BANANA)
    growing = GrowingEdf(path, montage=BANANA)
    pieces = np.concatenate([*growing.pieces(0)], axis=1)
    assert np.array_equal(pieces, source.read(0, source.samples))
    assert growing.missing == ()
    rows = bipolar_signals(CHBMIT_LABELS, electrodes(256, 70))
    changed = rows[-1][1].copy()
    changed[-1] += 0.2
    write_signals(path, [*rows[:-1], ("T8-P8", changed)], 256)
    with pytest.raises(UnusableEdf, match="duplicate_channel"):
        list(GrowingEdf(path, montage=BANANA).pieces(0))
