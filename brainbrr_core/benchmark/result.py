"""What a measurement gives: figures that are written as JSON and shown as tables."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, JsonValue


@dataclass(frozen=True, slots=True)
class Table:
    """A title, its columns and its rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Figures(BaseModel):
    """Figures that belong together: fields are the keys of a JSON object.

    A figure that was not measured is left out of the JSON when it was not given, and null when
    it was given as None.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="constants"
    )

    def as_json(self) -> dict[str, JsonValue]:
        """The JSON object, NaN included."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Report(Figures):
    """All that one measurement gives."""

    @property
    def is_right(self) -> bool:
        """Whether the measurement shows no fault, however slow it is."""
        return True

    @abstractmethod
    def tables(self) -> list[Table]:
        """The figures for a reader."""

    def remarks(self) -> list[str]:
        """Lines that follow the tables."""
        return []
