"""Dagster's UI on a small corpus, driven as a person would, in headless Chromium.

Needs Debian's packages chromium and chromium-driver; run with `make test-browser`. What was seen
is left in ``browser-pictures/``, for a person to look at.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from brainbrr_core.cli.dagster import prepare_dagster_home
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.synthesis import write_corpus
from tests.support.project import ROOT
from tests.support.services import Services, free_port, needed, wait_until

pytestmark = pytest.mark.browser

PICTURES = ROOT / "browser-pictures"
RECORDINGS = 6
FLAGS = (
    "headless",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1400,900",
)
#: Seconds for a page to show something, and for a run to end.
PAGE_S, RUN_S = 40, 180
#: Runs in every page before its own code: how many requests have no answer, and when one last had.
_COUNT_REQUESTS = """
window.unanswered = 0;
window.answeredAt = performance.now();
const send = window.fetch;
window.fetch = (...request) => {
  window.unanswered += 1;
  return send(...request).finally(() => {
    window.unanswered -= 1;
    window.answeredAt = performance.now();
  });
};
"""
#: Whether the page has had what it asked for, and has had the time to draw it and ask for more.
_IS_SETTLED = "return window.unanswered === 0 && performance.now() - window.answeredAt > 500"


class Ui:
    """Pages of the UI, by what is written on them."""

    def __init__(self, driver: webdriver.Chrome, port: int) -> None:
        self._driver, self._base = driver, f"http://127.0.0.1:{port}"
        self._pictures = 0
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _COUNT_REQUESTS})

    def open(self, path: str) -> None:
        self._driver.get(self._base + path)

    def wait_for_answers(self) -> None:
        """Wait until the page has no request without an answer."""
        self._wait("all answers", lambda: self._driver.execute_script(_IS_SETTLED), PAGE_S)

    def text(self) -> str:
        return self._driver.find_element(By.TAG_NAME, "body").text

    def sees(self, *parts: str) -> bool:
        """Whether all parts are on the page."""
        try:
            text = self.text()
        except StaleElementReferenceException:
            return False
        return all(part in text for part in parts)

    def wait_for(self, *parts: str, seconds: float = PAGE_S) -> None:
        self._wait(f"the page says {parts}", lambda: self.sees(*parts), seconds)

    def _wait(self, what: str, happened: Callable[[], object], seconds: float) -> None:
        try:
            wait_until(what, happened, seconds=seconds)
        except pytest.fail.Exception:
            self.picture("failed")
            raise

    def click(self, label: str) -> None:
        """Click the button of a label, as soon as there is one."""

        def clicked() -> bool:
            try:
                for button in self._driver.find_elements(By.CSS_SELECTOR, "button"):
                    if button.text.strip() == label and button.is_enabled():
                        button.click()
                        return True
            except StaleElementReferenceException:
                pass
            return False

        self._wait(f"a button {label}", clicked, PAGE_S)

    def follow(self, text: str) -> None:
        """Click the link of a text."""
        self._wait(f"a link {text}", lambda: self._driver.find_elements(By.LINK_TEXT, text), PAGE_S)
        link = self._driver.find_element(By.LINK_TEXT, text)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
        link.click()

    def picture(self, name: str) -> None:
        """Keep what is shown, numbered in order."""
        self._pictures += 1
        self._driver.save_screenshot(str(PICTURES / f"{self._pictures:02d}-{name}.png"))

    def index_corpus(self) -> None:
        """Materialize raw_edf_index and wait until its newest event is of another run."""
        before = self._newest_run()
        self.click("Materialize")
        self.wait_for("Launched run")
        wait_until(
            "a materialization of raw_edf_index",
            lambda: self._newest_run() not in (None, before),
            seconds=RUN_S,
        )

    def _newest_run(self) -> str | None:
        """The run that the page of raw_edf_index's events opens with."""
        self.open("/assets/raw_edf_index?view=events")
        self.wait_for("raw_edf_index", "Filter")
        self.wait_for_answers()
        run = re.search(r"Materialized in run\s+(\w+)", self.text())
        return run and run[1]

    def backfill_all(self, picture: str) -> None:
        """Materialize every partition of windowed_cache from its page."""
        self.open("/assets/windowed_cache?view=partitions")
        self.wait_for(f"{RECORDINGS} Partitions Selected")
        self.click("Materialize…")
        self.click("All")
        self.wait_for(f"{RECORDINGS} partitions selected", "Backfills all partitions in a single")
        self.picture(picture)
        self.click("Launch backfill")
        dialog = "Launch runs to materialize"
        self._wait("the dialog closes", lambda: not self.sees(dialog), PAGE_S)

    def open_partition(self, key: str) -> None:
        self.open(f"/assets/windowed_cache?view=partitions&partition={quote(key, safe='')}")
        # Not for the key: the page shortens it where there is little room.
        self.wait_for("Latest materialization", "hours")
        # The staleness comes after the rest.
        self.wait_for_answers()

    def unsynced(self, keys: list[str]) -> list[str]:
        """Partitions whose page says that they are stale."""
        found = []
        for key in keys:
            self.open_partition(key)
            if self.sees("Unsynced"):
                found.append(key)
        return found


