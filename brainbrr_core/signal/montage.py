"""The 19 electrodes of the 10-20 system, and how channel labels are matched to them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue

from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import CHANNELS

#: The electrodes at the edge of the cap, each with its two neighbors along the edge and the one
#: further in. Beyond the edge there is nothing to interpolate from, so one of these is interpolated
#: only where all three neighbors are present.
EDGE_NEIGHBORS = {
    "Fp1": ("Fp2", "F7", "F3"),
    "F7": ("Fp1", "T3", "F3"),
    "T3": ("F7", "T5", "C3"),
    "T5": ("T3", "O1", "P3"),
    "O1": ("T5", "O2", "P3"),
    "O2": ("O1", "T6", "P4"),
    "T6": ("O2", "T4", "P4"),
    "T4": ("T6", "F8", "C4"),
    "F8": ("T4", "Fp2", "F4"),
    "Fp2": ("F8", "Fp1", "F4"),
}

_WANTED = frozenset(CHANNELS)
_BY_NAME = {name.upper(): name for name in CHANNELS}
# The 10-10 names of the temporal electrodes (American Clinical Neurophysiology Society, 2016).
_BY_NAME.update({"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"})
#: What a referential label may name after the electrode, and the reference that it means.
_REFERENCES = {
    "REF": "REF",
    **dict.fromkeys(("AVG", "AVE", "AV", "AVR", "AVERAGE", "CAR", "AR"), "average"),
    **dict.fromkeys(("LE", "CLE", "AA", "A1A2", "A1+A2"), "linked ears"),
    **dict.fromkeys(("LM", "M1M2", "M1+M2"), "linked mastoids"),
    # One ear, one mastoid, an amplifier's reference input, the second cervical vertebra, the nose.
    **{name: name for name in ("A1", "A2", "M1", "M2", "G2", "CS2", "NOSE")},
}
#: Linked ears or mastoids written out, perhaps truncated to the 16 characters of a label.
_LINKED = re.compile(r"LINK(?:ED)?(?P<mastoids>M[A-Z]*)?[A-Z]*")
_LABEL = re.compile(r"(?:(?:EEG|POL)\s+)?(?P<electrode>[^\s.-]+)\.*(?:\s*-\s*(?P<other>\S.*))?")
#: A derivation between two electrodes. Some programs number channels whose labels are equal.
DERIVATION_LABEL = re.compile(
    r"(?:(?:EEG|POL)\s+)?(?P<first>[^\s.-]+)\.*\s*-\s*(?P<second>[^\s.-]+)\.*(?:-\d+)?"
)
#: Characters of a label in an EDF.
_LABEL_WIDTH = 16


@dataclass(frozen=True, slots=True)
class MontageMatch:
    """Which signal of a file carries each of the 19 electrodes.

    ``signals`` maps an electrode to (index of the signal, its label in the file); ``missing``
    lists electrodes no signal carries; ``duplicated`` those that more than one does;
    ``bipolar`` counts derivations between two wanted electrodes. ``bad`` lists electrodes of the
    file that are marked as bad, ``unmatched`` what was so marked and is not in the file.
    ``references`` are those that the labels of ``signals`` name, as they are written (empty where
    a label names none), with the number of electrodes against each. ``rules`` decide what is
    accepted.
    """

    signals: dict[str, tuple[int, str]]
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    bipolar: int
    bad: tuple[str, ...]
    unmatched: tuple[str, ...]
    references: tuple[tuple[str, int], ...]
    rules: ChannelRules

    @property
    def without_neighbors(self) -> tuple[str, ...]:
        """Missing electrodes at the edge of the cap that have a missing neighbor, too."""
        return tuple(
            name
            for name in self.missing
            if any(neighbor in self.missing for neighbor in EDGE_NEIGHBORS.get(name, ()))
        )

    @property
    def _can_be_interpolated(self) -> bool:
        few = len(self.missing) <= self.rules.interpolate_at_most
        return few and not self.without_neighbors

    @property
    def to_interpolate(self) -> tuple[str, ...]:
        """The missing electrodes, when all of them may be interpolated; else nothing."""
        return self.missing if self._can_be_interpolated else ()

    @property
    def mixed_references(self) -> str:
        """The references as text, ``A1 for 8, A2 for 8``, where there is more than one; or ""."""
        if len({_reference(written) for written, _ in self.references}) < 2:
            return ""
        return ", ".join(f"{written or 'none named'} for {n}" for written, n in self.references)

    @property
    def reason(self) -> str | None:
        """Why the 19 electrodes cannot be had, or None when they can."""
        if self.duplicated:
            return "duplicate_channel"
        if not self._can_be_interpolated:
            return "bipolar_montage" if self.bipolar else "missing_channels"
        if self.rules.references == "common" and self.mixed_references:
            return "no_common_reference"
        return None


def label_rules() -> dict[str, JsonValue]:
    """The rules that match labels to electrodes, as JSON: they shape what is stored."""
    return {
        "electrodes": dict(sorted(_BY_NAME.items())),
        "references": [*sorted(_REFERENCES)],
        "linked": _LINKED.pattern,
        "label": _LABEL.pattern,
    }


# A corpus has few labels, each of them in many recordings.
@lru_cache(maxsize=4096)
def _name(label: str) -> str:
    """The electrode that a referential label names, one of the 19 or another, or the label."""
    text = label.strip().upper()
    match = _LABEL.fullmatch(text)
    if match is None or (match["other"] is not None and _reference(match["other"]) is None):
        return text[:_LABEL_WIDTH].rstrip()
    return _BY_NAME.get(match["electrode"], match["electrode"])


@lru_cache(maxsize=1024)
def _reference(written: str) -> str | None:
    """The reference that a text in a label means, None where it is not a reference."""
    text = re.sub(r"\)/2?$|[\s().]", "", written.upper())
    name = re.sub(r"[/&,]", "+", text)
    linked = _LINKED.fullmatch(name)
    if linked is not None:
        return "linked mastoids" if linked["mastoids"] else "linked ears"
    return _REFERENCES.get("+".join(sorted(name.split("+"))))


def _references(labels: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """The references of referential labels, most frequent ones first."""
    written = Counter(map(_written_reference, labels))
    return tuple(sorted(written.items(), key=lambda pair: (-pair[1], pair[0])))


@lru_cache(maxsize=4096)
def _written_reference(label: str) -> str:
    """What a referential label names after the electrode; empty where it names nothing."""
    match = _LABEL.fullmatch(label.upper())
    return "".join((match["other"] or "").split()) if match is not None else ""


def electrode_of(label: str) -> str | None:
    """The electrode that a referential channel label names, or None.

    Understands ``EEG FP1-REF``, ``FP1``, ``Fp1``, ``Fp1.``, ``POL Fp1``, the names T7, T8, P7 and
    P8 of T3, T4, T5 and T6, and as references REF, LE, CLE, AR, AVG, AVE, AV, CAR, A1, A2,
    ``(A1+A2)/2``, AA, M1, M2, ``M1+M2``, LM, G2, CS2, NOSE and linked ears or mastoids written
    out. A bipolar derivation such as ``FP1-F7`` is not an electrode.
    """
    name = _name(label)
    return name if name in _WANTED else None


@lru_cache(maxsize=4096)
def derivation_of(label: str) -> tuple[str, str] | None:
    """The electrodes of a bipolar channel label in their order, or None.

    Understands ``FP1-F7``, ``EEG Fp1-F7``, ``F7-T3``, ``F7-T7`` and, of several channels with equal
    labels, ``T8-P8-0``. Both must be among the 19 electrodes: ``T7-FT9`` is not understood.
    """
    match = DERIVATION_LABEL.fullmatch(label.strip().upper())
    if match is None or not {match["first"], match["second"]} <= _BY_NAME.keys():
        return None
    first, second = _BY_NAME[match["first"]], _BY_NAME[match["second"]]
    return None if first == second else (first, second)


def match_channels(
    labels: Sequence[str], bad: Iterable[str] = (), rules: ChannelRules | None = None
) -> MontageMatch:
    """Match a file's channel labels to the 19 electrodes.

    ``bad`` names electrodes or labels that are marked as unusable, in any spelling of a label:
    they count as missing. ``rules`` are the default ones where none are given.
    """
    marked = {_name(name): name for name in reversed(tuple(bad))}
    names = [_name(label) for label in labels]
    signals: dict[str, tuple[int, str]] = {}
    duplicated: list[str] = []
    for index, (name, label) in enumerate(zip(names, labels, strict=True)):
        if name not in _WANTED or name in marked:
            continue
        if name in signals:
            duplicated.append(name)
        else:
            signals[name] = (index, label.strip())
    return MontageMatch(
        signals={name: signals[name] for name in CHANNELS if name in signals},
        missing=tuple(name for name in CHANNELS if name not in signals),
        duplicated=tuple(dict.fromkeys(duplicated)),
        bipolar=sum(derivation_of(label) is not None for label in labels),
        bad=tuple(name for name in CHANNELS if name in marked and name in names),
        unmatched=tuple(sorted(marked[name] for name in marked.keys() - set(names))),
        references=_references(signals[name][1] for name in CHANNELS if name in signals),
        rules=rules or ChannelRules(),
    )
