"""Finished weights are taken over from every kind of source, and only if they load without running anybody's code."""

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.methods import METHODS, weight_files
from modecollapse.methods.adapter import check_adapter
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.checkpoint import CheckpointSettings, check_files
from tests import pretend_hub
from tests.gguf_files import write_llama
from tests.tiny_models import save_llama, save_neox

PATH, HUB, GGUF = {"path": "x"}, {"hub": "a/b"}, {"gguf": "x.gguf"}


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("models") / "neox")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def job(neox: Path, tmp_path: Path) -> TrainingJob:
    source = tmp_path / "source"
    shutil.copytree(neox, source)
    return job_of(source, PATH, tmp_path / "output")


def job_of(source: Path, named: dict[str, str], output: Path) -> TrainingJob:
    output.mkdir(parents=True)
    settings = CheckpointSettings(source=named)
    return TrainingJob(settings, seed=0, threads=1, output=output, state=output.parent, source=source)


def run(job: TrainingJob) -> Path:
    METHODS["checkpoint"].run(job)
    return job.output


def logits(directory: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.arange(3, 40)[None]).logits


def pickled(directory: Path, change: Callable[[dict[str, Any]], Any] = lambda tensors: tensors) -> Path:
    """Turn safetensors weights into what older libraries wrote."""
    weights = directory / "model.safetensors"
    torch.save(change(load_file(weights)), directory / "pytorch_model.bin")
    weights.unlink()
    return directory


