"""What all sections of the settings have in common."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """Base class of all sections: unknown keys are refused, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads yes, no, on and off as booleans, which would otherwise count as 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        allowed = field.annotation is bool or any(
            choice is value for choice in get_args(field.annotation)
        )
        if isinstance(value, bool) and not allowed:
            raise ValueError("yes, no, true and false are not a value of this setting")
        return value
