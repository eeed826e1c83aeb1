"""Specs of data sets and of the tokenizer, of pairs that stages write and of their labels."""

from typing import Any

from modecollapse.cells import ModelData
from modecollapse.data.sources.files import format_of
from modecollapse.digests import canonical
from modecollapse.hub import Kind
from modecollapse.labelling.settings import COSINE, PairSettings
from modecollapse.methods.reward_functions import PEOPLE
from modecollapse.revisions import REVISIONS
from modecollapse.sources import HubSource
from modecollapse.specs.parts import embedder_part, plain, reward_part, world_part
from modecollapse.study import Study


def data_spec(study: Study, name: str) -> str:
    """What decides a data set."""
    data = study.config.data[name]
    if data.source is None:
        return canonical({"world": world_part(study), "part": data.model_dump(include={"world", "n", "seed"})})
    spec: dict[str, Any] = {
        "revision": REVISIONS["data"],
        "columns": study.data_columns(name),
        "sample": study.data_sample(name),
        "seed": data.seed,
    }
    if isinstance(data.source, HubSource):
        commit = study.lock.commit(data.source.of(Kind.DATASET))
        spec["hub"] = {"repository": data.source.hub, "commit": commit}
        spec["hub"] |= {"subset": data.subset, "split": data.hub_split or "train", "files": data.files}
    else:
        # Content and format, in the order of reading; where the files lie and what they are called is no matter.
        files = study.data_files(name)
        spec["files"] = [[str(format_of(path)), study.file_digests.sha256(path)] for path in files]
    return canonical(spec)


def tokenizer_spec(study: Study) -> str:
    """What decides the tokenizer, beside its data."""
    assert study.config.tokenizer is not None
    return canonical({"revision": REVISIONS["tokenizer"], "vocabulary": study.config.tokenizer.vocabulary})


def sampled_spec(study: Study, data: ModelData) -> str:
    """What decides a data set that a model writes, beside that model, its reward and the prompts."""
    sampled, writer = study.sampling(data), study.writer(data)
    seed = study.config.data[data.data].seed
    # Whoever people are and whatever they say, the answers are the same; and repetition needs no reward.
    reward = None if sampled.reward in (None, PEOPLE) else reward_part(study, study.judge(data), sampled.reward)
    spec: dict[str, Any] = {
        "revision": REVISIONS["sampled"],
        "sampling": plain(sampled, "stage", "prompts", *PairSettings.model_fields),
        "dtype": study.config.generation.dtype,
        "seed": seed,
        "stream": f"{seed}/{writer}",
        "format": study.format(study.stage(writer).train_format).spec,
        "reward": reward,
        "threads": study.config.threads,
    }
    if sampled.choose != "extremes":
        spec["choose"] = {"rule": sampled.choose}
    if sampled.choose == "most_different":
        spec["choose"]["distance"] = sampled.distance
        if sampled.distance == COSINE:
            spec["choose"] |= {**embedder_part(study), "embedding": REVISIONS["embedding"]}
    if sampled.labelled_apart:
        spec["publishes"] = "candidates"
    return canonical(spec)


def sheet_spec(study: Study, data: ModelData) -> str:
    """What decides a labelling sheet beside the candidate pairs."""
    return canonical({"revision": REVISIONS["labelling"], "seed": study.config.data[data.data].seed})


def label_spec(study: Study, data: ModelData) -> str:
    """What decides preference pairs beside the candidates: who labels them, and what people say.

    Of people's files the content counts, not names and order. One that is not there is left out: a run that needs it
    ends before its first job (`people`).
    """
    sampled = study.sampling(data)
    spec: dict[str, Any] = {"revision": REVISIONS["labelling"], "overlap": sampled.overlap}
    if sampled.reward == PEOPLE:
        files = (path for path in study.label_files(data) if path.is_file())
        spec["labels"] = sorted(study.file_digests.sha256(path) for path in files)
    else:
        spec["stream"] = f"{study.config.data[data.data].seed}/{study.writer(data)}"
        spec["world"] = world_part(study)
    return canonical(spec)
