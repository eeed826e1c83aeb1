"""Asking an endpoint about many pairs: in both orders, at a given pace, within a budget, and never twice the same."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from modecollapse import stopping
from modecollapse.digests import digest
from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.judging.chat import Endpoint, Failed
from modecollapse.judging.journal import Journal, Reply
from modecollapse.judging.pairs import Judged, Pair
from modecollapse.judging.settings import EndpointSettings
from modecollapse.judging.verdicts import ORDERS, STAGE_FIRST, Verdict, of_letter, read_letter

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 60.0
_GRACE_SECONDS = 10.0
"""What is under way when a run ends early may still be answered for so long, since it is paid for."""

_TELLING = 20
"""So many replies, all unreadable, tell that the others will be, too."""
_SHOWN = 200

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked about a pair, as a judgements spec says it: nothing here depends on the machine."""

    model: str
    seed: int | None
    max_tokens: int
    system: str
    template: str
    criteria: Mapping[str, Sequence[str]]
    """Of every task type."""

    def body(self, pair: Pair, order: str) -> dict[str, Any]:
        """The request about a pair whose answers are shown in this order."""
        stage, reference = pair.shown()
        first, second = (stage, reference) if order == STAGE_FIRST else (reference, stage)
        prompt, first, second = _fenced(pair.question, first, second)
        criteria = "\n".join(f"{number}. {each}" for number, each in enumerate(self.criteria[pair.task], 1))
        text = self.template.format(prompt=prompt, answer_a=first, answer_b=second, criteria=criteria)
        messages = [{"role": "system", "content": self.system}] if self.system else []
        return {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": text}],
            "temperature": 0,
            **({} if self.seed is None else {"seed": self.seed}),
            "max_tokens": self.max_tokens,
        }


def _fenced(*texts: str) -> list[str]:
    """The texts between marks that stand in none of them, so that no text can end itself."""
    number = next(n for n in range(len("".join(texts)) + 2) if not any(f"text-{n}>" in text for text in texts))
    return [f"<text-{number}>\n{text}\n</text-{number}>" for text in texts]


def judged_by_endpoint(pairs: Sequence[Pair], question: Question, journal: Journal) -> Iterator[tuple[Pair, Judged]]:
    """What the kept replies say of each pair in each order; answers that are equal are a tie without being asked about.

    Every request must have been answered (`ask_all`).
    """
    counts: Counter[Verdict] = Counter()
    for pair in pairs:
        if pair.equal:
            yield pair, Judged(Verdict.TIE)
            continue
        for order in ORDERS:
            reply = journal.reply(digest(question.body(pair, order)))
            assert reply is not None
            judged = _judged(reply, order)
            counts[judged.verdict] += 1
            yield pair, judged
    logger.info("verdicts of %d replies: %s", counts.total(), ", ".join(f"{n} {each}" for each, n in counts.items()))


def _judged(reply: Reply, order: str) -> Judged:
    text = reply.content or ""
    if reply.refusal is not None or reply.finish_reason == "content_filter":
        return Judged(Verdict.REFUSAL, order, reply.refusal or text or reply.finish_reason, reply.model)
    read = read_letter(text)
    verdict = read if isinstance(read, Verdict) else of_letter(read, order)
    return Judged(verdict, order, text, reply.model)


def ask_all(
    pairs: Sequence[Pair],
    question: Question,
    settings: EndpointSettings,
    endpoint: Endpoint,
    journal: Journal,
    payer: str,
    progress: Progress = silent,
) -> None:
    """Have every request about these pairs answered; each reply is in the journal as soon as it has come.

    Args:
        pairs: those whose answers differ are asked about in both orders.
        question: what is asked.
        settings: pace, budget and patience.
        endpoint: where.
        journal: what was answered before is not asked again.
        payer: the study and the judge, whose budget it is.
        progress: called with (requests answered, requests).

    Raises:
        StudyError: the endpoint does not answer, or not in the interface's form, or nothing that can be read, or the
            budget is spent. What was answered is kept.
        Stopped: the process was asked to stop; the same.
    """
    bodies: dict[str, Body] = {}
    for pair in pairs:
        for order in () if pair.equal else ORDERS:
            body = question.body(pair, order)
            bodies[digest(body)] = body
    missing = [key for key in bodies if journal.reply(key) is None]
    logger.info("%d of %d requests were answered before", len(bodies) - len(missing), len(bodies))
    if missing:
        _Asking(settings, endpoint, journal, payer, len(missing)).run({key: bodies[key] for key in missing}, progress)


