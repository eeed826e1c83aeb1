"""Measurements as jobs of the workflow that are disturbed: `python stopped_job.py DIRECTORY < SCENARIOS`.

A scenario is a list [kind, outputs, signal, pieces, processes]: so many processes run the job at once, and send
themselves the signal, if there is one, when so many pieces (batches of completions, texts or windows) are computed and
the next one is under way. All scenarios are given as JSON and run one after another in forks of this process, which has
loaded the libraries once. Prints, as JSON, a list [exit status, computed pieces, standard error] for each process.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modecollapse.cells import Cell, Model
from modecollapse.generation import transformers_engine
from modecollapse.generation.settings import SamplingSettings
from modecollapse.jobs.answer_sources import AnswerSources
from modecollapse.jobs.choosing import choose
from modecollapse.jobs.embeddings import embed_cells
from modecollapse.jobs.generations import generate
from modecollapse.jobs.own_answers import sample_own_answers
from modecollapse.jobs.references import score_reference
from modecollapse.jobs.running import Job, running
from modecollapse.jobs.sampled_data import sample_pairs
from modecollapse.jobs.tokens import measure_tokens
from modecollapse.measures import embedding, tokens, windows
from modecollapse.methods import answers_file, reference, sampled_answers
from modecollapse.prompts import Prompt, PromptFormat, PromptSet

MODEL = Model("tiny", 0, "plm")
TEMPERATURES = ("0.5", "1.0")
PROMPTS = PromptSet("creative", tuple(Prompt(f"p{i}", f"tell me about {thing}") for i, thing in enumerate(("a", "b"))))
SAMPLING = SamplingSettings(completions=10, max_new_tokens=12, rows_per_batch=4)
GENERATION = {
    "revision": 0,
    "engine": "transformers",
    "sampling": {**SAMPLING.model_dump(), "seed": 0},
    "threads": 1,
    "prompts": {"creative": [[prompt.id, prompt.text, prompt.start] for prompt in PROMPTS.prompts]},
    "formats": {"bare": "{prompt}"},
}
EMBEDDING = {"words": [3, 6], "embedder": embedding.EmbedderSettings().model_dump(), "threads": 1}
REFERENCE = {
    "revision": 0,
    "threads": 1,
    "format": PromptFormat("human", "Human: {prompt} Assistant: {start}").spec,
    "settings": {"max_length": 64, "max_prompt_length": 32, "too_long": "error", "dtype": "float32"},
}
PAIRS = {
    "revision": 0,
    "sampling": {"n": 16, "temperature": 1.0, "max_new_tokens": 40, "count": None},
    "dtype": "float32",
    "seed": 0,
    "stream": "0/tiny/s0/plm",
    "format": "{prompt}",
    "reward": {"function": "words", "world": None},
    "threads": 1,
}
OWN = {
    "revision": 0,
    "sampling": {"n": 16, "temperature": 1.0, "max_new_tokens": 40, "count": None},
    "settings": REFERENCE["settings"],
    "seed": 0,
    "stream": "0/tiny/s0/plm",
    "format": "{prompt}",
    "threads": 1,
}
TOKENS = {"revision": 0, "threads": 1, "settings": {"documents": 100, "context": 16, "groups": 4}}


def cells(outputs: Path) -> dict[Cell, Path]:
    """The cells that are generated, and their files."""
    return {
        Cell(MODEL, "creative", "bare", temperature): outputs / f"T{temperature}.parquet"
        for temperature in TEMPERATURES
    }


def run_generate(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Twenty completions in batches of four at each of two temperatures."""
    model = root / "model"
    sets = {"creative": PROMPTS}
    generate(
        cells(outputs),
        GENERATION,
        sets,
        model / "weights",
        model / "manifest.json",
        job.store,
        job.load,
        save_seconds=seconds,
    )


