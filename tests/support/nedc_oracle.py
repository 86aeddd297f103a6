"""NEDC's rules once more, slowly, on recordings painted in tenths of a second.

Written from the published rules and the program's behaviour alone, to be compared with
``brainbrr_core.scoring.nedc``. A recording is a text with one letter for each tenth of a second,
``s`` for seizure and ``b`` for background.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import groupby

Run = tuple[int, int]
#: References, hits, false alarms.
Figures = tuple[int, Fraction, Fraction]
TENTH = Fraction(1, 10)


def painted(spans: list[Run], length: int) -> str:
    """Spans in tenths of a second, painted on a recording."""
    return "".join(
        "s" if any(start <= cell < stop for start, stop in spans) else "b" for cell in range(length)
    )


def runs(recording: str, label: str) -> list[Run]:
    """Runs of a label: what touches is one run by itself."""
    found, position = [], 0
    for letter, group in groupby(recording):
        length = len(list(group))
        if letter == label:
            found.append((position, position + length))
        position += length
    return found


def ovlp(reference: str, hypothesis: str, label: str) -> Figures:
    def touched(run: Run, recording: str) -> bool:
        return label in recording[slice(*run)]

    targets, claims = runs(reference, label), runs(hypothesis, label)
    hits = sum(touched(run, hypothesis) for run in targets)
    false = sum(not touched(run, reference) for run in claims)
    return len(targets), Fraction(hits), Fraction(false)


def taes(reference: str, hypothesis: str, label: str, *, whole_seconds: bool) -> Figures:
    targets, claims = runs(reference, label), runs(hypothesis, label)

    def seconds(run: Run) -> set[int]:
        return set(range(run[0] // 10, run[1] // 10 + 1))

    def overlap(one: Run, other: Run) -> bool:
        if whole_seconds:
            return bool(seconds(one) & seconds(other))
        return bool(set(range(*one)) & set(range(*other)))

    def pair(target: Run, claim: Run) -> tuple[Fraction, Fraction]:
        """Hit and false alarm as the program's four cases have them."""
        length = target[1] - target[0]
        before, after = max(target[0] - claim[0], 0), max(claim[1] - target[1], 0)
        hit = min(target[1], claim[1]) - max(target[0], claim[0])
        # What lies between two that share a second and no time is of neither: the hit is negative
        # by it, and the claim is outside by no more than up to the target's edge.
        return Fraction(hit, length), min(Fraction(1), Fraction(before + after, length))

    hits = false = Fraction(0)
    used_targets: set[int] = set()
    used_claims: set[int] = set()
    for t, target in enumerate(targets):
        if t in used_targets:
            continue
        for c, claim in enumerate(claims):
            if c in used_claims or not overlap(target, claim):
                continue
            used_targets.add(t)
            used_claims.add(c)
            hit, alarm = pair(target, claim)
            hits, false = hits + hit, false + alarm
            if claim[1] >= target[1]:
                used_targets |= {
                    later for later in range(t + 1, len(targets)) if overlap(targets[later], claim)
                }
                continue
            for later in range(c + 1, len(claims)):
                if later not in used_claims and overlap(target, claims[later]):
                    used_claims.add(later)
                    hit, alarm = pair(target, claims[later])
                    hits, false = hits + hit, false + alarm
    return len(targets), hits, false + len(claims) - len(used_claims)


def epoch(reference: str, hypothesis: str, label: str) -> Figures:
    end = len(reference) * TENTH
    total = hits = false = 0
    middle = Fraction(1, 8)
    while middle <= end:
        # On an edge the earlier event holds: the cell that ends there.
        cell = -(-middle // TENTH) - 1
        is_target, is_claim = reference[cell] == label, hypothesis[cell] == label
        total += is_target
        hits += is_target and is_claim
        false += is_claim and not is_target
        middle += Fraction(1, 4)
    return total, Fraction(hits), Fraction(false)


def alignment(reference: str, hypothesis: str, label: str) -> Figures:
    targets = "".join(letter for letter, _ in groupby(reference))
    claims = "".join(letter for letter, _ in groupby(hypothesis))

    @cache
    def cost(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            cost(i - 1, j - 1) + (targets[i - 1] != claims[j - 1]),
            cost(i, j - 1) + 1,
            cost(i - 1, j) + 1,
        )

    i, j = len(targets), len(claims)
    hits = inserted = 0
    while i or j:
        differs = bool(i and j) and targets[i - 1] != claims[j - 1]
        if i and j and cost(i, j) == cost(i - 1, j - 1) + differs:
            hits += not differs and targets[i - 1] == label
            i, j = i - 1, j - 1
        elif j and cost(i, j) == cost(i, j - 1) + 1:
            inserted += claims[j - 1] == label
            j -= 1
        else:
            i -= 1
    return targets.count(label), Fraction(hits), Fraction(inserted)
