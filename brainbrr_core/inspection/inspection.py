"""What there is to see of one recording, read from its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation import Event, Finding, merge_overlapping
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import SEIZURE_LABELS, ChannelRules
from brainbrr_core.corpus.edf_annotations import edf_labelling
from brainbrr_core.corpus.inheritance import dataset_root
from brainbrr_core.corpus.layouts.base import Labelling
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.layouts.folder import FolderLayout
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS, Recording
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.raw import RawFile, open_raw
from brainbrr_core.edf.reader import EdfRecording, open_edf
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.channels import Channel, choose_channels, read_channels
from brainbrr_core.signal.montage import match_channels


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One recording as it is shown.

    ``reasons`` say why it is excluded, the signal's first, each with what it means; none: it is
    not. ``start_s`` and ``stop_s`` bound what is drawn. ``unused`` are labels of signals that are
    not drawn, with what they are.
    """

    name: str
    duration_s: float
    annotated_duration_s: float | None
    reasons: tuple[tuple[str, str], ...]
    events: tuple[Event, ...]
    label_source: str
    findings: tuple[Finding, ...]
    channels: tuple[Channel, ...]
    unused: tuple[tuple[str, str], ...]
    start_s: float
    stop_s: float

    @property
    def preprocessed(self) -> bool:
        """Whether there is a preprocessed signal."""
        return any(channel.preprocessed is not None for channel in self.channels)


def inspect_recording(
    path: Path,
    settings: Preprocessing,
    recording: Recording | None = None,
    rules: ChannelRules | None = None,
    *,
    texts: Texts = DEFAULT_TEXTS,
    start_s: float = 0.0,
    seconds: float | None = None,
    seizure_labels: tuple[str, ...] = SEIZURE_LABELS,
) -> Inspection:
    """Read all there is to see of an EDF, or of ``seconds`` from ``start_s``.

    What is clipped within events of ``seizure_labels`` is counted apart.

    ``recording`` is its row of the index, whose events are shown then; otherwise the files beside
    the EDF are read, or its own annotations, as ``texts`` understands them. ``rules`` say which
    channels will do; the default ones where none are given. Figures are of the whole recording.
    Raises :class:`BrainbrrError` when no signal can be read, or none lies in the part that is
    asked for.
    """
    raw = _open(path)
    stop_s = raw.duration_s if seconds is None else min(start_s + seconds, raw.duration_s)
    if stop_s <= start_s:
        raise BrainbrrError(f"{path} lasts {raw.duration_s:g} s: give a --start before its end")
    bad: tuple[str, ...] = ()
    source: EdfRecording | None = None
    reasons = []
    try:
        bad = _bad_channels(path)
        source = open_edf(path, bad, rules)
        findings: tuple[Finding, ...] = source.findings
    except UnusableEdf as error:
        reasons.append((error.reason, SIGNAL_REASONS[error.reason]))
        findings = (*error.facts.findings, Finding(error.reason, path.name, error.detail))
    labels = _unindexed(path, raw.duration_s, texts) if recording is None else _indexed(recording)
    if labels.reason is not None:
        reasons.append((labels.reason, LABEL_REASONS[labels.reason]))
    match = match_channels([signal.label for signal in raw.header.signals], bad, rules)
    shown = choose_channels(raw, match, source.missing if source is not None else ())
    seizures = merge_overlapping(event for event in labels.events if event.label in seizure_labels)
    read_channels(shown, raw, source, settings, start_s, stop_s, seizures)
    return Inspection(
        name=path.stem if recording is None else recording.partition_key,
        duration_s=raw.duration_s,
        annotated_duration_s=labels.duration_s,
        reasons=tuple(reasons),
        events=tuple(sorted(labels.events)),
        label_source=labels.source,
        findings=findings + labels.findings,
        channels=tuple(channel for channel, _ in shown.rows),
        unused=shown.unused,
        start_s=start_s,
        stop_s=stop_s,
    )


def _open(path: Path) -> RawFile:
    try:
        return open_raw(path)
    except UnusableEdf as error:
        detail = f" ({error.detail})" if error.detail else ""
        meaning = SIGNAL_REASONS[error.reason]
        raise BrainbrrError(
            f"{path} cannot be inspected: {error.reason}: {meaning}{detail}"
        ) from None
    except OSError as error:
        raise BrainbrrError(f"{path} cannot be read: {error.strerror}") from None


def _bad_channels(path: Path) -> tuple[str, ...]:
    try:
        return bad_channels_of(path)
    except BrainbrrError as error:
        raise UnusableEdf("bad_channel_table", str(error)) from None


def _unindexed(path: Path, duration_s: float, texts: Texts) -> Labelling:
    """What the files beside an EDF that stands in no index say, or its own annotations."""
    layout = FolderLayout(dataset_root(path), texts=texts)
    file = layout.describe(path)
    if file.annotations:
        return layout.labelling(file, duration_s)
    return edf_labelling(LocalEdf(path), duration_s, texts)


def _indexed(recording: Recording) -> Labelling:
    """What the index says of a recording's annotations, the findings about them included."""
    name = Path(recording.path).name
    return Labelling(
        recording.events,
        recording.annotated_duration_s,
        recording.label_source,
        recording.label_reason,
        tuple(finding for finding in recording.findings if finding.where != name),
    )
