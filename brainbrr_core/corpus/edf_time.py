"""The time stamps of EDF+ data records, and the gaps between records.

In EDF+ each data record begins its first annotation signal with ``+567.25`` and two bytes 0x14:
its start in seconds after the file's (EDF+ specification, 2003, section 2.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: A start in seconds; bounded, as anybody may have written it.
_STAMP = re.compile(rb"([+-][0-9]{1,10}(?:\.[0-9]{0,12})?)\x14")


@dataclass(frozen=True, slots=True)
class Gaps:
    """Places at which a record does not start where the one before ended."""

    count: int = 0
    first_s: float = 0.0
    lost_s: float = 0.0
    unstamped: int = 0

    def __str__(self) -> str:
        return f"{self.count} gaps of {self.lost_s:g} s in all, the first at {self.first_s:g} s"


def gaps(
    stamped: Iterable[NDArray[np.int16]],
    numbers: Iterable[int],
    record_s: Fraction,
    tolerance_s: Fraction,
) -> Gaps:
    """Compare the time stamps of data records with their numbers.

    ``stamped`` gives the annotation signals of records, (records, samples) int16 each, ``numbers``
    the number of each record; ``record_s`` is the length of a record.
    """
    count, unstamped = 0, 0
    first = lost = Fraction(0)
    shift: Fraction | None = None
    order = iter(numbers)
    for block in stamped:
        for row in np.ascontiguousarray(block):
            number = next(order)
            match = _STAMP.match(row.tobytes())
            if match is None:
                unstamped += 1
                continue
            here = Fraction(match[1].decode()) - number * record_s
            if shift is not None and abs(here - shift) > tolerance_s:
                count += 1
                lost += abs(here - shift)
                first = first or number * record_s
            shift = here
    return Gaps(count, float(first), float(lost), unstamped)
