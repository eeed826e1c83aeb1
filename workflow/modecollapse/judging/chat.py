"""Requests to an interface like OpenAI's, `POST {base_url}/chat/completions`: one connection and one reply each.

The key goes into the request's header and nowhere else. It is taken out of everything that the server says, too, since
some repeat it. Redirections are not followed: the key is for the named host.
"""

import base64
import email.utils
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from modecollapse.errors import StudyError
from modecollapse.judging.journal import Reply

_SHOWN = 300
_LONGEST_BYTES = 4 * 2**20
_DECLINED = (
    *("content_filter", "content_policy_violation"),
    *("context_length_exceeded", "string_above_max_length", "exceed_context_size_error"),
)
"""Codes and types of errors that are about the texts of this one request."""
_TOO_LONG = re.compile(
    r"context (?:length|size|window)|maximum model length|(?:prompt|input|request) is too (?:long|large)", re.IGNORECASE
)
"""How servers say that the texts are too long whose errors have a status as their code."""
_EXHAUSTED = ("insufficient_quota", "billing_hard_limit_reached")


class Failed(Exception):
    """A request failed in a way that may pass."""

    def __init__(self, why: str, wait_seconds: float | None = None, unsent: bool = False, spent: bool = False) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds
        """How long the server asks to wait; None if it does not say."""
        self.unsent = unsent
        """Whether there was no connection."""
        self.spent = spent
        """Whether it may have been answered, and paid for."""


