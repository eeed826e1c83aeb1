"""Requests to a vLLM server: one completion each, every parameter explicit."""

import http.client
import json
import math
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from modecollapse.errors import StudyError

_REQUEST_SECONDS = 1800.0
"""A request waits until the server has room for it."""
_SHOWN = 300


class Refused(Exception):
    """An answer other than the one that was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text[:_SHOWN]}")
        self.transient = status in (408, 425, 429) or status >= 500
        """Whether the same request may be answered later."""


@dataclass(frozen=True)
class Sampled:
    """What the server sampled after a prompt."""

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    """Of each token, in nats, under the distribution that it was drawn from."""


class Client:
    """One connection, kept open between requests; for one thread, but `abort` may be called by any."""

    def __init__(self, host: str, port: int, key: str, seconds: float = _REQUEST_SECONDS) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=seconds)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def abort(self) -> None:
        """Let a request that another thread waits for fail at once."""
        waiting = self._connection.sock
        if waiting is not None:
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def is_healthy(self) -> bool:
        """Whether the server says that it is ready."""
        return self._answer("GET", "/health")[0] == 200

    def serves(self, model: str) -> bool:
        """Whether the server knows our key and this model."""
        content = self._json("GET", "/v1/models")
        return any(entry.get("id") == model for entry in content.get("data", ()))

    def version(self) -> str:
        """The server's version of vLLM."""
        return str(self._json("GET", "/version")["version"])

    def complete(self, request: Mapping[str, Any]) -> Sampled:
        """Sample one completion of a prompt of token ids, `request["prompt"]`.

        Raises:
            OSError, http.client.HTTPException: the connection broke.
            Refused: the server refused.
            StudyError: the answer is not what the interface promises, or a log-probability is not a number.
        """
        return parse_completion(self._json("POST", "/v1/completions", request), int(request["max_tokens"]))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        status, text = self._answer(method, path, body)
        if status != 200:
            raise Refused(status, text)
        try:
            content = json.loads(text)
        except ValueError as error:
            raise malformed("it is no JSON", text) from error
        if not isinstance(content, dict):
            raise malformed("it is no JSON object", text)
        return content

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, content, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


def completion_request(
    model: str,
    prompt: Sequence[int],
    seed: int,
    new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    end_tokens: Sequence[int],
    stop: Sequence[str],
) -> dict[str, Any]:
    """The body of a request for one completion, in which nothing is left to a default of the server."""
    return {
        "model": model,
        "prompt": list(prompt),
        "n": 1,
        "seed": seed,
        "max_tokens": new_tokens,
        "min_tokens": 0,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "ignore_eos": False,
        "stop_token_ids": list(end_tokens),
        "stop": list(stop),
        # Texts are decoded and cut here, by the rules of every engine; these decide what `stop` is looked for in.
        "include_stop_str_in_output": True,
        "skip_special_tokens": True,
        "spaces_between_special_tokens": False,
        "add_special_tokens": False,
        "echo": False,
        "stream": False,
        "logprobs": 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }


def parse_completion(content: Mapping[str, Any], most: int) -> Sampled:
    """The tokens and log-probabilities of an answer.

    Raises:
        StudyError: a field is missing or of another kind, they do not fit each other, or a value is not a number.
    """
    text = json.dumps(content)
    choices = content.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise malformed("`choices` is not a list of one completion", text)
    tokens = choices[0].get("token_ids")
    log_probs = (choices[0].get("logprobs") or {}).get("token_logprobs")
    if not isinstance(tokens, list) or not all(type(token) is int and token >= 0 for token in tokens):
        raise malformed("`token_ids` is missing or no list of ids", text)
    if not isinstance(log_probs, list) or len(log_probs) != len(tokens):
        raise malformed("`logprobs.token_logprobs` is missing or not as long as `token_ids`", text)
    if not 1 <= len(tokens) <= most:
        raise malformed(f"{len(tokens)} tokens were sampled, not 1 to {most}", text)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in log_probs):
        raise StudyError(
            "The model predicts values that are not numbers (log-probabilities from the vLLM server): its weights are "
            "broken, or overflow in generation.dtype. Measure another model, or set generation.dtype to float32."
        )
    return Sampled(tuple(tokens), tuple(map(float, log_probs)))


def malformed(why: str, text: str) -> StudyError:
    """The error for an answer that the interface does not allow."""
    return StudyError(
        f"The vLLM server gave an answer to /v1/completions that cannot be used: {why}. Found: {text[:_SHOWN]}. Use "
        "the version that envs/vllm.txt pins."
    )
