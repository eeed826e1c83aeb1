"""Sampling with a vLLM server: the same prompts, rules of ending and tables as with the transformers engine.

Every completion is a request of its own with a seed of its own, so that it depends on no other request. Its bits do all
the same: the server sums in another order when other rows run beside it, and a token whose probability is near the
threshold comes out differently. Cells of this engine therefore agree statistically when they are made again, not bit by
bit; cells that are finished are kept in the store as all are.
"""

import hashlib
import http.client
import logging
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pyarrow as pa

from modecollapse.digests import canonical
from modecollapse.errors import StudyError
from modecollapse.generation.cell_rows import completion_rows, joined_rows, same_rows
from modecollapse.generation.completions import Completion, Finisher
from modecollapse.generation.progress import Progress, silent
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.tokenized import TextModel, check_context, load_text_model, tokenize_prompts
from modecollapse.resources.inference import SERVED_ROWS
from modecollapse.serving.client import Client, Refused, Sampled, completion_request
from modecollapse.serving.installation import Installation
from modecollapse.serving.server import MODEL, Launch, Server, running_server
from modecollapse.serving.temperatures import check_temperature
from modecollapse.stopping import Stopped
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

_TRIES = 5
_FIRST_WAIT = 0.5
_LOOK_SECONDS = 0.2
_SEED_BITS = 63


@dataclass(frozen=True)
class TokenizedPrompts:
    """The prompts of a set as the server is given them."""

    ids: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    """Token ids of each prompt."""


@dataclass(frozen=True)
class _Finished:
    completion: Completion
    log_probs: tuple[float, ...]


class VllmEngine:
    """A server that completes prompts."""

    def __init__(
        self, server: Server, model: TextModel, settings: SamplingSettings, record: Mapping[str, str], rows: int
    ) -> None:
        """Use a running server; see `vllm_engine`, which starts one."""
        self._server, self._model, self._settings, self._made_with = server, model, settings, record
        self._rows = rows
        self._finisher = Finisher(model.tokenizer, model.end_tokens, settings.stop)

    def prepare(self, prompts: Sequence[tuple[str, str]]) -> TokenizedPrompts:
        """Tokenise prompts, pairs of (id, rendered text), exactly as the transformers engine does.

        Raises:
            StudyError: no prompt, an id given twice, or a prompt too long for the model's context.
        """
        ids, tokens = tokenize_prompts(self._model, prompts)
        check_context(ids, tokens, self._settings.max_new_tokens, self._model.context)
        return TokenizedPrompts(ids, tuple(map(tuple, tokens)))

    def sample(
        self,
        prepared: TokenizedPrompts,
        temperature: float,
        stream: str,
        progress: Progress = silent,
        unfinished: Unfinished | None = None,
    ) -> pa.Table:
        """See `Engine.sample`; at a temperature of at least that of `check_temperature`. Rows are kept up to the first
        that is not finished.

        Raises:
            StudyError: also if the server died, refuses, or answers what cannot be used.
        """
        check_temperature(temperature)
        rows = [(prompt, sample) for prompt in range(len(prepared.ids)) for sample in range(self._settings.completions)]
        names = [(prepared.ids[prompt], sample) for prompt, sample in rows]
        kept = same_rows(unfinished.load(), names, self._made_with) if unfinished else None
        parts, first = ([], 0) if kept is None else ([kept], kept.num_rows)
        done: dict[int, _Finished] = {}

        def table() -> pa.Table:
            last = next((row for row in range(first, len(rows)) if row not in done), len(rows))
            found = [done[row] for row in range(first, last)]
            part = completion_rows(
                names[first:last], [each.completion for each in found], [each.log_probs for each in found]
            )
            return joined_rows([*parts, part], self._made_with)

        try:
            for row, finished in self._finished(prepared, rows[first:], temperature, stream):
                done[first + row] = finished
                progress(first + len(done), len(rows))
                if unfinished and unfinished.is_due():
                    unfinished.save(table())
        except (Stopped, StudyError):
            if unfinished and (parts or done):
                unfinished.save(table())
            raise
        return table()

    def _finished(
        self, prepared: TokenizedPrompts, rows: Sequence[tuple[int, int]], temperature: float, stream: str
    ) -> Iterator[tuple[int, _Finished]]:
        """(index in `rows`, finished row), in the order in which they end; `self._rows` are under way at once."""
        requests = _Requests(self._server)
        pool = ThreadPoolExecutor(min(self._rows, max(1, len(rows))), "vllm request")
        # To wait for any of many futures costs time in proportion to their number, each time.
        ended: SimpleQueue[tuple[int, Future[_Finished]]] = SimpleQueue()
        try:
            for index, (prompt, sample) in enumerate(rows):
                name = prepared.ids[prompt], sample
                future = pool.submit(self._complete, requests, prepared.tokens[prompt], temperature, stream, name)
                future.add_done_callback(lambda future, index=index: ended.put((index, future)))  # type: ignore[misc]
            left = len(rows)
            while left:
                with suppress(Empty):
                    index, future = ended.get(timeout=_LOOK_SECONDS)
                    left -= 1
                    if future.exception() is not None:
                        self._server.check()  # its end explains more than a broken connection
                    yield index, future.result()
                self._server.check()
        finally:
            requests.abort()
            pool.shutdown(wait=True, cancel_futures=True)

    def _complete(
        self, requests: "_Requests", prompt: Sequence[int], temperature: float, stream: str, name: tuple[str, int]
    ) -> _Finished:
        """One completion, until our own rules say that it has ended."""
        settings = self._settings
        tokens: list[int] = []
        log_probs: list[float] = []
        while True:
            left = settings.max_new_tokens - len(tokens)
            request = completion_request(
                MODEL,
                [*prompt, *tokens],
                seed_of(stream, *name, len(tokens)),
                left,
                temperature,
                settings.top_k,
                settings.top_p,
                self._model.end_tokens,
                settings.stop,
            )
            sampled = requests.complete(request)
            tokens += sampled.tokens
            log_probs += sampled.log_probs
            completion = self._finisher.finish(tokens)
            # The server decodes token by token, and may see a stop string that the whole text does not have.
            if completion.finish_reason != "length" or len(tokens) == settings.max_new_tokens:
                return _Finished(completion, tuple(log_probs[: completion.n_tokens]))


