"""The layout of TUSZ 2.0: ``{train,dev,eval}/<patient>/<session>/<montage>/<stem>.edf``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation import Finding, on_signal, tuh
from brainbrr_core.corpus.layout import SPLITS, Labelling, Layout, RecordingFile, present
from brainbrr_core.errors import check_exhausted


class TuszLayout(Layout):
    """The recordings below a folder that holds the splits (or holds ``edf``, which does)."""

    name = "tusz"
    form = "{train,dev,eval}/<patient>/<session>/<montage>/*.edf with *.csv_bi"

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """``data_dir`` or ``data_dir/edf``."""
        for root in (data_dir, data_dir / "edf"):
            if any((root / split).is_dir() for split in SPLITS):
                return root
        return None

    def folders(self) -> list[Path]:
        """The splits."""
        return [self.root / split for split in sorted(SPLITS) if (self.root / split).is_dir()]

    def describe(self, path: Path) -> RecordingFile:
        """Split, patient, session and montage are the folders."""
        parts = path.relative_to(self.root).parts
        return RecordingFile(
            partition_key=self.key(path),
            split=parts[0],
            patient=parts[1] if len(parts) > 2 else path.stem.split("_")[0],
            session=parts[2] if len(parts) > 3 else "",
            montage=parts[3] if len(parts) > 4 else "",
            path=path,
            annotations=present(path.with_suffix(".csv_bi"), path.with_suffix(".csv")),
        )

    def labelling(self, file: RecordingFile, signal_s: float | None) -> Labelling:
        """Events of ``csv_bi`` with the types and channels of ``csv``, where there is one."""
        return tuh_labelling(file, signal_s)


def tuh_labelling(file: RecordingFile, signal_s: float | None) -> Labelling:
    """What ``csv_bi`` and ``csv`` beside an EDF say about a signal of ``signal_s`` seconds."""
    by_suffix = {path.suffix: path for path in file.annotations}
    events, types = by_suffix.get(".csv_bi"), by_suffix.get(".csv")
    if events is None:
        lone = () if types is None else (Finding("csv_without_csv_bi", types.name),)
        return Labelling.absent(*lone)
    source = "csv_bi" if types is None else "csv_bi+csv"
    try:
        binary = on_signal(tuh.read(events), signal_s)
    except OSError as error:
        return Labelling.unreadable(events, source, error)
    if types is not None and binary.usable:
        try:
            binary = tuh.with_types(binary, tuh.read(types), signal_s)
        except OSError as error:
            check_exhausted(str(types), error)
            finding = Finding("unusable_types", types.name, error.strerror or "")
            binary = replace(binary, findings=(*binary.findings, finding))
    return Labelling.of(binary, source, signal_s)
