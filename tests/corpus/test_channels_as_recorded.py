"""Channels are what labels and tables say: references, bad and missing electrodes, BIDS tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.cache.shard import Shard
from brainbrr_core.configuration import Configuration, Corpus, Overrides, Preprocessing, load
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus import row_reading
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import read_index, update_index, write_index
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS, SIGNAL_REASONS, Recording
from brainbrr_core.corpus.sources import LocalFiles
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.inspection.page import page
from brainbrr_core.inspection.quality import SignalQuality
from brainbrr_core.prediction.recording import growing_source, open_source
from brainbrr_core.signal.interpolation import (
    POSITIONS,
    interpolation_constants,
    interpolation_weights,
)
from brainbrr_core.signal.montage import EDGE_NEIGHBORS, electrode_of, label_rules, match_channels
from tests.support.edf_files import write_edf

EVENTS = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
ONE_SEIZURE = EVENTS + "5.00\t10.00\tsz\tn/a\tn/a\t2020-01-01 00:00:00\t30.00\n"


def side(name: str) -> str:
    return "midline" if name[-1] == "z" else "left" if int(name[-1]) % 2 else "right"


def labels_without(*missing: str) -> list[str]:
    return [f"EEG {name.upper()}-REF" for name in CHANNELS if name not in missing]


# --- labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        *("REF", "LE", "AR", "AVG", "AVE", "AV", "CAR", "A1", "A2", "M1", "M2", "AA", "A1A2"),
        *("A1+A2", "(A1+A2)", "(A1+A2)/2", "A2/A1", "M1+M2", "LM", "CLE", "G2", "CS2", "Linked"),
        *("LinkedEars", "Linked Ears", "LinkedEa", "Linked Mast"),
    ],
)
def test_an_electrode_against_any_reference_is_that_electrode(reference: str) -> None:
    for form in ("EEG {}-{}", "{}-{}", "{} - {}", "POL {}-{}"):
        assert electrode_of(form.format("T7", reference)) == "T3"
        assert electrode_of(form.format("FZ", reference.lower())) == "Fz"


def test_labels_are_electrodes_as_corpora_write_them() -> None:
    written = ["EEG Fp1", "Fp1-Ref", "Fp1.", "Fp1..", "POL Fp1", "fp1", "  EEG  FP1 - REF "]
    assert [electrode_of(label) for label in written] == ["Fp1"] * len(written)
    nothing = [
        *("1", "EKG EKG", "EKG", "Fc5.", "MK", "POL E", "POL $A1", "EEG 20-REF", "EEG C3P-REF"),
        *("FP1-F7", "C3-CZ", "T8-P8-0", "Fp1-SD", "A1-REF", "EEG", "", "-", ".", "Fp1 F3", "EEG1"),
    ]
    assert [electrode_of(label) for label in nothing] == [None] * len(nothing)


def test_what_decides_about_labels_and_splines_is_plain_and_complete() -> None:
    rules, constants = label_rules(), interpolation_constants()
    assert json.loads(json.dumps(rules)) == rules
    assert json.loads(json.dumps(constants)) == constants
    assert set(rules["electrodes"].values()) == set(CHANNELS)
    assert all(electrode_of(f"Fz-{name}") == "Fz" for name in rules["references"])
    assert {name: tuple(at) for name, at in constants["positions"].items()} == POSITIONS
    assert (constants["stiffness"], constants["terms"]) == (4, 50)


# --- references -----------------------------------------------------------------------------

REFERENCED: dict[str, tuple[Callable[[str], str], str]] = {
    "one": (lambda name: f"EEG {name}-REF", ""),
    "no name": (lambda name: name, ""),
    "two names of one": (lambda name: f"{name}-{'LE' if side(name) == 'left' else 'A1+A2'}", ""),
    "ears of either side": (
        lambda name: f"EEG {name}-{'A2' if side(name) == 'right' else 'A1'}",
        "A1 for 11, A2 for 8",
    ),
    "ears and average": (
        lambda name: f"EEG {name}-{'LE' if side(name) == 'left' else 'AVG'}",
        "AVG for 11, LE for 8",
    ),
    "some unnamed": (
        lambda name: name if side(name) == "midline" else f"{name}-Ref",
        "REF for 16, none named for 3",
    ),
}


def write_referenced(root: Path) -> None:
    for patient, (label, _) in REFERENCED.items():
        stem = patient.replace(" ", "")
        path = root / "train" / stem / "s001" / "01_tcp_ar" / f"{stem}.edf"
        write_edf(path, labels=[label(name) for name in CHANNELS], seconds=12)


def test_mixed_references_are_a_finding_that_names_them(tmp_path: Path) -> None:
    write_referenced(tmp_path)
    details = {
        r.patient: [f.detail for f in r.findings if f.code == "mixed_references"]
        for r in scan(tmp_path)
    }
    wanted = {
        name.replace(" ", ""): [text] if text else [] for name, (_, text) in REFERENCED.items()
    }
    assert details == wanted
    assert all(r.signal_reason is None for r in scan(tmp_path))


def test_only_the_electrodes_that_are_used_are_asked_for_their_reference() -> None:
    labels = [*labels_without(), "EEG OZ-LE", "ECG-A1", "T9-AVG"]
    assert match_channels(labels).mixed_references == ""


def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_files: LocalFiles, path: Path) -> str:
        raise AssertionError(f"{path} is hashed again")

    monkeypatch.setattr(LocalFiles, "hashes", forbidden)


def test_a_change_of_the_rules_is_seen_without_hashing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_referenced(data)
    write_edf(data / "train" / "bare" / "bare.edf", labels=labels_without("Cz"), seconds=12)
    lenient, strict = Corpus(), Corpus(references="common", interpolate_at_most=0)
    first = update_index(str(data), cache, lenient)
    assert not changes(str(data), cache, lenient, first)
    # A sensor sees the change, and so does the command.
    assert len(changes(str(data), cache, strict, first).changed) == len(REFERENCED) + 1
    with monkeypatch.context() as patch:
        no_hashing(patch)
        second = update_index(str(data), cache, strict)
        mixed = {name.replace(" ", "") for name, (_, text) in REFERENCED.items() if text}
        reasons = {r.patient: r.signal_reason for r in second}
        assert {name for name in reasons if reasons[name] == "no_common_reference"} == mixed
        assert reasons["bare"] == "missing_channels"
        assert sum(reason is None for reason in reasons.values()) == len(REFERENCED) - len(mixed)
        detail = {r.patient: str(r.findings[-1]) for r in second if r.patient in mixed}
        assert "AVG for 11, LE for 8" in detail["earsandaverage"]
        assert read_index(cache) == second
        assert not changes(str(data), cache, strict, second)
        assert update_index(str(data), cache, lenient) == first


def test_an_unchanged_corpus_under_the_same_rules_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_referenced(tmp_path)
    corpus = Corpus(references="common")
    first = scan(tmp_path, corpus=corpus)

    def forbidden(*_arguments: object) -> None:
        raise AssertionError("opened again")

    monkeypatch.setattr(row_reading, "open_edf", forbidden)
    assert scan(tmp_path, first, corpus) == first


def test_an_index_that_does_not_say_its_rules_is_judged_anew(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_referenced(data)
    strict = Corpus(references="common")
    first = update_index(str(data), cache, Corpus())
    write_index(replace(first, channel_rules=""), cache)
    assert any(
        r.signal_reason == "no_common_reference" for r in update_index(str(data), cache, strict)
    )


def test_rules_that_change_while_a_file_cannot_be_read_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        path = tmp_path / "train" / f"p{number:02d}" / f"p{number:02d}.edf"
        write_edf(path, labels=labels_without("Cz"), seconds=12)
    strict = Corpus(interpolate_at_most=0)
    lenient = scan(tmp_path)
    locked = tmp_path / "train" / "p07" / "p07.edf"
    real = LocalFiles.state

    def state(files: LocalFiles, path: Path) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(files, path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "state", state)
        meanwhile = scan(tmp_path, lenient, strict)
    kept = meanwhile.by_key()["train/p07/p07"]
    assert kept.is_unreadable_now and kept.signal_reason is None
    assert {r.signal_reason for r in scan(tmp_path, meanwhile, strict)} == {"missing_channels"}


# --- interpolation --------------------------------------------------------------------------


def accepted(missing: Sequence[str], most: int = 3) -> bool:
    present = [name for name in CHANNELS if name not in missing]
    match = match_channels(present, rules=ChannelRules(interpolate_at_most=most))
    assert match.to_interpolate in ((), match.missing)
    return match.reason is None


def test_the_neighbors_at_the_edge_are_the_nearest() -> None:
    """The two nearest along the edge and the nearest further in, by the electrodes' positions."""
    at = {name: np.array(p) / np.linalg.norm(p) for name, p in POSITIONS.items()}
    inner = [name for name in CHANNELS if name not in EDGE_NEIGHBORS]
    for name, neighbors in EDGE_NEIGHBORS.items():

        def nearest(names: Sequence[str], to: str = name) -> list[str]:
            return sorted(set(names) - {to}, key=lambda other: -float(at[to] @ at[other]))

        assert set(neighbors) == {*nearest(list(EDGE_NEIGHBORS))[:2], nearest(inner)[0]}
    # All that is lower than the others: the edge.
    assert min(at[name][2] for name in inner) > max(at[name][2] for name in EDGE_NEIGHBORS)