def run_choose(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Of three candidates for each of twenty completions the longest, at each of two temperatures, in batches of 12."""
    sampling = {**GENERATION["sampling"], "rows_per_batch": 12}
    choice = {"revision": 0, "n": 3, "reward": {"function": "words", "world": None}}
    choose(
        cells(outputs),
        {**GENERATION, "sampling": sampling, "choice": choice},
        {"creative": PROMPTS},
        answer_sources(root),
        job.store,
        job.load,
        save_seconds=seconds,
    )


def run_pairs(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Sixteen answers to each of twenty prompts, two prompts at a time."""
    answers_file.ROWS_OF_A_PART = 32
    sample_pairs(
        PAIRS, "pairs", answer_sources(root), root / "pairs.parquet", outputs / "sampled.parquet", job.store, job.load,
        seconds,
    )  # fmt: skip


def run_own(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Sixteen answers to each of twenty prompts, and how likely the model finds them, two prompts at a time."""
    answers_file.ROWS_OF_A_PART = 32
    model = (root / "model" / "manifest.json", root / "model" / "weights")
    sample_own_answers(
        OWN, "pairs", model, [root / "pairs.parquet"], outputs / "own.parquet", job.store, job.load, seconds
    )


def answer_sources(root: Path) -> AnswerSources:
    """The model as what answers, and the number of words as what scores."""
    return AnswerSources(root / "model" / "weights", root / "model" / "manifest.json", "words")


def run_embed(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """The first words of a cell's texts."""
    embed_cells(EMBEDDING, [root / "cell.parquet"], outputs / "vectors.parquet", job.store, job, keep_seconds=seconds)


def run_tokens(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Held-out documents in chunks of 64 positions."""
    model = (root / "model" / "manifest.json", root / "model" / "weights")
    files = (outputs / "documents.parquet", outputs / "vocabulary.parquet")
    windows.CHUNK_POSITIONS = 64
    measure_tokens(TOKENS, MODEL, model, model, root / "data.parquet", files, job.store, job, save_seconds=seconds)


def run_reference(root: Path, outputs: Path, job: Job, seconds: float) -> None:
    """Twenty pairs, two or three at a time."""
    model = (root / "model" / "manifest.json", root / "model" / "weights")
    reference.POSITIONS = {"cpu": 4 * 54}
    score_reference(
        REFERENCE, "tiny/s0/sft", model, root / "pairs.parquet", outputs / "scores.parquet", job.store, job, seconds
    )


KINDS: dict[str, tuple[Callable[[Path, Path, Job, float], None], Any, str]] = {
    "generate": (run_generate, transformers_engine.Decoding, "run"),
    "choose": (run_choose, transformers_engine.Decoding, "run"),
    "pairs": (run_pairs, sampled_answers, "_part"),
    "own": (run_own, sampled_answers, "_part"),
    "embed": (run_embed, embedding._Embedder, "forward"),
    "tokens": (run_tokens, tokens.TokenSums, "add"),
    "reference": (run_reference, reference, "reference_log_probabilities"),
}
"""What is run; the class (or module) and the function of it that computes a piece."""


def count_calls(owner: Any, method: str, note: Callable[[], None]) -> None:
    """Have `note` called before each call of a method."""
    original = getattr(owner, method)

    def noted(*arguments: Any) -> Any:
        note()
        return original(*arguments)

    setattr(owner, method, noted)


def disturbed(kind: str, root: Path, outputs: Path, signalled: str, pieces: int) -> None:
    """Run the job in this process, which may not survive it."""
    run, owner, method = KINDS[kind]
    computed = 0

    def note() -> None:
        nonlocal computed
        if computed == pieces and signalled:
            os.kill(os.getpid(), signal.Signals[signalled])
        computed += 1

    count_calls(owner, method, note)
    vars(sys.modules["__main__"])["snakemake"] = SimpleNamespace(
        rule=kind,
        threads=1,
        resources={},
        log=[str(outputs / f"{os.getpid()}.log")],
        config={"results": str(outputs), "store": str(outputs / "store")},
    )
    try:
        with running(polls=True) as job:
            # A stop keeps what there is whether or not it is time to save; a kill finds what was saved before.
            run(root, outputs, job, 0 if signalled == "SIGKILL" else 3600)
    finally:
        (outputs / f"{os.getpid()}.computed").write_text(str(computed))


def forked(*arguments: Any) -> int:
    """A child process that runs `disturbed`."""
    child = os.fork()
    if child:
        return child
    outputs = arguments[2]
    outputs.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(outputs / f"{os.getpid()}.errors", os.O_CREAT | os.O_WRONLY), 2)
    try:
        disturbed(*arguments)
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(root: Path) -> None:
    """Run every scenario that standard input has."""
    ended = []
    for kind, outputs, signalled, pieces, processes in json.load(sys.stdin):
        children = [forked(kind, root, Path(outputs), signalled, pieces) for _ in range(processes)]
        told = []
        for child in children:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            computed = Path(outputs, f"{child}.computed")
            number = int(computed.read_text()) if computed.exists() else None
            told.append([status, number, Path(outputs, f"{child}.errors").read_text()])
        ended.append(told)
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    from transformers import AutoModel, AutoModelForCausalLM

    directory = Path(sys.argv[1])
    # Each of them loads what a load needs, which every fork would do again otherwise.
    AutoModelForCausalLM.from_pretrained(directory / "model" / "weights")
    AutoModel.from_pretrained(embedding.embedder_directory(embedding.EmbedderSettings()))
    main(directory)
