"""Settings of the section ``corpus``, and of an entry of ``corpora``."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from brainbrr_core.configuration.settings.annotations import AnnotationTexts
from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.configuration.settings.split import Split

LayoutName = Literal["tusz", "bids", "chbmit", "siena", "seizeit1", "folder"]


class ChannelRules(Section):
    """Which recordings are used, as far as that depends on their channels.

    A change takes effect with the next index. It does not change the preprocessing version: each
    shard records which of its electrodes are interpolated.
    """

    #: Whether the labels of the electrodes must name one common reference. With ``any``, a
    #: recording with several references is used, and the index notes it as a finding.
    references: Literal["common", "any"] = "any"
    #: Most missing or bad electrodes that are interpolated from the others. A recording with more
    #: of them is excluded.
    interpolate_at_most: Annotated[int, Field(ge=0, le=9)] = 3

    @property
    def channel_rules(self) -> str:
        """These settings alone as one text, the same for the same settings."""
        values = self.model_dump(mode="json", include=set(ChannelRules.model_fields))
        return json.dumps(values, sort_keys=True)


class CorpusReading(Section):
    """The layout of a corpus, and how its paths and annotations are read."""

    #: Layout of folders and annotations. With ``null`` it is recognized from the files.
    layout: LayoutName | None = None
    #: Regular expression whose one group is the patient's name within a partition key (the path of
    #: an EDF below the corpus, without its suffix). With ``null`` the layout decides.
    patient_pattern: str | None = None
    #: How patients are assigned to splits in a corpus without splits.
    split: Split = Split()
    #: What free texts of annotations mean.
    annotation_texts: AnnotationTexts = AnnotationTexts()
    #: A note on the license of the corpus, which reports repeat.
    license: str = ""

    @field_validator("patient_pattern")
    @classmethod
    def _names_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression ({error})") from None
        if groups != 1:
            raise ValueError(
                f"'{pattern}' has {groups} groups, and one must say what the patient is, such as "
                "'^([^-]+)-'; (?:...) is no group"
            )
        return pattern


class Corpus(ChannelRules, CorpusReading):
    """The layout of the corpus, and how its paths, annotations and channels are read."""


class ListedCorpus(CorpusReading):
    """One of several corpora: its name, where it is, and how its paths and annotations are read."""

    #: Name of the corpus. With a slash it comes before the paths of its EDFs, and before the names
    #: of its patients.
    name: str
    #: Folder or URL of the corpus. With ``null``, on a machine without its EDFs, the index stands
    #: for it.
    data_dir: str | None = None
    #: Whether the name comes before partition keys and patients. With ``false``, which one corpus
    #: may have, they are those of a cache root with this corpus alone, and its shards are kept.
    prefix_keys: bool = True
    #: Patients of this corpus who are also in another one, each with the name of the patient there,
    #: such as ``{PN00: chbmit/chb05}``. Both count as one patient, in the split of the other
    #: corpus.
    same_patients: dict[str, str] = Field(default={})

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("use letters, digits, dots, hyphens and underscores, such as chbmit")
        return name

    @model_validator(mode="after")
    def _maps_into_another(self) -> ListedCorpus:
        if self.same_patients and not self.prefix_keys:
            raise ValueError(
                "same_patients of a corpus with prefix_keys: false would change its patients: list "
                "them in the entry of the other corpus"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The settings that are not the defaults: a list has no room for the others."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in whole(self).items()
            if getattr(self, name) != fields[name].get_default()
        }

    @property
    def prefix(self) -> str:
        """What comes before keys and patients in the index."""
        return f"{self.name}/" if self.prefix_keys else ""
