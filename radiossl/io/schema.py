"""What all settings with a schema share: no unknown keys, and numbers that are finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Settings(BaseModel):
    """Settings of a user: of a recipe, a command's ``--set`` or the file of a survey."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, Mapping) else ():
            kind = cls.model_fields[name].annotation if isinstance(value, bool) and name in cls.model_fields else None
            kinds = {kind, *get_args(kind)}
            if kinds & {int, float} and bool not in kinds:  # pydantic takes them for 1 and 0
                raise ValueError(f"{name}: expected a number, not true or false")
        return data