class _Requests:
    """Requests of several threads, each with a connection of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own = threading.local()
        self._clients: list[Client] = []
        self._aborted = threading.Event()

    def complete(self, request: Mapping[str, Any]) -> Sampled:
        """The answer to a request, asked for again where that may help: a seed makes it the same one.

        Raises:
            StudyError: no answer that can be used.
        """
        wait_seconds = _FIRST_WAIT
        why: Exception = OSError("the request was given up")
        for attempt in range(1, _TRIES + 1):
            if self._aborted.is_set():
                break
            try:
                return self._client().complete(request)
            except Refused as refused:
                why = refused
                if not refused.transient:
                    break
            except (OSError, http.client.HTTPException) as error:
                why = error
            if self._server.process.poll() is not None:
                break
            if attempt < _TRIES:
                logger.warning("a request failed (%s: %s): trying again", type(why).__name__, why)
                self._aborted.wait(wait_seconds)
                wait_seconds *= 2
        raise StudyError(
            f"The vLLM server does not complete a prompt of {len(request['prompt'])} tokens: {type(why).__name__}: "
            f"{why}. Its own log lines are in the job's log. What was finished is kept: see to the cause, and run the "
            "same command again."
        )

    def abort(self) -> None:
        """Let all requests under way fail, and none be tried again."""
        self._aborted.set()
        for client in list(self._clients):
            client.abort()

    def _client(self) -> Client:
        found: Client | None = getattr(self._own, "client", None)
        if found is None:
            found = self._own.client = self._server.client()
            self._clients.append(found)
        return found


@contextmanager
def vllm_engine(
    installation: Installation,
    weights: Path,
    settings: SamplingSettings,
    threads: int,
    on_gpu: bool,
    texts: Sequence[str],
) -> Iterator[VllmEngine]:
    """An engine on a server of its own, which ends with the block.

    Args:
        texts: rendered prompts, all that will be asked: the server makes room for the longest.

    Raises:
        StudyError: the model's tokenizer or configuration cannot be read, or the server does not start.
        Stopped: the process was asked to stop.
    """
    model = load_text_model(weights)
    ids, tokens = tokenize_prompts(model, [(str(number), text) for number, text in enumerate(texts)])
    check_context(ids, tokens, settings.max_new_tokens, model.context)
    rows = settings.rows_per_batch or SERVED_ROWS
    launch = Launch(
        executable=installation.executable,
        weights=weights,
        dtype=settings.dtype,
        length=max(map(len, tokens)) + settings.max_new_tokens,
        rows=rows,
        threads=threads,
        on_gpu=on_gpu,
        decodes=bool(settings.stop),
    )
    with running_server(launch) as server:
        with server.client() as client:
            version = client.version()
        record = {
            "engine": "vllm",
            "engine_version": version,
            "torch": installation.version("torch") or "unknown",
            "device": _device_name() if on_gpu else "cpu",
            "threads": str(threads),
            "dtype": settings.dtype,
            "rows_per_batch": str(rows),
        }
        yield VllmEngine(server, model, settings, record, rows)


def seed_of(stream: str, prompt: str, sample: int, position: int = 0) -> int:
    """Seed of a completion from its `position`-th token on: the first 63 bits of a SHA-256 of what names it."""
    name = canonical([stream, prompt, sample, *([position] if position else [])])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") % 2**_SEED_BITS


def _device_name() -> str:
    """Name of the GPU, as the driver says it: to ask torch would take some of its memory."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "cuda"
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "cuda"
    return found.stdout.partition("\n")[0].strip() or "cuda"