def test_up_to_the_limit_is_interpolated_and_no_more() -> None:
    assert all(accepted([name]) for name in CHANNELS)
    assert accepted(["Fz", "Cz", "Pz"]) and accepted(["F3", "T4", "Pz"])
    assert not accepted(["Fz", "Cz", "Pz", "C3"])
    assert accepted(["Fz", "Cz", "Pz", "C3"], 4)
    assert not accepted(["Cz"], 0) and accepted([], 0)


def test_an_edge_electrode_needs_its_neighbors() -> None:
    for edge, neighbors in EDGE_NEIGHBORS.items():
        for other in set(CHANNELS) - {edge}:
            alone = other not in neighbors and edge not in EDGE_NEIGHBORS.get(other, ())
            assert accepted([edge, other]) == alone, (edge, other)


def test_what_is_not_interpolated_is_said(tmp_path: Path) -> None:
    cases = {
        "edge": (("T3", "F7"), "F7, T3; at the edge without all of their neighbors: F7, T3"),
        "many": (("F3", "C4", "Fz", "Cz"), "F3, Fz, Cz, C4; 3 at most are interpolated"),
    }
    for name, (missing, detail) in cases.items():
        path = write_edf(tmp_path / f"{name}.edf", labels=labels_without(*missing))
        with pytest.raises(UnusableEdf) as error:
            open_edf(path)
        assert (error.value.reason, error.value.detail) == ("missing_channels", detail)


