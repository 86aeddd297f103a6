"""Alignment of two sequences of labels by dynamic programming, and agreement of two raters.

The alignment is NEDC's DP alignment (Shah et al. 2021, after Levenshtein 1966), the agreement
Cohen's kappa (Cohen 1960), NEDC's IRA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Stands at each end of both sequences, and opposite an inserted or deleted label.
NULL = "null"


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """Align two sequences of labels at the lowest cost.

    An insertion, a deletion and a substitution cost 1. Of equally cheap ways into a cell, a
    substitution (or match) is preferred, then an insertion, then a deletion. Both sequences get a
    null at each end; the pairs of these are left out.

    Parameters
    ----------
    reference, hypothesis : sequence of str
        The labels of each, in order.

    Returns
    -------
    list of (str, str)
        Reference label and hypothesis label of each pair, in order. An insertion is
        ``(NULL, label)``, a deletion ``(label, NULL)``.
    """
    ref, hyp = [NULL, *reference, NULL], [NULL, *hypothesis, NULL]
    cost = [[0] * len(hyp) for _ in ref]
    step = [[(0, 0)] * len(hyp) for _ in ref]
    for i, ref_label in enumerate(ref):
        for j, hyp_label in enumerate(hyp):
            ways = []
            if i and j:
                ways.append((cost[i - 1][j - 1] + (ref_label != hyp_label), 0, (1, 1)))
            if j:
                ways.append((cost[i][j - 1] + 1, 1, (0, 1)))
            if i:
                ways.append((cost[i - 1][j] + 1, 2, (1, 0)))
            if ways:
                cost[i][j], _, step[i][j] = min(ways)
    pairs = []
    i, j = len(ref) - 1, len(hyp) - 1
    while i or j:
        back_ref, back_hyp = step[i][j]
        pairs.append((ref[i] if back_ref else NULL, hyp[j] if back_hyp else NULL))
        i, j = i - back_ref, j - back_hyp
    return [pair for pair in reversed(pairs) if pair != (NULL, NULL)]


def kappa(confusion: NDArray[np.integer] | NDArray[np.floating]) -> float:
    """Compute Cohen's kappa over all labels.

    Parameters
    ----------
    confusion : array, shape (labels, labels)
        Counts by label of the reference (rows) and of the hypothesis (columns).

    Returns
    -------
    float
        1 for full agreement, 0 for that of chance, NaN for an empty matrix. With a single label,
        chance agrees as fully as the raters do and kappa is undefined: 1, as in NEDC's program.
    """
    matrix = np.asarray(confusion, dtype=np.float64)
    size = float(matrix.sum())
    if size == 0:
        return math.nan
    chance = float((matrix.sum(axis=1) / size * (matrix.sum(axis=0) / size)).sum())
    agreed = float(np.trace(matrix)) / size
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def label_kappa(confusion: NDArray[np.integer] | NDArray[np.floating], label: int) -> float:
    """Compute Cohen's kappa of one label against all others.

    With two labels, the kappa of either is the same number as that over all labels.

    Parameters
    ----------
    confusion : array, shape (labels, labels)
        Counts by label of the reference (rows) and of the hypothesis (columns).
    label : int
        Row and column of the label.

    Returns
    -------
    float
        As :func:`kappa` defines it.
    """
    matrix = np.asarray(confusion, dtype=np.float64)
    both = matrix[label, label]
    row, column = matrix[label].sum() - both, matrix[:, label].sum() - both
    return kappa(np.array([[both, row], [column, matrix.sum() - both - row - column]]))