def key_of(judge: str, variable: str | None) -> str | None:
    """The key that an endpoint is asked with; None if it needs none.

    Raises:
        StudyError: the environment variable is not set, or its value can be no key. The value is never shown.
    """
    if variable is None:
        return None
    where = f"measures.judgements.judges.{judge}.endpoint.key_from"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise StudyError(
            f"{where}: the environment variable {variable} is not set, or empty. Put the key of the endpoint there "
            f"(export {variable}=…), or set key_from to null if it needs none."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise StudyError(
            f"{where}: the value of {variable} holds spaces, line breaks or other characters that no key has. Set it "
            "anew."
        )
    return key


class Endpoint:
    """One address, asked by several threads."""

    def __init__(self, judge: str, base_url: str, key: str | None, variable: str | None, seconds: float) -> None:
        """`seconds` is how long a request may take altogether; `variable` names where the key came from."""
        self._where = f"measures.judgements.judges.{judge}.endpoint"
        self._url, self._parts, self._key, self._variable = base_url, urlsplit(base_url), key, variable
        self._seconds = seconds
        self._under_way: set[socket.socket] = set()
        self._aborted = False
        self._lock = threading.Lock()

    def ask(self, body: Mapping[str, Any]) -> Reply:
        """The reply to one request.

        Raises:
            Failed: it may succeed another time.
            StudyError: it will not.
        """
        content = json.dumps(body, ensure_ascii=False).encode()
        status, headers, text = self._post(content)
        if status == 200 and (reply := self._parsed(text, len(content))) is not None:
            return reply
        if 300 <= status < 400:
            raise StudyError(
                f"{self._where}.base_url: {self._url} redirects elsewhere (status {status}), where the key is not sent "
                "to. Name the final address."
            )
        error = _error_of(text)
        said = f"status {status}: {text[:_SHOWN]}"
        declined = next((each for each in error if each in _DECLINED or _TOO_LONG.search(each)), None)
        if status in (200, 400, 413, 422) and declined is not None:
            return Reply(None, self._hidden(declined[:_SHOWN]), "error", str(body["model"]), 0)
        exhausted = next((each for each in error if each in _EXHAUSTED), None)
        if exhausted is not None or status == 402:
            raise StudyError(f"{self._where}: the account is used up ({exhausted or status}). {_KEPT}")
        if status == 200:
            raise Failed(f"the answer is no chat completion: {text[:_SHOWN]}", spent=True)
        if status in (408, 425, 429) or status >= 500:
            raise Failed(said, _wait_of(headers))
        if status in (401, 403):
            named = f"the key in {self._variable}" if self._variable else "requests without a key (`key_from` is null)"
            raise StudyError(f"{self._where}.key_from: {self._url} refuses {named} (status {status}). Set a valid one.")
        if status in (404, 405):
            raise StudyError(
                f"{self._where}: {self._url}/chat/completions, or the model {body['model']!r} there, does not exist "
                f"({said}). Correct base_url or model."
            )
        raise StudyError(f"{self._where}: {self._url} refuses a request ({said}). Correct the settings of the judge.")

    def abort(self) -> None:
        """Let all requests under way fail, and those that are still being connected."""
        with self._lock:
            self._aborted = True
            for each in self._under_way:
                _shut(each)

    def _post(self, content: bytes) -> tuple[int, http.client.HTTPMessage, str]:
        connection = self._connected()
        waiting = connection.sock
        assert waiting is not None
        with self._lock:
            if self._aborted:
                connection.close()
                raise Failed("the run is ending", unsent=True)
            self._under_way.add(waiting)
        # A socket's own timeout is for each piece of an answer, and a slow server may send many.
        late = threading.Timer(self._seconds, _shut, [waiting])
        late.daemon = True
        late.start()
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request("POST", f"{self._parts.path}/chat/completions", content, headers)
            response = connection.getresponse()
            read = response.read(_LONGEST_BYTES + 1)
            if len(read) > _LONGEST_BYTES:
                raise Failed(f"the answer has more than {_LONGEST_BYTES} bytes", spent=True)
            return response.status, response.headers, self._hidden(read.decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            took = "" if late.is_alive() else f" within {self._seconds:g} s"
            said = self._hidden(f"{type(error).__name__}: {error}")
            raise Failed(f"no whole answer{took} ({said})", spent=True) from None
        finally:
            late.cancel()
            with self._lock:
                self._under_way.discard(waiting)
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=self._seconds)
        else:
            context = ssl.create_default_context()
            if (proxy := self._proxy(host)) is not None:
                (name, at), headers = proxy
                connection = http.client.HTTPSConnection(name, at, timeout=self._seconds, context=context)
                connection.set_tunnel(host, port or 443, headers)
            else:
                connection = http.client.HTTPSConnection(host, port, timeout=self._seconds, context=context)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise StudyError(
                f"{self._where}.base_url: the certificate of {self._url} is not valid ({error.verify_message}). "
                "Correct the address, or have the server's certificate authority installed."
            ) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last of a name that no host can have
            raise Failed(f"{self._url} cannot be reached ({type(error).__name__}: {error})", unsent=True) from None
        return connection

    def _proxy(self, host: str) -> tuple[tuple[str, int], dict[str, str]] | None:
        """Host and port of the proxy to this host, and the headers that it wants; None without one.

        Raises:
            StudyError: `https_proxy` is no address. It may hold a password, so it is not shown.
        """
        stated = "" if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get("https", "")
        if not stated:
            return None
        try:
            parts = urlsplit(stated if "//" in stated else f"//{stated}")
            name, port = parts.hostname, parts.port or 3128
        except ValueError:
            name = None
        if name is None:
            raise StudyError(
                f"{self._where}: the environment variable https_proxy holds no address of a proxy. Allowed: "
                "http://[USER:PASSWORD@]HOST[:PORT], with %2F for / and %40 for @ in USER and PASSWORD. Correct it."
            )
        if parts.username is None:
            return (name, port), {}
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return (name, port), {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}

    def _parsed(self, text: str, asked_bytes: int) -> Reply | None:
        """The reply in an answer of status 200; None if the answer is not of the interface's form."""
        try:
            read = json.loads(text)
            choice, usage = read["choices"][0], read.get("usage")
            message, tokens = choice["message"], usage.get("total_tokens") if isinstance(usage, dict) else None
            content, refusal = message.get("content"), message.get("refusal")
            known = all(value is None or isinstance(value, str) for value in (content, refusal))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            known = False
        if not known:
            return None
        if type(tokens) is not int or tokens < 0:
            tokens = asked_bytes + len(_whole(content or "").encode())  # a token is a byte at least
        declined = refusal or None
        return Reply(
            None if content is None else self._hidden(content),
            None if declined is None else self._hidden(declined),
            self._hidden(str(choice.get("finish_reason"))),
            self._hidden(str(read.get("model") or "")),
            tokens,
        )

    def _hidden(self, text: str) -> str:
        text = _whole(text)
        return text.replace(self._key, "[key]") if self._key else text


_KEPT = "What was paid for is kept: see to it, and run the same command again."


def _whole(text: str) -> str:
    """The text with each half of a surrogate pair (of a character cut in two) replaced: no file can hold it."""
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


def _shut(waiting: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(waiting, socket.SHUT_RDWR)  # also of one that encrypts, and may be reading


def _error_of(text: str) -> list[str]:
    """Code, type and message of an error, as far as the server gives them: below `error`, or without it."""
    try:
        read = json.loads(text)
        error = read.get("error") or read
        return [str(error[name]) for name in ("code", "type", "message") if error.get(name)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []


def _wait_of(headers: http.client.HTTPMessage) -> float | None:
    """Seconds that the header Retry-After asks to wait: a number, or the time of a date."""
    stated = headers.get("Retry-After")
    if stated is None:
        return None
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(stated).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
