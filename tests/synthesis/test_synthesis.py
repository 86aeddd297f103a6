"""The synthetic corpus: its tree, its bytes, and seizures where the annotations say."""

from __future__ import annotations

import json
import math
import re
import resource
import subprocess
import sys
from datetime import date
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import tuh
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.one_process import one_process
from brainbrr_core.synthesis import CorpusSummary, write_corpus, write_corpus_like
from brainbrr_core.synthesis.channels import source_of
from brainbrr_core.synthesis.plan import RATES_HZ, plan_corpus, summarize
from brainbrr_core.synthesis.sources import bins_hz, fast_length, shaped_noise
from brainbrr_core.synthesis.template import record_length
from brainbrr_core.synthesis.writing import LOCK
from tests.support.examples import examples

RECORDINGS, HOURS, SEED = 13, 0.3, 5
MIDDLE, LEFT, RIGHT = "FZ CZ PZ", "FP1 F3 C3 P3 F7 T3 T5 O1", "FP2 F4 C4 P4 F8 T4 T6 O2"
WANTED = {name for side in (MIDDLE, LEFT, RIGHT) for name in side.split()}
PATH = re.compile(
    r"(train|dev|eval)/([a-z]{8})/(s\d{3}_20\d\d)/(01_tcp_ar|02_tcp_le|03_tcp_ar_a)/"
    r"\2_(s\d{3})_(t\d{3})\.(edf|csv|csv_bi)"
)


