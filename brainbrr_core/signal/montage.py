"""The 19 electrodes of the 10-20 system, and how channel labels are matched to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Order of the channels in the store.
CHANNELS = (
    "Fp1",
    "F3",
    "C3",
    "P3",
    "F7",
    "T3",
    "T5",
    "O1",
    "Fz",
    "Cz",
    "Pz",
    "Fp2",
    "F4",
    "C4",
    "P4",
    "F8",
    "T4",
    "T6",
    "O2",
)
#: Electrodes that may be interpolated when a recording lacks them: the midline, which has
#: neighbours on both sides.
INTERPOLABLE = frozenset({"Fz", "Cz", "Pz"})

_BY_NAME = {name.upper(): name for name in CHANNELS}
# The 10-10 names of the temporal electrodes (American Clinical Neurophysiology Society, 2016).
_BY_NAME.update({"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"})
_REFERENCES = frozenset({"REF", "LE", "AR", "AVG", "A1A2", "A1", "A2", "M1", "M2"})
_LABEL = re.compile(r"^(?:EEG\s+)?(?P<electrode>[A-Z]+[0-9]*Z?)(?:\s*-\s*(?P<other>\S+))?$")


def label_constants() -> dict[str, Any]:
    """Which label names which electrode, as it stands in the preprocessing version."""
    return {
        "pattern": _LABEL.pattern,
        "electrodes": _BY_NAME,
        "references": sorted(_REFERENCES),
        "interpolable": sorted(INTERPOLABLE),
    }


@dataclass(frozen=True, slots=True)
class MontageMatch:
    """Which signal of a file carries each of the 19 electrodes.

    ``signals`` maps an electrode to (index of the signal, its label in the file); ``missing``
    lists electrodes no signal carries; ``duplicated`` those that more than one does;
    ``bipolar`` counts derivations between two wanted electrodes.
    """

    signals: dict[str, tuple[int, str]]
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    bipolar: int

    @property
    def to_interpolate(self) -> tuple[str, ...]:
        """The missing electrodes, when all of them may be interpolated; else nothing."""
        return self.missing if set(self.missing) <= INTERPOLABLE else ()

    @property
    def reason(self) -> str | None:
        """Why no 19-channel signal can be made, or None when it can."""
        if self.duplicated:
            return "duplicate_channel"
        if set(self.missing) <= INTERPOLABLE:
            return None
        return "bipolar_montage" if self.bipolar else "missing_channels"


def electrode_of(label: str) -> str | None:
    """The electrode that a referential channel label names, or None.

    Understands ``EEG FP1-REF``, ``-LE``, ``-AR``, ``-Ref``, ``FP1``, ``Fp1`` and the names T7,
    T8, P7 and P8 of T3, T4, T5 and T6. A bipolar derivation such as ``FP1-F7`` is no electrode.
    """
    match = _LABEL.match(label.strip().upper())
    if match is None:
        return None
    other = match["other"]
    if other is not None and other not in _REFERENCES:
        return None
    return _BY_NAME.get(match["electrode"])


def is_bipolar(label: str) -> bool:
    """Whether a label names a derivation between two of the wanted electrodes."""
    match = _LABEL.match(label.strip().upper())
    if match is None or match["other"] is None:
        return False
    return match["electrode"] in _BY_NAME and match["other"] in _BY_NAME


def match_channels(labels: Sequence[str], bad: Iterable[str] = ()) -> MontageMatch:
    """Match a file's channel labels to the 19 electrodes.

    ``bad`` names electrodes or labels that are marked as unusable: they count as missing.
    """
    unusable = {electrode_of(name) for name in bad} - {None}
    signals: dict[str, tuple[int, str]] = {}
    duplicated: list[str] = []
    for index, label in enumerate(labels):
        electrode = electrode_of(label)
        if electrode is None or electrode in unusable:
            continue
        if electrode in signals:
            duplicated.append(electrode)
        else:
            signals[electrode] = (index, label.strip())
    return MontageMatch(
        signals={name: signals[name] for name in CHANNELS if name in signals},
        missing=tuple(name for name in CHANNELS if name not in signals),
        duplicated=tuple(dict.fromkeys(duplicated)),
        bipolar=sum(is_bipolar(label) for label in labels),
    )
