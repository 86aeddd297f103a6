"""The physical unit that an EDF states for a signal.

Programs write µV in various encodings, by other names, or lose the µ. A unit that is certainly µV
is read as µV, with a finding that quotes it. A missing unit is read as µV only if the range is that
of an EEG. Any other unit excludes the recording.
"""

from __future__ import annotations

#: µV per unit, for units written as the specification says, in upper case. The micro sign of
#: Latin-1 becomes ``Μ`` in upper case.
_STANDARD = {"UV": 1.0, "ΜV": 1.0, "MV": 1e3, "V": 1e6, "NV": 1e-3}
#: Other ways to write µV, their bytes decoded as Latin-1, in upper case: the micro sign and the
#: Greek letter in UTF-8, the micro sign of code page 437, and names.
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
#: Units that lost the µ, or everything.
_LOST = frozenset({"", ".V", "?V", "_V"})
#: Limits, in µV, of the physical range and the digital step of nearly all EEG recordings. A range
#: in mV or V instead of µV is smaller, one in nV larger. That of a DC amplifier (±400 mV) could be
#: either, so it is outside the limits.
LARGEST_STEP_UV = 1.0
#: The largest value in µV that a sample may have. It leaves the float32 of the signal chain room;
#: larger ones are of files with floating-point samples, where no signal was recorded.
LARGEST_UV = 1e30
_EEG_RANGE, _EEG_STEP = (200.0, 20_000.0), (0.003, LARGEST_STEP_UV)
ODD_UNIT, LOST_UNIT = "odd_unit", "lost_unit"


def quote_unit(unit: str) -> str:
    r"""A unit as it is in the file, quoted and printable: ``'uV'``, ``'\xe6V'``."""
    return repr(unit.encode("latin-1"))[1:]


def microvolts_in(unit: str) -> float | None:
    """µV per ``unit``, which is decoded as Latin-1; None for an unknown unit.

    A lost unit (:func:`oddity_of`) counts as µV.
    """
    upper = unit.upper()
    if upper in _STANDARD:
        return _STANDARD[upper]
    return 1.0 if upper in _ODD or upper in _LOST else None


def oddity_of(unit: str) -> str:
    """Code of the finding about a unit: ``odd_unit``, ``lost_unit``, or empty."""
    upper = unit.upper()
    if upper in _ODD:
        return ODD_UNIT
    return LOST_UNIT if upper in _LOST else ""


def is_range_of_eeg(span: float, step: float) -> bool:
    """Whether a physical range and a digital step, both in µV, can be those of an EEG."""
    return _EEG_RANGE[0] <= span <= _EEG_RANGE[1] and _EEG_STEP[0] <= step <= _EEG_STEP[1]