class _Asking:
    """Several threads that ask one endpoint."""

    def __init__(
        self, settings: EndpointSettings, endpoint: Endpoint, journal: Journal, payer: str, missing: int
    ) -> None:
        self._settings, self._endpoint, self._journal, self._payer = settings, endpoint, journal, payer
        self._study, self._judge = payer.split("/", 1)
        self._left = missing
        self._ended = threading.Event()
        self._reached = False
        self._unreadable: list[Reply] = []
        self._readable = False
        self._lock = threading.Lock()
        self._under_way = 0
        rate = settings.requests_per_minute
        self._spacing = 0.0 if rate is None else 60.0 / rate
        # The job before this one may have asked a moment ago.
        self._next = time.monotonic() + self._spacing
        self._paused_until = 0.0

    def run(self, bodies: Mapping[str, Body], progress: Progress) -> None:
        pool = ThreadPoolExecutor(min(self._settings.concurrency, len(bodies)), "judge request")
        ended: SimpleQueue[Future[None]] = SimpleQueue()
        futures = [pool.submit(self._answer_or_end, key, body) for key, body in bodies.items()]
        for future in futures:
            future.add_done_callback(ended.put)
        try:
            left = len(futures)
            while left:
                stopping.check()
                with suppress(Empty):
                    ended.get(timeout=_LOOK_SECONDS).result()
                    left -= 1
                    progress(len(futures) - left, len(futures))
        finally:
            self._ended.set()
            late = threading.Timer(_GRACE_SECONDS, self._endpoint.abort)
            late.start()
            pool.shutdown(wait=True, cancel_futures=True)
            late.cancel()

    def _answer_or_end(self, key: str, body: Body) -> None:
        try:
            self._answer(key, body)
        except BaseException:
            self._ended.set()  # at once: no other thread is to begin another request
            raise

    def _answer(self, key: str, body: Body) -> None:
        """Have one request answered, made again where that may help."""
        backoff, why = _FIRST_WAIT, "it was not made"
        for attempt in range(1, self._settings.tries + 1):
            self._wait_for_turn()
            if self._ended.is_set():
                return
            reply = self._attempt(key, body)
            if isinstance(reply, Reply):
                return
            why = str(reply)
            if reply.unsent and not self._reached:
                raise StudyError(f"measures.judgements: {why}. Start the server, or correct base_url. {_AGAIN}")
            if (reply.wait_seconds or 0.0) > self._settings.longest_wait_seconds:
                raise StudyError(
                    f"measures.judgements: the endpoint asks to wait {reply.wait_seconds:.0f} s ({why}), longer than "
                    f"longest_wait_seconds ({self._settings.longest_wait_seconds:g}). {_AGAIN}"
                )
            if attempt < self._settings.tries:
                logger.warning("a request failed (%s): trying again", why)
                self._pause(reply.wait_seconds)
                # Not before the server allows it; and not all threads at the same moment.
                self._ended.wait((reply.wait_seconds or 0.0) + backoff * random.uniform(0.5, 1.0))
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
        raise StudyError(
            f"measures.judgements: the endpoint does not answer a request after {self._settings.tries} tries: {why}. "
            + _AGAIN
        )

    def _attempt(self, key: str, body: Body) -> Reply | Failed:
        self._begin()
        outcome: Reply | Failed | None = None
        try:
            outcome = self._endpoint.ask(body)
        except Failed as failed:
            outcome = failed
        finally:
            self._end(key, outcome)
        return outcome

    def _end(self, key: str, outcome: Reply | Failed | None) -> None:
        """Count a request as spent instead of under way: at once, or it would count twice in between."""
        with self._lock:
            self._under_way -= 1
            if isinstance(outcome, Reply):
                self._reached = True
                self._journal.add(key, self._payer, outcome)
                self._left -= 1
                self._require_sense(outcome)
            elif outcome is not None:
                self._reached |= not outcome.unsent
                if outcome.spent:
                    self._journal.add(key, self._payer, None)

    def _require_sense(self, reply: Reply) -> None:
        """End a run whose first replies are all unreadable, before the others are paid for."""
        self._readable |= _judged(reply, STAGE_FIRST).verdict != Verdict.UNREADABLE
        if self._readable:
            return
        self._unreadable.append(reply)
        if len(self._unreadable) == _TELLING:
            first = self._unreadable[0]
            raise StudyError(
                f"measures.judgements.judges.{self._judge}.endpoint: the first {_TELLING} replies are all unreadable; "
                f"the first one is {(first.content or '')[:_SHOWN]!r} (finish_reason {first.finish_reason!r}). "
                "Allowed: [[A]], [[B]] or [[C]] somewhere in it, always the same, or one such letter alone. "
                "Raise max_tokens if the reply was cut off or is empty (models that reason first need thousands), else "
                "correct template or system. These replies are kept; what is changed there is asked anew."
            )

    def _begin(self) -> None:
        """Count a request as under way, unless the budget has no room for it."""
        budget = self._settings.budget
        with self._lock:
            spent = self._journal.spent(self._payer)
            if budget.requests is not None and spent.requests + self._under_way >= budget.requests:
                raise self._is_spent("requests", budget.requests, spent.requests + self._left)
            if budget.tokens is not None and spent.tokens >= budget.tokens:
                raise self._is_spent("tokens", budget.tokens, None)
            self._under_way += 1

    def _is_spent(self, what: str, budget: int, needed: int | None) -> StudyError:
        enough = f"Raise it to {needed} or more" if needed else "Raise it"
        return StudyError(
            f"measures.judgements.judges.{self._judge}.endpoint.budget.{what}: the budget of {budget} {what} of the "
            f"study {self._study} is spent. {enough}, or compare fewer completions. {_AGAIN}"
        )

    def _wait_for_turn(self) -> None:
        """Wait until the pace, and what the server asked for, allow another request."""
        while not self._ended.is_set():
            with self._lock:
                turn = max(self._next, time.monotonic())
                self._next = turn + self._spacing
            self._ended.wait(max(0.0, turn - time.monotonic()))
            if self._paused_until <= turn:
                return

    def _pause(self, seconds: float | None) -> None:
        """Have all threads wait that long before their next request, also those that had a turn already."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + (seconds or 0.0))
            self._next = max(self._next, self._paused_until)


_AGAIN = "What was answered is kept, and is not asked for again: run the same command later."
