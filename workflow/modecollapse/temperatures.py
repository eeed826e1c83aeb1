"""Sampling temperatures as studies write them: numbers or texts, and one text for each in paths and tables."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator


def _temperature(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"{value!r} is not above 0; a temperature near 0, such as 0.01, is nearly greedy")
    plain = format(number.normalize(), "f")
    return plain if "." in plain else f"{plain}.0"


Temperature = Annotated[str, BeforeValidator(_temperature, json_schema_input_type=str | float)]
"""A temperature above 0, written with a decimal point, e.g. "0.7"."""
