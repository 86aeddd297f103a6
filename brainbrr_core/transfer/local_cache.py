"""The cache of this machine, as one side of a transfer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from brainbrr_core.cache.build import link_latest
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.plan import Plan, plan_selection
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.files.room import check_room


@dataclass(frozen=True)
class LocalCache:
    """One version of this machine's cache, and the profile whose shards are transferred."""

    store: Store
    preprocessing: Preprocessing
    selection: Selection
    profile: str
    #: The command-line options that choose this cache and profile, each after a space.
    options: str

    @classmethod
    def of(cls, configuration: Configuration) -> LocalCache:
        """The cache and the profile of a configuration.

        Raises :class:`BrainbrrError` for a version that cannot be used: see :meth:`Store.of`.
        """
        return cls(
            Store.of(configuration),
            configuration.preprocessing,
            configuration.selection,
            configuration.profile,
            configuration.options,
        )

    @property
    def build_command(self) -> str:
        """The command that builds what the profile lacks."""
        return f"brainbrr cache build{self.options}"

    def hold(self, command: str, *, create: bool = False) -> AbstractContextManager[None]:
        """Protect the version from garbage collection until the block ends."""
        return hold(self.store, f"{command}, profile {self.profile}", create=create)

    def plan(self, index: Index | None = None) -> Plan:
        """The plan for the profile, by default from the index of the cache root.

        Raises :class:`BrainbrrError` when there is no index.
        """
        if index is None:
            index = read_index(self.store.root)
        return plan_selection(self.store, self.preprocessing, self.selection, index)

    def check_room(self, needed: int) -> None:
        """Raise :class:`BrainbrrError` unless ``needed`` bytes are free in the cache root."""
        check_room(
            self.store.root,
            needed,
            "the transfer needs",
            "make room, choose another BRAINBRR_CACHE_ROOT or a smaller --profile",
        )

    def link_latest(self, plan: Plan) -> None:
        """Point ``<root>/latest`` at this version if it is complete."""
        link_latest(plan, self.preprocessing)
