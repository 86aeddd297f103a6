"""Cross-validation by the commands of the page, and the figures of all folds worked out again."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check_folds
from brainbrr_core.configuration import Configuration, apply_values
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation import report_folder
from brainbrr_core.evaluation.folds import FoldsReport, evaluate_folds
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.run_corpus import read_run_corpus
from brainbrr_core.training.run import train
from tests.support.pages import well_formed
from tests.support.project import ROOT
from tests.support.public_corpora import CHBMIT_LABELS, edf
from tests.support.several_corpora import START, write_chbmit_like
from tests.support.shell import Shell
from tests.support.small_run import small_config, small_settings
from tests.support.tables import rows_of

pytestmark = pytest.mark.usefixtures("one_worker", "without_strips")
FOLDS = 3
SETTINGS = (
    f"corpus: {{split: {{scheme: kfold, folds: {FOLDS}}}}}\n"
    "training: {steps: 1}\nhardware: {batch_size: 2}\ndetection: {stride_s: 60}\n"
    "evaluation: {split: dev, allow_eval: false}\n"
)


@pytest.fixture
def without_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """No EEG in the reports: drawing it takes most of the time."""
    monkeypatch.setattr(report_folder, "_strips", lambda *_: [])


@dataclass(frozen=True)
class Ready:
    """A built corpus, and what all commands on it are given."""

    folder: Path

    def words(self, runs: Path) -> tuple[object, ...]:
        return (
            "--config",
            f"{small_config(self.folder)}:{self.folder}/folds.yaml",
            "--runs-dir",
            runs,
        )


@pytest.fixture(scope="module")
def ready(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """The corpus, built with its one manifest under fixed splits; no test changes it."""
    folder = tmp_path_factory.mktemp("folds")
    settings = small_settings(folder, master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    (folder / "folds.yaml").write_text(SETTINGS)
    return Ready(folder)


def state_of_cache(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of a cache with its inode and modification time, leases and records apart."""
    root = folder / "cache"
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.suffix in (".arrow", ".parquet")
    }


def test_all_folds_are_trained_scored_and_pooled(
    shell: Shell, ready: Ready, tmp_path: Path
) -> None:
    runs, before = tmp_path / "runs", state_of_cache(ready.folder)
    words = ready.words(runs)
    assert "choose one, as with --fold 1, or all of them" in shell.refused("train", *words)
    assert "there is no fold 4 of 3" in shell.refused("train", "--fold", 4, *words)
    second = shell.printed("train", "--fold", 2, *words)
    line = shell.refused("evaluate", "--folds", "--allow-eval", *words, status=1)
    assert "no finished run of folds 1 and 3" in line and "`brainbrr train --folds" in line

    trained = shell.printed("train", "--folds", *words)["folds"]
    assert [part["fold"] for part in trained] == [1, 2, 3]
    assert [part["reused"] for part in trained] == [False, True, False]
    assert trained[1]["run"] == second["run"]
    assert len({part["run"] for part in trained}) == FOLDS
    # Shards, index and manifest are the same for every fold.
    assert state_of_cache(ready.folder) == before

    # Each patient is held out once, and no fold knows whom it holds out.
    index = read_index(ready.folder / "cache")
    held_out: list[tuple[str, int]] = []
    for part in trained:
        corpus = read_run_corpus(Path(part["run"]))
        assert corpus is not None
        own = {(r.patient, r.split) for r in corpus.recordings}
        assert len(own) == len({patient for patient, _ in own})
        held_out += [(patient, part["fold"]) for patient, split in own if split == "eval"]
    assert sorted(patient for patient, _ in held_out) == sorted(
        {r.patient for r in index if r.reason is None}
    )

    # Nobody's eval is scored without being asked, and nothing is recorded then.
    refusal = shell.refused("evaluate", "--folds", *words)
    assert "add --allow-eval" in refusal and "--split dev" not in refusal
    assert not (runs / "eval-scorings.jsonl").exists()
    pooled = shell.printed("evaluate", "--folds", "--allow-eval", *words)
    assert [part["reused"] for part in pooled["folds"]] == [False] * FOLDS
    assert [part["threshold_from"] for part in pooled["folds"]] == ["dev"] * FOLDS
    assert [part["scorings"] for part in pooled["folds"]] == [1] * FOLDS
    assert len((runs / "eval-scorings.jsonl").read_text().splitlines()) == FOLDS
    assert {row["name"]: row["fold"] for row in pooled["patients"]} == dict(held_out)
    assert_worked_out_again(pooled)

    # Both the reports and the records stay as they are when asked for again.
    again = shell.printed("evaluate", "--folds", "--allow-eval", *words)
    assert [part["reused"] for part in again["folds"]] == [True] * FOLDS
    assert again["figures"] == pooled["figures"]
    assert len((runs / "eval-scorings.jsonl").read_text().splitlines()) == FOLDS
    page = Path(pooled["report"]).read_text(encoding="utf-8")
    assert well_formed(page).count("table") == 4
    assert "Each fold has its own threshold, tuned on its own dev" in page
    shown = shell.type("evaluate", "--folds", "--allow-eval", *words).stdout
    assert "The patients of each fold have been scored once from this runs folder" in shown

    # A fold alone: its dev by default, as for any run; a run by its name is in its fold.
    alone = shell.printed("evaluate", "--fold", 3, *words)
    assert (alone["split"], alone["run"]) == ("dev", Path(trained[2]["run"]).name)
    named = shell.printed("evaluate", alone["run"], "--config", small_config(ready.folder),
                  "--runs-dir", runs, "--split", "eval", "--allow-eval")  # fmt: skip
    of_fold = next(part for part in pooled["folds"] if part["fold"] == 3)
    assert (named["report"], named["reused"]) == (of_fold["report"], True)
    assert "leave out RUN" in shell.refused("evaluate", alone["run"], "--fold", 3, *words)
    assert "leave out --fold" in shell.refused("train", "--folds", "--seeds", "0,1", *words)
    # A model that knows whom the second fold holds out is refused before the first is trained.
    started = shell.refused("train", "--folds", "--from", alone["run"], *words)
    assert f"{alone['run']} was trained on" in started and "holds out" in started
    assert len(list(runs.glob("*/run.json"))) == FOLDS


