"""A small server with an interface like OpenAI's on loopback, that judges, refuses, fails and counts as a test says."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modecollapse.digests import digest

KEY = "sk-the-very-secret-key-of-this-test"


def completion(content: str | None, **changes: Any) -> dict[str, Any]:
    """A chat completion with this content; `changes` are of its message or its choice."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    for name, value in changes.items():
        (choice["message"] if name == "refusal" else choice)[name] = value
    return {"id": "1", "model": "judge-1-0626", "choices": [choice], "usage": {"total_tokens": 30}}


def answers_of(body: Mapping[str, Any]) -> list[str]:
    """The texts between marks in a request: prompt, answer A and answer B."""
    asked = str(body["messages"][-1]["content"])
    return [text for _, text in re.findall(r"<text-(\d+)>\n(.*?)\n</text-\1>", asked, re.DOTALL)]


def longer(body: Mapping[str, Any]) -> str:
    """A judge that finds the longer answer better."""
    _, first, second = map(len, answers_of(body))
    return "[[C]]" if first == second else "[[A]]" if first > second else "[[B]]"


@dataclass
class Answered:
    """What a server sends: status, headers and body; `hold` makes it wait for an event first."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    drop: bool = False
    """End the connection without a word."""
    trickle: float | None = None
    """Send byte after byte, so many seconds apart."""


Behave = Callable[[Mapping[str, Any], int], Answered | str | None]
"""From a request's body and its number, from 0, to what is sent: a text is a completion; None, that of `longer`."""


@dataclass
class JudgeServer:
    """What was asked, and how it is answered."""

    base_url: str = ""
    behave: Behave = lambda body, number: None
    key: str | None = KEY
    asked: list[str] = field(default_factory=list)
    """The digest of every request's body, in the order of arrival."""
    answered: Counter[str] = field(default_factory=Counter)
    """How often a completion was sent for each of them: what would be paid for."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paid_twice(self) -> list[str]:
        return [request for request, times in self.answered.items() if times > 1]


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(content)
            with server.lock:
                number = len(server.asked)
                server.asked.append(digest(body))
            if self.path != "/v1/chat/completions":
                return self._send(Answered(404, {"error": {"message": "no such path"}}))
            if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
                return self._send(Answered(401, {"error": {"message": f"bad key {self.headers['Authorization']}"}}))
            found = server.behave(body, number)
            if found is None:
                found = longer(body)
            answer = Answered(body=completion(found)) if isinstance(found, str) else found
            if answer.hold is not None:
                answer.hold.wait(30)
            if answer.drop:
                self.close_connection = True
                return None
            # Counted before it is sent: a judge is paid for what it has worked out.
            if answer.status == 200 and isinstance(answer.body, dict) and "choices" in answer.body:
                with server.lock:
                    server.answered[digest(body)] += 1
            return self._send(answer)

        def _send(self, answer: Answered) -> None:
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            data = text.encode()
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if answer.trickle is None:
                    self.wfile.write(data)
                    return
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    threading.Event().wait(answer.trickle)
            except OSError:
                pass  # the one who asked has given up

    return Handler


@contextmanager
def judge_server(behave: Behave = lambda body, number: None, key: str | None = KEY) -> Iterator[JudgeServer]:
    """A running server; it ends with the block."""
    server = JudgeServer(behave=behave, key=key)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    listening.daemon_threads = True
    server.base_url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def first(answers: Sequence[Answered | str | None]) -> Behave:
    """Answers the first requests so, and then as `longer` does."""
    return lambda body, number: answers[number] if number < len(answers) else None
