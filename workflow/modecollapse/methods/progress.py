"""What a training says of itself while it runs."""

import logging
import math

from modecollapse.errors import StudyError

logger = logging.getLogger(__name__)

_LINES = 10


def report(step: int, steps: int, stride: int, loss: float) -> None:
    """Log a line for every tenth of the run; called every `stride` updates and after the last one.

    Raises:
        StudyError: `loss` is not a finite number.
    """
    if not math.isfinite(loss):
        raise StudyError(
            f"The loss was {loss} around step {step}: training diverged. Lower learning_rate, or lower clip."
        )
    if step * _LINES // steps > max(0, step - stride) * _LINES // steps:
        logger.info("step %d of %d, loss %.4f", step, steps, loss)
