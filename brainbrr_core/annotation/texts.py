"""What the free text of an annotation says about seizures.

The text may name a patient, so only its meaning leaves this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256

from brainbrr_core.annotation.events import UNKNOWN
from brainbrr_core.configuration.settings import SEIZURE_LABELS, AnnotationTexts
from brainbrr_core.constants import BACKGROUND

_HED_SEIZURE = re.compile(r"sz(_[a-z0-9]+)*")
#: Prefixes of HED-SCORE types and the TUSZ labels of the same meaning; the first that fits counts.
#: Generalized motor types are looked up by their last word.
_LABELS = (
    ("sz_foc_ia", "cpsz"),
    ("sz_foc_a", "spsz"),
    ("sz_foc", "fnsz"),
    ("sz_gen_nm", "absz"),
    ("sz_gen", "gnsz"),
)
_MOTOR_LABELS = {
    "tonicclonic": "tcsz",
    "tonic": "tnsz",
    "clonic": "cnsz",
    "atonic": "atsz",
    "myoclonic": "mysz",
}
_FLAGS = re.IGNORECASE | re.DOTALL
#: ``ictal``, but not the time around a seizure: ``postictal``, ``post-ictal``.
_ICTAL = "".join(rf"(?<!{word}[\s_-])" for word in ("pre", "post", "inter", "peri", "non")) + "ict"
#: Mentions a seizure in any way.
_MENTION = re.compile(rf"(?<![a-z])(?:sz|seiz|{_ICTAL}(?:al|us))", _FLAGS)
#: Longest text, in characters, that is compared with the patterns.
_LONGEST = 1000


class Meaning(Enum):
    """What a text says about the time at which it is noted."""

    ONSET = "a seizure starts"
    END = "a seizure ends"
    SEIZURE = "a seizure that lasts as long as the annotation"
    BACKGROUND = "no seizure"
    UNKNOWN = "seizure or background"
    UNCLEAR = "mentions a seizure in a way that is not understood"
    NOTHING = "says nothing about seizures"


def label_of(event_type: str) -> str | None:
    """The TUSZ label of an ``eventType``, ``bckg`` for background; None for an unknown type."""
    name = event_type.strip().lower()
    if name in (BACKGROUND, "background"):
        return BACKGROUND
    if name in SEIZURE_LABELS:
        return name
    if _HED_SEIZURE.fullmatch(name) is None:
        return None
    if name.startswith("sz_gen_m_"):
        return _MOTOR_LABELS.get(name.rpartition("_")[2], "gnsz")
    return next((label for start, label in _LABELS if name.startswith(start)), "seiz")


@dataclass(frozen=True)
class Texts:
    """Interprets annotation texts by the patterns of a configuration."""

    patterns: AnnotationTexts

    @cached_property
    def digest(self) -> str:
        """A digest of the patterns."""
        return sha256(self.patterns.model_dump_json().encode()).hexdigest()[:12]

    @cached_property
    def _compiled(self) -> tuple[tuple[Meaning, tuple[re.Pattern[str], ...]], ...]:
        patterns = self.patterns
        return tuple(
            (meaning, tuple(re.compile(pattern, _FLAGS) for pattern in expressions))
            for meaning, expressions in (
                (Meaning.NOTHING, patterns.ignored),
                (Meaning.END, patterns.end),
                (Meaning.ONSET, patterns.onset),
                (Meaning.UNKNOWN, patterns.unknown),
                (Meaning.SEIZURE, patterns.seizure),
            )
        )

    def meaning(self, text: str) -> tuple[Meaning, str]:
        """What a text says, and the label of its event: a seizure type where it names one."""
        text = text.strip()
        if len(text) <= _LONGEST:
            named = label_of(text)
            for meaning, patterns in self._compiled:
                if any(pattern.fullmatch(text) for pattern in patterns):
                    if meaning is Meaning.UNKNOWN:
                        return meaning, UNKNOWN
                    return meaning, named or "seiz"
            if named is not None:
                return (Meaning.BACKGROUND if named == BACKGROUND else Meaning.SEIZURE), named
        unclear = _MENTION.search(text) is not None
        return (Meaning.UNCLEAR if unclear else Meaning.NOTHING), UNKNOWN


DEFAULT_TEXTS = Texts(AnnotationTexts())
