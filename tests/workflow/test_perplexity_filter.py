"""The perplexity filter from a model to a filtered set: right numbers, and pairs that are kept by the bound."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from modecollapse.digests import sha256_directory
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.jobs.derived_data import derive_data
from modecollapse.jobs.models import library_versions
from modecollapse.jobs.own_answers import SCHEMA, sample_own_answers
from modecollapse.jobs.references import score_reference
from modecollapse.manifest import Manifest, write_manifest
from modecollapse.methods.layout import Layout
from modecollapse.methods.likelihood import LikelihoodScorer
from modecollapse.methods.reference_file import PairSettings
from modecollapse.methods.start import load_start
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.store import Store
from tests.workflow.conftest import HUMAN

SETTINGS = {"max_length": 32, "max_prompt_length": 16, "too_long": "truncate", "dtype": "float32"}
OWN = {
    "revision": 0,
    "sampling": {"n": 6, "temperature": 1.0, "max_new_tokens": 20, "count": None},
    "settings": SETTINGS,
    "seed": 0,
    "stream": "0/tiny/s0/sft",
    "format": HUMAN.spec,
    "threads": 1,
}
REFERENCE = {"revision": 0, "format": HUMAN.spec, "settings": SETTINGS, "threads": 1}
FILTER = {
    "revision": 0,
    "transformation": {"perplexity": {"percentile": 90, "task_ratio": None}},
    "seed": 0,
    "prompts": None,
}


def log_likelihood(model, prompt, answer):
    """Mean over the answer's tokens and end of text, from the whole logits in float64, and the number of tokens."""
    prompt_ids = model.tokenizer(HUMAN.fill(prompt), add_special_tokens=False)["input_ids"]
    ids = [*model.tokenizer(answer, add_special_tokens=False)["input_ids"], model.tokenizer.eos_token_id]
    row = torch.tensor([[*prompt_ids, *ids]])
    with torch.no_grad():
        scored = model.network(row).logits[0, :-1].double().log_softmax(-1)
    return float(scored.gather(1, row[0, 1:, None])[len(prompt_ids) - 1 :].mean())


def parent_of(toy):
    return load_start(toy.root / "parent", HUMAN, 32, "float32", None, 1, "cpu")


def test_own_answers_have_the_mean_of_their_tokens_and_unfinished_or_empty_ones_none(toy):
    model = parent_of(toy)
    texts = ["a red fox sat", "a", "an old cat ran and then slept", ""]
    ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    end = [model.tokenizer.eos_token_id]
    answers = [ids[0] + end, ids[1] + end, ids[2], end]
    prompts = ["tell me of a fox .", "tell me .", "tell me of a cat .", "tell me ."]
    scorer = LikelihoodScorer(model, HUMAN, PairSettings(**SETTINGS), "cpu")
    found = scorer.score(prompts, [[]] * 4, answers)
    expected = [log_likelihood(model, prompt, text) for prompt, text in zip(prompts[:2], texts, strict=False)]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    assert np.isnan(found[2:]).all()


@pytest.fixture
def files(toy, tmp_path):
    """The model with a manifest, pairs with two tasks, the model's own answers, and what it gives to the pairs."""
    weights, manifest = toy.root / "parent", tmp_path / "manifest.json"
    digests = sha256_directory(weights)
    write_manifest(Manifest("tiny/s0/sft", {}, {}, digests, library_versions({}), seed=0, steps=0, tokens=0), manifest)
    table = read_sealed(toy.root / "dpo.parquet")
    tasks = pa.array(["short" if row % 2 else "long" for row in range(table.num_rows)])
    write_sealed(table.append_column("task", tasks), tmp_path / "pairs.parquet")
    return answered(tmp_path, (manifest, weights))


def answered(root, model):
    store = Store(root / "store")
    job = SimpleNamespace(load=lambda *_: None, layout=Layout)
    sample_own_answers(OWN, "pairs", model, [root / "pairs.parquet"], root / "own.parquet", store, lambda *_: None)
    score_reference(REFERENCE, "sft", model, root / "pairs.parquet", root / "reference.parquet", store, job)
    return root


def derive(files: Path, spec=FILTER, name="pairs.parquet", own="own.parquet"):
    output = files / "filtered.parquet"
    derive_data(spec, "on_dist", [files / name], output, [files / "reference.parquet"], files / own)
    return read_sealed(output), json.loads(read_metadata(output)["report"])


