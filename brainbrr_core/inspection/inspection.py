"""One recording read for inspection: its signals, events and findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation import Event, Finding, merge_overlapping
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Texts
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.settings import SEIZURE_LABELS, ChannelRules
from brainbrr_core.corpus.edf_annotations import read_edf_labels
from brainbrr_core.corpus.layouts.base import RecordingLabels
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.layouts.known import layout_around
from brainbrr_core.corpus.recording import LABEL_REASONS, SIGNAL_REASONS, Recording
from brainbrr_core.edf.channels import match_labels
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.raw import RawFile, open_raw
from brainbrr_core.edf.reader import EdfRecording, open_edf, recording_file, recording_start
from brainbrr_core.errors import BrainbrrError, cannot_read
from brainbrr_core.inspection.channels import Channel, choose_channels, read_channels


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Everything that a page or a picture shows of one recording.

    Attributes
    ----------
    name : str
        Partition key of a recording of the index, otherwise the file name without its suffix.
    duration_s : float
        Duration of the signal in seconds.
    annotated_duration_s : float or None
        Duration that the annotation file states, in seconds.
    reasons : tuple of (str, str)
        Why the recording is excluded: codes and their meanings, the signal's reason first. Empty
        where it is not excluded.
    events : tuple of Event
        Its events in order.
    label_source : str
        Kind of the annotation files.
    findings : tuple of Finding
        Irregularities of the signal and of the annotations.
    channels : tuple of Channel
        The rows of the drawing.
    unused : tuple of (str, str)
        Label and kind of each signal that is not drawn.
    start_s, stop_s : float
        The interval that is drawn, in seconds.
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
        """Whether the recording has a preprocessed signal."""
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
    """Read the signals, events and findings of a recording.

    Figures describe the whole recording, whatever interval is drawn.

    Parameters
    ----------
    path : pathlib.Path
        The EDF, or the main file of a recording in another format.
    settings : Preprocessing
        Parameters of the signal chain.
    recording : Recording, optional
        Its row of the index, whose events are shown. Without it, the annotation files next to the
        EDF are read, or the EDF's own annotations.
    rules : ChannelRules, optional
        Which references are accepted, and how many electrodes may be interpolated; by default
        those of the default configuration.
    texts : Texts
        Patterns for annotations of free text.
    start_s : float
        Start of the interval that is drawn, in seconds.
    seconds : float, optional
        Length of that interval in seconds; by default, up to the end of the recording.
    seizure_labels : tuple of str
        Labels of seizures: clipped samples within these are counted separately.

    Returns
    -------
    Inspection
        What :func:`~brainbrr_core.inspection.picture.picture` draws.

    Raises
    ------
    BrainbrrError
        The file has no signal that can be read, or none in the interval.
    """
    raw = _open(path)
    stop_s = raw.duration_s if seconds is None else min(start_s + seconds, raw.duration_s)
    if stop_s <= start_s:
        raise BrainbrrError(f"{path} lasts {raw.duration_s:g} s: give a --start before its end")
    aliases = layout_around(path).aliases
    bad: tuple[str, ...] = ()
    source: EdfRecording | None = None
    findings: tuple[Finding, ...]
    reasons = []
    try:
        bad = _bad_channels(path)
        opened = open_edf(path, bad, rules, settings.montage, aliases)
        opened.check_samples()
        source, findings = opened, opened.findings
    except UnusableEdf as error:
        reasons.append((error.reason, SIGNAL_REASONS[error.reason]))
        findings = (*error.facts.findings, Finding(error.reason, path.name, error.detail))
    labels = (
        _read_labels(path, raw.duration_s, texts)
        if recording is None
        else _indexed_labels(recording)
    )
    if labels.reason is not None:
        reasons.append((labels.reason, LABEL_REASONS[labels.reason]))
    labels_of_file = [signal.label for signal in raw.header.signals]
    match = match_labels(labels_of_file, bad, rules, settings.montage, aliases)
    interpolated = source.interpolated if source is not None else ()
    selection = choose_channels(
        raw, match, interpolated, usable=source is not None or match.is_usable
    )
    seizures = merge_overlapping(event for event in labels.events if event.label in seizure_labels)
    channels = read_channels(selection.rows, raw, source, settings, start_s, stop_s, seizures)
    return Inspection(
        name=path.stem if recording is None else recording.partition_key,
        duration_s=raw.duration_s,
        annotated_duration_s=labels.duration_s,
        reasons=tuple(reasons),
        events=tuple(sorted(labels.events)),
        label_source=labels.source,
        findings=findings + labels.findings,
        channels=channels,
        unused=selection.unused,
        start_s=start_s,
        stop_s=stop_s,
    )


def _open(path: Path) -> RawFile:
    try:
        return open_raw(recording_file(path))
    except UnusableEdf as error:
        detail = f" ({error.detail})" if error.detail else ""
        meaning = SIGNAL_REASONS[error.reason]
        raise BrainbrrError(
            f"{path} cannot be inspected: {error.reason}: {meaning}{detail}"
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None


def _bad_channels(path: Path) -> tuple[str, ...]:
    try:
        return bad_channels_of(path)
    except BrainbrrError as error:
        raise UnusableEdf("bad_channel_table", str(error)) from None


def _read_labels(path: Path, duration_s: float, texts: Texts) -> RecordingLabels:
    """The labels of an EDF that is in no index: its annotation files, or its own annotations."""
    layout = layout_around(path, texts)
    file = layout.describe_path(path.absolute())
    if file is not None and file.annotations:
        start = recording_start(path) if layout.has_clock_times else None
        return layout.read_labels(file, duration_s, start)
    return read_edf_labels(recording_file(path), duration_s, texts)


def _indexed_labels(recording: Recording) -> RecordingLabels:
    """The labels of a recording as the index has them, including the findings about them."""
    name = recording.file_name
    return RecordingLabels(
        recording.events,
        recording.annotated_duration_s,
        recording.label_source,
        recording.label_reason,
        tuple(finding for finding in recording.findings if finding.where != name),
    )
