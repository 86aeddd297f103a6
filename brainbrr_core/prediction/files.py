"""Predictions as files: a folder that mirrors the recordings', or one named file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.layouts.known import layout_around
from brainbrr_core.corpus.skipped import OF_ANNOTATIONS, Skipped
from brainbrr_core.edf.formats import without_suffix
from brainbrr_core.errors import BrainbrrError, cannot_write
from brainbrr_core.files.atomic import replacing
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.machine.walk import as_text, is_utf8
from brainbrr_core.prediction.formats import FORMATS, Origin
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.prediction.traces import TRACES, SourceUnusable, check_traces
from brainbrr_core.progress import progress

#: How the names of EDFs end that are predictions, not recordings.
_PREDICTIONS = (FORMATS["edf"].suffix, TRACES["edf"].suffix)


@dataclass(frozen=True)
class Targets:
    """The recordings, and the files that each one's events and probabilities are written to.

    ``skipped`` is what lies below ``source`` and is not read.
    """

    source: Path
    files: dict[Path, list[tuple[str, Path]]]
    skipped: tuple[Skipped, ...] = ()
    traces: dict[Path, list[tuple[str, Path]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What became of a set of EDFs: files written, and those that failed with the reason.

    ``eeg_s`` are the seconds of EEG that were predicted and ``seconds`` what that took.
    """

    files: tuple[Path, ...]
    recordings: int
    events: int
    failed: dict[Path, str]
    eeg_s: float
    seconds: float
    last: Prediction | None

    @property
    def times_real_time(self) -> float:
        """How much faster than the recordings themselves it was."""
        return self.eeg_s / self.seconds


def edf_files(source: Path) -> tuple[list[Path], list[Skipped]]:
    """An EDF, or every EDF below a folder, and what is there and is not read.

    They are those that an index of the folder has. Raises :class:`BrainbrrError` when there is
    none, or when a folder cannot be read.
    """
    if source.is_file():
        if not is_utf8(str(source)):
            raise BrainbrrError(f"{as_text(str(source))} is not named in UTF-8: rename it")
        return [source], []
    paths: list[Path] = []
    skipped: list[Skipped] = []
    if source.is_dir():
        layout = FolderLayout(source)
        paths = sorted(
            file.path for file in layout.recordings() if not file.path.name.endswith(_PREDICTIONS)
        )
        of_signals = (item for item in layout.skipped if item.kind not in OF_ANNOTATIONS)
        skipped = sorted(of_signals)
    if not paths:
        raise BrainbrrError(f"no EDF at {source}: give a file or a folder with some")
    return paths, skipped


def targets(source: Path, out: Path, formats: Sequence[str], traces: Sequence[str] = ()) -> Targets:
    """Where the events of ``source``, one EDF or a folder of them, are to be written.

    For one EDF and one format ``out`` may be the file itself; its ending then names the format,
    where ``formats`` does not. Otherwise it is a folder, in which the tree below ``source`` is
    repeated. ``traces`` are the formats in which probabilities are written beside the events.

    Raises :class:`BrainbrrError` for an unknown format or an ``out`` that does not fit.
    """
    for name in formats:
        if name not in FORMATS:
            raise BrainbrrError(f"format {name!r} is not known: use {', '.join(FORMATS)}")
    if not source.exists():
        raise BrainbrrError(f"no EDF at {source}: give a file or a folder with some")
    single = source.is_file()
    ending = out.suffix.lower()
    named = next((name for name, known in FORMATS.items() if known.ending == ending), None)
    if named is not None and not out.is_dir():
        if not single:
            raise BrainbrrError(f"{source} is no single EDF: OUT must be a folder, not {out}")
        if set(formats or (named,)) != {named}:
            raise BrainbrrError(
                f"{out} ends as {named} does and --format says {', '.join(formats)}: "
                "give a folder, or leave --format out"
            )
        (path,), skipped = edf_files(source)
        chosen = {path: [(named, out)]}
        stems = {path: str(out).removesuffix(_suffix_of(out.name))}
    elif single and out.suffix and not out.is_dir():
        endings = ", ".join(known.ending for known in FORMATS.values())
        raise BrainbrrError(
            f"{out} ends in {out.suffix}, which is no format of events: end it in one of "
            f"{endings}; or, if it is meant to be a folder, create it first"
        )
    else:
        names = tuple(dict.fromkeys(formats or ("tsv",)))
        base = source.parent if single else source
        paths, skipped = edf_files(source)
        stems = {path: str(out / path.relative_to(base).with_suffix("")) for path in paths}
        chosen = {
            path: [(name, Path(stem + FORMATS[name].suffix)) for name in names]
            for path, stem in stems.items()
        }
    check_traces(traces, chosen)
    beside = {
        path: [(name, Path(stem + TRACES[name].suffix)) for name in dict.fromkeys(traces)]
        for path, stem in stems.items()
    }
    check_targets(
        {path: [target for _, target in (*files, *beside[path])] for path, files in chosen.items()}
    )
    return Targets(source, chosen, tuple(skipped), beside)


