"""The base of every configuration model: immutable, and a misspelt key is an error."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen; unknown keys are refused; numbers are finite and not turned into strings or back."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is part of paths: letters, digits, '.', '_' and '-'."""


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A validator: none of the values is given twice."""
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}; name each once")
    return values


def listed(value: Any) -> Any:
    """A validator: a single text counts as a list of one."""
    # A tuple: what comes from here is no JSON any more, in which alone a list counts as one.
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