def home(tmp_path: Path, corpus: str = "") -> Configuration:
    path = tmp_path / "own.yaml"
    path.write_text(
        f"data_dir: {tmp_path / 'data'}\ncache_root: {tmp_path / 'cache'}\n"
        f"runs_dir: {tmp_path / 'runs'}\ndagster_home: {tmp_path / 'dagster'}\n{corpus}"
    )
    return load(Overrides(config=f"smoke:cpu:{path}"), environment={})


def test_index_build_predict_stream_and_inspect_agree(tmp_path: Path) -> None:
    missing = ("F3", "T3", "Cz", "P4")
    path = tmp_path / "data" / "sub-01" / "eeg" / "sub-01_task-a_eeg.edf"
    write_edf(path, labels=labels_without("F3", "Cz"), seconds=30)
    path.with_name("sub-01_task-a_events.tsv").write_text(ONE_SEIZURE)
    path.with_name("sub-01_task-a_channels.tsv").write_text("name\tstatus\nT3\tbad\nP4.\tBAD\n")
    three, four = home(tmp_path), home(tmp_path, "corpus: {interpolate_at_most: 4}\n")
    plan = plan_corpus(three)
    assert plan.reasons() == {"excluded: missing_channels": 1}
    with pytest.raises(BrainbrrError, match="3 at most are interpolated"):
        open_source(path, three.corpus)
    with pytest.raises(BrainbrrError, match="3 at most are interpolated"):
        growing_source(path, three.corpus)
    seen = inspect_recording(path, three.preprocessing, None, three.corpus)
    assert [code for code, _ in seen.reasons] == ["missing_channels"]

    plan = plan_corpus(four)
    assert build(plan, four.preprocessing, workers=1).failed == []
    plan = plan_corpus(four)
    assert plan.count(State.FRESH) == 1
    shard = Shard(plan.store.shard_path(plan.items[0].recording.partition_key))
    assert shard.header.interpolated == missing
    assert open_source(path, four.corpus).missing == missing
    assert growing_source(path, four.corpus).missing == missing
    seen = inspect_recording(path, four.preprocessing, None, four.corpus)
    assert tuple(c.name for c in seen.channels if c.interpolated) == missing
    (recording,) = plan.index
    details = {
        code: [f.detail for f in recording.findings if f.code == code] for code in SIGNAL_FINDINGS
    }
    assert details["interpolated_channel"] == list(missing)
    assert details["bad_channel"] == ["T3", "P4"]
    # Of the shard's version nothing changes with the setting.
    assert plan_corpus(three).store.version == plan.store.version