class Project:
    """A corpus, its settings, and `dagster dev` upon them."""

    def __init__(self, place: Path) -> None:
        write_corpus(place / "tusz", recordings=RECORDINGS, hours=0.15, seed=1, workers=1)
        self._file = place / "small.yaml"
        self._folders = "".join(
            f"{key}: {place / name}\n"
            for key, name in (
                ("data_dir", "tusz"),
                ("cache_root", "cache"),
                ("runs_dir", "runs"),
                ("dagster_home", "dagster"),
            )
        )
        self._file.write_text(self._folders)
        prepare_dagster_home(place / "dagster")
        self.port = free_port()
        self.services = Services(
            place / "logs",
            {
                "BRAINBRR_CONFIG": self._config,
                "DAGSTER_HOME": str(place / "dagster"),
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
            },
        )

    @property
    def _config(self) -> str:
        return f"full:cpu:{self._file}"

    @property
    def settings(self) -> Configuration:
        return load(Overrides(config=self._config), environment={})

    def change_preprocessing(self) -> None:
        """What a person does who works where the mains have 50 Hz."""
        self._file.write_text(f"{self._folders}preprocessing: {{notch_hz: 50}}\n")

    def built(self) -> dict[str, int]:
        """Shards made so far in each version, by its records.jsonl."""
        return {
            path.parent.name: len(path.read_text().splitlines())
            for path in self.settings.cache_root.glob("v*/records.jsonl")
        }


def change(path: Path) -> None:
    """Change one sample."""
    content = bytearray(path.read_bytes())
    content[-3000] ^= 0x2A
    path.write_bytes(bytes(content))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    with project.services as services:
        services.start(
            "dev", Path(sys.executable).with_name("dagster"), "dev", "-h", "127.0.0.1",
            "-p", str(project.port),
        )  # fmt: skip
        services.wait_for_port("dev", project.port, seconds=120)
        yield project
    assert not services.running()


@pytest.fixture
def ui(project: Project, tmp_path: Path) -> Iterator[Ui]:
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    options = Options()
    options.binary_location = needed("chromium", "chromium")
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
    driver = webdriver.Chrome(options, Service(needed("chromedriver", "chromium-driver")))
    try:
        yield Ui(driver, project.port)
    finally:
        driver.quit()


def test_a_person_builds_sees_what_is_stale_and_backfills(project: Project, ui: Ui) -> None:
    ui.index_corpus()
    ui.picture("corpus-indexed")
    index = read_index(project.settings.cache_root)
    keys = [recording.partition_key for recording in index]
    assert len(keys) == RECORDINGS
    # What has to be built is named, with links to the pages of the partitions.
    ui.open("/assets/raw_edf_index?view=events")
    ui.follow(keys[0])
    ui.wait_for("windowed_cache", keys[0], "No metadata entries")
    ui.picture("a-partition-to-build")

    ui.backfill_all("materialize-all")
    ui.wait_for(f"Materialized ({RECORDINGS})", "Missing (0)", seconds=RUN_S)
    ui.picture("all-materialized")
    assert ui.unsynced(keys) == []
    assert list(project.built().values()) == [RECORDINGS]

    victim = index.recordings[4]
    change(Path(victim.path))
    ui.index_corpus()
    wait_until(
        "one partition is stale, and which", lambda: ui.unsynced(keys) == [victim.partition_key],
        seconds=PAGE_S,
    )  # fmt: skip
    ui.open_partition(victim.partition_key)
    ui.picture("one-edf-changed-one-partition-stale")

    project.change_preprocessing()
    ui.open("/deployment/locations")
    ui.wait_for("Loaded")
    ui.click("Reload")
    wait_until(
        "every partition is stale", lambda: ui.unsynced(keys) == keys, seconds=RUN_S, every=2
    )
    ui.picture("new-version-every-partition-stale")

    ui.backfill_all("backfill-of-the-new-version")
    wait_until("no partition is stale", lambda: ui.unsynced(keys) == [], seconds=RUN_S, every=2)
    ui.picture("backfilled")
    ui.open("/locations/brainbrr_pipeline.definitions/asset-groups/cache/lineage")
    ui.wait_for("windowed_cache", "100% filled", "6 partitions")
    ui.picture("graph")
    assert sorted(project.built().values()) == [RECORDINGS, RECORDINGS]
