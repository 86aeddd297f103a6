"""Planning a copy of a corpus in the layout of TUSZ from its headers and annotations.

A plan has the channels, rates, ranges, durations and seizures of the original. Free text of a
header (patient, recording) is never read into a plan.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from brainbrr_core.annotation import UNKNOWN, Event, tuh
from brainbrr_core.corpus.layouts.base import unreadable_folder
from brainbrr_core.corpus.layouts.tusz import SPLIT_FOLDERS
from brainbrr_core.edf.formats import is_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import is_text, walk
from brainbrr_core.progress import progress
from brainbrr_core.synthesis.channels import Channel
from brainbrr_core.synthesis.plan import FOCAL, FOCI, RecordingPlan, Seizure, patient_focus
from brainbrr_core.synthesis.scalp import RENAMED

_SUFFIXES = (".csv_bi", ".csv")
#: Year in all headers, so that no file has a date of the original.
YEAR = 2012
#: An EDF header field has eight characters.
_FIELD = 8


@dataclass(frozen=True, slots=True)
class _Original:
    """A recording of the existing corpus: its header, and its annotation files as bytes."""

    key: str
    channels: tuple[Channel, ...]
    record_s: Fraction
    own_s: Fraction
    annotations: tuple[tuple[str, bytes], ...]


def data_root(like: Path) -> Path:
    """The folder of the splits: ``like/edf`` if it exists, otherwise ``like``."""
    edf = like / "edf"
    return edf if edf.is_dir() else like


def plan_like(like: Path, seed: int) -> tuple[list[RecordingPlan], str]:
    """Plan a copy of every EDF below the splits of ``like``; also a digest of what was read.

    A copy has the channels of the header, and the duration and seizures of the annotation file
    (without one, the duration of the EDF). Raises :class:`BrainbrrError` where there is no EDF, or
    one without a readable header.
    """
    root = data_root(like)
    try:
        paths = [path for folder in SPLIT_FOLDERS for path in _edfs(root / folder)]
    except OSError as error:
        raise unreadable_folder(error) from None
    if not paths:
        raise BrainbrrError(
            f"no EDF below {root}/train, dev or eval; give the folder that has the splits"
        )
    with progress("reading headers", len(paths), "recordings") as bar:
        originals = []
        for path in paths:
            originals.append(_read(path, root))
            bar.advance()
    digest = hashlib.sha256("\n".join(map(repr, originals)).encode()).hexdigest()
    return [_plan(original, seed) for original in originals], digest


def _edfs(split: Path) -> list[Path]:
    """EDFs in the folders of a split. Raises ``OSError`` for a folder that cannot be read."""
    return sorted(
        Path(entry.path)
        for listing in walk([split] if split.is_dir() else [])
        for entry in listing.files
        if is_edf(entry.name) and not entry.name.startswith(".") and is_text(entry.name)
        if Path(entry.path).parent != split
    )


def record_length(duration_s: Fraction, rates_hz: list[Fraction], usual_s: Fraction) -> Fraction:
    """Length in seconds of a data record that divides ``duration_s`` with whole samples.

    ``usual_s`` if it does, otherwise the length nearest to 1 s that does and fits into a header
    field. If there is none, no EDF has exactly this duration, and the result is ``usual_s``.
    """
    if (duration_s / usual_s).denominator == 1:
        return usual_s
    totals = [duration_s * rate for rate in rates_hz]
    if any(total.denominator != 1 for total in totals):
        return usual_s
    common = math.gcd(*(int(total) for total in totals))
    lengths = [duration_s / count for count in _divisors(common)]
    fitting = [s for s in lengths if Fraction(str(float(s))) == s and len(str(float(s))) <= _FIELD]
    return min(fitting, key=lambda s: (abs(s - 1), s), default=usual_s)


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _read(path: Path, root: Path) -> _Original:
    channels, record_s, own_s = read_channels(path)
    annotations = tuple(
        (suffix, path.with_suffix(suffix).read_bytes())
        for suffix in _SUFFIXES
        if path.with_suffix(suffix).is_file()
    )
    key = path.relative_to(root).with_suffix("").as_posix()
    return _Original(key, channels, record_s, own_s, annotations)


def _plan(original: _Original, seed: int) -> RecordingPlan:
    stated, events, typed = _events(original)
    duration_s = original.own_s if stated is None else Fraction(str(stated))
    rates = [channel.samples / original.record_s for channel in original.channels]
    record_s = record_length(duration_s, rates, original.record_s)
    records = max(1, math.ceil(duration_s / record_s))
    end = float(records * record_s)
    split, patient, *_ = original.key.split("/")
    return RecordingPlan(
        key=original.key,
        split=SPLIT_FOLDERS[split],
        patient=patient,
        seed=seed,
        records=records,
        record_s=record_s,
        channels=tuple(
            replace(channel, samples=int(rate * record_s))
            for channel, rate in zip(original.channels, rates, strict=True)
        ),
        seizures=tuple(
            Seizure(event.start, min(event.stop, end), _focus(event, typed, seed, patient))
            for event in events
            if event.start < min(event.stop, end)
        ),
        annotations=original.annotations,
        year=YEAR,
    )


def read_channels(path: Path) -> tuple[tuple[Channel, ...], Fraction, Fraction]:
    """Channels, record length and duration in seconds from the header of an EDF.

    Raises :class:`BrainbrrError` where it has no readable header or no signals.
    """
    from edfio import read_edf

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            edf = read_edf(path, lazy_load_data=True)
        usual_s = Fraction(str(edf.data_record_duration))
        channels = tuple(
            Channel(
                _ascii(signal.label),
                signal.samples_per_data_record,
                _ascii(signal.physical_dimension),
                (signal.physical_min, signal.physical_max),
                (signal.digital_min, signal.digital_max),
            )
            for signal in edf.signals
        )
        own_s = edf.num_data_records * usual_s
    except (OSError, ValueError, ArithmeticError) as error:
        raise BrainbrrError(f"{path}: no readable EDF header ({error}); remove it") from error
    if not channels or usual_s <= 0 or any(channel.samples < 1 for channel in channels):
        raise BrainbrrError(f"{path}: its header has no signals; remove it")
    if any(c.physical[0] == c.physical[1] or c.digital[0] == c.digital[1] for c in channels):
        raise BrainbrrError(f"{path}: the range of a channel is empty; remove it")
    return channels, usual_s, own_s


def _ascii(text: str) -> str:
    """``text`` in ASCII, as an EDF header requires; the micro sign becomes u."""
    replaced = text.replace("\N{REPLACEMENT CHARACTER}V", "uV").replace("\N{MICRO SIGN}", "u")
    return replaced.encode("ascii", "replace").decode()


def _events(original: _Original) -> tuple[float | None, list[Event], list[Event]]:
    """Stated duration, seizures of the montage, and seizures with types of a recording."""
    parsed = {
        suffix: tuh.parse(content.decode("utf-8", "replace"), original.key + suffix)
        for suffix, content in original.annotations
    }
    stated = next((one.duration_s for one in parsed.values() if one.duration_s), None)
    typed = tuh.typed_events(parsed[".csv"]) if ".csv" in parsed else []
    events = parsed[".csv_bi"].events if ".csv_bi" in parsed else typed
    whole = [event for event in events if event.label != UNKNOWN]
    return stated, whole, typed


def _focus(event: Event, typed: list[Event], seed: int, patient: str) -> str:
    """Electrode at which a seizure starts, from its type and channels, otherwise the patient's."""
    for other in typed:
        if other.start < event.stop and other.stop > event.start:
            if other.label != FOCAL:
                return ""
            ends = [
                RENAMED.get(name.upper(), name.upper())
                for pair in other.channels
                for name in pair.split("-")
            ]
            touched = [name for name in ends if name in FOCI]
            return max(touched, key=touched.count) if touched else FOCI[0]
    return patient_focus(seed, patient)