def test_a_stream_and_a_prediction_refuse_what_the_index_refuses(tmp_path: Path) -> None:
    label = REFERENCED["ears and average"][0]
    path = write_edf(tmp_path / "a.edf", labels=[label(name) for name in CHANNELS])
    strict = ChannelRules(references="common")
    assert open_edf(path).missing == GrowingEdf(path).missing == ()
    for opened in (open_source, growing_source):
        with pytest.raises(BrainbrrError, match=r"AVG for 11, LE for 8"):
            opened(path, strict)


def dipole_fields(count: int) -> NDArray[np.float64]:
    """Potentials (19, count) of current dipoles within the head, each with a deviation of 1."""
    rng = np.random.default_rng(0)
    at = np.array([POSITIONS[name] for name in CHANNELS])
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    where, moment = rng.standard_normal((2, count, 3))
    where[:, 2] = np.abs(where[:, 2])
    where *= rng.uniform(0.2, 0.7, (count, 1)) / np.linalg.norm(where, axis=1, keepdims=True)
    apart = at[:, None] - where
    fields = (apart * moment).sum(axis=2) / np.linalg.norm(apart, axis=2) ** 3
    return np.asarray(fields / fields.std(axis=0))


def spline_error(missing: Sequence[str], fields: NDArray[np.float64]) -> float:
    """The largest error of an electrode, as a part of its own signal's root mean square."""
    ordered = [name for name in CHANNELS if name in missing]
    present = [n for n, name in enumerate(CHANNELS) if name not in missing]
    wanted = fields[[CHANNELS.index(name) for name in ordered]]
    error = interpolation_weights(ordered) @ fields[present] - wanted
    return float(np.max(np.sqrt((error**2).mean(axis=1) / (wanted**2).mean(axis=1))))


def test_edge_electrodes_with_neighbors_are_no_worse_than_the_midline() -> None:
    """Of fields of dipoles in the head, whose values at each electrode are known."""
    fields = dipole_fields(4000)
    midline = max(spline_error([name], fields) for name in ("Fz", "Cz", "Pz"))
    assert midline < 0.7
    for edge, neighbors in EDGE_NEIGHBORS.items():
        alone = spline_error([edge], fields)
        assert alone < min(0.55, midline)
        # Why the neighbors must be there.
        assert all(spline_error([edge, other], fields) > alone for other in neighbors)


@pytest.mark.parametrize(
    "missing", [*((name,) for name in EDGE_NEIGHBORS), ("F3",), ("T3", "Cz", "O2"), ("F7", "C4")]
)
def test_interpolation_beyond_the_midline_equals_mne(missing: tuple[str, ...]) -> None:
    import mne

    assert accepted(missing)
    ordered = [name for name in CHANNELS if name in missing]
    data = 20 * np.random.default_rng(3).standard_normal((19, 400))
    info = mne.create_info(list(CHANNELS), 256, "eeg", verbose="error")
    raw = mne.io.RawArray(data * 1e-6, info, verbose="error")
    where = {name: 0.095 * np.array(p) / np.linalg.norm(p) for name, p in POSITIONS.items()}
    raw.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"), verbose="error")
    raw.info["bads"] = ordered
    raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="error")
    present = [n for n, name in enumerate(CHANNELS) if name not in missing]
    got = interpolation_weights(ordered) @ data[present]
    assert np.abs(got - raw.get_data(picks=ordered) * 1e6).max() < 1e-5


