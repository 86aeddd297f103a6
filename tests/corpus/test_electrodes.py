"""Labels, references and missing electrodes: which recordings give the 19 channels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.cache.shard import Shard
from brainbrr_core.configuration import Configuration, Corpus, Overrides, load
from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus import row_reading
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import read_index, update_index, write_index
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS, SIGNAL_REASONS
from brainbrr_core.corpus.sources import LocalFiles
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.inspection import inspect_recording
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


def test_label_rules_and_interpolation_constants_are_complete() -> None:
    rules = json.loads(json.dumps(label_rules()))
    constants = json.loads(json.dumps(interpolation_constants()))
    assert rules == label_rules()
    assert constants == interpolation_constants()
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


def test_only_used_electrodes_count_for_mixed_references() -> None:
    labels = [*labels_without(), "EEG OZ-LE", "ECG-A1", "T9-AVG"]
    assert match_channels(labels).mixed_references == ""


def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_files: LocalFiles, path: Path) -> str:
        raise AssertionError(f"{path} is hashed again")

    monkeypatch.setattr(LocalFiles, "hashes", forbidden)


def test_changed_rules_are_applied_without_hashing(
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


def test_an_index_without_rules_is_judged_again(tmp_path: Path) -> None:
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
    """The two nearest electrodes along the edge and the nearest inner one, by their positions."""
    at = {name: np.array(p) / np.linalg.norm(p) for name, p in POSITIONS.items()}
    inner = [name for name in CHANNELS if name not in EDGE_NEIGHBORS]
    for name, neighbors in EDGE_NEIGHBORS.items():

        def nearest(names: Sequence[str], to: str = name) -> list[str]:
            return sorted(set(names) - {to}, key=lambda other: -float(at[to] @ at[other]))

        assert set(neighbors) == {*nearest(list(EDGE_NEIGHBORS))[:2], nearest(inner)[0]}
    # The edge: electrodes lower than the others.
    assert min(at[name][2] for name in inner) > max(at[name][2] for name in EDGE_NEIGHBORS)


def test_electrodes_are_interpolated_up_to_the_limit() -> None:
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


def test_a_refusal_names_the_electrodes_that_are_not_interpolated(tmp_path: Path) -> None:
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
    # The setting does not change the version of the shards.
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
    """Potentials (19, count) of current dipoles in the head, with a standard deviation of 1."""
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
    """The largest error of an electrode relative to the root mean square of its signal."""
    ordered = [name for name in CHANNELS if name in missing]
    present = [n for n, name in enumerate(CHANNELS) if name not in missing]
    wanted = fields[[CHANNELS.index(name) for name in ordered]]
    error = interpolation_weights(ordered) @ fields[present] - wanted
    return float(np.max(np.sqrt((error**2).mean(axis=1) / (wanted**2).mean(axis=1))))


def test_edge_electrodes_with_neighbors_are_no_worse_than_the_midline() -> None:
    """For fields of dipoles in the head, whose values at each electrode are known."""
    fields = dipole_fields(4000)
    midline = max(spline_error([name], fields) for name in ("Fz", "Cz", "Pz"))
    assert midline < 0.7
    for edge, neighbors in EDGE_NEIGHBORS.items():
        alone = spline_error([edge], fields)
        assert alone < min(0.55, midline)
        # Without its neighbors, the error is much larger.
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


def test_every_pair_of_missing_electrodes_is_refused_with_a_known_reason() -> None:
    for missing in combinations(CHANNELS, 2):
        reason = match_channels(labels_without(*missing)).reason
        assert reason is None or reason in SIGNAL_REASONS
