"""A smaller profile that is complete in the cache, to offer where a larger one is not."""

from __future__ import annotations

from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.selection import select
from brainbrr_core.configuration.layers import bundled_selections


def smaller_profile(plan: Plan) -> str | None:
    """The largest bundled profile that needs no build, of those within the plan's recordings.

    Parameters
    ----------
    plan : Plan
        The plan of a profile that is not complete.

    Returns
    -------
    str or None
        Its name; None where there is no such profile, or none of its recordings is stored.
    """
    states = {item.recording.partition_key: item.state for item in plan.items}
    largest, name = 0, None
    for profile, selection in bundled_selections().items():
        keys = [recording.partition_key for recording in select(plan.montage_index, selection)]
        of_profile = {states.get(key) for key in keys}
        if (
            largest < len(keys) < len(states)
            and State.FRESH in of_profile
            and of_profile <= {State.FRESH, State.EXCLUDED}
        ):
            largest, name = len(keys), profile
    return name


def or_smaller_profile(plan: Plan) -> str:
    """The end of a message that tells how to build a profile: what could be used without it."""
    name = smaller_profile(plan)
    return "" if name is None else f", or use what is built: --profile {name}"