def test_pairs_are_kept_whose_answers_are_both_below_the_bound_of_their_task(toy, files):
    kept, report = derive(files)
    model, pairs = parent_of(toy), read_sealed(files / "pairs.parquet").to_pylist()
    own = read_sealed(files / "own.parquet")
    assert own.schema.remove_metadata() == SCHEMA
    assert own.num_rows == 6 * len(pairs)
    for task in ("long", "short"):
        values = [math.exp(-row["logp"]) for row in own.to_pylist() if row["task"] == task and row["logp"] is not None]
        assert report["bounds"][task] == {"bound": pytest.approx(np.percentile(values, 90)), "n": len(values)}
    expected = [
        row
        for row in pairs
        if max(math.exp(-log_likelihood(model, row["prompt"], row[answer])) for answer in ("chosen", "rejected"))
        < report["bounds"][row["task"]]["bound"]
    ]
    assert 0 < len(expected) < len(pairs)
    assert kept.to_pylist() == expected
    assert (report["transformation"], report["rows"], report["kept"]) == ("perplexity", len(pairs), len(expected))
    assert sum(entry["n"] for entry in report["counts"]) == len(pairs)
    assert report["quantiles"]["long"]["chosen"]["n"] == len(pairs) / 2


def test_the_answers_of_a_finished_job_come_back_from_the_store(toy, files):
    before = (files / "own.parquet").read_bytes()
    (files / "own.parquet").unlink()

    def load(*_):
        raise AssertionError("answers that are kept are sampled again")

    model, data = (files / "manifest.json", toy.root / "parent"), [files / "pairs.parquet"]
    sample_own_answers(OWN, "other name", model, data, files / "own.parquet", Store(files / "store"), load)
    assert (files / "own.parquet").read_bytes() == before


def test_a_set_that_a_filter_leaves_nothing_of_is_one_clear_error(files):
    spec = FILTER | {"transformation": {"perplexity": {"percentile": 1e-6 + 5, "task_ratio": None}}}
    with pytest.raises(StudyError, match=r"data\.on_dist: no row of 24 is left \(long: 12 .*above.*Raise percentile"):
        derive(files, spec)
    assert not (files / "filtered.parquet").exists()


def test_a_task_of_which_no_own_response_ended_is_no_unknown_one_and_is_dropped(files, caplog):
    own = read_sealed(files / "own.parquet")
    ended = pc.if_else(pc.equal(own["task"], "long"), None, own["logp"])
    write_sealed(own.set_column(own.schema.get_field_index("logp"), "logp", ended), files / "unended.parquet")
    kept, report = derive(files, own="unended.parquet")
    assert set(kept["task"].to_pylist()) == {"short"}
    assert {"task": "long", "outcome": "too few own responses", "kept": False, "n": 12} in report["counts"]
    assert "12 pairs of the task 'long' have no bound (too few own responses) and are dropped" in caplog.text
    none = own.set_column(own.schema.get_field_index("logp"), "logp", pa.nulls(own.num_rows, pa.float64()))
    write_sealed(none, files / "none.parquet")
    (files / "filtered.parquet").unlink()
    with pytest.raises(StudyError, match=r"no row of 24 is left \(long: 12 too few own responses; .*raise count, n"):
        derive(files, own="none.parquet")


def test_scores_of_other_pairs_are_refused(files):
    write_sealed(read_sealed(files / "pairs.parquet").slice(1), files / "fewer.parquet")
    with pytest.raises(CorruptFile, match="log-probabilities of other pairs"):
        derive(files, name="fewer.parquet")


def test_pairs_with_tasks_need_prompts_with_tasks_and_pairs_without_have_one_bound(files):
    own = read_sealed(files / "own.parquet")
    untold = own.set_column(0, "task", pa.nulls(own.num_rows, pa.string()))
    write_sealed(untold, files / "untold.parquet")
    with pytest.raises(StudyError, match=r"data\.on_dist: its pairs have tasks, but the prompts .* have none"):
        derive(files, own="untold.parquet")
    write_sealed(read_sealed(files / "pairs.parquet").drop_columns(["task"]), files / "bare.parquet")
    scores = read_sealed(files / "reference.parquet")
    write_sealed(
        scores, files / "reference.parquet", {"data": read_metadata(files / "bare.parquet")["modecollapse.sha256"]}
    )
    _, report = derive(files, name="bare.parquet")
    assert list(report["bounds"]) == ["all"]
    assert report["bounds"]["all"]["n"] == sum(logp is not None for logp in own["logp"].to_pylist())
