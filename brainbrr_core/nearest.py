"""The name that a mistyped one stands for, in every message that suggests one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

#: How many names a message suggests where several are equally near.
_MOST = 3
#: Characters that the beginning of a name needs to stand for all of it.
_BEGINNING = 2
#: How alike two names are, from 0 to 1, of which one may be a mistyped form of the other.
_ALIKE = 0.7


def nearest(name: str, names: Iterable[str]) -> str:
    """The valid name that an unknown one stands for most likely, as the words of a message.

    Several that are equally near are joined by "or". The text is empty where ``names`` is.
    """
    return " or ".join(nearest_names(name, names))


def nearest_names(name: str, names: Iterable[str], *, only_alike: bool = False) -> list[str]:
    """The valid names that an unknown one stands for most likely, as many as three.

    They are, in this order of preference: the same name in another case or with other separators;
    names that begin with it; those with the fewest typing errors, one in three characters at most,
    and of these the ones that share most characters with it; the longest that it begins with; the
    one that shares most characters with it. Equally near names keep their order.

    Parameters
    ----------
    name
        The unknown name.
    names
        The valid names.
    only_alike
        Suggest no name that is unlikely to be meant.
    """
    forms = {valid: _form(valid) for valid in names}
    form = _form(name)
    if same := [valid for valid, other in forms.items() if other == form]:
        return same[:_MOST]
    if len(form) >= _BEGINNING and (
        longer := [valid for valid, other in forms.items() if other.startswith(form)]
    ):
        return longer[:_MOST]
    shared = {valid: SequenceMatcher(None, form, other).ratio() for valid, other in forms.items()}
    errors = {
        valid: (_typing_errors(form, other), -shared[valid]) for valid, other in forms.items()
    }
    fewest = min(errors.values(), default=(0, 0.0))
    if 3 * fewest[0] <= len(form):
        return [valid for valid, count in errors.items() if count == fewest][:_MOST]
    begun = [valid for valid, other in forms.items() if other and form.startswith(other)]
    if begun:
        return [max(begun, key=len)]
    if not shared or (only_alike and max(shared.values()) < _ALIKE):
        return []
    return [max(shared, key=lambda valid: shared[valid])]


def _form(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.casefold())


def _typing_errors(typed: str, name: str) -> int:
    """How many characters are missing, too many, wrong or exchanged with their neighbor.

    The optimal string alignment distance (Damerau, Communications of the ACM 7, 1964).
    """
    before: list[int] = []
    above = list(range(len(name) + 1))
    for row, character in enumerate(typed, 1):
        line = [row]
        for column, other in enumerate(name, 1):
            errors = min(above[column] + 1, line[-1] + 1, above[column - 1] + (character != other))
            exchanged = row > 1 and column > 1 and typed[row - 2] == other
            if exchanged and name[column - 2] == character:
                errors = min(errors, before[column - 2] + 1)
            line.append(errors)
        before, above = above, line
    return above[-1]
