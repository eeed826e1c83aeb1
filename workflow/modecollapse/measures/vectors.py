"""Sentence vectors by text, and a cache in which each distinct text is embedded once."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from modecollapse.digests import canonical
from modecollapse.errors import StudyError
from modecollapse.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    pass


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
