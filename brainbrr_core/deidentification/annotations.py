"""The annotations of an EDF+, of which time stamps and events of seizures stay, in fixed words."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import tal
from brainbrr_core.annotation.edf_plus import ENDS
from brainbrr_core.annotation.texts import Meaning, Texts
from brainbrr_core.configuration.settings import SEIZURE_LABELS
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.display.counts import count
from brainbrr_core.edf.header import ANNOTATIONS, EdfHeader, UnusableEdf
from brainbrr_core.edf.source import Digital

#: The word for each meaning, which the default configuration understands in the same way.
_WORDS = {
    Meaning.ONSET: "onset",
    Meaning.END: "offset",
    Meaning.BACKGROUND: BACKGROUND,
    Meaning.UNCLEAR: "sz?",
}
#: Texts of the specification that say how long a recording is.
_STANDARD = {"recording starts": "Recording starts", ENDS.lower(): ENDS}


def word_of(text: str, texts: Texts) -> str | None:
    """The fixed word for the text of an event; None where it says nothing about seizures.

    With the default meanings it is never longer than the text, and so fits where that was.
    """
    meaning, label = texts.meaning(text)
    if meaning is Meaning.UNKNOWN:
        return "unknown" if len(text) >= len("unknown") else "unkn"
    if meaning is Meaning.SEIZURE and (label == "seiz" or label not in SEIZURE_LABELS):
        return "seizure" if len(text) >= len("seizure") else "sz"
    if meaning is Meaning.SEIZURE:
        return label
    if meaning is Meaning.NOTHING:
        return _STANDARD.get(text.strip().lower())
    return _WORDS[meaning]


class AnnotationFilter:
    """Writes the annotation signals of data records anew, each in the bytes that it has.

    An annotation that does not fit moves to a later record. What is left out, or worded in another
    way, is counted in ``removed``.
    """

    def __init__(self, header: EdfHeader, texts: Texts, removed: Counter[str]) -> None:
        self._texts, self._removed = texts, removed
        self._columns = [
            slice(signal.offset, signal.offset + signal.samples)
            for signal in header.signals
            if signal.label == ANNOTATIONS
        ]
        self._waiting: deque[bytes] = deque()

    def apply(self, records: NDArray[Digital]) -> None:
        """Change the annotation signals of data records (records, samples) in place."""
        if not self._columns:
            return
        for record in records:
            stamp = self._read([record[column].tobytes() for column in self._columns])
            for column, content in zip(self._columns, self._filled(stamp), strict=True):
                record[column] = np.frombuffer(content, record.dtype)

    def finish(self) -> None:
        """Raise :class:`UnusableEdf` where annotations are left that fit into no record."""
        if self._waiting:
            raise UnusableEdf(
                "unreadable", f"no room for {count(len(self._waiting), 'annotation')}"
            )

    def _read(self, contents: list[bytes]) -> bytes:
        """The time stamp of a data record, whose events are added to those that wait."""
        stamp = b""
        for signal, content in enumerate(contents):
            for position, entry in enumerate(content.split(b"\0")):
                if not entry:
                    continue
                match = tal.LIST.fullmatch(entry)
                if match is None:
                    self._removed["hidden_bytes"] += 1
                    continue
                onset, duration, rest = match.groups()
                texts = rest.split(b"\x14")
                if signal == position == 0 and not texts[0]:
                    stamp = onset + b"\x14\x14\0"
                timing = onset if duration is None else onset + b"\x15" + duration
                for text in filter(None, texts):
                    self._keep(timing, text.decode("utf-8", "replace"))
        return stamp

    def _keep(self, timing: bytes, text: str) -> None:
        word = word_of(text, self._texts)
        if word is None:
            self._removed["annotation"] += 1
            return
        if word != text:
            self._removed["annotation_wording"] += 1
        self._waiting.append(timing + b"\x14" + word.encode() + b"\x14\0")

    def _filled(self, stamp: bytes) -> list[bytes]:
        """The bytes of each annotation signal of a data record, with as many events as fit."""
        filled = []
        for number, column in enumerate(self._columns):
            room = 2 * (column.stop - column.start)
            content = stamp if number == 0 else b""
            while self._waiting and len(content) + len(self._waiting[0]) <= room:
                content += self._waiting.popleft()
            filled.append(content.ljust(room, b"\0"))
        return filled
