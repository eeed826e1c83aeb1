"""The vLLM engine against a small conforming server, which does what it is told wrong."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from modecollapse.cell_tables import CELL_SCHEMA, cell_record
from modecollapse.errors import StudyError
from modecollapse.resources.machine import Machine
from modecollapse.serving import server
from modecollapse.serving.engine import VllmEngine, seed_of, vllm_engine
from modecollapse.serving.installation import Installation, find_vllm
from modecollapse.serving.server import HOST, Launch, Server, running_server
from modecollapse.unfinished import Unfinished
from tests.serving import PROMPTS, faults, logged, pretended_vllm, settings, texts
from tests.tiny_models import save_neox

UNIFORM = 90
"""Tokens that a server without a model draws from: the end of text, and characters."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("model") / "weights", context=64)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(pretended_vllm(tmp_path_factory.mktemp("environment")))


@contextmanager
def engine(installation: Installation, weights: Path, **changes: Any) -> Iterator[VllmEngine]:
    with vllm_engine(installation, weights, settings(**changes), 1, on_gpu=False, texts=texts()) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a server without a model notes what it is asked."""
    path = tmp_path / "requests.jsonl"
    monkeypatch.setenv("PRETEND_VLLM", faults(path, uniform=UNIFORM))
    return path


def test_a_cell_has_every_row_in_order_and_says_what_made_it(
    installation: Installation, weights: Path, log: Path
) -> None:
    progress: list[tuple[int, int]] = []
    with engine(installation, weights, rows_per_batch=3) as opened:
        prepared = opened.prepare(PROMPTS)
        table = opened.sample(prepared, 1.0, "s", lambda *done: progress.append(done))
        again, other = opened.sample(prepared, 1.0, "s"), opened.sample(prepared, 1.0, "t")
    assert table.schema.equals(CELL_SCHEMA)
    assert list(zip(table["prompt"].to_pylist(), table["sample"].to_pylist(), strict=True)) == [
        (prompt, sample) for prompt, _ in PROMPTS for sample in range(5)
    ]
    assert table.equals(again)
    assert table["text"] != other["text"]
    assert len(set(table["text"].to_pylist())) == table.num_rows
    assert [len(row) for row in table["log_probs"].to_pylist()] == table["n_tokens"].to_pylist()
    assert cell_record(table) == {
        "engine": "vllm",
        "engine_version": "0.0.1+pretended",
        "torch": "2.0.0",
        "device": "cpu",
        "threads": "1",
        "dtype": "float32",
        "rows_per_batch": "3",
    }
    assert progress[-1] == (20, 20)
    assert [done for done, _ in progress] == list(range(1, 21))


def test_requests_leave_nothing_to_the_server_and_each_has_a_seed_of_its_own(
    installation: Installation, weights: Path, log: Path
) -> None:
    with engine(installation, weights, stop=["Human:"], top_k=7, top_p=0.9) as opened:
        prepared = opened.prepare(PROMPTS)
        opened.sample(prepared, 0.7, "s")
    requests = logged(log, "request")
    first = [request for request in requests if len(request["prompt"]) in {len(ids) for ids in prepared.tokens}]
    assert len({request["seed"] for request in requests}) == len(requests)
    assert {request["seed"] for request in first} >= {
        seed_of("s", prompt, sample) for prompt, _ in PROMPTS for sample in range(5)
    }
    same = {key: value for key, value in requests[0].items() if key not in ("prompt", "seed", "max_tokens")}
    assert all({key: request[key] for key in same} == same for request in requests)
    assert (same["temperature"], same["top_k"], same["top_p"], same["stop"]) == (0.7, 7, 0.9, ["Human:"])
    assert same["stop_token_ids"] == [0]
    assert (same["min_p"], same["repetition_penalty"], same["n"], same["ignore_eos"]) == (0.0, 1.0, 1, False)
    # An empty prompt is the token that stands before a text.
    assert prepared.tokens[3] == (0,)


def test_the_server_is_started_for_this_model_alone_and_its_key_is_told_to_nobody(
    installation: Installation, weights: Path, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with engine(installation, weights):
        pass
    (arguments,), (environment,) = logged(log, "arguments"), logged(log, "environment")
    given = " ".join(arguments)
    for part in (
        f"serve {weights} ",
        "--host 127.0.0.1",
        "--dtype float32",
        "--generation-config vllm",
        "--logprobs-mode processed_logprobs",
        "--no-trust-remote-code",
        "--load-format safetensors",
        f"--max-model-len {len(PROMPTS[2][1]) + 12}",
    ):
        assert part in given
    key = environment["VLLM_API_KEY"]
    assert len(key) == 64
    assert key not in given
    assert key not in caplog.text
    assert "Application startup complete" in caplog.text
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    assert "PYTHONPATH" not in environment


def test_texts_end_by_our_rules_where_the_server_sees_a_stop_string_that_is_none(
    installation: Installation, weights: Path, log: Path
) -> None:
    """The server without a model writes other letters: it ends at token 1, which is no "a" here but "!"."""
    with engine(installation, weights, stop=["a"], max_new_tokens=28, completions=40) as opened:
        table = opened.sample(opened.prepare(PROMPTS), 1.0, "s")
    rows = table.to_pylist()
    for row in rows:
        assert "a" not in row["text"]
        ended = row["finish_reason"] != "length"
        assert row["n_tokens"] == (len(row["text"]) + 1 if ended else 28)
    assert {row["finish_reason"] for row in rows} == {"eos", "stop", "length"}
    assert any("!" in row["text"][:-1] for row in rows)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([200, "<html>"], ["no JSON", "<html>", "envs/vllm.txt"]),
        ([200, '{"choices": []}'], ["choices"]),
        ([200, '{"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]}'], ["token_ids"]),
        ([200, '{"choices": [{"token_ids": [5], "logprobs": null}]}'], ["token_logprobs"]),
        ([200, '{"choices": [{"token_ids": [], "logprobs": {"token_logprobs": []}}]}'], ["0 tokens"]),
        ([200, '{"choices": [{"token_ids": [5], "logprobs": {"token_logprobs": [NaN]}}]}'], ["not numbers", "dtype"]),
        ([400, '{"error": "no such parameter"}'], ["status 400", "no such parameter"]),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_error(
    installation: Installation,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: list[Any],
    expected: list[str],
) -> None:
    monkeypatch.setenv("PRETEND_VLLM", faults(uniform=UNIFORM, answers={"7": answer}))
    with engine(installation, weights) as opened, pytest.raises(StudyError) as error:
        opened.sample(opened.prepare(PROMPTS), 1.0, "s")
    for part in expected:
        assert part in str(error.value)


def test_a_server_that_is_busy_is_asked_again(
    installation: Installation, weights: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(installation, weights) as opened:
        undisturbed = opened.sample(opened.prepare(PROMPTS), 1.0, "s")
    monkeypatch.setenv("PRETEND_VLLM", faults(uniform=UNIFORM, answers={"3": [503, "busy"], "9": [500, "odd"]}))
    with engine(installation, weights) as opened:
        assert opened.sample(opened.prepare(PROMPTS), 1.0, "s").equals(undisturbed)


def test_a_server_that_dies_is_an_error_and_its_finished_rows_are_gone_on_from(
    installation: Installation, weights: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(installation, weights, rows_per_batch=1) as opened:
        undisturbed = opened.sample(opened.prepare(PROMPTS), 1.0, "s")
    log.unlink()
    kept: list[pa.Table] = []
    unfinished = Unfinished(lambda: kept[-1] if kept else None, kept.append)
    monkeypatch.setenv("PRETEND_VLLM", faults(uniform=UNIFORM, dies=12))
    with engine(installation, weights, rows_per_batch=1) as opened, pytest.raises(StudyError) as error:
        opened.sample(opened.prepare(PROMPTS), 1.0, "s", unfinished=unfinished)
    assert "killed by SIGKILL" in str(error.value)
    assert "run the same command again" in str(error.value)
    assert "startup complete" in str(error.value)
    assert 8 <= kept[-1].num_rows <= 11
    monkeypatch.setenv("PRETEND_VLLM", faults(log, uniform=UNIFORM))
    with engine(installation, weights, rows_per_batch=1) as opened:
        assert opened.sample(opened.prepare(PROMPTS), 1.0, "s", unfinished=unfinished).equals(undisturbed)
    assert len(logged(log, "request")) == 20 - kept[-1].num_rows


def launch(installation: Installation, weights: Path, seconds: float) -> Launch:
    return Launch(installation.executable, weights, "float32", 64, 4, 1, on_gpu=False, seconds=seconds)


def test_a_server_that_starts_slowly_is_waited_for_but_not_for_ever(
    installation: Installation, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PRETEND_VLLM", faults(log, uniform=UNIFORM, slow=1.5))
    with running_server(launch(installation, weights, 60)) as server, server.client() as client:
        assert client.version() == "0.0.1+pretended"
    log.unlink()
    monkeypatch.setenv("PRETEND_VLLM", faults(log, uniform=UNIFORM, slow=600))
    with pytest.raises(StudyError, match="not ready after 2 s"), running_server(launch(installation, weights, 2)):
        pass
    assert all(not psutil.pid_exists(process) for process in logged(log, "process"))


def test_a_server_that_ends_before_it_is_ready_says_why(
    installation: Installation, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETEND_VLLM", faults(ends="head size 8 is not supported"))
    with pytest.raises(StudyError) as error, running_server(launch(installation, weights, 60)):
        pass
    assert "ended with status 1 before it was ready" in str(error.value)
    assert "RuntimeError: head size 8 is not supported" in str(error.value)


def test_another_port_is_taken_where_another_program_was_faster(
    installation: Installation, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PRETEND_VLLM", faults(log, uniform=UNIFORM, taken=str(tmp_path / "taken")))
    with running_server(launch(installation, weights, 60)) as server:
        ports = [arguments[arguments.index("--port") + 1] for arguments in logged(log, "arguments")]
        assert len(ports) == 2
        assert ports[-1] == str(server.port)


JOB = """
import sys, time
from pathlib import Path
from modecollapse import stopping
from modecollapse.serving import server
from modecollapse.serving.server import HOST, Launch, Server, running_server
stopping.listen(at_once=True)
launch = Launch(Path(sys.argv[1]), Path(sys.argv[2]), "float32", 64, 4, 1, on_gpu=False)
with running_server(launch) as server:
    print(server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_the_server_outlives_a_job_that_is_killed_or_stopped(
    installation: Installation, weights: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log, child = tmp_path / "log", tmp_path / "child"
    asked = [sys.executable, "-c", JOB, str(installation.executable), str(weights)]
    environment = {**os.environ, "PRETEND_VLLM": faults(log, uniform=UNIFORM, child=str(child))}
    with subprocess.Popen(asked, env=environment, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        started = [int(job.stdout.readline()), *logged(log, "process"), int(child.read_text())]
        assert len(started) == 3
        assert all(map(psutil.pid_exists, started))
        job.send_signal(number)
        job.wait()
    deadline = time.monotonic() + 10
    while any(map(_runs, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, started))


def _runs(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_prompts_that_do_not_fit_are_refused_before_a_server_is_started(
    installation: Installation, weights: Path, log: Path
) -> None:
    with pytest.raises(StudyError, match="positions of the model"), engine(installation, weights, max_new_tokens=60):
        pass
    assert not log.exists()


def test_temperatures_that_the_server_would_raise_are_refused(
    installation: Installation, weights: Path, log: Path
) -> None:
    with engine(installation, weights) as opened, pytest.raises(StudyError, match=r"0\.005.*0\.01 or more"):
        opened.sample(opened.prepare(PROMPTS), 0.005, "s")


def test_seeds_are_stated_numbers() -> None:
    """Whoever repeats a request finds the same one."""
    assert seed_of("0/tiny/s0/plm/creative/human/T1.0", "p1", 0) == 1658565466464621866
    assert seed_of("s", "p", 0) != seed_of("s", "p", 1) != seed_of("s", "p", 0, 1)
    assert all(0 <= seed_of("s", "p", sample) < 2**63 for sample in range(50))


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"vllm": "nowhere/vllm"}, ["machine.vllm", "'nowhere/vllm'", "no executable file", "make vllm"]),
        ({"vllm": "no-such-program"}, ["machine.vllm", "not on PATH"]),
        ({"vllm": "{gpu}"}, ["vLLM 0.33.0", "gpus_per_node is 0", "build for processors"]),
    ],
)
def test_a_machine_without_a_vllm_that_it_can_run_is_told_so(
    tmp_path: Path, machine: dict[str, str], expected: list[str]
) -> None:
    made_for_gpus = pretended_vllm(tmp_path / "gpu", "vllm-0.33.0")
    named = {key: value.format(gpu=made_for_gpus) for key, value in machine.items()}
    with pytest.raises(StudyError) as error:
        find_vllm(Machine(**named), tmp_path)
    for part in expected:
        assert part in str(error.value)


def test_the_executable_is_found_relative_to_the_root_of_the_workflow(tmp_path: Path) -> None:
    executable = pretended_vllm(tmp_path / ".venv-vllm", "vllm-0.33.0")
    found = find_vllm(Machine(gpus_per_node=1), tmp_path)
    assert (found.executable, found.version("vllm")) == (executable, "0.33.0")


@pytest.mark.parametrize("answer", [b"SSH-2.0-other\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b""])
def test_another_program_on_the_port_is_not_taken_for_the_server(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_POLL_TIMEOUT", 0.3)
    with socket.create_server((HOST, 0)) as listening, subprocess.Popen(["true"], stdout=subprocess.PIPE) as process:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # the test is over
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)
                    time.sleep(0 if answer else 1)  # one that says nothing

        threading.Thread(target=serve, daemon=True).start()
        assert not Server(process, listening.getsockname()[1], "key").is_ready()
