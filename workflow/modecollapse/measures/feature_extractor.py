"""The features of many texts, each distinct text once, with several processes.

Distinct texts are put into one order and cut into chunks. Neither the order of the texts nor how often one occurs nor
the number of processes decides them, so results do not depend on any of these to the last bit.
"""

import multiprocessing
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection, wait

import numpy as np
import spacy
from spacy.language import Language
from threadpoolctl import threadpool_limits

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.measures.feature_pipeline import BLANK, PipelineSettings, pipeline_directory
from modecollapse.measures.feature_values import FeatureValues
from modecollapse.metrics.text_features import FEATURES

_TEXTS, _CHARACTERS = 64, 100_000
"""A chunk has at most so many texts and, if it has more than one, characters."""

_UNBROKEN = 5_000
"""Characters without a space between at most. spaCy peels symbols off both ends of such a stretch one by one and
searches all of it each time: 5,000 exclamation marks take it 4 s, 100,000 half an hour."""

_POLL_SECONDS = 0.2
"""How long a request to stop is not looked for."""

_READ = {"tok2vec", "transformer", "tagger", "morphologizer", "parser", "senter", "sentencizer", "attribute_ruler"}
_UNREAD = {"ner", "lemmatizer", "trainable_lemmatizer", "textcat", "textcat_multilabel", "entity_linker", "spancat"}
"""Kinds of components that annotate what no feature reads."""


@dataclass(frozen=True)
class Extracted:
    """Features of texts."""

    values: np.ndarray
    """(texts, 69) float64, columns in the order of `FEATURES`; NaN where one is undefined."""
    reasons: list[str | None]
    """Per text, why a feature that the pipeline gives is undefined: "empty" (it has no characters), "no words", "one
    sentence" or "two sentences" (SMOG and the second order of coherence need three), "infinite perplexity" (it exceeds
    floating-point numbers), joined by "; "; or why all are: "longer than … characters", "more than … characters without
    a space", "no valid Unicode". None if all are numbers."""
    missing: dict[str, str]
    """Feature → why the pipeline gives it for no text."""


def extract(
    texts: Sequence[str], settings: PipelineSettings, processes: int = 1, report: Progress = silent
) -> Extracted:
    """The features of `texts` in their order.

    Args:
        texts: any texts; each distinct one is computed once.
        settings: the pipeline.
        processes: processes that compute; with one it is this one. They start anew, so importing the main module must
            have no effect.
        report: told how many of the distinct texts are done.

    Raises:
        StudyError: the pipeline cannot be loaded, or a process ended by itself.
        Stopped: the process was asked to stop.
    """
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    chunks = list(_chunks(distinct))
    done: dict[int, _Chunk] = {}
    finished = 0
    with closing(_computed(chunks, settings, processes)) as computed:
        for number, chunk in computed:
            done[number] = chunk
            finished += len(chunk.reasons)
            report(finished, len(distinct))
    in_order = [done[number] for number in range(len(chunks))]
    places = {text: place for place, text in enumerate(distinct)}
    rows = [places[text] for text in texts]
    reasons = [reason for chunk in in_order for reason in chunk.reasons]
    values = np.concatenate([chunk.values for chunk in in_order])[rows]
    return Extracted(values, [reasons[row] for row in rows], dict(in_order[0].missing))


@dataclass(frozen=True)
class _Chunk:
    values: np.ndarray
    reasons: list[str | None]
    missing: Mapping[str, str]


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """At least one, which may be empty."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if chunk and (len(chunk) == _TEXTS or characters + len(text) > _CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
    yield chunk


def _computed(
    chunks: Sequence[list[str]], settings: PipelineSettings, processes: int
) -> Generator[tuple[int, _Chunk], None, None]:
    """The chunks' numbers and features, as they get done."""
    if min(processes, len(chunks)) <= 1:
        with threadpool_limits(limits=1):
            for number, chunk in enumerate(chunks):
                stopping.check()
                yield number, _compute(chunk, settings)
        return
    try:
        with _processes(min(processes, len(chunks)), chunks, settings) as running:
            yield from _shared_out(len(chunks), running)
    except (EOFError, OSError) as error:
        time.sleep(_POLL_SECONDS)  # the same signal may have ended the process and be on its way to this one
        stopping.check()
        raise StudyError(
            "A process that computed text features ended by itself, most likely because memory ran out. Run the "
            "job again with fewer threads or more memory."
        ) from error


