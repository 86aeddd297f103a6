"""The unit that an EDF states for a signal, as it is written and as it is read.

Programs write µV in the encoding of their time, by another name, or lose the µ on the way. What is
surely µV is read as that, with a finding that names what is written; what has no unit is µV only if
its range is that of an EEG; a recording with any other unit is left out.
"""

from __future__ import annotations

#: µV in one of each unit that is written as the specification has it, in upper case. ``Μ`` is what
#: the micro sign of Latin-1 becomes there.
_STANDARD = {"UV": 1.0, "ΜV": 1.0, "MV": 1e3, "V": 1e6, "NV": 1e-3}
#: Other ways to write µV, as Latin-1 shows their bytes, in upper case: the micro sign and the Greek
#: letter in UTF-8, the micro sign of code page 437, and names.
_ODD = frozenset(
    text.upper()
    for text in (
        "\xc2\xb5V",
        "\xce\xbcV",
        "\xe6V",
        "microV",
        "mcV",
        "mkV",
        "uVolt",
        "uVolts",
        "microvol",
        "microVlt",
    )
)
#: What is left where the µ, or all of the unit, was lost.
_LOST = frozenset({"", ".V", "?V", "_V"})
#: What an EEG's physical range spans, in µV, and what its smallest step is worth, in nearly all
#: recordings. A range in mV or V instead of µV spans less, one in nV more; what an amplifier for
#: direct current has (±400 mV) could be either, and is not guessed at.
_EEG_RANGE, _EEG_STEP = (200.0, 20_000.0), (0.003, 1.0)
ODD_UNIT, LOST_UNIT = "odd_unit", "lost_unit"


def written(unit: str) -> str:
    """A unit as it stands in the file, printable: ``'uV'``, ``'\\xe6V'``."""
    return repr(unit.encode("latin-1"))[1:]


def microvolts_in(unit: str) -> float | None:
    """How many µV one ``unit`` is, decoded as Latin-1; None for what is no known unit.

    What :func:`oddity_of` calls lost counts as µV.
    """
    upper = unit.upper()
    if upper in _STANDARD:
        return _STANDARD[upper]
    return 1.0 if upper in _ODD or upper in _LOST else None


def oddity_of(unit: str) -> str:
    """``odd_unit``, ``lost_unit``, or nothing: the code of the finding about a unit."""
    upper = unit.upper()
    if upper in _ODD:
        return ODD_UNIT
    return LOST_UNIT if upper in _LOST else ""


def is_range_of_eeg(span: float, step: float) -> bool:
    """Whether an EEG in µV can have a physical range of this span and steps of this size."""
    return _EEG_RANGE[0] <= span <= _EEG_RANGE[1] and _EEG_STEP[0] <= step <= _EEG_STEP[1]
