"""Unknown time in annotations, shards, the window index, training and validation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.cache.manifest import CATEGORIES, Manifest, counts, make_manifest, window_count
from brainbrr_core.cache.manifest_file import read_manifest, write_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.configuration import (
    Augmentation,
    Configuration,
    Hardware,
    Labels,
    Training,
    Windows,
)
from brainbrr_core.configuration.settings import SEIZURE_LABELS
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.summary import summarize
from brainbrr_core.data import UNKNOWN_LABEL, BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.augmentation import augment, draw
from brainbrr_core.data.device_batches import move_labels
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.results import read_results
from brainbrr_core.scoring import (
    ScoredRecording,
)
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.training.loss import balanced_loss, loss_of
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.validation import score_recordings
from tests.support.examples import examples
from tests.support.shell import Shell
from tests.support.small_run import small_config, small_settings
from tests.support.toy_training import (
    FRACTION,
    counted,
    masked_batch,
    same_weights,
    toy_batch,
    toy_network,
    toy_settings,
)
from tests.support.toy_training import train as toy_train

WITHOUT_MYSZ = tuple(label for label in SEIZURE_LABELS if label != "mysz")


def quiet(_line: str) -> None:
    """Nothing is said."""


@pytest.fixture(scope="module")
def plan(one_built: Configuration) -> Plan:
    return plan_corpus(one_built, quiet)


def with_events(plan: Plan, events: Mapping[str, Sequence[Event]]) -> Plan:
    """The plan with other events; a recording that is not named has none."""
    items = tuple(
        replace(
            item,
            recording=replace(
                item.recording, events=tuple(events.get(item.recording.partition_key, ()))
            ),
        )
        for item in plan.items
    )
    return replace(plan, items=items)


def any_recording(plan: Plan, *events: Event) -> Recording:
    return replace(plan.items[0].recording, events=tuple(events))


def test_what_counts_wins_over_what_is_unknown(plan: Plan) -> None:
    recording = any_recording(
        plan,
        Event(5.0, 20.0, "mysz"),
        Event(10.0, 12.5, "fnsz"),
        Event(15.0, 30.0, UNKNOWN),
        Event(40.0, 50.0, "fnsz"),
        Event(60.0, 70.0, "mysz"),
    )
    assert recording.unknown(WITHOUT_MYSZ) == ((5.0, 10.0), (12.5, 30.0), (60.0, 70.0))
    assert recording.unknown_s(WITHOUT_MYSZ) == 32.5
    # Of those who count `mysz`, only what nobody can say is left.
    assert recording.unknown(SEIZURE_LABELS) == ((20.0, 30.0),)
    assert recording.counted_seizure_s(WITHOUT_MYSZ) == 12.5
    # Seizures of whatever type, but not what may be none.
    assert recording.seizure_s == 35.0
    assert any_recording(plan, Event(40.0, 50.0, "fnsz")).unknown(WITHOUT_MYSZ) == ()
    assert any_recording(plan, Event(1.0, 2.0, UNKNOWN)).all_seizures == []


EVENTS = st.lists(
    st.builds(
        lambda start, length, label: Event(float(start), float(start + length), label),
        st.integers(0, 40),
        st.integers(1, 12),
        st.sampled_from(["fnsz", "mysz", UNKNOWN]),
    ),
    max_size=6,
)


@examples(100)
@given(EVENTS)
def test_every_second_is_one_of_three_kinds(plan: Plan, events: list[Event]) -> None:
    recording = any_recording(plan, *sorted(events))
    unknown = recording.unknown(WITHOUT_MYSZ)
    for second in range(60):
        labels = {e.label for e in events if e.start <= second < e.stop}
        inside = [start <= second < stop for start, stop in unknown]
        assert sum(inside) == (bool(labels) and "fnsz" not in labels), second


def without_mysz(settings: Configuration, **others: object) -> Configuration:
    return settings.model_copy(update={"labels": Labels(seizure=WITHOUT_MYSZ), **others})


FIRST = "train/aaaaaaab/s001_2012/01_tcp_ar/aaaaaaab_s001_t000"


SECOND = "train/aaaaaaab/s002_2013/03_tcp_ar_a/aaaaaaab_s002_t000"


THIRD = "train/aaaaaaac/s002_2013/02_tcp_le/aaaaaaac_s002_t000"


DEV = "dev/aaaaaaad/s001_2012/01_tcp_ar/aaaaaaad_s001_t000"


#: Off the grid of samples, of blocks and of windows.
OFF_GRID = {
    # Of 88, 131, 110 and 141 s.
    FIRST: [Event(3.1416, 21.7183, "fnsz"), Event(21.7183, 44.0219, "mysz")],
    SECOND: [Event(0.0, 75.0071, UNKNOWN), Event(101.3033, 140.0, "fnsz")],
    THIRD: [Event(0.0, 110.0, "mysz")],
    DEV: [Event(60.5009, 75.2527, "gnsz"), Event(70.0, 90.9999, UNKNOWN)],
}


@pytest.fixture(scope="module")
def unsure(one_built: Configuration, plan: Plan) -> tuple[Configuration, Plan, Manifest]:
    """Windows of 20 s of recordings of which some time is unknown."""
    settings = without_mysz(one_built, windows=Windows(length_s=20, stride_s=10))
    other = with_events(plan, OFF_GRID)
    return settings, other, make_manifest(other, settings.manifest_settings)


Unsure = tuple[Configuration, Plan, Manifest]


def expected_labels(events: Sequence[Event], start: int, samples: int) -> NDArray[np.float64]:
    """The label of each sample, from the time of its middle."""
    middle = (start + np.arange(samples) + 0.5) / 256
    labels = np.zeros(samples)
    for wanted, value in ((False, UNKNOWN_LABEL), (True, 1.0)):
        for event in events:
            if (event.label in WITHOUT_MYSZ) is wanted:
                labels[(middle > event.start) & (middle <= event.stop)] = value
    return labels


def test_every_label_is_that_of_its_sample(unsure: Unsure) -> None:
    """Sample by sample, against the events: a label moved by one sample, or reversed, fails."""
    _, plan, manifest = unsure
    batch = WindowDataset(manifest, plan.store).fetch(np.arange(len(manifest)))
    kinds: set[tuple[float, ...]] = set()
    for row, labels in enumerate(batch.labels.numpy()):
        key = manifest.recordings[manifest.recording[row]].partition_key
        expected = expected_labels(OFF_GRID.get(key, []), int(manifest.start[row]), 20 * 256)
        assert np.array_equal(labels, expected), batch.names[row]
        assert batch.known[row] == (expected >= 0).sum()
        kinds.add(tuple(np.unique(expected)))
    assert {(-1.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (0.0,)} <= kinds


def test_rows_say_how_much_is_unknown_and_what_the_rest_is(unsure: Unsure) -> None:
    settings, plan, manifest = unsure
    rows = set()
    for row in range(len(manifest)):
        key = manifest.recordings[manifest.recording[row]].partition_key
        labels = expected_labels(OFF_GRID.get(key, []), int(manifest.start[row]), 20 * 256)
        known = labels[labels >= 0]
        assert manifest.unknown[row] == pytest.approx(1 - len(known) / len(labels), abs=1e-6)
        assert manifest.ictal[row] == pytest.approx(known.mean(), abs=2 / len(known))
        share = manifest.ictal[row]
        kind = "full" if share >= 0.99 else "partial" if share > 0 else "none"
        assert CATEGORIES[manifest.category[row]] == kind
        rows.add((key, int(manifest.start[row])))
    # From 20 s to 40 s of the first recording, 1.7183 s are known, and all of it seizure.
    row = next(
        n
        for n in range(len(manifest))
        if manifest.start[n] == 20 * 256
        and manifest.recordings[manifest.recording[n]].partition_key == FIRST
    )
    assert manifest.unknown[row] == pytest.approx((40 - 21.7183) / 20, abs=1e-3)
    assert CATEGORIES[manifest.category[row]] == "full"
    # Every position that is no row is wholly unknown, and counted.
    missing = {"train": 0, "dev": 0, "eval": 0}
    for item in plan.items:
        key, split = item.recording.partition_key, item.recording.split
        positions = range(0, item.samples - 20 * 256 + 1, 10 * 256)
        for start in positions:
            labels = expected_labels(OFF_GRID.get(key, []), start, 20 * 256)
            assert ((key, start) in rows) == bool((labels >= 0).any())
            missing[split] += (key, start) not in rows
        made = sum(row_key == key for row_key, _ in rows)
        assert window_count(item.recording, settings.windows, WITHOUT_MYSZ) == made
    # Of the first 20 to 40 s none; of the second 0 to 70 s; the third throughout.
    assert missing == {"train": 6 + 10, "dev": 0, "eval": 0}
    assert manifest.unknown_windows == {"train": 16}
    assert manifest.without_windows == {"unknown_throughout": 1}
    assert THIRD not in {r.partition_key for r in manifest.recordings}


def test_counts_and_the_file_have_the_unknown_time(unsure: Unsure, tmp_path: Path) -> None:
    settings, plan, manifest = unsure
    found = counts(manifest, ("train", "dev", "eval"))
    # Of the dev recording the seizure has what both have.
    assert [found[split]["unknown_seconds"] for split in ("train", "dev", "eval")] == [
        pytest.approx(44.0219 - 21.7183 + 75.0071, abs=0.006),
        pytest.approx(90.9999 - 75.2527, abs=0.006),
        0,
    ]
    assert [found[split]["unknown_windows"] for split in ("train", "dev", "eval")] == [16, 0, 0]
    write_manifest(manifest, tmp_path / "manifest.parquet")
    again = read_manifest(tmp_path / "manifest.parquet")
    assert again.recordings == manifest.recordings
    assert again.unknown_windows == manifest.unknown_windows
    assert np.array_equal(again.unknown, manifest.unknown)
    table = pq.read_table(tmp_path / "manifest.parquet")
    assert np.array_equal(table["unknown_fraction"].to_numpy(), manifest.unknown)
    # Whoever counts `mysz` has another manifest: more is known.
    all_count = settings.model_copy(update={"labels": Labels()})
    other = make_manifest(plan, all_count.manifest_settings)
    assert (len(other), other.source) != (len(manifest), manifest.source)
    assert other.unknown_windows == {"train": 6}


def test_without_unknown_time_nothing_is_masked(one_built: Configuration, plan: Plan) -> None:
    manifest = make_manifest(plan, one_built.manifest_settings)
    assert not manifest.unknown.any()
    assert (manifest.unknown_windows, manifest.without_windows) == ({}, {})
    assert all(recording.unknown == () for recording in manifest.recordings)
    batch = WindowDataset(manifest, plan.store).fetch(np.arange(len(manifest)))
    assert set(np.unique(batch.labels.numpy())) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("seconds", "category"), [(59.3, "partial"), (59.39, "partial"), (59.4, "full"), (59.5, "full")]
)
def test_a_window_is_full_from_the_threshold_on(
    one_built: Configuration, plan: Plan, seconds: float, category: str
) -> None:
    """0.99 of 60 s: a threshold moved by 0.0002 fails."""
    made = make_manifest(
        with_events(plan, {SECOND: [Event(0.0, seconds, "fnsz")]}), one_built.manifest_settings
    )
    row = next(
        n
        for n in range(len(made))
        if made.start[n] == 0 and made.recordings[made.recording[n]].partition_key == SECOND
    )
    assert CATEGORIES[made.category[row]] == category


def test_the_index_counts_what_is_unknown(one_built: Configuration) -> None:
    plan_corpus(one_built, quiet)
    index = read_index(one_built.cache_root)
    events = {key: tuple(of) for key, of in OFF_GRID.items()}
    changed = replace(
        index,
        recordings=tuple(replace(r, events=events.get(r.partition_key, ())) for r in index),
    )
    found = summarize(changed, WITHOUT_MYSZ)
    unknown = (44.0219 - 21.7183) + 75.0071 + 110.0 + (90.9999 - 75.2527)
    assert found.usable_unknown_hours == pytest.approx(unknown / 3600, abs=1e-4)
    seizure = (21.7183 - 3.1416) + (131.0 - 101.3033) + (75.2527 - 60.5009)
    assert found.usable_seizure_hours == pytest.approx(seizure / 3600, abs=1e-4)
    assert found.seizures == 3


def test_augmentation_moves_what_is_unknown_with_the_signal() -> None:
    batch = masked_batch(0)
    stored = torch.zeros(batch.signals.shape, dtype=torch.int16)
    stored[:, 0] = batch.labels.to(torch.int16) * 50
    before = batch.labels.clone()
    changes = draw(Augmentation(time_shift_s=0.5), 1, 0, range(4))
    known = move_labels(batch, changes)
    step = float(np.float32(SCALE))
    assert torch.equal(augment(stored, changes)[:, 0], batch.labels * 50 * step)
    assert not torch.equal(batch.labels[1:], before[1:])
    assert [set(row) for row in batch.labels.tolist()] == [set(row) for row in before.tolist()]
    # The edge is filled with what is beside it: there may be more of it than before, or less.
    assert known != batch.known
    assert known == tuple(sum(x != UNKNOWN_LABEL for x in row) for row in batch.labels.tolist())


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_loss_knows_nothing_of_unknown_samples(gamma: float) -> None:
    """Not even of a logit that is no number; and it is the mean over the known ones."""
    labels = masked_batch(0).labels
    known = labels >= 0
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(labels.shape, generator=generator)
    values = []
    for other in (0.0, 37.0, -1e30, math.nan, math.inf):
        changed = torch.where(known, logits, other).requires_grad_()
        loss = balanced_loss(changed, labels, FRACTION, gamma)
        (gradient,) = torch.autograd.grad(loss, changed)
        assert torch.equal(gradient[~known], torch.zeros(int((~known).sum())))
        assert (gradient[known] != 0).all()
        values.append(float(loss.detach()))
    assert len(set(values)) == 1
    alone = balanced_loss(logits[known], labels[known], FRACTION, gamma)
    assert values[0] == pytest.approx(float(alone), rel=1e-6)


def test_without_unknown_samples_the_loss_is_the_plain_one_to_the_bit() -> None:
    batch = toy_batch(3)
    logits = torch.randn(batch.labels.shape, generator=torch.Generator().manual_seed(2))
    plain = functional.binary_cross_entropy_with_logits(
        logits, batch.labels, pos_weight=torch.tensor((1 - FRACTION) / FRACTION)
    ) / (2 * (1 - FRACTION))
    assert torch.equal(balanced_loss(logits, batch.labels, FRACTION), plain)
    assert torch.equal(balanced_loss(logits, batch.labels, FRACTION, all_known=True), plain)


def test_a_label_that_is_no_number_is_not_taken_for_unknown(tmp_path: Path) -> None:
    def damaged(step: int) -> Batch:
        batch = masked_batch(step)
        batch.labels[3, 17] = math.nan
        return batch

    with pytest.raises(BrainbrrError, match=r"loss of step 1 is not finite.* recording-0-3"):
        toy_train(tmp_path, toy_settings(2), batches=lambda first: iter([damaged(first)]))


def test_a_batch_without_a_known_sample_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 8, requires_grad=True)
    loss = loss_of(Training(), FRACTION)(logits, torch.full((2, 8), UNKNOWN_LABEL))
    assert float(loss.detach()) == 0.0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient, torch.zeros(2, 8))


def test_a_step_is_the_mean_over_the_known_samples_of_its_batch(tmp_path: Path) -> None:
    """In one part or in four, of which one has none, and whatever the unknown samples show."""
    batch = masked_batch(0)
    known = batch.labels >= 0
    logits = toy_network()(batch.signals)
    expected = balanced_loss(logits[known], batch.labels[known], FRACTION)
    losses, networks = [], []
    for parts in (1, 2, 4):
        seen: list[float] = []

        def note(report: StepReport, seen: list[float] = seen) -> None:
            seen.append(report.loss)

        network, _ = toy_train(
            tmp_path / str(parts),
            toy_settings(4),
            note,
            Hardware(batch_size=4, accumulate=parts),
            batches=lambda first: (masked_batch(step) for step in range(first, 4)),
        )
        losses.append(seen)
        networks.append(network)
    assert losses[0][0] == pytest.approx(float(expected.detach()), rel=1e-5)
    for other in (1, 2):
        assert losses[other] == pytest.approx(losses[0], rel=1e-4)
        pairs = zip(networks[0].parameters(), networks[other].parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4


def test_batches_that_are_wholly_unknown_move_no_weight_by_themselves(tmp_path: Path) -> None:
    def nothing_known(first: int) -> list[Batch]:
        batches = [toy_batch(step) for step in range(first, 3)]
        for batch in batches:
            batch.labels.fill_(UNKNOWN_LABEL)
        return [counted(batch) for batch in batches]

    losses: list[float] = []
    network, _ = toy_train(
        tmp_path,
        toy_settings(3, weight_decay=0.0),
        lambda report: losses.append(report.loss),
        batches=lambda first: iter(nothing_known(first)),
    )
    assert losses == [0.0, 0.0, 0.0]
    assert same_weights(network, toy_network())


def test_a_validation_masks_what_is_unknown(one_built: Configuration) -> None:
    frames = np.full(6 * 3600 * 8, 0.01, np.float32)
    frames[600 * 8 : 640 * 8] = 0.45
    frames[5000 * 8 : 5040 * 8] = 0.95
    plain = ScoredRecording("p", 6 * 3600.0, (Event(600.0, 640.0),), frames)
    masked = replace(plain, unknown=((4000.0, 7600.0), (9000.0, 12600.0)))
    first, second = (score_recordings([one], one_built.detection, 1) for one in (plain, masked))
    assert (first.hours, second.hours) == (6.0, 4.0)
    # The louder event lies in unknown time: no alarm, and no rank before the seizure's seconds.
    assert (first.f1, second.f1) == (pytest.approx(2 / 3), 1.0)
    assert (first.auprc < 1.0, second.auprc) == (True, pytest.approx(1.0))


def annotate(edf: Path, rows: Sequence[tuple[float, float, str]], duration_s: float) -> None:
    """Write both annotation files of a recording: events by type, and the time between them."""
    head = f"# version = csv_v1.0.0\n# bname = {edf.stem}\n# duration = {duration_s:.4f} secs\n"
    columns = "channel,start_time,stop_time,label,confidence\n"
    typed = [f"T4-T6,{start:.4f},{stop:.4f},{label},1.0000\n" for start, stop, label in rows]
    edf.with_suffix(".csv").write_text(head + columns + "".join(typed))
    binary, until = [], 0.0
    for start, stop, _ in rows:
        binary += [(until, start, "bckg"), (start, stop, "seiz")]
        until = stop
    binary.append((until, duration_s, "bckg"))
    lines = [f"TERM,{start:.4f},{stop:.4f},{label},1.0000\n" for start, stop, label in binary]
    edf.with_suffix(".csv_bi").write_text(head + columns + "".join(lines))


@pytest.mark.usefixtures("one_worker")
def test_a_type_that_is_left_out_is_masked_all_the_way(
    corpus: Path, tmp_path: Path, shell: Shell
) -> None:
    """index, cache, manifest, training, evaluation and report of a corpus without `mysz`."""
    for key, rows, duration_s in (
        (FIRST, [(20.5009, 50.2501, "mysz"), (60.0, 75.5, "gnsz")], 88),
        (SECOND, [(12.3456, 40.0, "mysz")], 131),
        ("dev/aaaaaaae/s001_2012/03_tcp_ar_a/aaaaaaae_s001_t000", [(30.0, 61.75, "mysz")], 106),
        ("eval/aaaaaaag/s001_2012/01_tcp_ar/aaaaaaag_s001_t000", [(10.25, 99.5, "mysz")], 152),
    ):
        annotate(corpus / "edf" / f"{key}.edf", rows, duration_s)
    small_settings(tmp_path, corpus)
    config = tmp_path / "small.yaml"
    text = config.read_text().replace("steps: 3", "steps: 12")
    config.write_text(text + f"labels: {{seizure: [{', '.join(WITHOUT_MYSZ)}]}}\n")
    environment = {"BRAINBRR_CONFIG": small_config(tmp_path)}

    def typed(*words: str) -> str:
        done = shell.type(*words, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    index = json.loads(typed("index", "--json"))
    expected = {"train": 29.7492 + 27.6544, "dev": 31.75, "eval": 89.25}
    assert index["usable_unknown_hours"] == pytest.approx(sum(expected.values()) / 3600, abs=1e-4)
    typed("cache", "build")
    manifest = json.loads(typed("manifest", "--json"))
    for split, seconds in expected.items():
        assert manifest["splits"][split]["unknown_seconds"] == pytest.approx(seconds, abs=0.006)
    # Of the minutes from 20 s and from 30 s of the eval recording nothing is known.
    assert manifest["splits"]["eval"]["unknown_windows"] == 2
    shown = " ".join(typed("manifest").split())
    assert (
        "train 57.40, dev 31.75, eval 89.25; left out for having nothing else: 2 windows" in shown
    )
    assert json.loads(typed("cache", "status", "--json"))["windows"] == manifest["windows"]
    typed("train")
    out = typed("evaluate")
    hours = expected["eval"] / 3600
    assert f"masked: {hours:.2f} h" in out
    (report,) = (tmp_path / "runs").glob("*/report-eval")
    results = read_results(report)
    assert results.unknown_s == pytest.approx(89.25)
    assert f"{hours:.2f} are unknown" in (report / "report.html").read_text(encoding="utf-8")
    assert json.loads((report / "results.json").read_text())["unknown_s"] == 89.25
    known_s = results.hours * 3600 - 89.25
    assert results.counts["nedc_ovlp"].seconds == pytest.approx(known_s)
    assert pyarrow.csv.read_csv(report / "recordings.csv")["unknown_s"].to_pylist().count(89.25)
    # What the network was trained on: no logit in unknown time has a part in the loss.
    settings = Configuration.model_validate(
        json.loads(next((tmp_path / "runs").glob("*/run.json")).read_text())["configuration"]
    )
    made = read_manifest(Path(manifest["path"]))
    sampling = BalancedSampling.of(made, settings.sampling)
    dataset = WindowDataset(made, plan_corpus(settings, quiet).store)
    batch = dataset.fetch(next(sampling.batches(32, settings.training.seed)))
    known = batch.labels >= 0
    assert 0 < int((~known).sum()) < known.numel()
    loss = loss_of(settings.training, sampling.positive_fraction)
    logits = torch.randn(batch.labels.shape, generator=torch.Generator().manual_seed(0))
    other = torch.where(known, logits, -3.0 * logits + 1.0)
    assert not torch.equal(logits, other)
    assert torch.equal(loss(logits, batch.labels), loss(other, batch.labels))
