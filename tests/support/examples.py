"""How many examples a property test tries: few and always the same ones, or many and random ones.

``make test`` tries the same ones each time, so that it never fails by chance. ``make test-slow``
(``pytest -m hypothesis --hypothesis-profile=thorough``) draws five times as many, at random; one
that fails there becomes an ``@example`` of its test.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

REPEATABLE, THOROUGH = "repeatable", "thorough"
_USUAL = 100

settings.register_profile(REPEATABLE, max_examples=_USUAL, derandomize=True, deadline=None)
settings.register_profile(THOROUGH, max_examples=5 * _USUAL, print_blob=True, deadline=None)


def examples(count: int, **others: Any) -> settings:
    """The settings of a property test of ``count`` examples, and more in the thorough profile."""
    return settings(max_examples=count * settings().max_examples // _USUAL, **others)
