"""Models whose every fault is one line and a hint, wherever their values come from."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from personare.errors import InvalidOption


class CheckedModel(BaseModel):
    """A frozen pydantic model that raises InvalidOption, with the field and what it takes,
    where pydantic would raise ValidationError. Picklable; JSON in (`from_json`) and out
    (`model_dump_json`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    WHAT: ClassVar[str]
    """What it is, for messages."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises InvalidOption."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:  # the text itself: what is wrong with a value is told below
            raise InvalidOption(
                f"not {cls.WHAT} in JSON: {error.errors()[0]['msg']}",
                hint="give one JSON object",
            ) from None

    @model_validator(mode="wrap")
    @classmethod
    def _told_in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise cls._fault(error) from None

    @classmethod
    def _fault(cls, error: ValidationError) -> InvalidOption:
        first = error.errors()[0]
        wrong = first["msg"].removeprefix("Value error, ")
        name = str(first["loc"][0])[:80] if first["loc"] else ""
        known = f"fields are: {', '.join(cls.model_fields)}"
        if first["type"] == "extra_forbidden":
            return InvalidOption(f"{cls.WHAT} has no field {name!r}", hint=known)
        if name not in cls.model_fields:
            return InvalidOption(f"{cls.WHAT}: {wrong}", hint=known)
        return InvalidOption(
            f"{cls.WHAT}: {name}: {wrong}", hint=f"{name}: {cls.model_fields[name].description}"
        )