# --- bad channels ---------------------------------------------------------------------------

PLAIN = tuple(CHANNELS)
REF = tuple(f"EEG {name}-Ref" for name in CHANNELS)
SPELLINGS = {
    "same": (REF, "EEG Cz-Ref", "bad"),
    "short": (REF, "Cz", "bad"),
    "upper": (PLAIN, "CZ", "bad"),
    "dotted": (REF, "Cz.", "bad"),
    "reference": (REF, "Cz-(A1+A2)", "bad"),
    "prefix": (PLAIN, "POL Cz", "bad"),
    "status": (REF, "EEG Cz-Ref", "BAD"),
    "reason": (REF, "EEG Cz-Ref", "bad (flat)"),
    "old name": (("T7", *(n for n in CHANNELS if n != "T3")), "T3-A1", "bad"),
}


def channels_tsv(rows: Sequence[tuple[str, str]]) -> str:
    lines = ["name\ttype\tunits\tstatus", *(f"{name}\tEEG\tuV\t{status}" for name, status in rows)]
    return "\n".join(lines) + "\n"


def described(root: Path, labels: Sequence[str], table: str) -> Recording:
    """The row of one BIDS recording with a channel table beside it."""
    path = root / "sub-01" / "eeg" / "sub-01_task-a_eeg.edf"
    write_edf(path, labels=labels)
    path.with_name("sub-01_task-a_channels.tsv").write_text(table, newline="")
    (recording,) = scan(root)
    return recording


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bad_channel_is_matched_as_a_label_is(tmp_path: Path, name: str) -> None:
    labels, bad, status = SPELLINGS[name]
    recording = described(tmp_path, labels, channels_tsv([("Fz", "good"), (bad, status)]))
    wanted = "T3" if name == "old name" else "Cz"
    assert (recording.missing, recording.signal_reason) == ((wanted,), None)
    codes = [(f.code, f.detail) for f in recording.findings if f.code != "no_annotation"]
    assert codes == [("bad_channel", wanted), ("interpolated_channel", wanted)]


@pytest.mark.parametrize("status", ["good", "n/a", "", "badly labelled", "not bad", "unknown"])
def test_a_channel_that_is_not_marked_bad_is_used(tmp_path: Path, status: str) -> None:
    recording = described(tmp_path, REF, channels_tsv([("Fz", "good"), ("Cz", status)]))
    assert (recording.missing, recording.findings) == ((), ())


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table.replace("\n", "\r\n"),
        lambda table: "\ufeff" + table,
        lambda table: table.replace("status", "Status").replace("name", "Name"),
    ],
    ids=["CRLF", "BOM", "capitals"],
)
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, form: Callable[[str], str]) -> None:
    recording = described(tmp_path, REF, form(channels_tsv([("EEG Cz-Ref", "bad")])))
    assert recording.missing == ("Cz",)


def test_a_bad_row_of_no_channel_is_a_finding(tmp_path: Path) -> None:
    labels = [*(name for name in REF if "Cz" not in name), "POL ECG1", "EEG C3P-Ref"]
    rows = ["ecg1", "C3P", "EEG C3P-LE", "Cz-Ref", "Fz2", "x\x1b[31my", "Fz2"]
    recording = described(tmp_path, labels, channels_tsv([(name, "bad") for name in rows]))
    details = [f.detail for f in recording.findings if f.code == "unmatched_bad_channel"]
    # Cz is marked bad and is not there; the escape sequence is shown, not sent to a terminal.
    assert details == ["Cz-Ref", "Fz2", "x\\x1b[31my"]
    assert not [f for f in recording.findings if f.code == "bad_channel"]
    assert recording.missing == ("Cz",)


# --- tables above ---------------------------------------------------------------------------


