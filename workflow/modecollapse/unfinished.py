"""Where a computation keeps how far it is, so that a run that was stopped or killed is gone on with."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass
class Unfinished:
    """One table that is replaced while it grows."""

    load: Callable[[], pa.Table | None]
    """What `save` was given last; None if nothing was."""
    save: Callable[[pa.Table], None]
    seconds: float = 60.0
    """Time between two savings at least: what a kill costs at most, beside the piece of work it happens in."""
    saved: float = field(default_factory=time.monotonic)
    """When something was saved last."""

    def is_due(self) -> bool:
        """Whether it is time to save again. If so, the clock starts anew."""
        due = time.monotonic() - self.saved >= self.seconds
        if due:
            self.saved = time.monotonic()
        return due
