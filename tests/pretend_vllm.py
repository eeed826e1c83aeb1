"""A server with the command line and the endpoints of `vllm serve`, for tests where vLLM is not installed.

It samples honestly: with `transformers` from the model that it is given, token by token, each request with a generator
of its own seed. What it does wrong is asked for by PRETEND_VLLM, a mapping in JSON:

    uniform    number of tokens to draw from, all alike probable, in place of a model, which takes seconds to load
    slow       seconds before it listens
    ends       says this and ends with status 3 before it listens
    taken      ends as vLLM does whose port is taken, as long as this file does not exist; and makes it
    dies       kills itself at the request of this number, with all of its group but the guard
    answers    request number → [status, text] that it answers instead
    child      file that the id of a further process, which never ends by itself, is written to
    log        file that every request is added to, and the environment at the start
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "0.0.1+pretended"
REQUIRED = {"model", "prompt", "n", "seed", "max_tokens", "temperature", "top_k", "top_p", "min_p", "stop",
            "repetition_penalty", "stop_token_ids", "ignore_eos", "logprobs", "return_token_ids"}  # fmt: skip


def arguments() -> argparse.Namespace:
    """Of the options of `vllm serve`, those that the engine gives; others are an error, as they are there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    for name in ("--served-model-name", "--host", "--dtype", "--load-format", "--generation-config", "--logprobs-mode"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--max-model-len", "--max-num-seqs", "--seed"):
        parser.add_argument(name, required=True, type=int)
    for name in ("--no-trust-remote-code", "--enable-prefix-caching", "--disable-log-stats"):
        parser.add_argument(name, required=True, action="store_true")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--skip-tokenizer-init", action="store_true")
    parser.add_argument("--no-enable-chunked-prefill", action="store_true")
    parser.add_argument("--gpu-memory-utilization", type=float)
    return parser.parse_args()


class Uniform:
    """Every token is as probable as any other; token 0 ends a text."""

    def __init__(self, size: int) -> None:
        self._size = size

    def logits(self, tokens: list[int]) -> np.ndarray:
        """(vocabulary,) after `tokens`."""
        return np.zeros(self._size)

    def text(self, tokens: list[int]) -> str:
        """Letters of an alphabet as large as the vocabulary."""
        return "".join(chr(96 + token) for token in tokens if token)


class Model:
    """The model in a directory, in float32."""

    def __init__(self, directory: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self._torch, self._turn = torch, threading.Lock()
        self._network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        self._tokenizer = AutoTokenizer.from_pretrained(directory)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """(vocabulary,) after `tokens`, all of which are run through the model."""
        with self._turn, self._torch.inference_mode():
            return np.asarray(self._network(self._torch.tensor([tokens])).logits[0, -1].double())

    def text(self, tokens: list[int]) -> str:
        """Without special tokens."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def sample(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """A choice as vLLM answers it: temperature, then top-k, then top-p; tokens up to the one that completes a stop."""
    chance, tokens, log_probs, reason = np.random.default_rng(request["seed"]), [], [], "length"
    while len(tokens) < request["max_tokens"]:
        scaled = model.logits([*request["prompt"], *tokens]) / request["temperature"]
        order = np.argsort(-scaled, kind="stable")
        probabilities = np.exp(scaled - scaled.max())
        if request["top_k"] > 0:
            probabilities[scaled < scaled[order[min(request["top_k"], len(order)) - 1]]] = 0
        probabilities /= probabilities.sum()
        before = np.cumsum(probabilities[order]) - probabilities[order]
        probabilities[order[before >= request["top_p"]]] = 0
        probabilities /= probabilities.sum()
        tokens.append(int(chance.choice(len(scaled), p=probabilities)))
        log_probs.append(float(np.log(probabilities[tokens[-1]])))
        if tokens[-1] in request["stop_token_ids"]:
            reason = "stop"
            break
        if any(string in model.text(tokens) for string in request["stop"]):
            reason = "stop"
            break
    names = [f"token_id:{token}" for token in tokens]
    listed = {"tokens": names, "token_logprobs": log_probs, "top_logprobs": [], "text_offset": []}
    text = model.text(tokens)
    return {"index": 0, "text": text, "logprobs": listed, "finish_reason": reason, "token_ids": tokens}


class Handler(BaseHTTPRequestHandler):
    """The endpoints."""

    protocol_version = "HTTP/1.1"
    options: argparse.Namespace
    faults: dict[str, Any]
    model: Any
    count = 0
    turn = threading.Lock()

    def do_GET(self) -> None:
        """Health, version and models."""
        if self.path == "/health":
            self._answer(200, "")
        elif self.path == "/version":
            self._answer(200, json.dumps({"version": VERSION}))
        elif self.path == "/v1/models":
            models = {"object": "list", "data": [{"id": self.options.served_model_name, "object": "model"}]}
            self._answer(*((200, json.dumps(models)) if self._is_ours() else (401, '{"error": "Unauthorized"}')))
        else:
            self._answer(404, '{"detail": "Not Found"}')

    def do_POST(self) -> None:
        """One completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Handler.turn:
            Handler.count += 1
            number = Handler.count
        note(self.faults, {"request": body})
        if number == self.faults.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if not self._is_ours():
            self._answer(401, '{"error": "Unauthorized"}')
        elif instead := self.faults.get("answers", {}).get(str(number)):
            self._answer(*instead)
        elif body["stop"] and self.options.skip_tokenizer_init:
            self._answer(400, json.dumps({"error": {"message": "stop strings need a tokenizer"}}))
        elif missing := sorted(REQUIRED - set(body)):
            self._answer(400, json.dumps({"error": {"message": f"left to a default: {missing}"}}))
        elif len(body["prompt"]) + body["max_tokens"] > self.options.max_model_len:
            self._answer(400, json.dumps({"error": {"message": "longer than max_model_len"}}))
        else:
            choice = sample(self.model, body)
            self._answer(200, json.dumps({"object": "text_completion", "model": body["model"], "choices": [choice]}))

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _is_ours(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"

    def _answer(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as the engine opens."""

    request_queue_size = 1024


def note(faults: dict[str, Any], what: dict[str, Any]) -> None:
    """Add a line to the log that the test reads."""
    if "log" in faults:
        with Handler.turn, Path(faults["log"]).open("a") as log:
            log.write(json.dumps(what) + "\n")


def main() -> None:
    """Serve until killed."""
    options, faults = arguments(), json.loads(os.environ.get("PRETEND_VLLM", "{}"))
    note(faults, {"arguments": sys.argv[1:], "environment": dict(os.environ), "process": os.getpid()})
    if "ends" in faults:
        sys.exit(f"RuntimeError: {faults['ends']}")
    if "taken" in faults and not Path(faults["taken"]).exists():
        Path(faults["taken"]).touch()
        sys.exit("OSError: [Errno 98] Address already in use")
    if "child" in faults:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(faults["child"]).write_text(str(child.pid))
    time.sleep(faults.get("slow", 0))
    Handler.options, Handler.faults = options, faults
    Handler.model = Uniform(faults["uniform"]) if "uniform" in faults else Model(options.model)
    print("Application startup complete.", flush=True)
    Server((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