class RawEdf:
    """An EDF decoded from its bytes according to the specification of 1992."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.head = content[:256].decode("ascii")
        count = int(self.head[252:256])
        self.records, self.record_s = int(self.head[236:244]), float(self.head[244:252])
        position = 256

        def column(width: int) -> list[str]:
            nonlocal position
            cells = [
                content[position + i * width : position + (i + 1) * width].decode("ascii").strip()
                for i in range(count)
            ]
            position += count * width
            return cells

        self.labels = column(16)
        column(80)
        self.dimensions = column(8)
        low, high, digital_low, digital_high = ([float(v) for v in column(8)] for _ in range(4))
        self.ranges = list(zip(low, high, digital_low, digital_high, strict=True))
        column(80)
        self.samples = [int(v) for v in column(8)]
        column(32)
        assert position == int(self.head[184:192])
        self.data = np.frombuffer(content[position:], dtype="<i2").reshape(self.records, -1)

    def microvolts(self, number: int) -> NDArray[np.float64]:
        start = sum(self.samples[:number])
        digital = self.data[:, start : start + self.samples[number]].ravel().astype(float)
        low, high, digital_low, digital_high = self.ranges[number]
        share = (digital - digital_low) / (digital_high - digital_low)
        return np.asarray(low + share * (high - low))

    def electrodes(self) -> dict[str, int]:
        names = [re.sub(r"^EEG |-(REF|LE)$", "", label) for label in self.labels]
        return {name: number for number, name in enumerate(names) if name in WANTED}

    @property
    def duration_s(self) -> float:
        return self.records * self.record_s


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def band_power(wave: NDArray[np.float64], rate_hz: float, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    frequencies = np.arange(len(spectrum)) * rate_hz / len(wave)
    return float(spectrum[(frequencies >= low) & (frequencies <= high)].sum() / len(wave) ** 2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    out = tmp_path_factory.mktemp("made") / "corpus"
    return out, write_corpus(out, recordings=RECORDINGS, hours=HOURS, seed=SEED, workers=1)


def edf_files(out: Path) -> list[Path]:
    return sorted((out / "edf").rglob("*.edf"))


def test_bytes_do_not_depend_on_workers(corpus: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    out, summary = corpus
    again = write_corpus(
        tmp_path / "again", recordings=RECORDINGS, hours=HOURS, seed=SEED, workers=3
    )
    assert again == summary
    first, second = contents(out), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_seed_changes_signals_and_events() -> None:
    first, second = plan_corpus(20, 1.0, 1), plan_corpus(20, 1.0, 2)
    assert [plan.seizures for plan in first] != [plan.seizures for plan in second]
    assert [plan.seizures for plan in first] == [p.seizures for p in plan_corpus(20, 1.0, 1)]


def test_tree_and_patients(corpus: tuple[Path, CorpusSummary]) -> None:
    out, summary = corpus
    names = [name for name in contents(out) if name != "synthesis.json"]
    assert not [name for name in names if not PATH.fullmatch(name.removeprefix("edf/"))]
    stems = {name.partition(".")[0] for name in names}
    assert len(stems) == RECORDINGS == summary.recordings
    assert len(names) == 3 * RECORDINGS
    splits: dict[str, set[str]] = {}
    for stem in stems:
        _, split, patient, *_ = stem.split("/")
        splits.setdefault(split, set()).add(patient)
    assert all(len(patients) >= 2 for patients in splits.values())
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == summary.patients
    assert summary.splits == {
        split: sum(stem.startswith(f"edf/{split}/") for stem in stems) for split in splits
    }
    assert set(splits) == {"train", "dev", "eval"}


def test_headers(corpus: tuple[Path, CorpusSummary]) -> None:
    rates, without_midline, hours = set(), 0, 0.0
    for path in edf_files(corpus[0]):
        edf = RawEdf(path)
        assert edf.head[:8].strip() == "0"
        assert edf.head[8:88].strip() == "X X X X"
        assert edf.head[88:168].strip() == f"Startdate 01-JAN-{path.parts[-3][-4:]} X X X"
        assert edf.head[192:197] == "EDF+C"
        assert edf.record_s == 1.0 and edf.duration_s >= 70
        missing = WANTED - edf.electrodes().keys()
        assert missing in (set(), {"FZ", "PZ"})
        without_midline += bool(missing)
        assert 19 <= len(edf.labels) - 1 <= 33
        suffix = "-LE" if path.parts[-2] == "02_tcp_le" else "-REF"
        assert all(label.endswith(suffix) for label in edf.labels if label.startswith("EEG "))
        assert ("EEG A1-REF" in edf.labels) == (path.parts[-2] == "01_tcp_ar")
        rates.add(edf.samples[0])
        assert (
            edf.ranges[0][:2]
            == {
                250: (-4999.84, 4999.847),
                256: (-5482.28, 5482.288),
                400: (-29483.0, 29483.11),
                512: (-5482.28, 5482.288),
                1000: (-4999.85, 4999.85),
            }[edf.samples[0]]
        )
        hours += edf.duration_s / 3600
        assert edf.data.min() > -32767 and edf.data.max() < 32767
    assert rates == {250, 256, 400, 512, 1000} == set(RATES_HZ)
    assert without_midline == 1
    assert hours == pytest.approx(HOURS, abs=3 / 3600)
    assert corpus[1].hours == pytest.approx(hours)


def test_amplitudes_are_those_of_eeg(corpus: tuple[Path, CorpusSummary]) -> None:
    for path in edf_files(corpus[0])[::3]:
        edf = RawEdf(path)
        for number in edf.electrodes().values():
            assert edf.dimensions[number] == "uV"
            seconds = edf.microvolts(number).reshape(edf.records, -1)
            assert 5 < np.median(seconds.std(axis=1)) < 60


def test_neighbors_are_more_similar_than_opposite_electrodes(
    corpus: tuple[Path, CorpusSummary],
) -> None:
    edf = RawEdf(edf_files(corpus[0])[0])
    place = edf.electrodes()

    def likeness(first: str, second: str) -> float:
        pair = [edf.microvolts(place[name]).reshape(edf.records, -1) for name in (first, second)]
        return float(np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(*pair, strict=True)]))

    assert likeness("P3", "O1") > likeness("O1", "F8") + 0.1
    assert likeness("P3", "O1") > 0.2


def test_mne_reads_the_same(corpus: tuple[Path, CorpusSummary]) -> None:
    import mne

    for path in edf_files(corpus[0])[:4]:
        edf = RawEdf(path)
        raw = mne.io.read_raw_edf(path, verbose="error")
        assert raw.info["sfreq"] == max(edf.samples[:-1])
        assert raw.ch_names == edf.labels[:-1]
        assert raw.n_times == edf.records * raw.info["sfreq"]
        assert raw.info["meas_date"].date() == date(int(path.parts[-3][-4:]), 1, 1)
        volts = raw.get_data(picks=[0], stop=5000)[0]
        np.testing.assert_allclose(volts * 1e6, edf.microvolts(0)[:5000], atol=1e-6)


def test_annotations_agree_with_each_other(corpus: tuple[Path, CorpusSummary]) -> None:
    seizures, ictal_s = 0, 0.0
    kinds: dict[str, set[bool]] = {}
    labels = set()
    for path in edf_files(corpus[0]):
        whole, typed = (tuh.read(path.with_suffix(suffix)) for suffix in (".csv_bi", ".csv"))
        duration_s = RawEdf(path).duration_s
        assert whole.findings == typed.findings == ()
        assert whole.duration_s == typed.duration_s == duration_s
        assert [(e.start, e.stop) for e in whole.events] == [
            (e.start, e.stop) for e in tuh.typed_events(typed)
        ]
        electrodes = {end for e in typed.events for pair in e.channels for end in pair.split("-")}
        assert electrodes <= WANTED | {"A1", "A2"}
        labels |= {event.label for event in typed.events}
        if not whole.events:
            rows = path.with_suffix(".csv").read_text().splitlines()[6:]
            assert len(rows) == (20 if path.parts[-2] == "03_tcp_ar_a" else 22)
            assert {row.partition(",")[2] for row in rows} == {
                f"0.0000,{duration_s:.4f},bckg,1.0000"
            }
        seizures += len(whole.events)
        ictal_s += sum(event.duration for event in whole.events)
        kinds.setdefault(path.parts[-5], set()).add(bool(whole.events))
    assert kinds == {split: {True, False} for split in ("train", "dev", "eval")}
    assert labels <= {"gnsz", "fnsz"}
    assert corpus[1].seizures == seizures
    assert corpus[1].ictal_hours == pytest.approx(ictal_s / 3600)


def test_seizures_show_in_the_signal(corpus: tuple[Path, CorpusSummary]) -> None:
    shown = 0
    for path in edf_files(corpus[0]):
        events = tuh.read(path.with_suffix(".csv_bi")).events
        if not events:
            continue
        edf, wanted = RawEdf(path), RawEdf(path).electrodes()
        rate = edf.samples[0]
        channels = [edf.microvolts(number) for number in wanted.values()]
        calm = [
            second
            for second in range(0, edf.records - 4, 4)
            if all(second + 4 < e.start or second > e.stop + 21 for e in events)
        ]
        usual = [
            np.median([band_power(c[s * rate : (s + 4) * rate], rate, 1.8, 8.5) for s in calm])
            for c in channels
        ]
        for event in events:
            late = int((event.start + 0.6 * event.duration) * rate)
            ratios = [
                band_power(c[late : late + 4 * rate], rate, 1.8, 8.5) / u
                for c, u in zip(channels, usual, strict=True)
            ]
            assert max(ratios) > 5
            assert np.median(ratios) > 1
            shown += 1
    assert shown == corpus[1].seizures > 0


def test_rhythm_slows_over_a_seizure(corpus: tuple[Path, CorpusSummary]) -> None:
    falls = []
    for path in edf_files(corpus[0]):
        for event in tuh.read(path.with_suffix(".csv_bi")).events:
            edf = RawEdf(path)
            rate = edf.samples[0]
            waves = np.array([edf.microvolts(n) for n in edf.electrodes().values()])
            peaks = []
            for share in (0.25, 0.85):
                middle = int((event.start + share * event.duration) * rate)
                part = waves[:, middle - rate : middle + rate]
                spectrum = np.abs(np.fft.rfft(part * np.hanning(2 * rate), axis=1)) ** 2
                peaks.append(float(np.argmax(spectrum[:, 3:20].max(axis=0)) + 3) / 2)
            falls.append(peaks[0] - peaks[1])
    assert np.mean(np.array(falls) > 0) > 0.7
    assert np.median(falls) >= 1.0


def test_second_call_writes_nothing(corpus: tuple[Path, CorpusSummary]) -> None:
    out, summary = corpus
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write_corpus(out, recordings=RECORDINGS, hours=HOURS, seed=SEED) == summary
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    stored = json.loads((out / "synthesis.json").read_text())
    assert stored["summary"]["seizures"] == summary.seizures
    assert stored["parameters"] == {
        "kind": "made",
        "recordings": RECORDINGS,
        "hours": HOURS,
        "seed": SEED,
    }


def test_further_seizures_can_be_rare_or_none() -> None:
    def counts(further_every_s: float | None) -> set[int]:
        return {len(plan.seizures) for plan in plan_corpus(40, 20.0, 5, further_every_s)}

    assert counts(None) == {0, 1}
    assert max(counts(300.0)) > max(counts(3000.0)) > 1
    with pytest.raises(BrainbrrError, match="more than 0"):
        plan_corpus(40, 20.0, 5, 0.0)


def test_a_corpus_with_other_seizures_is_another_corpus(tmp_path: Path) -> None:
    out = tmp_path / "tusz"
    write_corpus(out, recordings=3, hours=0.06, seed=1, further_every_s=None, workers=1)
    write_corpus(out, recordings=3, hours=0.06, seed=1, further_every_s=None, workers=1)
    with pytest.raises(BrainbrrError, match="another"):
        write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)


def test_interrupted_corpus_is_completed(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    arguments = {"recordings": 3, "hours": 0.06, "seed": 1}
    write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)
    whole = contents(out)
    victim = edf_files(out)[1]
    kept = edf_files(out)[0].stat().st_mtime_ns
    victim.with_name(victim.name + ".unfinished").write_bytes(victim.read_bytes()[:1000])
    victim.unlink()
    (out / "synthesis.json").rename(out / "synthesis.json.unfinished")
    write_corpus(out, recordings=3, hours=arguments["hours"], seed=1, workers=1)
    assert contents(out) == whole
    assert edf_files(out)[0].stat().st_mtime_ns == kept


def test_a_corpus_for_which_there_is_no_room_names_the_file_and_is_completed_later(
    tmp_path: Path,
) -> None:
    out = tmp_path / "corpus"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for annotations, and not for an EDF.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(BrainbrrError) as error:
            write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.match(rf"{out}/edf/\S+\.edf cannot be written \(File too large\): ", str(error.value))
    assert not list(out.rglob("*.edf*"))
    write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)
    write_corpus(tmp_path / "at_once", recordings=3, hours=0.06, seed=1, workers=1)
    assert contents(out) == contents(tmp_path / "at_once")


@pytest.mark.parametrize("written", [b"", b'{"generator_version": 1, "para'])
def test_a_folder_that_could_not_be_claimed_is_claimed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    out = tmp_path / "corpus"

    def half(self: Path, _content: bytes) -> int:
        with self.open("wb") as file:
            file.write(written)
        # As if killed here: nothing is cleaned up.
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "write_bytes", half)
        write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)
    assert len(list(out.iterdir())) == 1
    write_corpus(out, recordings=3, hours=0.06, seed=1, workers=1)
    assert sorted(path.name for path in out.iterdir()) == ["edf", "synthesis.json"]


def test_refusals(corpus: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    for recordings, hours, seed in (
        (2, 1.0, 0),
        (0, 1.0, 0),
        (200_000, 1e5, 0),
        (12, 0.2, 0),
        (12, 100.0, 0),
        (12, float("nan"), 0),
        (12, 1.0, -1),
    ):
        with pytest.raises(BrainbrrError):
            write_corpus(tmp_path / "no", recordings=recordings, hours=hours, seed=seed)
    with pytest.raises(BrainbrrError, match="workers"):
        write_corpus(tmp_path / "no", recordings=3, hours=0.1, seed=0, workers=0)
    assert not (tmp_path / "no").exists()
    with pytest.raises(BrainbrrError, match="another synthetic corpus"):
        write_corpus(corpus[0], recordings=RECORDINGS, hours=HOURS, seed=SEED + 1)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(BrainbrrError, match="has other files"):
        write_corpus(foreign, recordings=3, hours=0.1, seed=0)
    with pytest.raises(BrainbrrError, match="not a folder"):
        write_corpus(foreign / "notes.txt", recordings=3, hours=0.1, seed=0)
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]
    with pytest.raises(BrainbrrError, match="no EDF"):
        write_corpus_like(tmp_path / "no", foreign, seed=0)
    (foreign / "dev" / "p" / "s").mkdir(parents=True)
    (foreign / "dev" / "p" / "s" / "x.edf").write_bytes(b"not an EDF")
    with pytest.raises(BrainbrrError, match=r"x\.edf: no readable EDF header"):
        write_corpus_like(tmp_path / "no", foreign, seed=0)


@examples(60)
@given(st.integers(3, 90), st.floats(70, 2000), st.integers(0, 2**40))
def test_plans_have_the_requested_properties(recordings: int, mean_s: float, seed: int) -> None:
    hours = recordings * max(mean_s, 70.001) / 3600
    plans = plan_corpus(recordings, hours, seed)
    assert len({plan.key for plan in plans}) == len(plans) == recordings
    mean_s = hours * 3600 / recordings
    assert math.isclose(
        sum(plan.duration_s for plan in plans), hours * 3600, abs_tol=1 + recordings / 2
    )
    owners: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for plan in plans:
        assert max(70, 0.7 * mean_s - 1) <= plan.duration_s <= max(70, 1.3 * mean_s + 1)
        owners.setdefault(plan.patient, set()).add(plan.split)
        sizes[plan.patient] = sizes.get(plan.patient, 0) + 1
        edges = [(s.start, s.stop) for s in plan.seizures]
        assert all(start >= 5 and stop <= plan.duration_s - 5 for start, stop in edges)
        assert all(11.99 <= stop - start <= 120.01 for start, stop in edges)
        assert all(b[0] - a[1] >= 19.99 for a, b in pairwise(edges))
        assert 19 <= len(plan.channels) <= 33
    assert all(len(splits) == 1 for splits in owners.values())
    assert max(sizes.values()) <= 4
    if recordings >= 20:
        assert min(sizes.values()) >= 2
    for split in ("train", "dev", "eval"):
        inside = [bool(plan.seizures) for plan in plans if plan.split == split]
        assert any(inside)
        assert len(inside) == 1 or not all(inside)
        assert len({p.patient for p in plans if p.split == split}) >= (2 if recordings >= 12 else 1)
    if recordings >= 10:
        assert {plan.channels[0].samples for plan in plans} == {250, 256, 400, 512, 1000}
    assert summarize(plans).recordings == recordings


def test_three_fifths_are_for_training() -> None:
    plans = plan_corpus(200, 20.0, 0)
    assert summarize(plans).splits == {"train": 120, "dev": 40, "eval": 40}
    ill = {plan.patient for plan in plans if plan.seizures}
    assert 0.6 < len(ill) / len({plan.patient for plan in plans}) < 1


def _source_tree(root: Path) -> None:
    from edfio import Edf, EdfAnnotation, EdfSignal, Recording

    def write(key: str, channels: list[tuple[str, int, str, float]], record_s: float) -> Path:
        path = root / f"{key}.edf"
        path.parent.mkdir(parents=True)
        noise = np.random.default_rng(0)
        Edf(
            [
                EdfSignal(
                    noise.uniform(-1, 1, round(rate * 2)),
                    rate,
                    label=label,
                    physical_dimension=unit,
                    physical_range=(-limit, limit),
                )
                for label, rate, unit, limit in channels
            ],
            recording=Recording(startdate=date(2009, 3, 4), equipment_code="Secret"),
            data_record_duration=record_s,
            annotations=[EdfAnnotation(0, None, "named")],
        ).write(path)
        # a range that edfio itself cannot write
        path.write_bytes(path.read_bytes().replace(b"-4999.86", b"-4999.85"))
        return path

    head = "channel,start_time,stop_time,label,confidence\n"
    electrodes = [(f"EEG {name}-REF", 250, "uV", 4999.85) for name in sorted(WANTED)]
    extra = [("EEG EKG1-REF", 250, "uV", 3000.0), ("IBI", 1, "sec", 3276.7)]
    whole = write("dev/aaaaaaxx/s001_2009/01_tcp_ar/aaaaaaxx_s001_t000", electrodes + extra, 1)
    whole.with_suffix(".csv_bi").write_text(
        "# version = csv_v1.0.0\r\n# duration = 93.00 secs\r\n#\n"
        + head
        + "TERM,20.1234,52.5000,seiz,1.0000\n"
    )
    pair = [
        ("EEG T7-LE", 200, "mV", 3.0),
        ("Fz", 200, "uV", 4999850.0),
        ("PHOTIC PH", 100, "mm", 9.0),
    ]
    odd = write("eval/aaaaaayy/s001_2009/02_tcp_le/aaaaaayy_s001_t000", pair, 1)
    odd.with_suffix(".csv_bi").write_text(
        "# duration = 40.54 secs\n" + head + "TERM,0.0000,9.0000,bckg,1.0000\n"
    )
    write("train/aaaaaazz/s001_2009/01_tcp_ar/aaaaaazz_s001_t000", electrodes, 2)


@pytest.mark.parametrize("level", ["", "edf"])
def test_like_repeats_headers_and_annotations(tmp_path: Path, level: str) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    _source_tree(source / level)
    summary = write_corpus_like(out, source, seed=3, workers=1)
    originals, twins = contents(source / level), contents(out / "edf")
    assert originals.keys() == twins.keys()
    for name in originals:
        if not name.endswith(".edf"):
            assert originals[name] == twins[name]
            continue
        old, new = RawEdf(source / level / name), RawEdf(out / "edf" / name)
        if "eval" not in name:
            assert old.ranges[0][:2] == (-4999.85, 4999.85)
        assert (new.labels, new.dimensions, new.ranges) == (old.labels, old.dimensions, old.ranges)
        assert [n / new.record_s for n in new.samples[:-1]] == pytest.approx(
            [n / old.record_s for n in old.samples[:-1]]
        )
        assert b"Secret" not in twins[name] and b"named" not in twins[name]
        assert b"04.03.09" not in twins[name]
    lengths = {name: RawEdf(out / "edf" / name).duration_s for name in twins if "edf" in name}
    assert sorted(lengths.values()) == pytest.approx([2.0, 40.54, 93.0])
    assert (summary.recordings, summary.patients, summary.seizures) == (3, 3, 1)
    assert summary.splits == {"train": 1, "dev": 1, "eval": 1}
    assert summary.hours == pytest.approx(135.54 / 3600)
    assert summary.ictal_hours == pytest.approx(32.3766 / 3600)


def test_like_puts_the_seizure_where_the_annotation_says(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    _source_tree(source)
    write_corpus_like(out, source, seed=3, workers=1)
    edf = RawEdf(next((out / "edf" / "dev").rglob("*.edf")))
    waves = [edf.microvolts(number) for number in edf.electrodes().values()]
    power = [
        [band_power(w[s * 250 : (s + 4) * 250], 250, 1.8, 8.5) for s in range(0, 88, 4)]
        for w in waves
    ]
    course = np.max(np.array(power) / np.median(power, axis=1, keepdims=True), axis=0)
    late = course[9:12]  # 36 to 48 s
    before = course[:4]  # up to 16 s
    assert late.min() > before.max()
    stored = contents(out)
    before_ns = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    write_corpus_like(out, source, seed=3, workers=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before_ns
    again = tmp_path / "again"
    write_corpus_like(again, source, seed=3, workers=2)
    assert contents(again) == stored
    annotation = next(source.rglob("*t000.csv_bi"))
    annotation.write_text(annotation.read_text() + "TERM,60.0,70.0,seiz,1.0000\n")
    with pytest.raises(BrainbrrError, match="another synthetic corpus"):
        write_corpus_like(out, source, seed=3, workers=1)


def test_like_takes_focus_and_type_from_the_typed_file(tmp_path: Path) -> None:
    from brainbrr_core.synthesis.template import plan_like

    _source_tree(tmp_path)
    edf = next((tmp_path / "dev").rglob("*.edf"))
    head = "# duration = 93.00 secs\nchannel,start_time,stop_time,label,confidence\n"
    rows = [f"{pair},20.1234,52.5000,fnsz,1.0000" for pair in ("F8-T4", "T4-T6", "C4-T4")]
    edf.with_suffix(".csv").write_text(head + "\n".join(rows) + "\n")
    plan = next(p for p in plan_like(tmp_path, 0)[0] if p.split == "dev")
    assert [(s.start, s.stop, s.focus) for s in plan.seizures] == [(20.1234, 52.5, "T4")]
    edf.with_suffix(".csv").write_text((head + "\n".join(rows) + "\n").replace("fnsz", "gnsz"))
    plan = next(p for p in plan_like(tmp_path, 0)[0] if p.split == "dev")
    assert [s.focus for s in plan.seizures] == [""]


@pytest.mark.parametrize(
    ("duration", "rates", "usual", "expected"),
    [
        ("1831", [256, 1], "1", "1"),
        ("10.5", [250, 256], "1", "0.5"),  # 2625 and 2688 samples: 21 records
        ("40.54", [200, 100], "1", "0.02"),  # 4054 samples: records of 1, 2, 2027 or 4054
        ("1831.37", [256, 1], "1", "1"),  # half a sample: cannot be exact
        ("7", [256], "2", "1"),
    ],
)
def test_record_length(duration: str, rates: list[int], usual: str, expected: str) -> None:
    found = record_length(Fraction(duration), [Fraction(r) for r in rates], Fraction(usual))
    assert found == Fraction(expected)


@pytest.mark.parametrize(
    ("label", "kind", "electrode"),
    [
        ("EEG FP1-REF", "electrode", "FP1"),
        ("EEG T8-LE", "electrode", "T4"),
        ("Fz", "electrode", "FZ"),
        ("EEG EKG1-REF", "ecg", ""),
        ("EEG 26-REF", "open", ""),
        ("EMG-REF", "emg", ""),
        ("DC1-DC", "quiet", ""),
        ("PHOTIC PH", "quiet", ""),
    ],
)
def test_the_source_of_a_channel_follows_from_its_label(
    label: str, kind: str, electrode: str
) -> None:
    source = source_of(label)
    assert (source.kind, source.electrode) == (kind, electrode)


def test_fast_length_is_the_next_even_smooth_number() -> None:
    def smooth(number: int) -> bool:
        for prime in (2, 3, 5):
            while number % prime == 0:
                number //= prime
        return number == 1

    for samples in range(2, 700):
        expected = next(n for n in range(samples, 2000) if n % 2 == 0 and smooth(n))
        assert fast_length(samples) == expected


def test_shaped_noise_has_its_spectrum_and_unit_deviation() -> None:
    frequencies = bins_hz(60_000, 100.0)
    amplitudes = ((frequencies > 10) & (frequencies < 20)).astype(np.float32)
    noise = shaped_noise(np.random.default_rng(1), 60_000, amplitudes)
    assert noise.dtype == np.float32 and noise.shape == (60_000,)
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert band_power(noise.astype(float), 100.0, 9.5, 20.5) > 1e4 * band_power(
        noise.astype(float), 100.0, 25, 49
    )


def test_import_is_light() -> None:
    code = (
        "import brainbrr_core.synthesis, sys; "
        "sys.exit(bool({'scipy', 'edfio', 'torch', 'mne', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_one_process_writes_to_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    with (
        one_process(out / LOCK, ""),
        pytest.raises(BrainbrrError, match=f"another process writes a corpus to {out}: wait"),
    ):
        write_corpus(out, recordings=3, hours=0.06, seed=0, workers=1)
    assert list(out.iterdir()) == []
    # The file of a killed process is no obstacle, and stays no longer than the work.
    (out / LOCK).touch()
    write_corpus(out, recordings=3, hours=0.06, seed=0, workers=1)
    assert sorted(path.name for path in out.iterdir()) == ["edf", "synthesis.json"]
    # Nothing is written to a complete corpus.
    with one_process(out / LOCK, ""):
        write_corpus(out, recordings=3, hours=0.06, seed=0, workers=1)
