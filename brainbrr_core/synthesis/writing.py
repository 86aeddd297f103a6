"""Writing a corpus: the process pool, the marker file of a folder, and resuming.

A folder is claimed with ``synthesis.json.unfinished`` before the first recording is written, and
the file is renamed to ``synthesis.json`` after the last. The same request again writes only the
missing recordings. Only one process writes to a folder at a time.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.one_process import one_process
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
from brainbrr_core.synthesis.published import plan_published, published_layout
from brainbrr_core.synthesis.recording import (
    TEMPORARY,
    Renderer,
    edf_path,
    write_file,
    write_recording,
)
from brainbrr_core.synthesis.template import plan_like

#: Incremented with every change that alters a byte of a corpus.
GENERATOR_VERSION = 1
MARKER = "synthesis.json"
#: The file whose lock a process holds while it writes a corpus.
LOCK = "synthesis.lock"


def write_corpus(
    out: Path,
    *,
    recordings: int,
    hours: float,
    seed: int,
    further_every_s: float | None = FURTHER_EVERY_S,
    bipolar: bool = False,
    workers: int | None = None,
) -> CorpusSummary:
    """Write a corpus with synthetic EEG and known seizures in the layout of TUSZ.

    Each recording is an EDF with its ``csv`` and ``csv_bi`` in
    ``out/edf/{train,dev,eval}/<patient>/<session>/<montage>/``. The bytes depend only on the
    arguments and on the version of numpy. A complete folder is not changed; an interrupted one is
    completed.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to; created where it is missing.
    recordings : int
        Number of recordings.
    hours : float
        Hours of EEG in total.
    seed : int
        Seed of all random numbers.
    further_every_s : float, optional
        Seconds of recording for each additional seizure, on average, in recordings with seizures;
        None for no additional ones.
    bipolar : bool
        Whether the EDFs have bipolar derivations, as those of CHB-MIT, instead of electrodes.
    workers : int, optional
        Number of processes; by default as many as cores and memory allow.

    Returns
    -------
    CorpusSummary
        Contents of the corpus.

    Raises
    ------
    BrainbrrError
        An argument is out of range, or the folder has other files.
    """
    plans = plan_corpus(recordings, hours, seed, further_every_s, bipolar=bipolar)
    parameters: dict[str, object] = {"recordings": recordings, "hours": float(hours), "seed": seed}
    # Left out for the default, so that folders of versions without this option are recognized.
    if further_every_s != FURTHER_EVERY_S:
        parameters["further_every_s"] = further_every_s
    if bipolar:
        parameters["bipolar"] = True
    return write_plans(out, plans, {"kind": "made", **parameters}, workers)


def write_corpus_like(
    out: Path, like: Path, *, seed: int, workers: int | None = None
) -> CorpusSummary:
    """Write a copy of a corpus with synthetic signals.

    Every recording of ``like`` gives one with the same path, channels, rates and ranges. It has the
    duration and the seizures of its annotations; where no EDF with these rates has exactly that
    duration, it ends with the next whole data record. Annotation files are copied unchanged. An
    interrupted folder is completed, as by :func:`write_corpus`.

    The copy of a corpus in the layout of TUSZ is in ``out/edf``, that of another one in ``out``.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to; created where it is missing.
    like : pathlib.Path
        The corpus to copy, in a layout that is recognized; of TUSZ the folder of its splits, or
        the folder above its ``edf``.
    seed : int
        Seed of all random numbers.
    workers : int, optional
        Number of processes; by default as many as cores and memory allow.

    Returns
    -------
    CorpusSummary
        Contents of the new corpus.

    Raises
    ------
    BrainbrrError
        ``like`` has no EDF or one with an unreadable header, an argument is out of range, or the
        folder has other files.
    """
    check_seed(seed)
    layout = published_layout(like)
    parameters: dict[str, object] = {"kind": "like", "seed": seed}
    if layout is None:
        plans, digest = plan_like(like, seed)
        return write_plans(out, plans, {**parameters, "source": digest}, workers)
    plans, companions, digest = plan_published(layout, seed)
    parameters |= {"source": digest, "layout": layout.name}
    return write_plans(out, plans, parameters, workers, folder=".", companions=companions)


def write_plans(
    out: Path,
    plans: list[RecordingPlan],
    parameters: dict[str, object],
    workers: int | None,
    *,
    folder: str = "edf",
    companions: Mapping[str, bytes] = MappingProxyType({}),
    render: Renderer | None = None,
) -> CorpusSummary:
    """Write the recordings of ``plans`` below a folder of ``out``, and files that describe them.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to; created where it is missing.
    plans : list of RecordingPlan
        The recordings.
    parameters : dict
        What was asked for: a folder that something else was asked for is refused.
    workers : int or None
        Number of processes; by default as many as cores and memory allow.
    folder : str
        The folder below ``out``.
    companions : mapping of str to bytes
        The files that describe them, by their paths below ``out``.
    render : callable, optional
        Gives the samples of a plan, instead of this package; for another process it is pickled.

    Returns
    -------
    CorpusSummary
        Contents of the corpus.

    Raises
    ------
    BrainbrrError
        ``workers`` is below 1, the folder has other files, or another process writes to it.
    WorkRemains
        A process died.
    """
    if workers is not None and workers < 1:
        raise BrainbrrError(f"{workers} workers cannot write a corpus; give at least 1")
    corpus = _Corpus(out, out / folder, plans, parameters, companions)
    corpus.check_folder()
    if not corpus.is_complete():
        refusal = f"another process writes a corpus to {out}: wait for it, or give another folder"
        with one_process(out / LOCK, refusal):
            # Another process may have been at it until now.
            corpus.check_folder()
            if not corpus.is_complete():
                corpus.write(workers, render)
    return summarize(plans)


@dataclass(frozen=True)
class _Corpus:
    """A corpus in ``out``, with its recordings below ``root``, in whatever state it is."""

    out: Path
    root: Path
    plans: list[RecordingPlan]
    parameters: dict[str, object]
    companions: Mapping[str, bytes]

    @property
    def claim(self) -> dict[str, object]:
        """What marks a folder as one of this corpus."""
        return {"generator_version": GENERATOR_VERSION, "parameters": self.parameters}

    @property
    def marker(self) -> Path:
        """The file of a folder that was complete."""
        return self.out / MARKER

    @property
    def unfinished(self) -> Path:
        """The file of a folder that is not complete yet."""
        return self.out / (MARKER + TEMPORARY)

    def missing(self) -> list[RecordingPlan]:
        """The recordings that are not there."""
        return [plan for plan in self.plans if not edf_path(self.root, plan).is_file()]

    def lacking(self) -> list[str]:
        """The companions that are not there."""
        return [name for name in self.companions if not (self.out / name).is_file()]

    def is_complete(self) -> bool:
        """Whether nothing has to be written."""
        return self.marker.is_file() and not self.missing() and not self.lacking()

    def write(self, workers: int | None, render: Renderer | None) -> None:
        """Write what is not there."""
        missing, lacking = self.missing(), self.lacking()
        content = {**self.claim, "summary": asdict(summarize(self.plans))}
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        write_file(self.unfinished, text.encode())
        self.marker.unlink(missing_ok=True)
        for name in lacking:
            write_file(self.out / name, self.companions[name])
        # Longest first, so that no process is still writing a long recording at the end.
        missing.sort(key=lambda plan: (-_samples(plan), plan.key))
        processes = min(worker_processes(workers), len(missing))
        with (
            progress("writing recordings", len(missing), "recordings") as bar,
            closing(_write_recordings(self.root, missing, processes, render)) as keys,
        ):
            for key in keys:
                bar.advance(1, key)
        self.unfinished.replace(self.marker)

    def check_folder(self) -> None:
        """Refuse a folder that is neither empty nor claimed by the same request."""
        out, claim = self.out, self.claim
        if out.exists() and not out.is_dir():
            raise BrainbrrError(f"{out} is not a folder; give another path")
        for path in (self.marker, self.unfinished):
            if not path.is_file():
                continue
            try:
                marker_json = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                marker_json = None
            is_readable = isinstance(marker_json, dict)
            if is_readable and {name: marker_json.get(name) for name in claim} == claim:
                return
            what = marker_json.get("parameters") if is_readable else "an unreadable record"
            raise BrainbrrError(
                f"{out} has another synthetic corpus ({path.name}: {what}); "
                "give another folder or remove this one"
            )
        # Of a process that was killed before it had claimed the folder, or has just begun.
        own = {self.unfinished.name + TEMPORARY, LOCK, f".{LOCK}.lock"}
        if out.is_dir() and any(path.name not in own for path in out.iterdir()):
            raise BrainbrrError(f"{out} has other files; give an empty folder")


def _samples(plan: RecordingPlan) -> int:
    return plan.records * sum(channel.samples for channel in plan.channels)


def _write_recordings(
    root: Path, plans: list[RecordingPlan], processes: int, render: Renderer | None
) -> Generator[str]:
    """Write the recordings of ``plans`` and yield the key of each when it is done."""
    if processes <= 1:
        for plan in plans:
            yield write_recording(root, render, plan)
        return
    try:
        with process_pool(processes) as pool:
            futures = [pool.submit(write_recording, root, render, plan) for plan in plans]
            for future in as_completed(futures):
                yield future.result()
    except BrokenProcessPool as error:
        raise WorkRemains(
            f"a process that wrote recordings below {root} died, perhaps for lack of memory; "
            "run the same command again with fewer workers: it resumes where it stopped"
        ) from error
