"""The life of a vLLM server: started for one job on a port of loopback, ended with it."""

import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.resources.inference import SERVED_SHARE
from modecollapse.serving import guard
from modecollapse.serving.client import Client, Refused

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
MODEL = "model"
"""The name under which the server knows its one model."""

_POLL_TIMEOUT = 5.0
_POLL_SECONDS = 0.2
_PORTS = 5
"""How many ports are tried: another program may take one before the server does."""
_STOP_SECONDS = 2.0
"""A scheduler stops a job by a signal to all of its processes: the server's end may be seen before our own signal."""
_TIDY_SECONDS = 5.0
"""For what outlives processes: shared memory, and sockets in the directory for temporary files."""
_LINES = 20
_ERROR = re.compile(r"\b\w*(Error|Exception)\b")


@dataclass(frozen=True)
class Launch:
    """How a server is started."""

    executable: Path
    weights: Path
    dtype: str
    length: int
    """Positions of a prompt and its completion, at most."""
    rows: int
    """Completions that it works on side by side, at most."""
    threads: int
    on_gpu: bool
    decodes: bool = True
    """Whether it has to know texts, as to find stop strings; what it does not decode costs it no time."""
    seconds: float = 1800.0
    """Until it has to be ready: a large model is read from a slow disk, and its graphs are compiled."""

    def arguments(self, port: int) -> list[str]:
        """The command line. The key is not in it, where every user of the machine could read it."""
        arguments = [
            str(self.executable), "serve", str(self.weights.resolve()), "--served-model-name", MODEL,
            "--host", HOST, "--port", str(port),
            "--dtype", self.dtype, "--max-model-len", str(self.length), "--max-num-seqs", str(self.rows),
            "--load-format", "safetensors", "--no-trust-remote-code",
            # Nothing of a generation_config.json: every parameter stands in the request.
            "--generation-config", "vllm",
            # Of the distribution that a token was drawn from: after temperature, top-k and top-p.
            "--logprobs-mode", "processed_logprobs",
            "--enable-prefix-caching", "--seed", "0",
            "--disable-log-stats", "--disable-uvicorn-access-log",
        ]  # fmt: skip
        if not self.decodes:
            arguments.append("--skip-tokenizer-init")
        if self.on_gpu:
            return [*arguments, "--gpu-memory-utilization", str(SERVED_SHARE)]
        # Minutes of compiling gain little there, and a prompt read in pieces would have its generator turned back,
        # which those of processors cannot do (vLLM 0.32: "get_offset").
        return [*arguments, "--enforce-eager", "--no-enable-chunked-prefill"]

    def environment(self, key: str, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Ours without what is about our Python; no network, no reports of use, no plugins."""
        ours = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
        environment = {name: value for name, value in inherited.items() if name not in ours}
        environment |= {
            "PATH": os.pathsep.join([str(self.executable.parent), inherited.get("PATH", os.defpath)]),
            "VLLM_API_KEY": key,
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_PLUGINS": "",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "OMP_NUM_THREADS": str(self.threads),
        }
        if not self.on_gpu:
            # Several jobs would bind their threads to the same cores; the memory is that of the other engine.
            environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "CUDA_VISIBLE_DEVICES": ""}
            environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        return environment


@dataclass
class Server:
    """A server that is running, or was."""

    process: "subprocess.Popen[bytes]"
    port: int
    key: str
    lines: "deque[str]" = field(default_factory=lambda: deque(maxlen=_LINES))
    """What it wrote last."""
    errors: "deque[str]" = field(default_factory=lambda: deque(maxlen=_LINES // 2))
    """What it wrote last about errors; much may follow while it ends."""

    def client(self) -> Client:
        """A client of its own for a thread."""
        return Client(HOST, self.port, self.key)

    def is_ready(self) -> bool:
        """Whether it answers with our key; a program of others that took the port does not."""
        with Client(HOST, self.port, self.key, _POLL_TIMEOUT) as client:
            try:
                return client.is_healthy() and client.serves(MODEL)
            except (OSError, HTTPException, Refused, StudyError):  # the last: an answer of another kind
                return False

    def check(self) -> None:
        """Check that the server runs.

        Raises:
            Stopped: this process was asked to stop, which may be what ended the server, too.
            StudyError: it has ended; with the last lines that it wrote.
        """
        stopping.check()
        if self.process.poll() is None:
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            stopping.check()
            time.sleep(_POLL_SECONDS)
        raise StudyError(
            f"The vLLM server {_ended(self.process.returncode)}. What was finished is kept: see to the cause, and run "
            f"the same command again. Its last lines (all are in the job's log):\n{self.last_lines()}"
        )

    def last_lines(self) -> str:
        """What it wrote last, and before that what it wrote about errors."""
        earlier = [line for line in self.errors if line not in self.lines]
        return "\n".join([*earlier, *self.lines])

    def relay(self) -> None:
        """Put what it writes into this process's log, until it ends."""
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line:
                self.lines.append(line)
                if _ERROR.search(line):
                    self.errors.append(line)
                logger.info("vllm: %s", line)

    def end(self) -> None:
        """End it with all that it has started: it may tidy up first, but not for long."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_TIDY_SECONDS)


@contextmanager
def running_server(launch: Launch) -> Iterator[Server]:
    """A server that is ready; none of its processes outlives the block, or this process.

    Raises:
        Stopped: this process was asked to stop.
        StudyError: it cannot be started, ends at once, or is not ready in time.
    """
    for attempt in range(1, _PORTS + 1):
        server = _start(launch)
        reader = threading.Thread(target=server.relay, name="vllm log", daemon=True)
        reader.start()
        try:
            if not _is_ready(server, launch.seconds):
                reader.join(_STOP_SECONDS)
                if "address already in use" in server.last_lines().lower() and attempt < _PORTS:
                    logger.warning("port %d was taken by another program: trying another one", server.port)
                    continue
                raise StudyError(
                    f"The vLLM server {_ended(server.process.returncode)} before it was ready "
                    f"({launch.executable}, model {launch.weights}). Its last lines (all are in the job's log):\n"
                    f"{server.last_lines()}"
                )
            yield server
            return
        finally:
            server.end()
            reader.join(_STOP_SECONDS)


def _start(launch: Launch) -> Server:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = int(free.getsockname()[1])
    key = secrets.token_hex(32)
    command = [sys.executable, "-I", str(Path(guard.__file__)), *launch.arguments(port)]
    logger.info("starting %s", " ".join(command[3:]))
    process = subprocess.Popen(
        command,
        env=launch.environment(key),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Server(process, port, key)


def _is_ready(server: Server, seconds: float) -> bool:
    """Wait until it answers with our key; False if it has ended.

    Raises:
        Stopped: this process was asked to stop.
        StudyError: it is not ready in time.
    """
    started = time.monotonic()
    while server.process.poll() is None:
        stopping.check()
        if server.is_ready():
            logger.info("the server is ready after %.0f s", time.monotonic() - started)
            return True
        if time.monotonic() - started > seconds:
            raise StudyError(
                f"The vLLM server is not ready after {seconds:.0f} s. Its last lines (all are in the job's log):\n"
                f"{server.last_lines()}"
            )
        time.sleep(_POLL_SECONDS)
    stopping.check()
    return False


def _ended(code: int | None) -> str:
    if code is None:
        return "does not answer"
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        what = f"was killed by {signal.Signals(number).name}"
        return what + (" (as the system does where memory runs out)" if number == signal.SIGKILL else "")
    return f"ended with status {code}"
