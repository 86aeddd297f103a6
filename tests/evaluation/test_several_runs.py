"""Several seeds, and a run on corpora that it was not trained on: by the commands of the page."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.evaluation.results import report_folder
from brainbrr_core.runs.eval_ledger import EXTERNAL_LEDGER
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.run_corpus import RUN_CORPUS, read_run_corpus
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.run import train
from brainbrr_core.training.seeds import train_each
from tests.support.pages import well_formed
from tests.support.patients import rename_patient
from tests.support.run_records import recorded_run
from tests.support.shell import Shell
from tests.support.small_run import small_config, small_settings
from tests.support.tables import rows_of

pytestmark = pytest.mark.usefixtures("one_worker")


def config_of(settings: Configuration) -> str:
    return small_config(settings.cache_root.parent)


@pytest.fixture(scope="module")
def master_own(master_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The run's own corpus, built, with a manifest and a finished run; no test changes it."""
    settings = small_settings(tmp_path_factory.mktemp("own"), master_corpus)
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    train(settings, log=lambda _line: None)
    return settings


@pytest.fixture(scope="module")
def master_other(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """Another hospital, built: other patients, other recordings; no test changes it."""
    folder = tmp_path_factory.mktemp("other")
    write_corpus(folder / "elsewhere", recordings=10, hours=0.3, seed=77, workers=1)
    for patient in sorted((folder / "elsewhere" / "edf").glob("*/*")):
        rename_patient(patient, f"x{patient.name[1:]}")
    settings = small_settings(folder, folder / "elsewhere")
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    return settings


@dataclass(frozen=True)
class Own:
    """The run's own corpus, and a copy of the run in a folder of runs of the test's own."""

    settings: Configuration
    run: Path

    @property
    def words(self) -> tuple[object, ...]:
        """The flags that choose corpus and runs."""
        return ("--config", config_of(self.settings), "--runs-dir", self.run.parent)


@pytest.fixture
def own(master_own: Configuration, tmp_path: Path) -> Own:
    runs = Path(shutil.copytree(master_own.runs_dir, tmp_path / "runs"))
    return Own(master_own, next(path.parent for path in runs.glob("*/run.json")))


@pytest.fixture
def other(master_other: Configuration, tmp_path: Path) -> Configuration:
    """A copy of the other corpus and its cache, which a test may change."""
    folder = tmp_path / "other"
    shutil.copytree(master_other.cache_root.parent, folder, symlinks=True)
    settings = small_settings(folder, folder / "elsewhere")
    # The index says where the EDFs are now.
    plan_corpus(settings)
    return settings


def assert_well_formed(page: str, tables: int) -> None:
    assert well_formed(page).count("table") == tables
    assert "://" not in page and "<link" not in page


def test_seeds_are_runs_of_their_own_and_their_report_is_over_them(shell: Shell, own: Own) -> None:
    line = shell.refused("evaluate", "--seeds", "0,1,2", *own.words, status=1)
    assert "no finished run of seeds 1 and 2" in line
    assert f"`brainbrr train --seeds 0,1,2 --config {config_of(own.settings)}`" in line
    runs = shell.printed("train", "--seeds", "0,1,2", *own.words)["seeds"]
    # Seed 0 is the run that there was.
    assert [part["seed"] for part in runs] == [0, 1, 2]
    assert [part["reused"] for part in runs] == [True, False, False]
    assert runs[0]["run"] == str(own.run)
    assert len({part["model_blake3"] for part in runs}) == 3
    words = ("evaluate", "--seeds", "0,1,2", "--split", "dev", *own.words)
    values = shell.printed(*words)
    by_seed = {part["seed"]: part for part in values["seeds"]}
    for part in runs:
        alone = json.loads((Path(part["run"]) / "report-dev" / "results.json").read_text())
        figures = by_seed[part["seed"]]["figures"]
        for name in ("szcore_event.f1", "seconds.auroc", "nedc_ovlp.false_per_day"):
            assert figures[name] == alone["estimates"][name]
        limit = next(row for row in alone["limits"] if row["limit"] == 5.0)
        assert limit["rule"] == "szcore_event"
        tuned = figures["szcore_event_tuned_at_5.sensitivity"]
        assert tuned == limit["tuned_sensitivity"]
    aurocs = [part["figures"]["seconds.auroc"]["value"] for part in values["seeds"]]
    assert len(set(aurocs)) == 3
    over = values["figures"]["seconds.auroc"]
    assert over["mean"] == pytest.approx(sum(aurocs) / 3)
    assert over["standard_deviation"] == pytest.approx(statistics.stdev(aurocs))
    assert (over["low"], over["high"]) == (min(aurocs), max(aurocs))
    report = Path(values["report"])
    table = {row["figure"]: row for row in rows_of(report.parent / "figures.csv")}
    assert float(table["seconds.auroc"]["standard_deviation"]) == over["standard_deviation"]
    assert len(rows_of(report.parent / "seeds.csv")) == 3 * len(table)
    page = report.read_text(encoding="utf-8")
    assert "spread over seeds and the interval over patients are different things" in page
    # Shares and rates in tables of their own, over the seeds and of each.
    assert_well_formed(page, tables=4)
    for link in re.findall(r'href="([^#"]+)"', page):
        assert (report.parent / link).is_file()
    # What is scored already is not scored again.
    assert all(part["reused"] for part in shell.printed(*words)["seeds"])
    shown = shell.type(*words).stdout
    assert "SD" in shown
    # Nothing of a figure is cut off, and no column has figures of two units.
    assert "…" not in shown
    assert shown.index("shares (0 to 1)") < shown.index("\nfalse alarms per 24 h")


@pytest.mark.parametrize(
    ("seeds", "said"), [("0,0", "0 twice"), ("1,x", "'x' is not a seed"), ("", "'' is not a seed")]
)
def test_malformed_seeds_are_one_line(shell: Shell, seeds: str, said: str) -> None:
    assert said in shell.refused("train", "--seeds", seeds)
    assert said in shell.refused("evaluate", "--seeds", seeds)


def test_what_interrupts_a_training_of_several_seeds_knows_which_are_done(own: Own) -> None:
    begun = []

    def train_one(seed: int) -> Run:
        begun.append(seed)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return recorded_run(own.run)

    with pytest.raises(KeyboardInterrupt) as stopped:
        list(train_each("seed", (4, 5, 6), train_one, log=lambda _line: None))
    assert begun == [4, 5]
    [note] = stopped.value.__notes__
    assert note.startswith("finished seeds: 4; remaining: 5,6;")


def test_a_run_is_scored_on_another_corpus_as_it_is(
    shell: Shell, own: Own, other: Configuration
) -> None:
    run = own.run
    base = ("evaluate", run, *own.words)
    # The threshold comes from the run's own dev, which is looked for where the training found it.
    moved = (*base, "--cache-root", other.cache_root)
    values = shell.printed(*moved)
    kept = json.loads((run / "threshold.json").read_text())
    assert values["threshold_from"] == "own dev"
    assert values["operating_point_logits"] == kept["point"]
    assert values["external"]["name"] == "elsewhere"
    assert values["external"]["own_name"] == "tusz"
    assert values["external"]["left_out"] == {}
    assert values["external"]["adapted"] is None
    assert values["split"] == "elsewhere/all"
    usable = [r for r in read_index(other.cache_root) if r.reason is None]
    report = Path(values["report"])
    assert report.parent.parent == run
    keys = {row["partition_key"] for row in rows_of(report.parent / "recordings.csv")}
    assert keys == {r.partition_key for r in usable}
    # No report of the run's own, and its threshold is what it was.
    assert not report_folder(run, "eval").exists()
    assert not report_folder(run, "dev").exists()
    again = shell.printed(*moved, "--data-dir", other.data_dir)
    assert again["reused"]
    assert again["report"] == values["report"]
    page = report.read_text(encoding="utf-8")
    head = page[page.index('id="figures-of-merit"') :]
    first = head[head.index("<p") : head.index("</p>")]
    assert "External validation: the run was trained on “tusz”" in first
    assert "neither weights nor threshold nor normalization" in first
    assert "none is among them" in head
    assert "flatter" not in head[: head.index("</dl>")]
    dev = shell.printed(*moved, "--split", "dev")
    assert dev["split"] == "elsewhere/dev"
    assert report.is_file()
    scored = rows_of(Path(dev["report"]).parent / "recordings.csv")
    assert {row["partition_key"] for row in scored} == {
        r.partition_key for r in usable if r.split == "dev"
    }
    ledger = (run.parent / EXTERNAL_LEDGER).read_text().splitlines()
    assert len(ledger) == 2
    assert json.loads((run / "threshold.json").read_text()) == kept


def test_a_threshold_is_adapted_only_where_it_is_asked_for_and_named_everywhere(
    shell: Shell, own: Own, other: Configuration
) -> None:
    run = own.run
    words = ("evaluate", run, *own.words, "--cache-root", other.cache_root)
    frozen = shell.printed(*words)
    kept = (run / "threshold.json").read_bytes()
    adapted = shell.printed(*words, "--adapt", "threshold")
    assert adapted["external"]["adapted"] == "threshold"
    assert adapted["threshold_from"] == "elsewhere/dev"
    assert adapted["split"] == "elsewhere/all but dev, threshold adapted on its dev"
    assert "-adapted-threshold-" in adapted["report"]
    assert Path(frozen["report"]).is_file()
    assert (run / "threshold.json").read_bytes() == kept
    # What it was tuned on is not scored.
    folder = Path(adapted["report"]).parent
    dev = {
        r.partition_key
        for r in read_index(other.cache_root)
        if r.reason is None and r.split == "dev"
    }
    assert dev
    assert dev.isdisjoint(row["partition_key"] for row in rows_of(folder / "recordings.csv"))
    reasons = {row["partition_key"]: row["reason"] for row in rows_of(folder / "unscored.csv")}
    assert {reasons[key] for key in dev} == {"the threshold was adapted on dev of this corpus"}
    assert {row["adapted"] for row in rows_of(folder / "figures.csv")} == {"threshold"}
    page = Path(adapted["report"]).read_text(encoding="utf-8")
    assert "Adapted: the run was trained on “tusz”" in page
    assert "This is not an external validation" in page
    assert "threshold adapted" in shell.type(*words, "--adapt", "threshold").stdout
    line = shell.refused(*words, "--adapt", "threshold", "--split", "dev")
    assert "--split dev cannot be scored" in line


def test_patients_that_the_run_knows_are_left_out(
    shell: Shell, own: Own, other: Configuration
) -> None:
    run = own.run
    assert own.settings.data_dir is not None and other.data_dir is not None
    ours, theirs = Path(own.settings.data_dir) / "edf", Path(other.data_dir) / "edf"
    # One patient of the training, under another name, and one name of dev for another patient.
    taken = next(iter(sorted((ours / "train").iterdir())))
    copied = theirs / "eval" / "zzstolen"
    shutil.copytree(taken, theirs / "eval" / taken.name)
    rename_patient(theirs / "eval" / taken.name, "zzstolen")
    namesake = sorted((ours / "dev").iterdir())[0].name
    rename_patient(sorted((theirs / "train").iterdir())[0], namesake.upper())
    config = small_config(other.cache_root.parent)
    assert shell.type("index", "--force", "--config", config).returncode == 0
    assert shell.type("cache", "build", "--config", config).returncode == 0
    words = ("evaluate", run, *own.words, "--cache-root", other.cache_root)
    values = shell.printed(*words)
    index = read_index(other.cache_root)
    usable = [r for r in index if r.reason is None]
    copies = [r for r in usable if r.patient == copied.name]
    named = [r for r in usable if r.patient == namesake.upper()]
    assert copies and named
    assert values["external"]["left_out"] == {
        "the run was trained on this patient (the same content)": len(copies),
        "the run's weights or threshold were chosen on this patient (the same name)": len(named),
    }
    left_out = {r.partition_key for r in (*copies, *named)}
    assert left_out <= {row["partition_key"] for row in values["unscored"]}
    page = Path(values["report"]).read_text(encoding="utf-8")
    assert f"{len(left_out)} recordings of 2 patients are among them and are left out" in page
    # Other people may have the same name; the same content stays out.
    values = shell.printed(*words, "--other-people")
    assert list(values["external"]["left_out"].values()) == [len(copies)]
    assert values["external"]["same_names"] == 1
    page = Path(values["report"]).read_text(encoding="utf-8")
    assert "declared that they are other people" in page


def test_a_copy_of_its_own_corpus_is_no_other_corpus(
    shell: Shell, own: Own, tmp_path: Path
) -> None:
    run = own.run
    # Fewer recordings: another selection of the same corpus, with a cache root of its own.
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "part.yaml").write_text(f"cache_root: {copy / 'cache'}\nselection: {{recordings: 6}}\n")
    config = f"{config_of(own.settings)}:{copy / 'part.yaml'}"
    assert shell.type("cache", "build", "--config", config).returncode == 0
    line = shell.refused("evaluate", run, "--config", config)
    assert "knows every patient of" in line
    assert "nothing is left to score" in line


