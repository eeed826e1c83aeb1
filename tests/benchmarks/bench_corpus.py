"""Memory and speed of token statistics and of reading a corpus, from a small corpus to one of 256 times its length.

    python -m tests.benchmarks.bench_corpus [--documents 2000] [--long 100]

Each line is a process of its own: reading a sample of 1,000 documents from zst-compressed JSON Lines, reading all of
it, and scoring all of it with a tiny GPT-NeoX. Peak memory is the largest resident size of the process, and its growth
the difference from the smallest corpus: flat figures mean that memory does not grow with the corpus. With `--long`, one
document of a megabyte and one of so many are read and scored instead.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from modecollapse.methods.architecture import ArchitectureSettings
from tests.benchmarks.processes import in_own_process, resident
from tests.benchmarks.shapes import Shape, make_model

TINY = Shape("tiny", ArchitectureSettings(hidden_size=16, layers=1, heads=1, context=256), 1024)
FACTORS = (1 / 16, 1, 4, 16)


def write_corpus(path: Path, documents: int, characters: int) -> int:
    """Documents of words with the lengths of web pages (most of them short); returns their bytes."""
    import zstandard

    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(1, 9))) for _ in range(5_000)]
    size = 0
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        for _ in range(documents):
            length = min(50_000, int(chance.lognormvariate(0, 1) * characters))
            text = " ".join(chance.choices(words, k=max(1, length // 6)))
            size += len(text)
            packed.write(json.dumps({"text": text, "meta": {"set": "made"}}).encode() + b"\n")
    return size


def work(kind: str, corpus: Path, output: Path, model: Path) -> None:
    """What one process does; prints its seconds and its peak memory in MB."""
    from modecollapse.jobs.data import read_data

    begun = time.perf_counter()
    if kind == "score":
        import torch

        from modecollapse.generation.models import load_causal_model
        from modecollapse.measures.tokens import TokenSettings, score_documents
        from modecollapse.sealed import SealedTexts

        with torch.inference_mode():
            loaded = load_causal_model(model, "float32", 1, "cpu")
            begun = time.perf_counter()
            settings = TokenSettings(documents=10**9, context=256)
            score_documents(loaded, None, SealedTexts(output, "text"), settings)
    else:
        sample = 1_000 if kind == "sample" else None
        spec = {"columns": {"text": "text"}, "sample": sample, "seed": 0}
        read_data(spec, [corpus], 0.0, "corpus", output)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak": resident("VmHWM") / 1e6}))


def run(*arguments: object) -> dict[str, float]:
    """`work` in a process of its own."""
    found: dict[str, float] = in_own_process("tests.benchmarks.bench_corpus", "--work", *arguments)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", default=["sample", "read", "score"])
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--characters", type=int, default=300)
    parser.add_argument("--long", type=int, help="score one document of so many megabytes")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        kind, *paths = arguments.work
        work(kind, *map(Path, paths))
        return
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_model(TINY, root / "model")
        if arguments.long:
            long_document(root, arguments.long)
            return
        print(
            f"{'corpus':>8}{'documents':>11}{'MB':>8}  {'work':8}{'seconds':>9}{'MB/s':>8}{'peak MB':>9}{'growth':>8}"
        )
        base: dict[str, float] = {}
        for factor in FACTORS:
            corpus = root / "corpus.jsonl.zst"
            documents = int(arguments.documents * factor)
            size = write_corpus(corpus, documents, arguments.characters) / 1e6
            for kind in arguments.works:
                found = run(kind, corpus, root / "corpus.parquet", root / "model")
                growth = found["peak"] - base.setdefault(kind, found["peak"])
                print(
                    f"{factor:8.3g}{documents:11,}{size:8.1f}  {kind:8}{found['seconds']:9.1f}"
                    f"{size / found['seconds']:8.2f}{found['peak']:9.0f}{growth:+8.0f}",
                    flush=True,
                )


def long_document(root: Path, megabytes: int) -> None:
    """Read and score documents of one and of `megabytes` MB."""
    for size in (1, megabytes):
        corpus = root / "long.jsonl"
        chance = random.Random(0)
        words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(1, 9))) for _ in range(5_000)]
        corpus.write_text(json.dumps({"text": " ".join(chance.choices(words, k=size * 10**6 // 6))}) + "\n")
        for kind in ("read", "score"):
            found = run(kind, corpus, root / "long.parquet", root / "model")
            print(f"one document of {size:4} MB  {kind:6}{found['seconds']:9.1f} s{found['peak']:9.0f} MB", flush=True)


if __name__ == "__main__":
    main()
