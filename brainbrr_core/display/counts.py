"""Numbers with their nouns, in the one place that knows the plural."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def count(number: float, noun: str) -> str:
    """A number with its noun: ``1 recording``, ``1,200 recordings``, ``2.5 false alarms``."""
    shown = f"{int(number):,}" if number == int(number) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"


def tally(numbers: Counter[str]) -> str:
    """How often there is each thing, the most frequent first: ``5 too_short, 1 unreadable``."""
    return ", ".join(f"{number:,} {thing}" for thing, number in numbers.most_common())


def numbered(noun: str, numbers: Sequence[int]) -> str:
    """Things that have numbers: ``fold 2``, ``folds 1 and 3``, ``folds 1, 2 and 4``."""
    *others, last = map(str, numbers)
    return f"{noun}s {', '.join(others)} and {last}" if others else f"{noun} {last}"
