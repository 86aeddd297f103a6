"""The derivations of the double banana: as differences of electrodes, and in labels of a file.

From a referential recording a derivation is computed before any filter, in float64. A bipolar
recording has the derivations themselves, perhaps with the electrodes in the other order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from brainbrr_core.signal.interpolation import rounded_weights
from brainbrr_core.signal.montage import DERIVATION_LABEL, derivation_of

#: Weighted signals that add up to one channel: the position of each signal, and its weight.
Sum = tuple[tuple[int, float], ...]


def electrodes_of(derivation: str) -> tuple[str, str]:
    """The two electrodes of a derivation such as ``F7-T7``, by the names that ``CHANNELS`` has."""
    electrodes = derivation_of(derivation)
    if electrodes is None:
        raise ValueError(f"{derivation} is not a derivation between two of the 19 electrodes")
    return electrodes


def derivation_rules() -> dict[str, JsonValue]:
    """What makes the derivations, as JSON: it shapes what is stored."""
    return {
        "derivations": {name: [*electrodes_of(name)] for name in DOUBLE_BANANA},
        "label": DERIVATION_LABEL.pattern,
        "precision": "float64",
    }


#: The electrodes of the derivations, in both directions.
_WANTED = {
    pair for name in DOUBLE_BANANA for pair in (electrodes_of(name), electrodes_of(name)[::-1])
}


@lru_cache(maxsize=64)
def sums_of_electrodes(missing: tuple[str, ...] = ()) -> tuple[Sum, ...]:
    """Each derivation as a weighted sum of the electrodes that a recording has.

    Positions count the electrodes in the order of ``CHANNELS`` without the ``missing`` ones, which
    are interpolated from all others.
    """
    present = [name for name in CHANNELS if name not in missing]
    weights = dict(zip(present, np.eye(len(present)), strict=True))
    if missing:
        absent = [name for name in CHANNELS if name in missing]
        weights.update(zip(absent, rounded_weights(missing), strict=True))
    sums = []
    for first, second in map(electrodes_of, DOUBLE_BANANA):
        total = weights[first] - weights[second]
        sums.append(tuple((int(at), float(total[at])) for at in np.flatnonzero(total)))
    return tuple(sums)


def add_up(sums: Sequence[Sum], signals: NDArray[np.float64]) -> NDArray[np.float32]:
    """The channels (sums, n) of signals (m, n) in µV, added in the order of each sum."""
    out = np.empty((len(sums), signals.shape[1]), np.float32)
    for row, terms in zip(out, sums, strict=True):
        (first, weight), *others = terms
        total = weight * signals[first]
        for position, weight in others:
            total += weight * signals[position]
        row[:] = total
    return out


@dataclass(frozen=True, slots=True)
class BipolarMatch:
    """Which signal of a bipolar file carries each derivation.

    ``signals`` maps a derivation to (index of the signal, its label in the file, its sign: -1 for
    one from the second electrode to the first). ``doubled`` has the indices of other signals with
    the same electrodes in the same order. ``missing`` lists derivations that no signal carries,
    ``bad`` labels of derivations that are marked as bad, and ``unmatched`` what was so marked and
    is not in the file.
    """

    signals: dict[str, tuple[int, str, float]]
    doubled: dict[str, tuple[int, ...]]
    missing: tuple[str, ...]
    bad: tuple[str, ...]
    unmatched: tuple[str, ...]


def match_derivations(labels: Sequence[str], bad: Iterable[str] = ()) -> BipolarMatch:
    """Match a file's channel labels to the derivations of the double banana.

    Where a file has a derivation in both directions, the one from the first electrode to the
    second is used. ``bad`` names labels that are marked as unusable; one that no label equals
    stands for all channels between its electrodes in that order.
    """
    names = [label.strip().upper() for label in labels]
    pairs = [derivation_of(label) for label in labels]
    is_bad = [False] * len(labels)
    unmatched = []
    for marked in dict.fromkeys(bad):
        text, pair = marked.strip().upper(), derivation_of(marked)
        hits = [n for n, name in enumerate(names) if name == text]
        hits = hits or [n for n, own in enumerate(pairs) if own is not None and own == pair]
        for hit in hits:
            is_bad[hit] = True
        if not hits:
            unmatched.append(marked)
    signals: dict[str, tuple[int, str, float]] = {}
    doubled: dict[str, tuple[int, ...]] = {}
    for derivation in DOUBLE_BANANA:
        first, second = electrodes_of(derivation)
        for pair, sign in (((first, second), 1.0), ((second, first), -1.0)):
            carriers = [n for n, own in enumerate(pairs) if own == pair]
            usable = [n for n in carriers if not is_bad[n]]
            if usable:
                signals[derivation] = (usable[0], labels[usable[0]].strip(), sign)
                if usable[1:]:
                    doubled[derivation] = tuple(usable[1:])
                break
    return BipolarMatch(
        signals=signals,
        doubled=doubled,
        missing=tuple(name for name in DOUBLE_BANANA if name not in signals),
        bad=tuple(
            dict.fromkeys(
                labels[n].strip() for n, pair in enumerate(pairs) if pair in _WANTED and is_bad[n]
            )
        ),
        unmatched=tuple(sorted(unmatched)),
    )
