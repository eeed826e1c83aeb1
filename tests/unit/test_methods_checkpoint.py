"""A finished checkpoint is taken over as it is, and only if it can be loaded without running anybody's code."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.checkpoint import CheckpointSettings

CONFIG = {"model_type": "gpt_neox", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
TENSORS = {"embed_out.weight": np.ones((2, 2), np.float32), "gpt_neox.embed_in.weight": np.zeros((2, 2), np.float32)}


@pytest.fixture
def job(tmp_path):
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    output.mkdir()
    (source / "config.json").write_text(json.dumps(CONFIG))
    (source / "tokenizer.json").write_text("{}")
    save_file(TENSORS, source / "model.safetensors")
    return TrainingJob(CheckpointSettings(path="x"), seed=0, threads=1, output=output, state=tmp_path, parent=source)


def _shard(source):
    (source / "model.safetensors").unlink()
    names = {"embed_out.weight": "a.safetensors", "gpt_neox.embed_in.weight": "b.safetensors"}
    for tensor, name in names.items():
        save_file({tensor: TENSORS[tensor]}, source / name)
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return names


def test_weights_configuration_and_tokenizer_are_copied_and_nothing_else(job):
    for name in ("README.md", "pytorch_model.bin", "training_args.bin", "modeling_own.py"):
        (job.parent / name).write_text("x")
    record = METHODS["checkpoint"].run(job)
    expected = sha256_directory(job.parent)
    assert sha256_directory(job.output) == {
        name: expected[name] for name in ("config.json", "model.safetensors", "tokenizer.json")
    }
    assert (record.steps, record.tokens, record.curves) == (0, 0, [])


def test_sharded_weights_come_with_their_index(job):
    names = _shard(job.parent)
    METHODS["checkpoint"].run(job)
    assert {path.name for path in job.output.glob("*safetensors*")} == {*names.values(), "model.safetensors.index.json"}


def test_remote_code_is_refused(job):
    (job.parent / "config.json").write_text(json.dumps({**CONFIG, "auto_map": {"AutoModel": "modeling_own.Own"}}))
    with pytest.raises(StudyError, match="no remote code is ever run"):
        METHODS["checkpoint"].run(job)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda source: (source / "model.safetensors").rename(source / "pytorch_model.bin"), "Only safetensors"),
        (lambda source: _cut(source / "model.safetensors"), "cannot be read"),
        (lambda source: (source / "config.json").unlink(), r"has no config\.json"),
        (lambda source: (source / "config.json").write_text("[]"), "not an object"),
        (lambda source: (source / "config.json").write_text('{"model_type": "unheard-of"}'), "not a configuration"),
        (lambda source: (source / "tokenizer.json").unlink(), "no tokenizer"),
    ],
)
def test_an_incomplete_or_damaged_directory_is_refused(job, damage, word):
    damage(job.parent)
    with pytest.raises(StudyError, match=word):
        METHODS["checkpoint"].run(job)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda source: (source / "a.safetensors").unlink(), r"a\.safetensors cannot be read"),
        (lambda source: save_file({"other": TENSORS["embed_out.weight"]}, source / "a.safetensors"), "lacks embed_out"),
        (lambda source: (source / "model.safetensors.index.json").write_text("{}"), "no weight_map"),
        (
            lambda source: (source / "model.safetensors.index.json").write_text('{"weight_map": {"w": "../w"}}'),
            "not a file beside it",
        ),
    ],
)
def test_a_shard_that_is_missing_or_wrong_is_refused(job, damage, word):
    _shard(job.parent)
    damage(job.parent)
    with pytest.raises(StudyError, match=word):
        METHODS["checkpoint"].run(job)


def test_a_directory_that_does_not_exist_is_refused(job):
    with pytest.raises(StudyError, match="no such directory"):
        METHODS["checkpoint"].run(replace(job, parent=job.parent / "nowhere"))
