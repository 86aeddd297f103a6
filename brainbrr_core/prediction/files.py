"""Predictions as files: SzCORE's TSV beside each other in one folder, or one named file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation.szcore import format_tsv
from brainbrr_core.atomic import replacing
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.predictor import Prediction, Predictor, edf_files
from brainbrr_core.progress import progress


@dataclass(frozen=True)
class Written:
    """What became of a set of EDFs: files written, and those that failed with the reason."""

    files: tuple[Path, ...]
    events: int
    failed: dict[Path, str]


def predict_files(
    predictor: Predictor,
    source: Path,
    out: Path,
    on_threshold: float,
    log: Callable[[str], None] = print,
) -> Written:
    """Write the events of one EDF, or of every EDF below a folder, as SzCORE TSVs.

    ``out`` is a file name ending in ``.tsv`` for one EDF, otherwise a folder, in which the tree
    below ``source`` is repeated. In a folder, one EDF that fails fails alone; a single EDF that
    does raises :class:`BrainbrrError`.
    """
    paths = list(edf_files(source))
    written: list[Path] = []
    failed: dict[Path, str] = {}
    events = 0
    with progress("predict", len(paths), "recordings") as bar:
        for path in paths:
            target = _target(path, source, out)
            try:
                prediction = predictor.predict(path, on_threshold)
            except BrainbrrError as error:
                if path == source:
                    raise
                failed[path] = str(error)
            else:
                for finding in prediction.findings:
                    log(str(finding))
                _write(target, _text(prediction))
                written.append(target)
                events += len(prediction.events)
            bar.advance()
    return Written(tuple(written), events, failed)


def _target(path: Path, source: Path, out: Path) -> Path:
    if source.is_file():
        return out if out.suffix == ".tsv" else out / f"{path.stem}.tsv"
    return (out / path.relative_to(source)).with_suffix(".tsv")


def _text(prediction: Prediction) -> str:
    start = prediction.start.strftime("%Y-%m-%d %H:%M:%S") if prediction.start else "n/a"
    return format_tsv(prediction.events, prediction.duration_s, start)


def _write(target: Path, text: str) -> None:
    try:
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BrainbrrError(f"{target} cannot be written: {error.strerror}") from None