def test_one_report_has_a_row_for_each_corpus(
    shell: Shell, own: Own, other: Configuration, tmp_path: Path
) -> None:
    run = own.run
    third = tmp_path / "third.yaml"
    # The same hospital's dev and eval by another label: a file that says where its cache lies.
    root = shutil.copytree(other.cache_root, tmp_path / "third-cache", symlinks=True)
    third.write_text(f"cache_root: {root}\n")
    across = f"{other.cache_root},third={third}"
    words = ("evaluate", run, *own.words, "--across", across)
    values = shell.printed(*words)
    assert [row["name"] for row in values["corpora"]] == ["own dev", "elsewhere", "third"]
    assert [row["own"] for row in values["corpora"]] == [True, False, False]
    # Where a file says that its corpus lies is not for a variable to change.
    variables = {
        "BRAINBRR_CACHE_ROOT": str(own.settings.cache_root),
        "BRAINBRR_DATA_DIR": str(own.settings.data_dir),
    }
    done = shell.type(*words, "--json", environment=variables)
    assert json.loads(done.stdout)["report"] == values["report"], done.stderr
    dev, elsewhere, same = values["corpora"]
    assert dev["split"] == "dev"
    assert elsewhere["figures"] == same["figures"]
    for row in values["corpora"]:
        kept = json.loads((Path(row["report"]).parent / "results.json").read_text())
        assert row["figures"]["szcore_event.f1"] == kept["estimates"]["szcore_event.f1"]
        assert row["hours"] == pytest.approx(
            sum(one["duration_s"] for one in kept["recordings"]) / 3600
        )
        assert row["patients"] == len(kept["patients"])
    report = Path(values["report"])
    table = rows_of(report.parent / "corpora.csv")
    assert [row["corpus"] for row in table] == ["own dev", "elsewhere", "third"]
    assert [row["own"] for row in table] == ["true", "false", "false"]
    page = report.read_text(encoding="utf-8")
    assert "Nothing was tuned on these corpora" in page
    assert "F1 minus own dev" in page
    # The corpora, and what the limits give, shares and rates apart.
    assert_well_formed(page, tables=3)
    for link in re.findall(r'href="([^#"]+)"', page):
        assert (report.parent / link).is_file()
    # Eval of its own corpus stands beside dev, once it was scored on purpose.
    scored = ("evaluate", run, *own.words, "--split", "eval", "--allow-eval")
    assert shell.type(*scored).returncode == 0
    done = shell.printed(*words)["corpora"]
    assert [row["name"] for row in done] == ["own dev", "own eval", "elsewhere", "third"]
    line = shell.refused("evaluate", run, *own.words, "--across", f"{root},{root}")
    assert "two corpora of --across are called elsewhere" in line


