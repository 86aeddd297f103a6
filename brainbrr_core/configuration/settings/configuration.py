"""All sections together, and the values that are made of several settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import PrivateAttr, model_validator

from brainbrr_core.configuration.settings.annotations import Labels
from brainbrr_core.configuration.settings.corpus import (
    ChannelRules,
    Corpus,
    CorpusReading,
    ListedCorpus,
)
from brainbrr_core.configuration.settings.detection import Detection
from brainbrr_core.configuration.settings.evaluation import Evaluation
from brainbrr_core.configuration.settings.hardware import Hardware
from brainbrr_core.configuration.settings.model import Model
from brainbrr_core.configuration.settings.orchestration import Orchestration
from brainbrr_core.configuration.settings.preprocessing import Preprocessing
from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.configuration.settings.training import Training
from brainbrr_core.configuration.settings.windows import Sampling, Selection, Windows


@dataclass(frozen=True, slots=True)
class Origin:
    """How a configuration was chosen, for messages and for commands that they suggest."""

    #: The command-line options that chose it, each after a space.
    options: str = ""
    #: Names or absolute paths of its files; later ones win.
    layers: tuple[str, ...] = ()
    #: The profile that was chosen by option or variable; None where the files decide.
    profile: str | None = None
    #: Why the cache root is this folder, where the user set none; None where the user set it.
    cache_root: str | None = None
    #: What sets each setting, by its key such as ``training.steps``: an option (``--data-dir``), a
    #: variable, or the absolute path of a file. Those that have their default are left out.
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    #: The keys among them that the user set: by an option, a variable, or a file that one of these
    #: names. Those of the files that are read where none is named are left out.
    set_by_user: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def data_dir(self) -> str:
        """How a message names what sets the data directory, such as ``BRAINBRR_DATA_DIR``."""
        source = self.sources.get("data_dir")
        if source is None:
            return "data_dir"
        return f"data_dir of {source}" if source.startswith("/") else source


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus of a configuration: where it is, and how it is read.

    Attributes
    ----------
    data_dir : str or None
        Folder or URL of the corpus; None on a machine without its EDFs.
    settings : Corpus
        How its paths, annotations and channels are read.
    named_by : str
        What sets ``data_dir``, for messages, such as ``BRAINBRR_DATA_DIR``.
    name : str
        Name of one of several corpora; empty for one alone.
    prefix : str
        What comes before its partition keys and patients in the index.
    same_patients : mapping of str to str
        Patients of this corpus who are also in another one: each name here, and the one there.
    """

    data_dir: str | None
    settings: Corpus
    named_by: str = "data_dir"
    name: str = ""
    prefix: str = ""
    same_patients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """The settings that decide what a manifest contains, and how it was chosen.

    Attributes
    ----------
    profile : str
        Name of the profile.
    selection : Selection
        Which recordings of the corpus the profile uses.
    windows : Windows
        Length and stride of the windows.
    seizure_labels : tuple of str
        Labels of events that count as seizures.
    full_threshold : float
        Ictal fraction, in (0, 1], from which a window has the category "full".
    options : str
        Command-line options that chose the configuration, for messages that name a command.
    """

    profile: str
    selection: Selection
    windows: Windows
    seizure_labels: tuple[str, ...]
    full_threshold: float
    options: str = ""


class Configuration(Section):
    """All settings of a run."""

    #: Name of the profile, which says which recordings are used and how long a training is.
    profile: str = "full"
    #: Folder or URL of the corpus. With ``null``, on a machine without the EDFs, the index stands
    #: for it.
    data_dir: str | None = None
    #: Folder of the cache, one for all profiles.
    cache_root: Path
    #: Folder of the runs that trainings leave behind.
    runs_dir: Path
    #: Folder of Dagster's storage.
    dagster_home: Path
    #: Name of an imported version of the cache. With ``null`` the version follows from the settings
    #: of the section preprocessing.
    version: str | None = None
    #: Several corpora on one cache root, instead of ``data_dir`` and the layout, patients and
    #: splits of ``corpus``, each with a name.
    corpora: tuple[ListedCorpus, ...] = ()
    corpus: Corpus = Corpus()
    preprocessing: Preprocessing = Preprocessing()
    labels: Labels = Labels()
    windows: Windows = Windows()
    selection: Selection = Selection()
    sampling: Sampling = Sampling()
    model: Model = Model()
    training: Training = Training()
    detection: Detection = Detection()
    evaluation: Evaluation = Evaluation()
    hardware: Hardware = Hardware()
    orchestration: Orchestration = Orchestration()

    _origin: Origin = PrivateAttr(Origin())

    @model_validator(mode="after")
    def _one_train(self) -> Configuration:
        if self.corpus.split.has_folds and self.selection.train_patients is not None:
            raise ValueError(
                "selection.train_patients chooses from one train, and with corpus.split.scheme "
                f"{self.corpus.split.scheme} each fold has its own: remove train_patients, or set "
                "the scheme to fixed or hash"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_name_corpora(self) -> Configuration:
        if not self.corpora:
            return self
        names = [corpus.name.lower() for corpus in self.corpora]
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise ValueError(f"corpora has two entries named {twice}: give each its own name")
        if sum(not corpus.prefix_keys for corpus in self.corpora) > 1:
            raise ValueError("corpora has two entries with prefix_keys: false: leave one of them")
        if self.data_dir is not None:
            raise ValueError(
                "data_dir (BRAINBRR_DATA_DIR, --data-dir) names one corpus and corpora lists "
                "several: unset it, or leave corpora out"
            )
        if any(corpus.split.has_folds for corpus in self.corpora):
            raise ValueError(
                "folds are of all corpora together, and an entry of corpora has its own: set "
                "corpus.split.scheme instead"
            )
        for name, default in CorpusReading.model_fields.items():
            if name == "split" and self.corpus.split.has_folds:
                continue
            if getattr(self.corpus, name) != default.get_default():
                raise ValueError(
                    f"corpus.{name} is of one corpus and corpora lists several: move it into the "
                    "entry of its corpus"
                )
        return self

    @property
    def corpus_sources(self) -> tuple[CorpusSource, ...]:
        """The corpora: those of ``corpora``, or the one at ``data_dir``."""
        if not self.corpora:
            return (CorpusSource(self.data_dir, self.corpus, self._origin.data_dir),)
        of_all = {name: getattr(self.corpus, name) for name in ChannelRules.model_fields}
        return tuple(
            CorpusSource(
                listed.data_dir,
                Corpus(
                    **of_all, **{name: getattr(listed, name) for name in CorpusReading.model_fields}
                ),
                f"data_dir of {listed.name} in corpora",
                listed.name,
                listed.prefix,
                listed.same_patients,
            )
            for listed in self.corpora
        )

    @property
    def origin(self) -> Origin:
        """How this configuration was chosen."""
        return self._origin

    @property
    def options(self) -> str:
        """The command-line options that chose this configuration, each after a space."""
        return self._origin.options

    @property
    def manifest_settings(self) -> ManifestSettings:
        """The settings that decide what the manifest of the profile contains."""
        return ManifestSettings(
            self.profile,
            self.selection,
            self.windows,
            self.labels.seizure,
            self.sampling.full_threshold,
            self.options,
        )

    def with_origin(self, origin: Origin) -> Configuration:
        """A copy that remembers how it was chosen.

        Parameters
        ----------
        origin : Origin
            Options, files, profile and the reason of the cache root.

        Returns
        -------
        Configuration
            The same settings with another origin.
        """
        copy = self.model_copy()
        copy._origin = origin
        return copy
