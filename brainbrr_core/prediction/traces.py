"""The probability of a seizure over time as a file: a table, or a signal beside the EEG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import FRAME_HZ, PROBABILITY_EDF
from brainbrr_core.corpus.recording import SIGNAL_REASONS
from brainbrr_core.deidentification.header import FIXED, clean_header
from brainbrr_core.deidentification.recording import open_source
from brainbrr_core.edf.formats import is_edf
from brainbrr_core.edf.header import ANNOTATIONS, COLUMNS, EdfHeader, UnusableEdf
from brainbrr_core.edf.records import record_chunks
from brainbrr_core.errors import BrainbrrError, cannot_read
from brainbrr_core.prediction.formats import Origin
from brainbrr_core.prediction.recording import Prediction

#: The label of the signal: an EDF has room for 16 characters.
LABEL = "Seizure prob"
_TRANSDUCER = "probability of a seizure, by brainbrr"
#: Its digital range, which stands for probabilities of 0 and 1.
_LOW, _HIGH = -32768, 32767
#: Rows of a table that are made into text at a time.
_ROWS = 1 << 16


class SourceUnusable(BrainbrrError):
    """The EEG beside which a probability is to be written cannot be copied."""


def _tsv(_path: Path, prediction: Prediction, _origin: Origin) -> Iterator[bytes]:
    yield b"time_s\tprobability\n"
    probabilities = prediction.probabilities
    for first in range(0, len(probabilities), _ROWS):
        rows = enumerate(probabilities[first : first + _ROWS], start=first)
        yield "".join(f"{n / FRAME_HZ:.3f}\t{value:.6f}\n" for n, value in rows).encode()


def _parquet(path: Path, prediction: Prediction, origin: Origin) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    probabilities = prediction.probabilities
    columns = {"time_s": np.arange(len(probabilities)) / FRAME_HZ, "probability": probabilities}
    described = {
        "recording": path.stem,
        "run": origin.run,
        "preprocessing_version": origin.preprocessing_version,
        "on_threshold": repr(origin.point.probability),
        "mean_and_deviation": origin.normalization,
    }
    file = BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(described), file)
    yield file.getvalue()


def _edf(path: Path, prediction: Prediction, _origin: Origin) -> Iterator[bytes]:
    """The EEG of an EDF, sample for sample, and the probability as one more signal.

    Data records are those of the EDF. The header says nothing of the patient but the date and time
    of the recording, and annotations, which may, are left out. Some megabytes are held at a time.
    Raises :class:`SourceUnusable`.
    """
    try:
        source = open_source(path)
        header = source.header
        kept = [n for n, signal in enumerate(header.signals) if signal.label != ANNOTATIONS]
        per_record = max(ceil(FRAME_HZ * header.record_duration), 1)
        content = clean_header(source.fields, header, source.records, None, Counter())
        yield _with_one_more(content, header, kept, per_record)
        signals = [header.signals[n] for n in kept]
        columns = np.concatenate([np.arange(s.offset, s.offset + s.samples) for s in signals])
        probabilities = _digital(prediction.probabilities)
        frames, samples = (FRAME_HZ * header.record_duration / per_record).as_integer_ratio()
        for first, records in record_chunks(source.file, header, source.records):
            numbers = np.arange(first * per_record, (first + len(records)) * per_record)
            # The frame in which the middle of each sample lies, in integers: exact.
            at = (2 * numbers + 1) * frames // (2 * samples)
            added = probabilities[at.clip(max=len(probabilities) - 1)]
            yield np.hstack([records[:, columns], added.reshape(-1, per_record)]).tobytes()
    except UnusableEdf as error:
        raise SourceUnusable(f"{path}: {SIGNAL_REASONS[error.reason]} ({error})") from None
    except OSError as error:
        raise SourceUnusable(str(cannot_read(path, error))) from None


def _digital(probabilities: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(_LOW + probabilities * (_HIGH - _LOW)).astype("<i2")


def _with_one_more(content: bytes, header: EdfHeader, kept: list[int], samples: int) -> bytes:
    """A header without the signals that are not kept, and with that of the probability."""
    added = {
        "label": LABEL,
        "transducer": _TRANSDUCER,
        "physical_min": "0",
        "physical_max": "1",
        "digital_min": str(_LOW),
        "digital_max": str(_HIGH),
        "samples": str(samples),
    }
    fixed = bytearray(content[:256])
    changed = {
        "header_bytes": str(256 * (len(kept) + 2)),
        # Without annotations it is no EDF+.
        "reserved": "",
        "signals": str(len(kept) + 1),
    }
    for name, text in changed.items():
        start, stop = FIXED[name]
        fixed[start:stop] = text.encode().ljust(stop - start)
    count = len(header.signals)
    starts = accumulate((width * count for _, width in COLUMNS), initial=256)
    parts = [bytes(fixed)]
    for start, (name, width) in zip(starts, COLUMNS, strict=False):
        parts += [content[start + n * width : start + (n + 1) * width] for n in kept]
        parts.append(added.get(name, "").encode().ljust(width))
    return b"".join(parts)


@dataclass(frozen=True)
class Trace:
    """How a probability is written: the pieces of the file, and how its name ends."""

    suffix: str
    pieces: Callable[[Path, Prediction, Origin], Iterator[bytes]]


#: By the name that ``--probabilities`` takes.
TRACES = {
    "tsv": Trace(".probabilities.tsv", _tsv),
    "parquet": Trace(".probabilities.parquet", _parquet),
    "edf": Trace(PROBABILITY_EDF, _edf),
}


def check_traces(names: Iterable[str], recordings: Iterable[Path]) -> None:
    """Raise :class:`BrainbrrError` for a trace that is not known or not possible."""
    for name in names:
        if name not in TRACES:
            raise BrainbrrError(f"--probabilities {name!r} is not known: use {', '.join(TRACES)}")
        other = next((path for path in recordings if not is_edf(path.name)), None)
        if name == "edf" and other is not None:
            raise BrainbrrError(
                f"{other} is no EDF that a signal can be added to: use --probabilities tsv or "
                "parquet"
            )
