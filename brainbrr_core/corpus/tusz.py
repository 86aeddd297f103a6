"""The layout of TUSZ 2.0: ``{train,dev,eval}/<patient>/<session>/<montage>/<stem>.edf``.

``csv_bi`` beside the EDF gives the events; ``csv``, where there is one, their seizure types and
channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import Event, Finding, tuh
from brainbrr_core.corpus.layout import SPLITS, Labelling, RecordingFile
from brainbrr_core.errors import BrainbrrError


class TuszLayout:
    """The recordings below a folder that holds the splits (or holds ``edf``, which does)."""

    name = "tusz"

    def __init__(self, data_dir: Path) -> None:
        self.root = split_root(data_dir)

    def recordings(self) -> Iterator[RecordingFile]:
        """Every EDF below the splits, in the order of the partition keys."""
        for split in sorted(SPLITS):
            folder = self.root / split
            if not folder.is_dir():
                continue
            for path in sorted(_edf_files(folder)):
                relative = path.relative_to(self.root)
                parts = relative.parts
                annotations = (path.with_suffix(".csv_bi"), path.with_suffix(".csv"))
                yield RecordingFile(
                    partition_key=relative.with_suffix("").as_posix(),
                    split=split,
                    patient=parts[1] if len(parts) > 2 else path.stem.split("_")[0],
                    session=parts[2] if len(parts) > 3 else "",
                    montage=parts[3] if len(parts) > 4 else "",
                    path=path,
                    annotation_paths=tuple(file for file in annotations if file.is_file()),
                )

    def labelling(self, file: RecordingFile) -> Labelling:
        """Events of ``csv_bi`` with the types and channels of ``csv``."""
        by_suffix = {path.suffix: path for path in file.annotation_paths}
        if ".csv_bi" not in by_suffix:
            return Labelling((), None, "", "no_annotation", ())
        try:
            binary = tuh.read(by_suffix[".csv_bi"])
            typed = tuh.read(by_suffix[".csv"]) if ".csv" in by_suffix else None
        except OSError as error:
            finding = Finding("unreadable_annotation", file.path.name, type(error).__name__)
            return Labelling((), None, "csv_bi", "bad_annotation", (finding,))
        findings = binary.findings + (typed.findings if typed else ())
        source = "csv_bi" if typed is None else "csv_bi+csv"
        if not binary.usable:
            return Labelling((), binary.duration_s, source, "bad_annotation", findings)
        events = [event for event in binary.events if not event.channels]
        types = tuh.typed_events(typed) if typed is not None and typed.usable else []
        return Labelling(
            tuple(_with_type(event, types) for event in events),
            binary.duration_s,
            source,
            None,
            findings,
        )


def split_root(data_dir: Path) -> Path:
    """The folder that holds the splits: ``data_dir`` or ``data_dir/edf``.

    Raises :class:`BrainbrrError` when the folder is absent, empty or has no split.
    """
    if not data_dir.is_dir():
        raise BrainbrrError(
            f"no data directory at {data_dir}: set BRAINBRR_DATA_DIR to the folder "
            "that holds train, dev and eval"
        )
    for root in (data_dir, data_dir / "edf"):
        if any((root / split).is_dir() for split in SPLITS):
            return root
    state = "is empty" if not any(data_dir.iterdir()) else "has no train, dev or eval folder"
    raise BrainbrrError(
        f"{data_dir} {state}: set BRAINBRR_DATA_DIR to the folder that holds the splits"
    )


def _edf_files(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        # A link that leads back to a folder above it would be walked for ever.
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        yield from (Path(place, name) for name in files if name.lower().endswith(".edf"))


def _with_type(event: Event, types: list[Event]) -> Event:
    """The event with the label and channels of the typed event that it overlaps most."""
    best, best_overlap = None, 0.0
    for typed in types:
        overlap = min(event.stop, typed.stop) - max(event.start, typed.start)
        if overlap > best_overlap:
            best, best_overlap = typed, overlap
    return event if best is None else replace(event, label=best.label, channels=best.channels)
