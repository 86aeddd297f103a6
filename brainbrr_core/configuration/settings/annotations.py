"""What annotations mean: the section ``labels``, and ``corpus.annotation_texts``."""

from __future__ import annotations

import re
from typing import Literal, get_args

from pydantic import field_validator

from brainbrr_core.configuration.settings.section import Section

SeizureLabel = Literal[
    "seiz",
    "gnsz",
    "fnsz",
    "spsz",
    "cpsz",
    "absz",
    "tnsz",
    "cnsz",
    "tcsz",
    "atsz",
    "mysz",
    "nesz",
]
#: TUSZ 2.0's seizure labels (v2.0.x documentation, ``DOCS/``).
SEIZURE_LABELS: tuple[SeizureLabel, ...] = get_args(SeizureLabel)


class Labels(Section):
    """Which seizure types of TUSZ count as seizure."""

    #: Labels of TUSZ's per-channel annotations that count as seizure. An event with another seizure
    #: label is unknown, never background: its seconds count neither in the loss nor in a score.
    seizure: tuple[SeizureLabel, ...] = SEIZURE_LABELS


#: A word for a seizure, with its number if it has one: ``Seizure #8``, ``sz_2``.
_SEIZURE = r"(?:sz|seiz|seizure|ictal|ictus)s?[\s_#.:\d-]*"
#: An optional remark after it, such as the initials of the annotator.
_REMARK = r"(?:\s*[-#(].*)?"


class AnnotationTexts(Section):
    """What free texts of annotations mean, as lists of regular expressions.

    An expression must match the whole text, in upper or lower case. The lists are tried in this
    order. They apply to ``events.tsv`` and EDF+ annotations; TUSZ's files have a fixed vocabulary.
    """

    #: Texts that mention seizures and mean none: detections by programs, and "no seizure".
    ignored: tuple[str, ...] = (r"@?(?:\w+ )?seizuredetect.*", r"no (?:\w+ )?(?:sz|seizure)s?")
    #: Texts that mark the end of a seizure.
    end: tuple[str, ...] = (
        "offset",
        rf"{_SEIZURE}(?:offset|ends?|ended|stops?|stopped){_REMARK}",
        rf"(?:offset|end) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: Texts that mark the start of a seizure whose end is marked by another annotation.
    onset: tuple[str, ...] = (
        "onset",
        rf"{_SEIZURE}(?:onset|starts?|started|begins?|began){_REMARK}",
        rf"(?:onset|start|beginning) of (?:the )?{_SEIZURE}{_REMARK}",
    )
    #: Texts of intervals that are neither known to be seizure nor known to be background; ``impd``
    #: is the impedance check of SeizeIT2.
    unknown: tuple[str, ...] = ("unknown", "unkn", "impd")
    #: Texts of annotations whose whole duration is a seizure.
    seizure: tuple[str, ...] = (_SEIZURE,)

    @field_validator("*")
    @classmethod
    def _expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return patterns