def _suffix_of(name: str) -> str:
    """How the name of a file of events ends."""
    known = (one.suffix for one in FORMATS.values())
    return next((suffix for suffix in known if name.endswith(suffix)), Path(name).suffix)


def check_targets(chosen: dict[Path, list[Path]]) -> None:
    """Raise :class:`BrainbrrError` where a file may not be written for one of the recordings.

    No recording is written over, nor anything that describes one; no two recordings write one file;
    and nothing is written where the annotation of a recording belongs.
    """
    taken = {real_path(path): path for path in chosen}
    for path, targets_of in chosen.items():
        for target in targets_of:
            other = taken.setdefault(real_path(target), path)
            if real_path(target) == real_path(other):
                raise BrainbrrError(f"{target} is a recording: give another OUT")
            if other is not path:
                raise BrainbrrError(
                    f"{other} and {path} would both be written to {target}: rename one of them"
                )
        _refuse_annotations(path, targets_of)


def _refuse_annotations(path: Path, targets_of: list[Path]) -> None:
    folder = real_path(path.parent)
    near = [t for t in targets_of if t.exists() or real_path(t.parent) == folder]
    if not near:
        return
    layout = layout_around(path)
    recording = layout.describe_path(path.absolute())
    companions = {real_path(one) for one in recording.companions} if recording else set()
    for target in near:
        if target.exists() and real_path(target) in companions:
            raise BrainbrrError(f"{target} is there and describes {path.name}: give another OUT")
        is_beside = real_path(target.parent) == folder
        if is_beside and layout.annotates(str(folder), target.name, {without_suffix(path.name)}):
            raise BrainbrrError(
                f"{target} is where an annotation of {path.name} belongs, and detections there "
                "would count as annotated seizures: give another OUT"
            )


def predict_files(
    predictor: Predictor,
    where: Targets,
    origin: Origin,
    normalization: Normalization | None = None,
    log: Callable[[str], None] = print,
) -> Written:
    """Write the events of every recording, and its probabilities where they are asked for.

    In a folder, one EDF that fails fails alone; a single EDF that does raises
    :class:`BrainbrrError`.
    """
    written: list[Path] = []
    failed: dict[Path, str] = {}
    events, eeg_s, last = 0, 0.0, None
    started = time.perf_counter()
    with progress("predict", len(where.files), "recordings") as bar:
        outcomes = predictor.predict_all(where.files, origin.point, normalization, bar.advance)
        for path, outcome in outcomes:
            if isinstance(outcome, BrainbrrError):
                if path == where.source:
                    raise outcome
                failed[path] = str(outcome)
                continue
            for finding in outcome.findings:
                log(str(finding))
            try:
                for name, target in where.traces.get(path, ()):
                    _write(target, TRACES[name].pieces(path, outcome, origin))
                    written.append(target)
            except SourceUnusable as error:
                if path == where.source:
                    raise
                failed[path] = str(error)
                continue
            for name, target in where.files[path]:
                _write(target, [FORMATS[name].encode(outcome, path.stem, origin)])
                written.append(target)
            events += len(outcome.events)
            eeg_s += outcome.duration_s
            last = outcome
    seconds = time.perf_counter() - started
    recordings = len(where.files) - len(failed)
    return Written(tuple(written), recordings, events, failed, eeg_s, seconds, last)


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    try:
        with replacing(target) as temporary, temporary.open("wb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise cannot_write(target, error) from None
