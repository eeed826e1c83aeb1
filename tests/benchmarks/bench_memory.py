"""Measured peaks of memory beside what the plan says: training, generation and token statistics of several shapes.

    python -m tests.benchmarks.bench_memory [--only dpo] [--large]

Each line is a process of its own. Measured is the largest resident size above that after all imports (on a GPU: the
largest number of bytes that torch had allocated); modelled is what `modecollapse.resources` computes for the same job,
without the constant share of a process. The plan is an upper bound: the ratio has to stay between 0.6 and 1. Models
have random weights, and every row is as long as the settings allow.
"""

import argparse
import json
import random
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.layout import Layout
from modecollapse.resources import inference, training
from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import neox_shape
from tests.benchmarks.processes import in_own_process, resident


@dataclass(frozen=True)
class Case:
    """One job."""

    kind: str
    hidden: int
    layers: int
    vocabulary: int
    batch: int
    length: int
    dtype: str = "float32"
    optimizer: str = "adamw"

    @property
    def architecture(self) -> ArchitectureSettings:
        return ArchitectureSettings(
            hidden_size=self.hidden, layers=self.layers, heads=self.hidden // 64, context=max(256, self.length)
        )


CASES = [
    Case("sft", 128, 4, 1024, 16, 128),
    Case("sft", 512, 8, 1024, 8, 128),
    Case("sft", 512, 6, 50304, 1, 32),
    Case("sft", 512, 6, 50304, 2, 128),
    Case("sft", 512, 6, 50304, 2, 128, "bfloat16"),
    Case("sft", 768, 12, 50304, 1, 64),
    Case("dpo", 128, 4, 1024, 32, 128),
    Case("dpo", 512, 8, 1024, 4, 128),
    Case("dpo", 512, 6, 50304, 1, 128),
    Case("dpo", 512, 6, 50304, 1, 128, "float32", "rmsprop"),
    Case("dpo", 768, 12, 50304, 1, 64, "float32", "rmsprop"),
    Case("pretrain", 512, 8, 1024, 8, 128),
    Case("generate", 128, 4, 1024, 500, 24),
    Case("generate", 512, 6, 50304, 100, 24),
    Case("generate", 768, 12, 50304, 50, 8, "bfloat16"),
    Case("tokens", 512, 6, 50304, 1024, 512),
    Case("tokens", 768, 12, 50304, 1024, 128, "bfloat16"),
]
LARGE = [Case("sft", 1024, 24, 50304, 1, 128), Case("dpo", 1024, 16, 50304, 1, 128, "float32", "rmsprop")]