def session(root: Path, subject: str = "sub-01", run: str = "run-000", events: bool = True) -> Path:
    folder = root / subject / "ses-a" / "eeg"
    stem = f"{subject}_ses-a_task-rest_{run}"
    path = write_edf(folder / f"{stem}_eeg.edf", seconds=30)
    if events:
        (folder / f"{stem}_events.tsv").write_text(ONE_SEIZURE)
    return path


def bad(*names: str) -> str:
    return channels_tsv([(name, "bad") for name in names])


ABOVE = {
    "eeg": "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_channels.tsv",
    "session": "sub-01/ses-a/sub-01_ses-a_channels.tsv",
    "subject": "sub-01/sub-01_task-rest_channels.tsv",
    "root": "task-rest_channels.tsv",
}


@pytest.mark.parametrize("where", ABOVE)
def test_a_table_above_describes_every_recording_below_it(tmp_path: Path, where: str) -> None:
    runs = [session(tmp_path, run=run) for run in ("run-000", "run-001")]
    other = session(tmp_path, "sub-02")
    (tmp_path / ABOVE[where]).write_text(bad("Cz"))
    rows = {Path(r.path): r for r in scan(tmp_path)}
    assert [rows[path].missing for path in runs] == [("Cz",), ("Cz",)]
    assert rows[other].missing == (("Cz",) if where == "root" else ())
    # Without an index it is the same table.
    assert [bad_channels_of(path) for path in runs] == [("Cz",), ("Cz",)]
    assert open_source(runs[0]).missing == ("Cz",)
    seen = inspect_recording(runs[0], Preprocessing())
    assert [c.name for c in seen.channels if c.interpolated] == ["Cz"]