def test_what_is_missing_is_one_line_with_its_command(
    shell: Shell, own: Own, other: Configuration, tmp_path: Path
) -> None:
    run = own.run
    base = ("evaluate", run, *own.words)
    empty = tmp_path / "empty"
    empty.mkdir()
    # Not indexed.
    line = shell.refused(*base, "--cache-root", empty, "--data-dir", "/data/siena")
    assert f"`brainbrr cache build --config {config_of(own.settings)} --cache-root {empty}" in line
    assert "--data-dir /data/siena`" in line
    assert "no corpus is indexed" in shell.refused(*base, "--across", empty)
    # One cache root for each corpus.
    line = shell.refused(*base, "--data-dir", other.data_dir)
    assert f"the cache root {own.settings.cache_root} is that of {own.settings.data_dir}" in line
    # Not built.
    key = next(r.partition_key for r in read_index(other.cache_root) if r.reason is None)
    [shard] = [p for p in other.cache_root.glob(f"v*/{key}.arrow") if "latest" not in p.parts]
    content = shard.read_bytes()
    shard.unlink()
    words = (*base, "--cache-root", other.cache_root)
    line = shell.refused(*words, status=1)
    assert "1 of 10 recordings" in line
    assert f"--cache-root {other.cache_root} --data-dir {other.data_dir}" in line
    shard.write_bytes(content)
    # A split that does not exist.
    assert "'test' is not one of" in shell.refused(*words, "--split", "test")
    # A run that is not finished, or none.
    (tmp_path / "begun").mkdir()
    begun = ("evaluate", tmp_path / "begun", *own.words)
    line = shell.refused(*begun, "--cache-root", other.cache_root, status=1)
    assert "no finished run in" in line and "brainbrr train" in line
    assert "no run nothing" in shell.refused("evaluate", "nothing", *own.words)
    # No threshold, and its own dev is gone.
    values = json.loads((run / "run.json").read_text())
    values["configuration"]["cache_root"] = "/gone/cache"
    (run / "run.json").write_text(json.dumps(values))
    line = shell.refused(*words, status=1)
    assert (
        "is not here" in line and "run `brainbrr evaluate` once on the machine that has it" in line
    )
    assert "/gone/cache" in line


def test_a_run_of_an_earlier_version_learns_what_it_was_trained_on(shell: Shell, own: Own) -> None:
    run = own.run
    before = read_run_corpus(run)
    assert before is not None
    index = [r for r in read_index(own.settings.cache_root) if r.reason is None]
    assert {entry.partition_key for entry in before.recordings} == {r.partition_key for r in index}
    assert {entry.content_hash for entry in before.recordings} == {r.content_hash for r in index}
    (run / RUN_CORPUS).unlink()
    assert shell.type("evaluate", *own.words, "--split", "dev").returncode == 0
    assert read_run_corpus(run) == before
    content = bytearray((run / RUN_CORPUS).read_bytes())
    content[len(content) // 3] ^= 1
    (run / RUN_CORPUS).write_bytes(bytes(content))
    assert "is damaged" in shell.refused("evaluate", *own.words, "--split", "dev")
