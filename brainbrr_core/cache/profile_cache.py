"""The part of a configuration that says which cache is used, and which of its shards.

Commands and assets make a :class:`ProfileCache` from the configuration. The functions that they
call take it, or the plan that it makes, and need no other setting to work on shards.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.plan import Plan, plan_selection
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index


@dataclass(frozen=True)
class ProfileCache:
    """One version of this machine's cache, and the profile whose shards are used.

    Attributes
    ----------
    store : Store
        The version, in its cache root.
    preprocessing : Preprocessing
        The signal chain that shards are built with.
    settings : ManifestSettings
        The profile: its name, its recordings, their windows, and the options that chose it.
    """

    store: Store
    preprocessing: Preprocessing
    settings: ManifestSettings

    @classmethod
    def of(cls, configuration: Configuration) -> ProfileCache:
        """The cache and the profile of a configuration.

        Raises :class:`BrainbrrError` for a version that cannot be used: see :meth:`Store.of`.
        """
        return cls(
            Store.of(configuration), configuration.preprocessing, configuration.manifest_settings
        )

    @property
    def profile(self) -> str:
        """Name of the profile."""
        return self.settings.profile

    @property
    def build_command(self) -> str:
        """The command that builds what the profile lacks."""
        return f"brainbrr cache build{self.settings.options}"

    def hold(self, command: str, *, create: bool = False) -> AbstractContextManager[None]:
        """Protect the version from garbage collection until the block ends."""
        return hold(self.store, f"{command}, profile {self.profile}", create=create)

    def plan(self, index: Index | None = None) -> Plan:
        """The plan for the profile, by default from the index of the cache root.

        Raises :class:`BrainbrrError` when there is no index.
        """
        if index is None:
            index = read_index(self.store.root)
        return plan_selection(self.store, self.preprocessing, self.settings.selection, index)