def assert_worked_out_again(pooled: dict[str, Any]) -> None:
    """Check the pooled figures against counts and draws from the tables of events of each fold."""
    counts: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
    szcore: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
    for part in pooled["folds"]:
        folder = Path(part["report"]).parent
        detections = rows_of(folder / "detections.csv")
        seizures = rows_of(folder / "seizures.csv")

        def spans(rows: list[dict[str, str]], key: str) -> list[tuple[float, float]]:
            return [
                (float(row["start_s"]), float(row["stop_s"]))
                for row in rows
                if row["partition_key"] == key
            ]

        for row in rows_of(folder / "recordings.csv"):
            found, real = (spans(rows, row["partition_key"]) for rows in (detections, seizures))
            own = counts[row["patient"]]
            own[0] += len(real)
            own[1] += sum(any(b > start and a < stop for a, b in found) for start, stop in real)
            own[2] += sum(not any(b > start and a < stop for a, b in real) for start, stop in found)
            own[3] += float(row["duration_s"])
            for number, name in enumerate(("szcore_reference", "szcore_detected", "szcore_false")):
                szcore[row["patient"]][number] += float(row[name])
            szcore[row["patient"]][3] += float(row["duration_s"])
    for rule, by_patient in (("nedc_ovlp", counts), ("szcore_event", szcore)):
        table = np.array([by_patient[name] for name in sorted(by_patient)])
        total = table.sum(axis=0)
        assert [pooled["scores"][rule][name] for name in ("reference", "detected", "false")] == (
            pytest.approx(total[:3])
        )
        figures = pooled["figures"]
        assert figures[f"{rule}.sensitivity"]["value"] == pytest.approx(total[1] / total[0])
        rate = figures[f"{rule}.false_per_day"]
        assert rate["value"] == pytest.approx(total[2] * 86400 / total[3])
        # The interval: patients drawn with replacement, each with all of its recordings.
        generator = np.random.default_rng(0)
        times = generator.multinomial(len(table), np.full(len(table), 1 / len(table)), size=1000)
        drawn = times @ table
        low, high = np.quantile(drawn[:, 2] * 86400 / drawn[:, 3], [0.025, 0.975])
        assert total[2] == 0 or (rate["low"], rate["high"]) == pytest.approx((low, high))
        if rule == "szcore_event":
            of_patients = {row["name"]: row["figures"] for row in pooled["patients"]}
            for name, (reference, detected, _, seconds) in by_patient.items():
                if reference:
                    assert of_patients[name]["sensitivity"] == pytest.approx(detected / reference)
                false = by_patient[name][2]
                assert of_patients[name]["false_per_day"] == pytest.approx(false * 86400 / seconds)