def _shared_out(count: int, running: Sequence[Connection]) -> Generator[tuple[int, _Chunk], None, None]:
    """Numbers below `count`, each sent to the first process that is free, and what comes back."""
    numbers = iter(range(count))
    for connection in running:
        connection.send(next(numbers))
    busy = set(running)
    while busy:
        stopping.check()
        for connection in busy.intersection(wait(busy, timeout=_POLL_SECONDS)):
            number, chunk = connection.recv()
            if isinstance(chunk, StudyError):
                raise chunk
            if (following := next(numbers, None)) is None:
                busy.remove(connection)
            connection.send(following)
            yield number, chunk


@contextmanager
def _processes(
    count: int, chunks: Sequence[list[str]], settings: PipelineSettings
) -> Generator[list[Connection], None, None]:
    """Connections to processes that hold the chunks; none runs on afterwards.

    A pool of the standard library waits for ever if one of its processes dies while work is handed out
    (python/cpython#94777 is one case). Here each process has a connection of its own, which ends with it.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])  # libraries are imported once, and each process loads the pipeline
    connections, started = [], []
    try:
        for _ in range(count):
            ours, theirs = server.Pipe()
            connections.append(ours)
            with theirs:
                process = server.Process(target=_serve, args=(theirs, chunks, settings), daemon=True)
                process.start()
            started.append(process)
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for process in started:
            process.terminate()
            process.join()


def _serve(connection: Connection, chunks: Sequence[Sequence[str]], settings: PipelineSettings) -> None:
    """Compute chunks by number until there is none or the process that asks for them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with threadpool_limits(limits=1), suppress(EOFError, ConnectionError):
        for number in iter(connection.recv, None):
            connection.send((number, _computed_or_refused(chunks[number], settings)))


def _computed_or_refused(texts: Sequence[str], settings: PipelineSettings) -> _Chunk | StudyError:
    try:
        return _compute(texts, settings)
    except StudyError as error:
        return error


def _compute(texts: Sequence[str], settings: PipelineSettings) -> _Chunk:
    nlp, features = _loaded(settings)
    values = np.full((len(texts), len(FEATURES)), np.nan)
    reasons = [_unreadable(text, nlp.max_length) for text in texts]
    readable = [place for place, reason in enumerate(reasons) if reason is None]
    docs = nlp.pipe([texts[place] for place in readable], batch_size=_TEXTS)
    for place, doc in zip(readable, docs, strict=True):
        values[place], reasons[place] = features.of(doc)
    return _Chunk(values, reasons, features.missing)


def _unreadable(text: str, most: int) -> str | None:
    if len(text) > most:
        return f"longer than {most:,} characters"
    if len(text) > _UNBROKEN and max(map(len, text.split()), default=0) > _UNBROKEN:
        return f"more than {_UNBROKEN:,} characters without a space"
    return None if _is_unicode(text) else "no valid Unicode"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


@lru_cache(maxsize=1)
def _loaded(settings: PipelineSettings) -> tuple[Language, FeatureValues]:
    nlp = _load(settings)
    kinds = [nlp.get_pipe_meta(name).factory for name in nlp.pipe_names]
    if set(kinds) <= _READ | _UNREAD:
        last = max((place for place, kind in enumerate(kinds) if kind in _READ), default=-1)
        nlp.select_pipes(disable=nlp.pipe_names[last + 1 :])
    assigned = {what for name in nlp.pipe_names for what in nlp.get_pipe_meta(name).assigns}
    if "token.is_sent_start" not in assigned:
        nlp.add_pipe("sentencizer", first=True)
    return nlp, FeatureValues(nlp, settings.vocabulary == "lexemes")


def _load(settings: PipelineSettings) -> Language:
    try:
        if settings.pipeline == BLANK:
            return spacy.blank(settings.language)
        directory = pipeline_directory(settings)
        return spacy.load(directory if "/" in settings.pipeline else settings.pipeline)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise StudyError(
            f"The spaCy pipeline {settings.pipeline!r} cannot be loaded: {error}. Install or write it anew with spaCy "
            f"{spacy.__version__}, or choose another."
        ) from error
