"""The temperatures that vLLM samples at. Importing this module is cheap, so that the check of a study can."""

import math

from modecollapse.errors import StudyError

COLDEST = 0.01
"""The lowest temperature that the server takes as it is: it raises lower ones to this."""


def check_temperature(temperature: float, key: str = "temperature") -> None:
    """Check that the server takes a temperature as it is.

    Raises:
        StudyError: it does not.
    """
    if not (temperature >= COLDEST and math.isfinite(temperature)):
        raise StudyError(
            f"{key}: found {temperature:g}, which vLLM raises to {COLDEST} without a word. Allowed with "
            f"generation.engine: vllm: {COLDEST} or more. Raise it, or set generation.engine: transformers."
        )