@pytest.mark.slow
def test_one_patient_is_left_out_at_a_time(shell: Shell, ready: Ready, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("corpus: {split: {scheme: leave_one_patient_out}}\n")
    config = f"{ready.words(tmp_path)[1]}:{tmp_path}/one.yaml"
    words = ("--config", config, "--runs-dir", tmp_path / "runs")
    patients = sorted({r.patient for r in read_index(ready.folder / "cache") if r.reason is None})
    assert f"gives {len(patients)} folds" in shell.refused("train", "--fold", 99, *words)
    shell.printed("train", "--folds", *words)
    pooled = shell.printed("evaluate", "--folds", "--allow-eval", *words)
    # Also those without a seizure, whose false alarms count.
    assert [(row["fold"], row["name"]) for row in pooled["patients"]] == list(
        enumerate(patients, start=1)
    )
    assert any(row["seizures"] == 0 for row in pooled["patients"])
    assert_worked_out_again(pooled)


@pytest.mark.slow
def test_age_groups_are_of_all_folds_together(tmp_path: Path) -> None:
    """Each fold holds out one patient, and so has no table of groups."""
    ages = {"chb01": "11", "chb02": "1.5", "chb03": "22", "chb04": "3"}
    write_chbmit_like(tmp_path / "chbmit", [*ages, "chb05"])
    (tmp_path / "chbmit" / "SUBJECT-INFO").write_text(
        "Case\tGender\tAge (years)\n" + "".join(f"{n}\tF\t{age}\n" for n, age in ages.items())
    )
    values = {
        **{"corpus.split.scheme": "leave_one_patient_out", "training.steps": 1},
        **{"training.warmup_steps": 0, "hardware.batch_size": 2, "detection.stride_s": 60},
        **{"preprocessing.montage": "double-banana", "evaluation.allow_eval": True},
    }
    small = small_settings(tmp_path, tmp_path / "chbmit")
    settings = apply_values(small, values, "test")
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    folds = check_folds(ProfileCache.of(settings))
    runs = {
        fold: train(apply_values(settings, {"corpus.split.fold": fold}, "test"), log=ignore)
        for fold in folds
    }
    report = evaluate_folds(runs, folds, ReportSettings.of(settings), log=ignore)
    assert [one.results.ages for one in report.folds] == [()] * 5
    of_groups = {
        "under 2 years": ["chb02"],
        "2 to 11 years": ["chb01", "chb04"],
        "18 to 64 years": ["chb03"],
        "unknown age": ["chb05"],
    }
    assert [row.name for row in report.scores.ages] == list(of_groups)
    patients = {row.name: row for _, row in report.patients}
    for row in report.scores.ages:
        own = [patients[name] for name in of_groups[row.name]]
        assert row.recordings == sum(one.recordings for one in own) == 2 * len(own)
        assert row.seizures == sum(one.seizures for one in own) == len(own)
        assert row.ovlp.false == sum(one.ovlp.false for one in own)
        days = sum(one.hours for one in own) / 24
        false = sum(one.figures.false_per_day * one.hours / 24 for one in own)
        assert row.figures.false_per_day == pytest.approx(false / days)
        estimate = report.scores.estimates[f"age.{row.name}.sensitivity"]
        assert (estimate.value, estimate.patients) == (row.figures.sensitivity, len(own))
    page = report.report.read_text(encoding="utf-8")
    assert well_formed(page).count("table") == 5
    assert "Figures of each age group by SzCORE" in page
    table = rows_of(report.report.with_name("age_groups.csv"))
    assert [row["age_group"] for row in table] == list(of_groups)


def test_the_index_does_not_depend_on_the_scheme(
    shell: Shell, ready: Ready, tmp_path: Path
) -> None:
    content = index_path(ready.folder / "cache").read_bytes()
    done = shell.type("index", *ready.words(tmp_path)[:2])
    assert done.returncode == 0, done.stderr
    assert index_path(ready.folder / "cache").read_bytes() == content
    assert f"splits: {FOLDS} folds" in done.stdout


def test_a_run_without_folds_is_scored_as_it_was_trained(
    shell: Shell, ready: Ready, tmp_path: Path
) -> None:
    fixed = ("--config", small_config(ready.folder), "--runs-dir", tmp_path / "runs")
    trained = shell.printed("train", *fixed)
    words = ready.words(tmp_path / "runs")
    scored = shell.printed("evaluate", Path(trained["run"]).name, "--split", "dev", *words)
    assert Path(scored["report"]).parent == Path(trained["run"]) / "report-dev"


@pytest.mark.slow
def test_what_a_fold_holds_out_changes_only_its_score(built: Configuration, tmp_path: Path) -> None:
    """And every other fold, which trains or chooses weights on it, is trained again."""
    values = {
        **{"corpus.split.scheme": "kfold", "corpus.split.folds": FOLDS, "training.steps": 1},
        **{"training.warmup_steps": 0, "hardware.batch_size": 2, "detection.stride_s": 60},
        "evaluation.allow_eval": True,
    }
    settings = apply_values(built.model_copy(update={"runs_dir": tmp_path}), values, "test")

    def trained() -> dict[int, Run]:
        update_manifest(plan_corpus(settings), settings.manifest_settings)
        return {fold: train(in_fold(fold), log=ignore) for fold in range(1, FOLDS + 1)}

    def in_fold(fold: int) -> Configuration:
        return apply_values(settings, {"corpus.split.fold": fold}, "test")

    def scored(runs: dict[int, Run]) -> FoldsReport:
        folds = check_folds(ProfileCache.of(settings))
        return evaluate_folds(runs, folds, ReportSettings.of(settings), log=ignore)

    first = trained()
    before = scored(first)
    # The seizure of a patient ends later. The number of seizures, which shapes folds, stays.
    patient = next(row.name for _, row in before.patients if row.seizures)
    own = next(fold for fold, row in before.patients if row.name == patient)
    [path, *_] = sorted(
        path for path in Path(str(settings.data_dir)).rglob(f"{patient}*.csv_bi")
        if ",seiz," in path.read_text()
    )  # fmt: skip
    for table in (path, path.with_suffix(".csv")):
        table.write_text(moved_by_half_a_second(table.read_text()))
    update_index(settings.data_dir, settings.cache_root, settings.corpus)
    again = trained()
    assert [fold for fold, run in again.items() if run.reused] == [own]
    assert again[own].name == first[own].name
    after = scored(again)
    assert [one.evaluation.reused for one in after.folds] == [False] * FOLDS
    assert [one.evaluation.reused for one in scored(again).folds] == [True] * FOLDS
    changed = {
        one.fold
        for one, other in zip(before.folds, after.folds, strict=True)
        if one.results.evaluation_set != other.results.evaluation_set
    }
    assert changed == {own}

    # Nobody whom a fold holds out is in what its training begins with.
    start = {"training.start_from": again[1].name}
    assert not train(apply_values(in_fold(1), start, "test"), log=ignore).reused
    with pytest.raises(BrainbrrError, match=r"was trained on \d patients? whom fold 2"):
        train(apply_values(in_fold(2), start, "test"), log=ignore)
    fixed = apply_values(settings, {"corpus.split.scheme": "fixed", **start}, "test")
    with pytest.raises(BrainbrrError, match=r"was trained on \d patients? of eval"):
        train(fixed, log=ignore)


@pytest.mark.slow
def test_the_seizures_of_one_patient_are_left_out_one_by_one(shell: Shell, tmp_path: Path) -> None:
    """The recipe of the page, for a case of four EDFs, three of them with a seizure."""
    page = (ROOT / "docs" / "splits.md").read_text("utf-8")
    recipe = page[page.index("### Leave one seizure out") :]
    yaml = re.findall(r"^```yaml\n(.*?)^```$", recipe, re.MULTILINE | re.DOTALL)[0]
    assert "folds: 7" in yaml
    write_chbmit_like(tmp_path / "chbmit", ["chb01", "chb02"])
    case = tmp_path / "chbmit" / "chb01"
    for number in (3, 4):
        edf(case / f"chb01_0{number}.edf", START, CHBMIT_LABELS[:18], 100)
    summary = case / "chb01-summary.txt"
    first, second = summary.read_text().split("\n\n")
    summary.write_text(
        "\n\n".join([first, second, first.replace("_01", "_03"), first.replace("_01", "_04")])
    )
    shutil.copytree(case, tmp_path / "only-chb01" / "chb01")
    small_settings(tmp_path, tmp_path / "only-chb01")
    (tmp_path / "own.yaml").write_text(yaml.replace("folds: 7", "folds: 3"))
    (tmp_path / "folds.yaml").write_text(SETTINGS.partition("\n")[2])
    config = f"{small_config(tmp_path)}:{tmp_path}/folds.yaml:{tmp_path}/own.yaml"
    words = ("--config", config)
    for command in ("index", "cache build", "manifest"):
        done = shell.type(*command.split(), *words)
        assert done.returncode == 0, done.stderr
    assert {r.patient for r in read_index(tmp_path / "cache")} == {
        f"chb01_0{number}" for number in (1, 2, 3, 4)
    }
    shell.printed("train", "--folds", *words)
    pooled = shell.printed("evaluate", "--folds", "--allow-eval", *words)
    # Each EDF is scored once, and no fold holds out two with a seizure.
    assert [row["name"] for row in pooled["patients"]] == [f"chb01_0{n}" for n in (1, 2, 3, 4)]
    ictal = [row["fold"] for row in pooled["patients"] if row["seizures"]]
    assert sorted(ictal) == [1, 2, 3]
    assert_worked_out_again(pooled)


def moved_by_half_a_second(text: str) -> str:
    """A csv or csv_bi in which each seizure, and the background after it, is 0.5 s later."""
    lines = []
    for line in text.splitlines():
        cells = line.split(",")
        if len(cells) == 5 and cells[1][0].isdigit():
            if cells[3] != "bckg" or float(cells[1]) > 0:
                cells[1] = f"{float(cells[1]) + 0.5:.4f}"
            if cells[3] != "bckg" or line != text.splitlines()[-1]:
                cells[2] = f"{float(cells[2]) + 0.5:.4f}"
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def ignore(_line: str) -> None:
    pass