def modelled(case: Case, on_gpu: bool) -> float:
    """What the plan says, without what a process has anyway."""
    shape = neox_shape(case.architecture, case.vocabulary)
    machine = Machine(gpus_per_node=1 if on_gpu else 0)
    if case.kind == "generate":
        job = inference.Generating(shape, 1, case.batch, case.batch // 25, 64, case.length, None, case.dtype)
        return inference.generation_bytes(job, machine) + (0 if on_gpu else inference.mapped_bytes(shape))
    if case.kind == "tokens":
        scoring = inference.Scoring(shape, 1e3, 2, case.batch, 20, case.dtype, True)
        return inference.scoring_bytes(scoring, on_gpu) + (0 if on_gpu else inference.mapped_bytes(shape))
    kind: Any = {"pretrain": "texts", "sft": "answers", "dpo": "pairs"}[case.kind]
    moments = 2 if case.optimizer == "adamw" else 1
    train = training.Training(
        shape, kind, case.batch, case.length, 2 * case.batch, case.length, case.dtype, moments=moments
    )
    context = training.DEVICE_CONTEXT if on_gpu else 0
    return training.process_bytes(train, Layout(micro_batch=case.batch), on_gpu) - context


def prepare(case: Case, root: Path) -> None:
    """The model, its tokenizer, and data whose rows are long enough."""
    import pyarrow as pa

    from modecollapse.data.nano.world import World
    from modecollapse.data.tokenizer import train_tokenizer
    from modecollapse.methods.architecture import neox_config, new_model
    from modecollapse.sealed import write_sealed

    texts = World().pretraining(500, 1).column("text").to_pylist()
    train_tokenizer(texts, 512, root / "tokenizer")
    model = new_model(neox_config(case.architecture, case.vocabulary, 0, 0), 0)
    for name in ("model", "reference"):
        model.save_pretrained(root / name)
        for file in (root / "tokenizer").iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    chance = random.Random(0)
    words = [word for text in texts for word in text.split()]
    rows = 2 * case.batch if case.kind != "tokens" else 2

    def text(number: int) -> str:
        return " ".join(chance.choices(words, k=number))

    long = 2 * case.length
    table = {"prompt": [text(4) for _ in range(rows)], "text": [text(long) for _ in range(rows)]}
    table |= {name: [text(long) for _ in range(rows)] for name in ("completion", "chosen", "rejected")}
    write_sealed(pa.table(table), root / "data.parquet")
    if case.kind == "dpo":
        from tests.references import write_reference

        write_reference(training_job(case, root), root / "reference.parquet")


def work(case: Case, root: Path) -> None:
    """What one process does; prints its peak in bytes."""
    import torch

    from modecollapse.methods import METHODS

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    torch.set_num_threads(1)
    if case.kind in ("generate", "tokens"):
        import modecollapse.measures.tokens
        from modecollapse.generation.models import load_causal_model  # noqa: F401
        from modecollapse.generation.settings import SamplingSettings
        from modecollapse.generation.transformers_engine import TransformersEngine
    else:
        import modecollapse.methods.trainers
        from modecollapse.methods import pretrain_loop  # noqa: F401
    warm_up(on_gpu)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    dtype: Any = case.dtype
    if case.kind == "generate":
        settings = SamplingSettings(completions=25, max_new_tokens=case.length, dtype=dtype)
        engine = TransformersEngine(root / "model", settings, 1, device)
        prepared = engine.prepare([(str(number), "a b c d e") for number in range(case.batch // 25)])
        engine.sample(prepared, 1.0, "bench")
    elif case.kind == "tokens":
        from modecollapse.sealed import SealedTexts

        asked = modecollapse.measures.tokens.TokenSettings(context=case.length, groups=20, dtype=dtype)
        texts = SealedTexts(root / "data.parquet", "text")
        modecollapse.measures.tokens.token_statistics(root / "model", root / "reference", texts, asked, 1, device)
    else:
        METHODS[case.kind].run(training_job(case, root))
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident("VmHWM") - before
    print(json.dumps({"peak": peak, "gpu": on_gpu}))


def warm_up(on_gpu: bool) -> None:
    """One product, so that what libraries allocate once is not counted."""
    import torch

    matrix = torch.ones(64, 64, device="cuda" if on_gpu else "cpu", requires_grad=True)
    (matrix @ matrix).sum().backward()


def training_job(case: Case, root: Path) -> Any:
    """Two updates, each followed by a checkpoint."""
    from modecollapse.methods import METHODS
    from modecollapse.methods.base import TrainingJob
    from modecollapse.prompts import PromptFormat

    common: dict[str, Any] = {"batch_size": case.batch, "log_every": 1, "save_every": 1, "learning_rate": 1e-5}
    if case.kind == "pretrain":
        common |= {"tokens": 2 * case.batch * case.length, "sequence_length": case.length}
    else:
        common |= {"max_length": case.length, "dtype": case.dtype, "optimizer": case.optimizer}
        common |= {"betas": (0.9, 0.95) if case.optimizer == "adamw" else None, "weight_decay": 0.0}
        common |= {"max_prompt_length": 8} if case.kind == "dpo" else {}
    for name in ("output", "state"):
        (root / name).mkdir(exist_ok=True)
    return TrainingJob(
        settings=METHODS[case.kind].settings(**common),
        seed=0,
        threads=1,
        output=root / "output",
        state=root / "state",
        parent=root / "model",
        architecture=case.architecture if case.kind == "pretrain" else None,
        tokenizer=root / "tokenizer",
        data=root / "data.parquet",
        format=PromptFormat("plain", "{prompt} {start}"),
        reference_scores=root / "reference.parquet" if METHODS[case.kind].needs_reference else None,
    )


def measure(case: Case) -> tuple[float, float]:
    """(measured, modelled) bytes of a case, each step in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        peak: dict[str, Any] = {}
        for step in ("prepare", "work"):
            peak = in_own_process("tests.benchmarks.bench_memory", "--step", step, directory, json.dumps(asdict(case)))
    return peak["peak"], modelled(case, peak["gpu"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one kind of job")
    parser.add_argument("--large", action="store_true", help="models of 400 million parameters as well (8 GB)")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, directory, content = arguments.step
        case = Case(**json.loads(content))
        if step == "prepare":
            prepare(case, Path(directory))
            print(json.dumps({}))
        else:
            work(case, Path(directory))
        return
    print(f"{'job':28}{'parameters':>12}{'batch':>7}{'length':>8}{'measured MB':>13}{'modelled MB':>13}{'ratio':>7}")
    for case in [*CASES, *(LARGE if arguments.large else [])]:
        if arguments.only not in (None, case.kind):
            continue
        found, plan = measure(case)
        size = neox_shape(case.architecture, case.vocabulary).parameters
        name = " ".join([case.kind, case.dtype, case.optimizer if case.kind in ("sft", "dpo") else ""])
        print(
            f"{name:28}{size:12,}{case.batch:7}{case.length:8}{found / 1e6:13.0f}{plan / 1e6:13.0f}{found / plan:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
