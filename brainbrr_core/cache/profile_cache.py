"""The part of a configuration that says which cache is used, and which of its shards.

Commands and assets make a :class:`ProfileCache` from the configuration. The functions that they
call take it, or the plan that it makes, and need no other setting to work on shards.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from brainbrr_core.cache.fold_digests import FoldDigests
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest import source_digest, training_digest
from brainbrr_core.cache.plan import Plan, plan_selection
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.settings import ManifestSettings, Split
from brainbrr_core.corpus.folds import Folds
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.corpus.row_reading import with_split


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
    split : Split
        How patients are assigned to splits. Where it names a fold, trainings and scores use the
        splits of that fold in place of those of the index. Shards and manifest do not depend on it.
    """

    store: Store
    preprocessing: Preprocessing
    settings: ManifestSettings
    split: Split

    @classmethod
    def of(cls, configuration: Configuration) -> ProfileCache:
        """The cache and the profile of a configuration.

        Raises :class:`BrainbrrError` for a version that cannot be used: see :meth:`Store.of`.
        """
        return cls(
            Store.of(configuration),
            configuration.preprocessing,
            configuration.manifest_settings,
            configuration.corpus.split,
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

    def folds(self, plan: Plan) -> Folds:
        """The folds of the plan's recordings.

        Raises :class:`BrainbrrError` where there are too few patients.
        """
        # Only patients of several corpora can have a recording in common.
        everyone = plan.index if len(plan.index.corpora) > 1 else ()
        return Folds.of((item.recording for item in plan.items), self.split, everyone)

    def fold_digests(self, plan: Plan) -> FoldDigests:
        """What the trainings of each fold of a plan depend on.

        Raises :class:`BrainbrrError` where there are too few patients for folds.
        """
        return FoldDigests.of(plan, self.settings, self.folds(plan))

    def with_fold(self, fold: int) -> ProfileCache:
        """The same cache and profile, with another fold."""
        return replace(self, split=self.split.model_copy(update={"fold": fold}))

    def training_source(self, plan: Plan) -> str:
        """Digest of what trainings on a plan depend on, by which a run is known to be of it.

        ``plan`` has the splits of the fold, where one is chosen: then it is what is in train and
        dev alone.
        """
        of = source_digest if self.split.fold is None else training_digest
        return of(plan, self.settings)

    def in_fold(self, plan: Plan) -> Plan:
        """The plan with the splits of the fold; itself where none is chosen.

        Raises :class:`BrainbrrError` where there is no such fold.
        """
        if self.split.fold is None:
            return plan
        splits = self.folds(plan).splits(self.split.fold)
        items = (
            replace(
                item,
                recording=with_split(item.recording, splits[name_form(item.recording.patient)]),
            )
            for item in plan.items
        )
        return replace(plan, items=tuple(items))
