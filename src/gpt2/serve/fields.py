"""Which fields may a request have? Those that its class declares, of exactly their types."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from gpt2.serve.errors import MOST_SHOWN, ApiError, shown


class Fields(BaseModel):
    """The body of a request, or a part of it."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, value: Any) -> Any:
        """Refuse the first unknown field: of each one pydantic would make an error, in seconds."""
        known = cls.model_fields
        if isinstance(value, dict) and (unknown := [name for name in value if name not in known]):
            name = unknown[0][:MOST_SHOWN]
            near = get_close_matches(name, known, 1)
            hint = f"near it: {near[0]}" if near else "leave it out"
            raise ApiError(400, f"there is no field {shown(name)}; {hint}", param=name)
        return value
