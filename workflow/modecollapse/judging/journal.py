"""What an endpoint replied, kept on disk at once: nothing that was paid for is lost with the job, or paid for again.

One file of JSON lines for each model, which is only ever appended to. A line holds the SHA-256 of its entry; a last
line that a killed job left half written is cut off, a line that was altered counts as absent. The file has one writer
at a time: whoever holds its lock in the store. It lies where the store's target `prune` removes nothing.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from modecollapse.digests import canonical, digest
from modecollapse.errors import StudyError
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KIND = "replies"


@dataclass(frozen=True)
class Reply:
    """What a server made of one request."""

    content: str | None
    refusal: str | None
    """Why it declined, where it says so outside of the reply."""
    finish_reason: str
    model: str
    """The model that it says replied."""
    tokens: int
    """Of prompt and reply."""


@dataclass(frozen=True)
class Spent:
    """What was spent."""

    requests: int = 0
    tokens: int = 0


class Journal:
    """The replies of one model; made by `open_journal`."""

    def __init__(self, file: IO[bytes], entries: Mapping[str, Reply], spent: Mapping[str, Spent]) -> None:
        self._file, self._replies, self._spent = file, dict(entries), dict(spent)
        self._lock = threading.Lock()

    def reply(self, request: str) -> Reply | None:
        """The reply to the request with this digest, if there was one."""
        return self._replies.get(request)

    def spent(self, payer: str) -> Spent:
        """What was spent so far by a judge of a study."""
        return self._spent.get(payer, Spent())

    def add(self, request: str, payer: str, reply: Reply | None) -> None:
        """Keep a reply, or (None) that a request may have been answered and the reply was lost; on disk on return.

        Raises:
            StudyError: the file cannot be written.
        """
        entry = {"request": request, "payer": payer, "reply": None if reply is None else asdict(reply)}
        line = canonical({"entry": entry, "sha256": digest(entry)}) + "\n"
        with self._lock:
            try:
                self._file.write(line.encode())
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _unwritable(Path(self._file.name), error) from error
            _count(entry, self._replies, self._spent)


@contextmanager
def open_journal(store: Store, model: str) -> Iterator[Journal]:
    """The journal of a model's replies, for this process alone; waits while another one has it.

    Raises:
        StudyError: the store cannot be written.
        Stopped: the process was asked to stop while it waited.
    """
    key = digest({"endpoint": model})
    path = store.root / KIND / f"{key}.jsonl"
    with store.locked(key):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            raise _unwritable(path, error) from error
        with file:
            replies: dict[str, Reply] = {}
            spent: dict[str, Spent] = {}
            for entry in _intact(file, path):
                _count(entry, replies, spent)
            yield Journal(file, replies, spent)


def _intact(file: IO[bytes], path: Path) -> Iterator[dict[str, Any]]:
    """The entries of the file, of which a half-written last line is cut off."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        logger.warning("%s: the last line is not complete and is removed", path)
        file.truncate(whole)
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            read = json.loads(line)
            intact = read["sha256"] == digest(read["entry"])
        except (ValueError, KeyError, TypeError):
            intact = False
        if intact:
            yield read["entry"]
        else:
            logger.warning("%s: line %d is corrupt and counts as absent", path, number)


def _count(entry: Mapping[str, Any], replies: dict[str, Reply], spent: dict[str, Spent]) -> None:
    reply = None if entry["reply"] is None else Reply(**entry["reply"])
    before = spent.get(entry["payer"], Spent())
    spent[entry["payer"]] = Spent(before.requests + 1, before.tokens + (reply.tokens if reply else 0))
    if reply is not None:
        replies[entry["request"]] = reply


def _unwritable(path: Path, error: OSError) -> StudyError:
    return StudyError(
        f"{path} cannot be written: {error}. Every reply of an endpoint is kept there as soon as it comes, since it "
        "was paid for. Make room or the store writable, or name another one with --config store=DIR, and run the same "
        "command again."
    )
