"""A token measurement in chunks of 64 positions, saved after each: `python tokens_job.py DIRECTORY OUTPUTS [CHUNKS]`.

With CHUNKS the process kills itself when so many chunks are saved and the next one is under way.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modecollapse.cells import Model
from modecollapse.jobs.tokens import measure_tokens
from modecollapse.measures import tokens, windows
from modecollapse.store import Store

SPEC = {"revision": 0, "threads": 1, "settings": {"documents": 100, "context": 16, "groups": 4}}


def main(root: Path, outputs: Path, kill_after: int | None) -> None:
    """Measure the model of `root`; prints how many chunks were scored."""
    scored = 0

    class Counting(tokens.TokenSums):
        def begin(self, chunk: Sequence[Any]) -> None:
            nonlocal scored
            super().begin(chunk)
            if scored == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            scored += 1

    windows.CHUNK_POSITIONS = 64
    tokens.TokenSums = Counting  # type: ignore[misc]
    model = (root / "model" / "manifest.json", root / "model" / "weights")
    measure_tokens(
        SPEC,
        Model("tiny", 0, "plm"),
        model,
        model,
        root / "data.parquet",
        (outputs / "documents.parquet", outputs / "vocabulary.parquet"),
        Store(outputs / "store"),
        SimpleNamespace(load=lambda *_: None),  # type: ignore[arg-type]
        save_seconds=0,
    )
    print(scored)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
