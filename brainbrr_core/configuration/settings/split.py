"""Settings of ``corpus.split``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from brainbrr_core.configuration.settings.section import Section

#: How patients are assigned to splits.
SplitScheme = Literal["fixed", "hash", "kfold", "leave_one_patient_out"]
#: Those with several trainings, each of which holds out other patients.
SCHEMES_WITH_FOLDS = ("kfold", "leave_one_patient_out")


class Split(Section):
    """How patients are assigned to the splits train, dev and eval.

    ``dev`` and ``eval`` are either fractions, by which the patients of a corpus without splits are
    assigned at random, or lists of patients. Patients that no list names have the split that the
    corpus gives them, or are train.

    With one of the schemes ``kfold`` and ``leave_one_patient_out`` there are several trainings, the
    folds. Each holds out other patients as its eval, and each patient is held out in one of them.
    """

    #: What assigns the patients. ``fixed``: lists, a table, the corpus itself, or else a hash of
    #: their names. ``hash``: the hash, whatever the corpus says. ``kfold``: ``folds`` folds.
    #: ``leave_one_patient_out``: a fold for each patient.
    scheme: SplitScheme = "fixed"
    #: Number of folds of the scheme ``kfold``.
    folds: Annotated[int, Field(ge=2)] = 5
    #: The fold that is trained or evaluated, from 1 on. It is usually chosen by ``--fold``.
    fold: Annotated[int, Field(ge=1)] | None = None
    #: Seed of the random assignment of patients to splits.
    seed: int = 0
    #: The split dev: a fraction of the patients, or a list of their names. In a fold, it is a
    #: fraction of the patients who are not held out.
    dev: float | tuple[str, ...] = 0.15
    #: The split eval: a fraction of the patients, or a list of their names. Folds do not use it.
    eval: float | tuple[str, ...] = 0.15
    #: Names of the patients of the split train. With ``null`` every other patient is in it; with a
    #: list, each patient must be in one of the three lists.
    train: tuple[str, ...] | None = None
    #: Path of a table with the columns ``participant_id`` and ``split`` that assigns every patient.
    #: With ``null`` it is the file ``split.tsv`` in the folder of the corpus, if there is one.
    table: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists_alone(cls, values: object) -> object:
        """A split that is not given beside lists is an empty list."""
        if not isinstance(values, Mapping):
            return values
        if not any(isinstance(values.get(name), list | tuple) for name in ("dev", "eval", "train")):
            return values
        return {"dev": (), "eval": ()} | dict(values)

    @field_validator("dev", "eval", "train", mode="before")
    @classmethod
    def _fraction_or_patients(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, list | tuple):
            for name in value:
                if not isinstance(name, str):
                    raise ValueError(f"the patient {name!r} is not text: write it in quotes")
            return tuple(value)
        if value is None and info.field_name == "train":
            return value
        if info.field_name == "train":
            raise ValueError("give a list of patients; train is what dev and eval leave")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError("give a fraction of the patients, such as 0.15, or a list of patients")
        return float(value)

    @model_validator(mode="after")
    def _leaves_some(self) -> Split:
        if self.lists is None:
            if isinstance(self.dev, tuple) or isinstance(self.eval, tuple):
                raise ValueError("give dev and eval both as lists of patients or both as fractions")
            if self.dev + self.eval >= 1:
                raise ValueError("dev and eval must leave patients for train")
        elif self.table is not None:
            raise ValueError("give either lists of patients or a table")
        return self

    @model_validator(mode="after")
    def _of_the_scheme(self) -> Split:
        if self.scheme != "fixed" and (self.lists is not None or self.table is not None):
            raise ValueError(
                f"the scheme {self.scheme} assigns all patients itself: leave out lists and table, "
                "or use scheme: fixed"
            )
        if self.has_folds and self.dev == 0:
            raise ValueError(
                "weights and threshold of each fold are chosen on its dev: give dev a fraction "
                "above 0"
            )
        if self.fold is None:
            return self
        if not self.has_folds:
            raise ValueError(
                f"the scheme {self.scheme} has no folds, and fold is {self.fold}: set scheme to "
                "kfold or leave_one_patient_out"
            )
        if self.scheme == "kfold" and self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
        return self

    @property
    def has_folds(self) -> bool:
        """Whether the scheme has folds, each of which holds out other patients."""
        return self.scheme in SCHEMES_WITH_FOLDS

    @property
    def lists(self) -> dict[str, tuple[str, ...]] | None:
        """The patients of each split as listed; None where the splits are fractions."""
        if not isinstance(self.dev, tuple) or not isinstance(self.eval, tuple):
            return None
        return {"train": self.train or (), "dev": self.dev, "eval": self.eval}

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of the patients in each split; empty where the splits are lists."""
        if isinstance(self.dev, tuple) or isinstance(self.eval, tuple):
            return {}
        return {"train": 1 - self.dev - self.eval, "dev": self.dev, "eval": self.eval}
