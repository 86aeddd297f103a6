"""Writing a corpus: the pool, the marker that says what a folder holds, and resuming.

Here belongs what concerns the corpus as a whole. A folder is claimed with
``synthesis.json.unfinished`` before the first recording; it becomes ``synthesis.json`` after
the last. The same request finds what is there and writes only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import worker_processes
from brainbrr_core.progress import progress
from brainbrr_core.synthesis.plan import (
    FURTHER_EVERY_S,
    CorpusSummary,
    RecordingPlan,
    check_seed,
    plan_corpus,
    summarize,
)
from brainbrr_core.synthesis.recording import TEMPORARY, edf_path, write_recording
from brainbrr_core.synthesis.template import plan_like

#: Rises with every change that alters a byte of a corpus.
GENERATOR_VERSION = 1
MARKER = "synthesis.json"


def write_corpus(
    out: Path,
    *,
    recordings: int,
    hours: float,
    seed: int,
    further_every_s: float | None = FURTHER_EVERY_S,
    workers: int | None = None,
) -> CorpusSummary:
    """Write a TUSZ-like corpus with synthetic EEG and known seizures.

    The tree is ``out/edf/{train,dev,eval}/<patient>/<session>/<montage>/``, an EDF with its
    ``csv`` and ``csv_bi`` for each recording. The bytes depend on the figures and the seed (and on
    numpy's version) alone. A folder that holds the corpus already is left as it is; an interrupted
    one is completed.

    Parameters
    ----------
    out : Path
        Folder to write to; it is made where it is missing.
    recordings : int
        Number of recordings.
    hours : float
        Hours of EEG of all recordings together.
    seed : int
        Seed of everything that is drawn.
    further_every_s : float, optional
        A recording with seizures has one, and another for every so many seconds on average; with
        None no other.
    workers : int, optional
        Processes; by default as many as cores and memory allow.

    Returns
    -------
    CorpusSummary
        What the corpus holds.

    Raises
    ------
    BrainbrrError
        For figures out of range, and for a folder that holds something else.
    """
    plans = plan_corpus(recordings, hours, seed, further_every_s)
    parameters: dict[str, object] = {"recordings": recordings, "hours": float(hours), "seed": seed}
    # Only where it is another: folders from before it could be chosen stay what they are.
    if further_every_s != FURTHER_EVERY_S:
        parameters["further_every_s"] = further_every_s
    return _write(out, plans, {"kind": "made", **parameters}, workers)


def write_corpus_like(
    out: Path, like: Path, *, seed: int, workers: int | None = None
) -> CorpusSummary:
    """Write a twin of the corpus ``like`` below ``out/edf``, with synthetic signals.

    Every EDF below ``like``'s splits (with or without an ``edf`` folder above them) gives one
    with the same path, channels, rates and ranges. It lasts as long as the annotation file
    states and shows seizures exactly where that says; where no EDF with these rates can last
    that long, it ends with the next whole data record. Annotation files are copied byte for
    byte. Otherwise as :func:`write_corpus`.
    """
    check_seed(seed)
    plans, digest = plan_like(like, seed)
    return _write(out, plans, {"kind": "like", "source": digest, "seed": seed}, workers)


def _write(
    out: Path, plans: list[RecordingPlan], parameters: dict[str, object], workers: int | None
) -> CorpusSummary:
    if workers is not None and workers < 1:
        raise BrainbrrError(f"{workers} workers cannot write a corpus; give at least 1")
    summary = summarize(plans)
    claim = {"generator_version": GENERATOR_VERSION, "parameters": parameters}
    marker = out / MARKER
    unfinished = out / (MARKER + TEMPORARY)
    _check_folder(out, marker, unfinished, claim)
    root = out / "edf"
    missing = [plan for plan in plans if not edf_path(root, plan).is_file()]
    if marker.is_file() and not missing:
        return summary
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**claim, "summary": asdict(summary)}, indent=2, sort_keys=True) + "\n"
    unfinished.write_text(text, encoding="utf-8")
    marker.unlink(missing_ok=True)
    # the longest first, so that no worker is left alone with one at the end
    missing.sort(key=lambda plan: (-_samples(plan), plan.key))
    processes = min(worker_processes(workers), len(missing))
    with (
        progress("writing recordings", len(missing), "recordings") as bar,
        closing(_written(root, missing, processes)) as written,
    ):
        for key in written:
            bar.advance(1, key)
    unfinished.replace(marker)
    return summary


def _check_folder(out: Path, marker: Path, unfinished: Path, claim: dict[str, object]) -> None:
    """Refuse ``out`` unless it is empty or claimed by the same request."""
    if out.exists() and not out.is_dir():
        raise BrainbrrError(f"{out} is not a folder; name another one")
    for path in (marker, unfinished):
        if not path.is_file():
            continue
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            held = None
        if isinstance(held, dict) and {name: held.get(name) for name in claim} == claim:
            return
        what = held.get("parameters") if isinstance(held, dict) else "an unreadable record"
        raise BrainbrrError(
            f"{out} holds another synthetic corpus ({path.name}: {what}); "
            "name another folder or remove this one"
        )
    if out.is_dir() and any(out.iterdir()):
        raise BrainbrrError(f"{out} holds files of another origin; name an empty folder")


def _samples(plan: RecordingPlan) -> int:
    return plan.records * sum(channel.samples for channel in plan.channels)


def _written(root: Path, plans: list[RecordingPlan], processes: int) -> Generator[str]:
    """Write ``plans`` and yield the key of each when it is done."""
    if processes <= 1:
        for plan in plans:
            yield write_recording(root, plan)
        return
    try:
        with process_pool(processes) as pool:
            futures = [pool.submit(write_recording, root, plan) for plan in plans]
            for future in as_completed(futures):
                yield future.result()
    except BrokenProcessPool as error:
        raise WorkRemains(
            f"a process that wrote recordings below {root} died, perhaps for want of memory; "
            "give the same command again with fewer workers: it goes on where it stopped"
        ) from error