def test_the_nearest_table_and_then_the_most_specific_wins(tmp_path: Path) -> None:
    path = session(tmp_path)
    tables = [
        ("task-rest_channels.tsv", "Fz"),
        ("sub-01/sub-01_channels.tsv", "Cz"),
        ("sub-01/sub-01_task-rest_channels.tsv", "Pz"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_channels.tsv", "F3"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_task-rest_channels.tsv", "F4"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-000_channels.tsv", "C3"),
    ]
    index: Index | None = None
    for name, electrode in tables:
        (tmp_path / name).write_text(bad(electrode))
        # A table that is new is noticed, wherever it is.
        assert index is None or changes(str(tmp_path), tmp_path / "cache", Corpus(), index)
        index = scan(tmp_path, index)
        assert index.recordings[0].missing == (electrode,)
        assert bad_channels_of(path) == (electrode,)


def test_a_table_of_something_else_describes_nothing(tmp_path: Path) -> None:
    session(tmp_path)
    for name in (
        "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-001_channels.tsv",
        "sub-01/ses-a/eeg/sub-01_ses-a_task-sleep_channels.tsv",
        "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_electrodes.tsv",
        "sub-01/ses-a/eeg/channels.tsv",
        "sub-01/ses-b_channels.tsv",
        "sub-02_channels.tsv",
    ):
        (tmp_path / name).write_text(bad("Cz"))
    (recording,) = scan(tmp_path)
    assert recording.missing == ()
    # Above the corpus is another one's.
    (tmp_path / "task-rest_channels.tsv").write_text(bad("Cz"))
    corpus = Corpus(layout="folder")
    assert scan(tmp_path / "sub-01", corpus=corpus).recordings[0].missing == ()


def test_only_recordings_named_by_their_subject_inherit(tmp_path: Path) -> None:
    for number in (1, 2):
        write_edf(tmp_path / "bob" / f"bob_{number}.edf", seconds=30)
    (tmp_path / "bob" / "bob_events.tsv").write_text(ONE_SEIZURE)
    (tmp_path / "bob" / "bob_channels.tsv").write_text(bad("Cz"))
    (tmp_path / "bob" / "bob_2_channels.tsv").write_text(bad("Fz"))
    write_edf(tmp_path / "bob" / "x_task-rest_eeg.edf", seconds=30)
    (tmp_path / "bob" / "task-rest_channels.tsv").write_text(bad("Cz"))
    rows = scan(tmp_path, corpus=Corpus(layout="folder"))
    assert [(r.label_reason, r.missing) for r in rows] == [
        ("no_annotation", ()),
        ("no_annotation", ("Fz",)),
        ("no_annotation", ()),
    ]


def test_events_are_inherited_too(tmp_path: Path) -> None:
    session(tmp_path, events=False)
    session(tmp_path, run="run-001")
    above = tmp_path / "sub-01" / "sub-01_task-rest_events.tsv"
    above.write_text(EVENTS + "1.00\t2.00\tsz\tn/a\tn/a\t2020-01-01 00:00:00\t30.00\n")
    first, second = scan(tmp_path)
    assert [(e.start, e.stop) for e in first.events] == [(1, 3)]
    assert [(e.start, e.stop) for e in second.events] == [(5, 15)]
    path = Path(first.path)
    seen = inspect_recording(path, Preprocessing())
    assert [(e.start, e.stop) for e in seen.events] == [(1, 3)]


@pytest.mark.parametrize("afar", [False, True], ids=["here", "behind a URL"])
def test_a_change_of_a_table_above_is_noticed(tmp_path: Path, afar: bool) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    session(data)
    session(data, run="run-001")
    session(data, "sub-02")
    address = data.as_uri() if afar else str(data)
    table = data / "sub-01" / "sub-01_channels.tsv"
    table.write_text(bad("Cz"))
    index = update_index(address, cache)
    assert [r.missing for r in index] == [("Cz",), ("Cz",), ()]
    assert [c.name for c in index.recordings[0].companions] == [
        "sub-01_ses-a_task-rest_run-000_events.tsv",
        "../../sub-01_channels.tsv",
    ]
    assert not changes(address, cache, Corpus(), index)
    table.write_text(bad("Cz", "Fz"))
    assert len(changes(address, cache, Corpus(), index).changed) == 2
    index = update_index(address, cache)
    assert [r.missing for r in index] == [("Fz", "Cz"), ("Fz", "Cz"), ()]
    table.unlink()
    assert len(changes(address, cache, Corpus(), index).changed) == 2
    assert [r.missing for r in update_index(address, cache)] == [(), (), ()]


# --- what a signal is of no use for -----------------------------------------------------------

RATE, SECONDS = 250, 60
GAIN = 0.1  # µV per digital unit


def scalp(seed: int = 0) -> NDArray[np.float64]:
    """A minute of something like EEG: slow, some 30 µV, with a drift."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal(RATE * SECONDS))
    trend = np.linspace(walk[0], walk[-1], len(walk))
    return np.asarray(30 * (walk - trend) / walk.std() + 10 * rng.standard_normal(len(walk)))


def quality(microvolts: NDArray[np.float64], rate: Fraction = Fraction(RATE)) -> SignalQuality:
    digital = np.clip(np.rint(microvolts / GAIN), -20000, 20000).astype(np.int16)
    figures = SignalQuality(rate, GAIN, (-20000, 20000))
    position = 0
    # In parts of every size, as data records come.
    for size in (1, 7, 249, 250, 251, 1000, 3333, 10**6):
        figures.add(digital[position : position + size])
        position += size
    return figures


def seconds(figures: SignalQuality) -> list[float]:
    wanted = (figures.flat_s, figures.saturated_s, figures.mains_s, figures.disconnected_s)
    return [round(value, 6) for value in wanted if value is not None]


def span(start: float, stop: float) -> slice:
    return slice(round(start * RATE), round(stop * RATE))


def test_a_sound_signal_has_no_second_of_no_use() -> None:
    assert seconds(quality(scalp())) == [0, 0, 0, 0]


def test_flat_seconds_are_those_in_which_at_most_one_step_is_made() -> None:
    signal = scalp()
    signal[span(10, 14)] = 12.0
    # One step up and down is the rounding of a constant.
    signal[span(20, 22.5)] = 33.0 + GAIN * (np.arange(625) % 2)
    # Too short; and a slope, which changes all the time.
    signal[span(30, 30.9)] = 5.0
    signal[span(40, 45)] = GAIN * np.arange(1250) / 4
    # Nothing of the first and the last sample of a flat part need be like it.
    assert quality(signal).flat_s == pytest.approx(6.5, abs=0.02)
    assert quality(np.full(RATE * SECONDS, 3.0)).flat_s == SECONDS


def test_saturated_seconds_are_those_at_the_ends_of_the_range() -> None:
    signal = scalp()
    signal[span(10, 13)] = 2000.0
    signal[span(20, 21.5)] = -2500.0
    signal[span(30, 40)] = 1990.0
    assert quality(signal).saturated_s == pytest.approx(4.5)


@pytest.mark.parametrize("hertz", [50, 60])
def test_humming_seconds_are_those_whose_power_is_mostly_mains(hertz: int) -> None:
    signal = scalp()
    time = np.arange(len(signal)) / RATE
    hum = np.sin(2 * np.pi * hertz * time)
    signal[span(10, 17)] += 200 * hum[span(10, 17)]
    # Some hum is usual.
    signal[span(20, 40)] += 3 * hum[span(20, 40)]
    # A rhythm of another frequency is none.
    signal[span(50, 55)] += 200 * np.sin(2 * np.pi * (hertz + 5) * time)[span(50, 55)]
    assert quality(signal).mains_s == pytest.approx(7)


def test_disconnected_seconds_have_less_or_more_in_them_than_a_scalp_gives() -> None:
    rng = np.random.default_rng(1)
    signal = scalp()
    signal[span(10, 14)] = 0.2 * rng.standard_normal(1000)
    signal[span(20, 25)] = 900 * rng.standard_normal(1250)
    # A drift alone is a matter of the electrode's skin.
    signal[span(30, 40)] += np.linspace(0, 3000, 2500) - 1500
    signal[span(50, 52)] = 12.0
    assert quality(signal).disconnected_s == pytest.approx(11)


def test_what_nobody_can_know_is_not_counted_as_none() -> None:
    figures = SignalQuality(Fraction(90), None, None)
    figures.add(np.zeros(900, np.int16))
    assert (figures.flat_s, figures.saturated_s) == (10, None)
    assert (figures.mains_s, figures.disconnected_s) == (None, None)
    slow = SignalQuality(Fraction(1), 1.0, (-9, 9))
    slow.add(np.arange(-9, 10, 3, dtype=np.int16))
    assert (slow.flat_s, slow.saturated_s, slow.mains_s) == (0, 2, None)
    fractional = Fraction(1999, 10)
    hum = 100 * np.sin(2 * np.pi * 50 * np.arange(1999) / float(fractional))
    assert quality(hum, fractional).mains_s == pytest.approx(9 * 200 / 199.9)


def test_an_inspection_shows_them_for_each_channel(tmp_path: Path) -> None:
    import edfio

    signals = []
    for number, name in enumerate(CHANNELS):
        microvolts = scalp(number)
        if name == "P3":
            microvolts[span(10, 14)] = 12.0
        if name == "O2":
            microvolts[span(20, 23)] = 2000.0
        signals.append(
            edfio.EdfSignal(
                microvolts,
                RATE,
                label=f"EEG {name}-Ref",
                physical_dimension="uV",
                physical_range=(-2000, 2000),
            )
        )
    edfio.Edf(signals).write(tmp_path / "a.edf")
    inspection = inspect_recording(tmp_path / "a.edf", Preprocessing())
    rows = {channel.name: channel.raw for channel in inspection.channels if channel.raw}
    assert list(rows) == list(CHANNELS)
    assert rows["P3"].flat_s == pytest.approx(4, abs=0.02) and rows["P3"].saturated_s == 0
    assert rows["O2"].saturated_s == pytest.approx(3) and rows["O2"].disconnected_s == 3
    assert all(rows[name].disconnected_s == 0 for name in CHANNELS if name not in ("P3", "O2"))
    html = page(inspection, 10.0)
    for column in ("Flat, s", "Saturated, s", "Mains, s", "Disconnected, s"):
        assert column in html


def test_every_pair_of_missing_electrodes_is_refused_with_a_known_reason() -> None:
    for missing in combinations(CHANNELS, 2):
        reason = match_channels(labels_without(*missing)).reason
        assert reason is None or reason in SIGNAL_REASONS
