"""SHA-256 of large files that others own, remembered: a plan must not read 11 GB each time to find them unchanged.

A digest is believed as long as the file has the same size, modification and change time. Losing the record costs time
only, so jobs that write it at once need no lock: it is replaced as a whole, and the last one wins.
"""

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modecollapse.digests import sha256_file
from modecollapse.publishing import publish_file

logger = logging.getLogger(__name__)

WORTH_BYTES = 10_000_000
"""Smaller files are read again by each process: that takes less than 0.05 s."""

SETTLED_NS = 2_000_000_000
"""Times of files are coarse: one that changed just now may change again without a trace."""


@dataclass(frozen=True)
class FileDigests:
    """Digests of files by path and state; kept in `record` for later processes, or in memory only if it is None."""

    record: Path | None = None
    known: dict[str, list[Any]] = field(default_factory=dict, compare=False)
    """Absolute path → [state, SHA-256]."""

    def sha256(self, path: Path) -> str:
        """SHA-256 (64 hex digits) of a file's bytes."""
        name, stat = str(path.resolve()), path.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        if name not in self.known:
            self.known.update(self._read())
        if name in self.known and self.known[name][0] == state:
            return str(self.known[name][1])
        value = sha256_file(path)
        self.known[name] = [state, value]
        settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS
        if self.record is not None and settled and stat.st_size >= WORTH_BYTES:
            self._remember(self.record, name)
        return value

    def _read(self) -> dict[str, list[Any]]:
        try:
            content = json.loads(self.record.read_text(encoding="utf-8")) if self.record else {}
            return {str(name): [list(state), str(value)] for name, (state, value) in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # absent or damaged: everything is read again

    def _remember(self, record: Path, name: str) -> None:
        try:
            kept = {path: entry for path, entry in self._read().items() if Path(path).exists()}
            with publish_file(record) as partial:
                partial.write_text(json.dumps({**kept, name: self.known[name]}, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            logger.warning("%s cannot be written, so large files are read again each time: %s", record, error)
