"""Groups of patients by age, for a table of a report.

Background, artifacts and seizures differ with age, and so may a detector that knows one group
better. The limits are those of the International Council for Harmonisation. Section 2.5 of its
guideline E11 (2000, unchanged by the addendum R1 of 2017) has newborns of 0 to 27 days, infants and
toddlers from 28 days to 23 months, children of 2 to 11 years, and adolescents from 12 to 16 or 18
years, which depends on the region: here, they end before 18. Its guideline E7 (1993) takes patients
of 65 years and more as geriatric. Newborns, who are not told apart here, need detectors of their
own.
"""

from __future__ import annotations

from collections.abc import Iterable

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.plan import Plan

#: The lowest age in years of each group, and its name.
AGE_GROUPS = (
    (0, "under 2 years"),
    (2, "2 to 11 years"),
    (12, "12 to 17 years"),
    (18, "18 to 64 years"),
    (65, "65 years and older"),
)
UNKNOWN_AGE = "unknown age"
#: The order of the groups in a table.
ORDER = (*(name for _, name in AGE_GROUPS), UNKNOWN_AGE)


def age_group(age: float | None) -> str:
    """The group of an age in years; :data:`UNKNOWN_AGE` for None."""
    if age is None:
        return UNKNOWN_AGE
    return next(name for lowest, name in reversed(AGE_GROUPS) if age >= lowest)


def age_groups(plan: Plan, recordings: Iterable[ManifestRecording]) -> dict[str, str]:
    """The group of each recording that is scored, by its partition key.

    Parameters
    ----------
    plan : Plan
        The recordings with the ages that the index has.
    recordings : iterable of ManifestRecording
        Those that are scored.

    Returns
    -------
    dict of str
        Empty where fewer than two groups of known age are among them: one group is the whole.
    """
    ages = {item.recording.partition_key: item.recording.age for item in plan.items}
    keys = [recording.partition_key for recording in recordings]
    groups = {key: age_group(ages.get(key)) for key in keys}
    return groups if len({*groups.values()} - {UNKNOWN_AGE}) > 1 else {}