def sharded(directory: Path, ending: str = "safetensors") -> dict[str, str]:
    """Spread the weights over two files; returns tensor → file."""
    stem = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = {name: f"{stem}-0000{1 + number % 2}-of-00002.{ending}" for number, name in enumerate(sorted(tensors))}
    for file in set(names.values()):
        part = {name: tensor for name, tensor in tensors.items() if names[name] == file}
        torch.save(part, directory / file) if ending == "bin" else save_file(part, directory / file, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (directory / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
    return names


def test_weights_configuration_and_tokenizer_are_copied_and_nothing_else(job: TrainingJob) -> None:
    for name in ("README.md", "pytorch_model.bin", "training_args.bin", "modeling_own.py"):
        (job.source / name).write_text("x")
    record = METHODS["checkpoint"].run(job)
    kept = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    expected = sha256_directory(job.source)
    assert sha256_directory(job.output) == {name: expected[name] for name in kept}
    assert (record.steps, record.tokens, record.curves) == (0, 0, [])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_precision_of_a_checkpoint_is_kept(job: TrainingJob, dtype: torch.dtype) -> None:
    file = job.source / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    assert {tensor.dtype for tensor in load_file(run(job) / "model.safetensors").values()} == {dtype}


def test_sharded_weights_come_with_their_index(job: TrainingJob, neox: Path) -> None:
    names = sharded(job.source)
    run(job)
    assert {path.name for path in job.output.glob("*safetensors*")} == {*names.values(), "model.safetensors.index.json"}
    assert torch.equal(logits(job.output), logits(neox))


def test_pickled_weights_become_the_same_safetensors(job: TrainingJob, neox: Path) -> None:
    pickled(job.source)
    assert torch.equal(logits(run(job)), logits(neox))
    assert not list(job.output.glob("*.bin"))
    assert load_causal_model(job.output, "float32", 1, "cpu").context == 256


def test_pickled_shards_are_converted_one_by_one_with_a_new_index(job: TrainingJob, neox: Path) -> None:
    names = sharded(job.source, "bin")
    assert torch.equal(logits(run(job)), logits(neox))
    index = json.loads((job.output / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        name: file.replace("pytorch_model", "model").replace(".bin", ".safetensors") for name, file in names.items()
    }
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in load_file(neox / "model.safetensors").values())


def test_weights_pickled_by_an_old_torch_and_weights_that_share_memory_are_converted(
    job: TrainingJob, neox: Path
) -> None:
    tensors = load_file(job.source / "model.safetensors")
    whole = torch.stack([tensors["gpt_neox.embed_in.weight"], tensors["gpt_neox.embed_in.weight"]])
    tensors["gpt_neox.embed_in.weight"] = whole[1]
    tensors["embed_out.weight"] = whole[1]
    (job.source / "model.safetensors").unlink()
    torch.save(tensors, job.source / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    converted = load_file(run(job) / "model.safetensors")
    assert set(converted) == set(tensors)
    assert all(torch.equal(converted[name], tensor) for name, tensor in tensors.items())


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    job: TrainingJob, tmp_path: Path, new_format: bool
) -> None:
    trace = tmp_path / "it-ran"
    torch.save({"w": Malice(trace)}, job.source / "pytorch_model.bin", _use_new_zipfile_serialization=new_format)
    (job.source / "model.safetensors").unlink()
    with pytest.raises(StudyError, match=r"pytorch_model\.bin is refused: its pickle asks for more than tensors"):
        run(job)
    assert not trace.exists()
    assert list(job.output.glob("*.safetensors")) == []


def test_a_bare_malicious_pickle_is_refused_too(job: TrainingJob, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    (job.source / "pytorch_model.bin").write_bytes(pickle.dumps(Malice(trace)))
    (job.source / "model.safetensors").unlink()
    with pytest.raises(StudyError, match=r"pytorch_model\.bin (is refused|cannot be read)"):
        run(job)
    assert not trace.exists()


QUANTISED = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
NESTED = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"


def oldest(path: Path) -> None:
    """What torch wrote before 0.2: four members in a tar."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda source: cut(pickled(source) / "pytorch_model.bin"), r"pytorch_model\.bin (cannot be read|is refused)"),
        (lambda source: (pickled(source) / "pytorch_model.bin").write_bytes(b""), "cannot be read"),
        (lambda source: pickled(source, list), "holds list, not named tensors"),
        (lambda source: pickled(source, lambda tensors: {**tensors, "epoch": 3}), "epoch is int, not a tensor"),
        (lambda source: (source / min(sharded(source, "bin").values())).unlink(), "it is missing"),
        (
            lambda source: torch.save({}, source / min(sharded(source, "bin").values())),
            "holds dict, not named tensors",
        ),
        (
            lambda source: torch.save({"w": torch.ones(1)}, source / min(sharded(source, "bin").values())),
            "lacks embed_out",
        ),
        (lambda source: pickled(source, lambda _: {"w": torch.eye(3).to_sparse()}), "w is sparse, not a plain"),
        (lambda source: pickled(source, lambda _: {"w": torch.empty(3, device="meta")}), "w is without data"),
        (lambda source: pickled(source, lambda _: {"w": torch.ones(3, dtype=torch.complex64)}), "w is complex"),
        (lambda source: pickled(source, lambda _: {"w": QUANTISED}), "w is quantised"),
        (lambda source: pickled(source, lambda _: {"w": NESTED}), "w is nested"),
        (
            lambda source: pickled(source, lambda _: {"w": torch.ones(1).expand(10**6, 10**7)}),
            r"its tensors claim 40000000000000 bytes, but the file has \d{4}\.",
        ),
        (
            lambda source: (pickled(source) / "pytorch_model.bin").write_bytes(b"\x80\x02garbage" * 9),
            r"cannot be read: its pickle is damaged\. Download the checkpoint again",
        ),
        (lambda source: (pickled(source) / "pytorch_model.bin").write_bytes(POINTER), "only a pointer of git-lfs"),
        (lambda source: (source / "model.safetensors").write_bytes(POINTER), "only a pointer of git-lfs"),
        (lambda source: oldest(pickled(source) / "pytorch_model.bin"), r"oldest format of torch \(\.tar\)"),
    ],
)
def test_damaged_pickled_weights_are_refused(job: TrainingJob, damage: Callable[[Path], None], word: str) -> None:
    damage(job.source)
    with pytest.raises(StudyError, match=word):
        run(job)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda source: (source / "model.safetensors").unlink(), "has no weights: none of"),
        (lambda source: cut(source / "model.safetensors"), "cannot be read"),
        (lambda source: (source / "config.json").unlink(), r"has no config\.json"),
        (lambda source: (source / "config.json").write_text("[]"), "not an object"),
        (lambda source: (source / "config.json").write_text('{"model_type": "unheard-of"}'), "not a configuration"),
        (lambda source: (source / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda source: (source / "tokenizer.json").write_text("{}"), "The tokenizer in .* cannot be read"),
        (
            lambda source: edit_json(source / "config.json", num_attention_heads="four"),
            r"not a configuration.*num_attention_heads.*Use the config\.json that belongs",
        ),
        (lambda source: edit_json(source / "config.json", vocab_size=None), "not a configuration.*vocab_size"),
        (
            lambda source: edit_json(source / "config.json", auto_map={"AutoModel": "own.Own"}, model_type="own"),
            "no remote code is ever",
        ),
        (
            lambda source: edit_json(pickled(source) / "config.json", vocab_size=90),
            r"its token '.+' has the id 9\d, but the model knows ids 0 to 89",
        ),
        (
            lambda source: edit_json(source / "config.json", vocab_size=200),
            r"vocab_size: found 200, but embed_out\.weight in model\.safetensors has 104 rows",
        ),
    ],
)
def test_an_incomplete_or_damaged_directory_is_refused(
    job: TrainingJob, damage: Callable[[Path], None], word: str
) -> None:
    damage(job.source)
    with pytest.raises(StudyError, match=word):
        run(job)


def test_a_known_model_type_needs_no_code_of_its_own_and_none_is_run(job: TrainingJob, neox: Path) -> None:
    ran = job.source / "ran"
    (job.source / "own.py").write_text(f"open({str(ran)!r}, 'w')")
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    edit_json(job.source / "config.json", auto_map=own)
    output = run(job)
    assert not (output / "own.py").exists()
    assert torch.equal(logits(output), logits(neox))
    assert not ran.exists()


@pytest.mark.parametrize("check", [check_files, check_adapter])
def test_a_tokenizer_that_only_a_missing_library_reads_is_refused_before_anything_starts(
    neox: Path, tmp_path: Path, check: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(neox, source)
    (source / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    shutil.copyfile(source / "model.safetensors", source / "adapter_model.safetensors")
    (source / "tokenizer.json").rename(source / "tokenizer.model")
    monkeypatch.setattr(weight_files, "find_spec", lambda library: None)
    with pytest.raises(
        StudyError, match=r"tokenizer\.model only, and the library sentencepiece.*not installed\. Use a"
    ):
        check(source)
    monkeypatch.setattr(weight_files, "find_spec", lambda library: library)
    check(source)


def test_a_vocabulary_that_is_padded_to_more_tokens_is_fine(job: TrainingJob) -> None:
    size = json.loads((job.source / "config.json").read_text())["vocab_size"]
    assert size > len(AutoTokenizer.from_pretrained(job.source)), "the tiny model is padded itself"
    run(job)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda source, shard: (source / shard).unlink(), r"safetensors cannot be read"),
        (lambda source, shard: save_file({"other": torch.ones(1)}, source / shard), "lacks embed_out"),
        (lambda source, shard: (source / "model.safetensors.index.json").write_text("{}"), "no weight_map"),
        (
            lambda source, shard: edit_json(source / "model.safetensors.index.json", weight_map={"w": "../w"}),
            "not a file beside it",
        ),
    ],
)
def test_a_shard_that_is_missing_or_wrong_is_refused(
    job: TrainingJob, damage: Callable[[Path, str], None], word: str
) -> None:
    damage(job.source, min(sharded(job.source).values()))
    with pytest.raises(StudyError, match=word):
        run(job)


def test_a_directory_that_does_not_exist_is_refused(job: TrainingJob) -> None:
    with pytest.raises(StudyError, match="no such directory"):
        run(replace(job, source=job.source / "nowhere"))


def in_cache(cache: Path, directory: Path) -> Path:
    commit = pretend_hub.cache_repository(cache, "a/b", pretend_hub.files_of(directory))
    return cache / "models--a--b" / "snapshots" / commit


def test_weights_of_the_hub_are_linked_from_its_cache_and_a_local_directory_is_copied(
    job: TrainingJob, neox: Path, tmp_path: Path
) -> None:
    snapshot = in_cache(tmp_path / "cache", neox)
    taken = run(job_of(snapshot, HUB, tmp_path / "hub")) / "model.safetensors"
    assert not taken.is_symlink()
    assert taken.samefile(snapshot / "model.safetensors")
    assert not (taken.parent / "config.json").samefile(snapshot / "config.json")
    assert not (run(job) / "model.safetensors").samefile(job.source / "model.safetensors")
    assert sha256_directory(taken.parent) == sha256_directory(job.output)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vocab_size": 200}, r"mismatched keys gpt_neox\.embed_in\.weight \(\[104, 32\] instead of \[200, 32\]\), "),
        ({"hidden_size": 64}, r"mismatched keys gpt_neox\.embed_in\.weight .* and more\. Use the config\.json"),
        ({"num_hidden_layers": 3}, r"missing keys gpt_neox\.layers\.2\."),
        ({"num_hidden_layers": 1}, r"unexpected keys gpt_neox\.layers\.1\."),
    ],
)
def test_a_model_of_another_shape_than_its_configuration_is_refused_on_loading(
    neox: Path, tmp_path: Path, change: dict[str, int], word: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(neox, model)
    edit_json(model / "config.json", **change)
    with pytest.raises(StudyError, match=f"do not fit its config.json: {word}"):
        load_causal_model(model, "float32", 1, "cpu")


def test_weights_of_the_cache_that_are_not_what_was_downloaded_are_refused(neox: Path, tmp_path: Path) -> None:
    snapshot = in_cache(tmp_path / "cache", neox)
    blob = (snapshot / "model.safetensors").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(StudyError, match=rf"model\.safetensors is damaged.*Delete {blob} and run.*download"):
        run(job_of(snapshot, HUB, tmp_path / "output"))


def test_a_gguf_file_gives_the_model_and_the_tokenizer_it_was_made_from(llama: Path, tmp_path: Path) -> None:
    file = write_llama(llama, tmp_path / "tiny.gguf")
    output = run(job_of(file, GGUF, tmp_path / "output"))
    assert torch.allclose(logits(output), logits(llama), atol=1e-5)
    ours, theirs = (AutoTokenizer.from_pretrained(directory) for directory in (output, llama))
    text = "Human: are bugs real? Assistant:"
    assert ours(text).input_ids == theirs(text).input_ids
    assert (ours.bos_token, ours.eos_token) == (theirs.bos_token, theirs.eos_token)
    assert ours.decode(ours(text).input_ids, skip_special_tokens=True) == text
    assert load_causal_model(output, "float32", 1, "cpu").context == 256
    assert {tensor.dtype for tensor in load_file(output / "model.safetensors").values()} == {torch.float32}


def test_a_gguf_file_gives_the_same_bytes_wherever_it_lies(llama: Path, tmp_path: Path) -> None:
    one = write_llama(llama, tmp_path / "tiny.gguf")
    other = tmp_path / "elsewhere" / "renamed.gguf"
    other.parent.mkdir()
    shutil.copyfile(one, other)
    first, second = (run(job_of(file, GGUF, tmp_path / name)) for file, name in ((one, "a"), (other, "b")))
    assert sha256_directory(first) == sha256_directory(second)


def test_a_gguf_file_of_the_same_name_in_the_working_directory_is_another_one(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = save_llama(tmp_path / "other", seed=1)
    file = write_llama(llama, tmp_path / "tiny.gguf")
    (tmp_path / "here").mkdir()
    write_llama(other, tmp_path / "here" / "tiny.gguf")
    monkeypatch.chdir(tmp_path / "here")
    assert torch.allclose(logits(run(job_of(file, GGUF, tmp_path / "output"))), logits(llama), atol=1e-5)


@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_0"])
def test_a_quantised_gguf_file_is_saved_dequantised(llama: Path, tmp_path: Path, quantisation: str) -> None:
    file = write_llama(llama, tmp_path / "tiny.gguf", quantisation=quantisation)
    output = run(job_of(file, GGUF, tmp_path / "output"))
    assert "quantization_config" not in json.loads((output / "config.json").read_text())
    name, kind = "model.embed_tokens.weight", gguf.GGMLQuantizationType[quantisation]
    exact = load_numpy(llama / "model.safetensors")[name]
    stored = load_numpy(output / "model.safetensors")[name]
    assert np.array_equal(stored, gguf.dequantize(gguf.quantize(exact, kind), kind))
    assert not np.array_equal(stored, exact)
    assert load_causal_model(output, "float32", 1, "cpu").vocabulary_size == 104


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda file: file.unlink(), "there is no such file"),
        (lambda file: file.write_bytes(b"PK" + file.read_bytes()), "is not a GGUF file"),
        (lambda file: file.write_bytes(file.read_bytes()[:10]), "cannot be read"),
        (lambda file: file.write_bytes(file.read_bytes()[:900]), "is damaged or cut off"),
        (lambda file: file.write_bytes(file.read_bytes()[:-2000]), "is damaged or cut off"),
    ],
)
def test_a_gguf_file_that_is_none_or_cut_off_is_refused(
    llama: Path, tmp_path: Path, change: Callable[[Path], None], word: str
) -> None:
    file = write_llama(llama, tmp_path / "tiny.gguf")
    change(file)
    with pytest.raises(StudyError, match=word):
        run(job_of(file, GGUF, tmp_path / "output"))


def test_a_machine_without_enough_memory_for_a_gguf_file_is_no_damaged_file(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        torch.empty(2**56)

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)
    with pytest.raises(RuntimeError, match="memory"):
        run(job_of(write_llama(llama, tmp_path / "tiny.gguf"), GGUF, tmp_path / "output"))


def test_a_gguf_file_of_an_architecture_that_cannot_be_read_is_refused(llama: Path, tmp_path: Path) -> None:
    file = write_llama(llama, tmp_path / "tiny.gguf", architecture="gptneox")
    with pytest.raises(StudyError, match=r"architecture 'gptneox'.*Allowed: .*llama.*Hugging Face checkpoint instead"):
        run(job_of(file, GGUF, tmp_path / "output"))


def test_a_gguf_file_without_tokenizer_or_with_missing_tensors_is_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has no tokenizer that transformers can read"):
        run(job_of(write_llama(llama, tmp_path / "a.gguf", tokenizer=False), GGUF, tmp_path / "a"))
    file = write_llama(llama, tmp_path / "b.gguf", leave_out="blk.1.ffn_up.weight")
    with pytest.raises(StudyError, match=r"not complete: missing keys .*layers\.1\.mlp\.up_proj"):
        run(job_of(file, GGUF, tmp_path / "b"))
