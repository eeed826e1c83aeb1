"""Specs: one canonical JSON string per job, holding everything that can change its result and nothing else.

No paths, times, devices or batch splits. What a job reads from other jobs is not repeated here: Snakemake follows the
files, and the keys under which finished work is stored add their digests.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from modecollapse.cells import Cell, Model, ModelData, ReferenceScores
from modecollapse.data.sources.files import format_of
from modecollapse.digests import canonical
from modecollapse.figures.features import FACTS
from modecollapse.figures.registry import Drawing
from modecollapse.hub import Kind
from modecollapse.labelling.settings import COSINE, PairSettings
from modecollapse.lineage import ordered
from modecollapse.measures.benchmarks import harness_version
from modecollapse.measures.embedder import embedder_digest
from modecollapse.methods.reward_file import TruncationSettings
from modecollapse.methods.reward_functions import PEOPLE
from modecollapse.prompts import PromptSet
from modecollapse.revisions import REVISIONS
from modecollapse.schema import Strict
from modecollapse.sources import GgufSource, HubSource
from modecollapse.stage_config import CompletionsStage
from modecollapse.study import Study

NOT_SCIENCE = ("save_every", "source", "trained_on", "each_epoch")
"""Settings that cannot change a weight: how often a run can be resumed from; where weights that are taken over lie
(they are stated themselves), and which base of an adapter is accepted; what is kept of a run (that no batch spans two
epochs then, is said by `epoch`)."""

_ACROSS = "across_formats"


def _plain(settings: Strict, *without: str) -> Any:
    return json.loads(settings.model_dump_json(exclude=set(without)))


def _world(study: Study) -> dict[str, Any] | None:
    """The world that data, utility and true values come from; None if the study has none."""
    world = study.config.world
    return {"revision": REVISIONS["world"], "settings": _plain(world)} if world else None


def data_spec(study: Study, name: str) -> str:
    """What decides a data set."""
    data = study.config.data[name]
    if data.source is None:
        return canonical({"world": _world(study), "part": data.model_dump(include={"world", "n", "seed"})})
    spec: dict[str, Any] = {
        "revision": REVISIONS["data"],
        "columns": study.data_columns(name),
        "sample": study.data_sample(name),
        "seed": data.seed,
    }
    if isinstance(data.source, HubSource):
        commit = study.lock.commit(data.source.of(Kind.DATASET))
        spec["hub"] = {"repository": data.source.hub, "commit": commit}
        spec["hub"] |= {"subset": data.subset, "split": data.split or "train", "files": data.files}
    else:
        # Content and format, in the order of reading; where the files lie and what they are called is no matter.
        files = study.data_files(name)
        spec["files"] = [[str(format_of(path)), study.file_digests.sha256(path)] for path in files]
    return canonical(spec)


def tokenizer_spec(study: Study) -> str:
    """What decides the tokenizer, beside its data."""
    assert study.config.tokenizer is not None
    return canonical({"revision": REVISIONS["tokenizer"], "vocabulary": study.config.tokenizer.vocabulary})


def model_spec(study: Study, model: Model) -> str:
    """What decides a model's weights, beside its parent, data and tokenizer."""
    method = study.method(model)
    assert method is not None
    settings = study.settings(model)
    absent = [name for name in ("lora", "guard_rails") if getattr(settings, name, None) is None]
    spec: dict[str, Any] = {
        "method": method.name,
        "revision": method.revision,
        "settings": _plain(settings, *NOT_SCIENCE, *absent),
        "threads": study.config.threads,
    }
    if method.needs_reward:
        # Of a reward model the digest counts, and its name nothing.
        reward = study.stage(model).reward
        spec["reward"] = {"function": reward} if study.reward(model) is None else "model"
        spec["world"] = _world(study)
    if study.guards(model) is not None:
        spec["guard_rails"] = _run_guards(study, model)
    if method.trains and method.needs_parent:
        spec["format"] = study.format(study.stage(model).train_format).spec
    if method.trains:
        spec["seed"] = model.seed
    else:
        spec.update(_taken_over(study, model))
    if method.starts_from_nothing:
        architecture = study.config.models[model.size].architecture
        assert architecture is not None
        spec["architecture"] = _plain(architecture)
    epoch = study.epoch(model)
    if epoch is not None:
        if spec["settings"]["schedule"] == "constant":
            # What the run does later is of no consequence to this model.
            spec["settings"]["epochs"] = epoch
        # A run of one epoch is an ordinary one: both find each other's model in the store.
        if spec["settings"]["epochs"] > 1:
            spec["epoch"] = epoch
    return canonical(spec)


def reference_spec(study: Study, scores: ReferenceScores) -> str:
    """What decides reference log-probabilities beside the model and the data."""
    return canonical(
        {
            "revision": REVISIONS["reference"],
            "format": study.format(scores.format).spec,
            "settings": _plain(scores.settings),
            "threads": study.config.threads,
        }
    )


def run_spec(study: Study, model: Model) -> str:
    """What decides the models of a whole training run, one of which is given: the spec of each, by epoch."""
    specs = [json.loads(model_spec(study, each)) for each in study.run(model)]
    return canonical({"method": study.stage(model).method, "epochs": specs})


def generation_spec(study: Study, model: Model) -> str:
    """What decides the completions of a model beside its weights. Temperatures are not in it: each is a cell's own."""
    engine = study.config.generation.engine
    return canonical(
        {
            "revision": REVISIONS["vllm" if engine == "vllm" else "generation"],
            "engine": engine,
            "sampling": _plain(study.config.generation, "temperatures", "formats", "starts", "engine"),
            "threads": study.config.threads,
            "prompts": {
                name: [[prompt.id, prompt.text, prompt.start] for prompt in prompts.prompts]
                for name, prompts in study.prompts.items()
            },
            "formats": {name: study.format(name).spec for name in study.formats(model.stage)},
        }
    )


def choice_spec(study: Study, model: Model) -> str:
    """What decides the completions of a stage that chooses, beside the weights of its parent and its reward."""
    method, settings = study.method(model), study.settings(model)
    assert method is not None
    choice = {
        "revision": method.revision,
        **_plain(settings),
        "reward": reward_part(study, study.reward(model), study.stage(model).reward),
    }
    return canonical({**json.loads(generation_spec(study, model)), "choice": choice})


def sampled_spec(study: Study, data: ModelData) -> str:
    """What decides a data set that a model writes, beside that model, its reward and the prompts."""
    sampled, writer = study.sampling(data), study.writer(data)
    seed = study.config.data[data.data].seed
    # Whoever people are and whatever they say, the answers are the same; and repetition needs no reward.
    reward = None if sampled.reward in (None, PEOPLE) else reward_part(study, study.judge(data), sampled.reward)
    spec: dict[str, Any] = {
        "revision": REVISIONS["sampled"],
        "sampling": _plain(sampled, "stage", "prompts", *PairSettings.model_fields),
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
            spec["choose"] |= {**_embedder(study), "embedding": REVISIONS["embedding"]}
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
        spec["world"] = _world(study)
    return canonical(spec)


def label_agreement_spec(study: Study, labelled: Sequence[ModelData]) -> str:
    """What decides the table of annotators' agreement beside the labels of these data sets."""
    sets = [[data.size, data.seed, data.data, study.sampling(data).reward] for data in labelled]
    return canonical({**json.loads(reward_table_spec(study)), "labels": sets})


def reward_part(study: Study, model: Model | None, name: str | None) -> dict[str, Any]:
    """What decides the scores of answers beside the weights of a reward model."""
    if model is None:
        return {"function": name, "world": _world(study)}
    # Its digest counts, and its name nothing.
    return {"format": study.format(study.stage(model).train_format).spec}


def cell_spec(study_spec: dict[str, Any], cell: Cell) -> str:
    """What decides one cell beside the weights: its share of a generation spec, and its identity."""
    return canonical(
        {
            **study_spec,
            "prompts": study_spec["prompts"][cell.prompts],
            "formats": study_spec["formats"][cell.format],
            "temperature": cell.temperature,
            "stream": str(cell),
        }
    )


def import_spec(study: Study, model: Model) -> str:
    """What decides imported completions beside the file itself."""
    stage = study.stage(model)
    assert isinstance(stage, CompletionsStage)
    return canonical(
        {
            "revision": REVISIONS["import"],
            "layout": stage.layout,
            "prompts": {name: prompts.ids() for name, prompts in study.prompts.items()},
            # These files do not name their temperatures: the study's order does.
            "order": list(study.config.generation.temperatures) if stage.layout == "analyse-llms" else None,
        }
    )


def tokens_spec(study: Study) -> str:
    """What decides token statistics beside the models and the documents."""
    assert study.config.measures.tokens is not None
    return canonical(
        {
            "revision": REVISIONS["tokens"],
            "settings": _plain(study.config.measures.tokens, "data"),
            "threads": study.config.threads,
        }
    )


def divergence_spec(study: Study, model: Model) -> str:
    """What decides the divergence of a model beside its weights and those of the reference."""
    settings, generation = study.config.measures.divergence, study.config.generation
    assert settings is not None
    form = study.formats(model.stage)[0]
    return canonical(
        {
            "revision": REVISIONS["divergence"],
            "settings": _plain(settings, "reference"),
            "max_new_tokens": generation.max_new_tokens,
            "seed": generation.seed,
            "format": {"name": form, "spec": study.format(form).spec},
            "threads": study.config.threads,
            "prompts": {
                name: [[prompt.id, prompt.text, prompt.start] for prompt in prompts.prompts]
                for name, prompts in study.prompts.items()
            },
        }
    )


def costs_spec(study: Study) -> str:
    """What decides the costs of stages beside scores, divergences and true values."""
    settings = study.config.measures.divergence
    assert settings is not None
    stages = {stage: study.config.stages[stage] for stage in study.answering_stages}
    chosen: dict[str, dict[str, int]] = {
        size: {
            name: study.resolved[size, name].n  # type: ignore[attr-defined]
            for name, stage in stages.items()
            if stage.has("decodes") and stage.parent == settings.reference and study.has(size, name)
        }
        for size in study.config.models
    }
    formats = {stage: study.formats(stage)[0] for stage in stages}
    known = {"reference": settings.reference, "best_of": chosen, "formats": formats, "prompts": list(study.prompts)}
    return canonical({**json.loads(analysis_spec(study)), **known})


def benchmarks_spec(study: Study, model: Model) -> str:
    """What decides a model's benchmarks beside its weights and the study's own data sets."""
    settings = study.config.measures.benchmarks
    assert settings is not None
    return canonical(
        {
            "revision": REVISIONS["benchmarks"],
            "harness": harness_version(),
            "settings": _plain(settings, "tasks", "shots", "limit", "include", "chat_template"),
            "chat": model.stage in settings.chat_template,
            "threads": study.config.threads,
            "tasks": [
                {
                    **task.identity,
                    "commit": study.lock.commit(task.hub) if task.hub else None,
                    "limit": settings.limit_of(task.name),
                    "shots": list(settings.shots_of(task.name)),
                }
                for task in study.benchmarks
            ],
        }
    )


def benchmark_spec(model_spec: dict[str, Any], task: dict[str, Any], shots: int) -> dict[str, Any]:
    """What decides one task with one number of shots: its share of a benchmarks spec."""
    return {**model_spec, "tasks": None, "task": {**task, "shots": shots}}


def _run_guards(study: Study, model: Model) -> dict[str, Any]:
    """What decides when guard rails end a run, beside its own settings and the study's data sets."""
    rails, settings = study.run_rails(model), study.config.measures.guard_rails
    assert settings is not None
    whole = json.loads(benchmarks_spec(study, model))
    tasks = [task for task in whole["tasks"] if task["name"] in {rail.task for rail in rails}]
    return {
        **{name: whole[name] for name in ("revision", "harness", "settings", "chat")},
        "confidence": settings.confidence,
        "rails": [rail.spec for rail in rails],
        "tasks": [{**task, "shots": None} for task in tasks],  # those of the rails
    }


def rewards_spec(study: Study, model: Model) -> str:
    """What decides what a reward model gives to pairs of answers, beside its weights and the data sets."""
    settings = study.settings(model)
    return canonical(
        {
            "revision": REVISIONS["rewards"],
            "settings": settings.model_dump(include=set(TruncationSettings.model_fields)),
            "format": study.format(study.stage(model).train_format).spec,
            "data": list(study.reward_data(model)),
            "world": _world(study),
            "threads": study.config.threads,
        }
    )


def reward_table_spec(study: Study) -> str:
    """What decides the table of reward models beside what they give to pairs."""
    return canonical(
        {"revision": REVISIONS["analysis"], "analysis": _plain(study.config.analysis, "temperature", _ACROSS)}
    )


def repetition_spec(study: Study) -> str:
    """What decides the counts of repetitive completions beside these."""
    settings = study.config.measures.repetition
    assert settings is not None
    return canonical({"revision": REVISIONS["repetition"], "settings": _plain(settings)})


def repetition_table_spec(study: Study) -> str:
    """What decides the table of repetition beside the counts."""
    return canonical({**json.loads(reward_table_spec(study)), "lineage": study.compared_lineage})


def _embedder(study: Study) -> dict[str, Any]:
    embedder = study.config.measures.diversity.embedder
    # A packaged embedder is known by its name; a directory may come to hold other weights.
    files = embedder_digest(embedder) if Path(embedder.model).is_dir() else None
    return {"embedder": _plain(embedder), "files": files}


def embedding_spec(study: Study) -> str:
    """What decides sentence vectors beside the texts."""
    diversity = study.config.measures.diversity
    return canonical(
        {
            "revision": REVISIONS["embedding"],
            **_embedder(study),
            "words": list(diversity.words),
            "threads": study.config.threads,
        }
    )


def score_spec(study: Study) -> str:
    """What decides the scores of given completions."""
    diversity = study.config.measures.diversity
    return canonical(
        {
            "revision": REVISIONS["diversity"],
            "words": list(diversity.words),
            "metrics": list(diversity.metrics),
            "controlled": diversity.controlled_completions or None,
            "markers": {
                name: list(study.format(name).markers)
                for stage in study.config.stages
                if stage in study.answering_stages
                for name in study.formats(stage)
            },
            "embedding": json.loads(embedding_spec(study)) if study.embeds() else None,
            "world": _world(study),
            "prompts": {name: _prompts(prompts) for name, prompts in study.prompts.items()},
        }
    )


def analysis_spec(study: Study) -> str:
    """What decides tables beside the scores: the bootstrap and the order of the lineage."""
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "analysis": _plain(study.config.analysis, *([] if study.config.analysis.across_formats else [_ACROSS])),
            "stages": study.answering_stages,
            "lineage": study.compared_lineage,
        }
    )


def format_effect_spec(study: Study) -> str:
    """What decides the split of stage and format effects beside the scores."""
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "analysis": _plain(study.config.analysis, "temperature", _ACROSS),
            "formats": {stage: list(study.formats(stage)) for stage in study.answering_stages},
            "changes": [astuple(change) for change in study.format_changes()],
        }
    )


def comparison_spec(study: Study) -> str:
    """What decides the comparison with stored results, beside these, our scores and the completions."""
    reference = study.config.reference
    assert reference is not None
    diversity = study.config.measures.diversity
    stages = [stage for stage in study.stages if stage in reference.files]
    return canonical(
        {
            "revision": REVISIONS["comparison"],
            "analysis": _plain(study.config.analysis, "temperature", _ACROSS),
            "words": reference.words,
            # These files do not name their temperatures and prompts: the study's order does.
            "temperatures": list(study.config.generation.temperatures),
            "prompts": {name: prompts.ids() for name, prompts in study.prompts.items()},
            "formats": {stage: study.formats(stage)[0] for stage in stages},
            "lineage": {stage: list(parents) for stage, parents in study.lineage.items()},
            "embedder": diversity.embedder.model if study.embeds() else None,
            "context": {
                "title": study.config.title,
                "description": study.config.description,
                "labels": {stage: study.label(stage) for stage in study.stages},
            },
        }
    )


def published_tokens_spec(study: Study) -> str:
    """What decides the comparison with published token statistics beside our table and theirs."""
    models = [[*ours, *theirs] for ours, theirs in study.published().items()]
    return canonical({"revision": REVISIONS["analysis"], "models": models})


def truth_spec(study: Study) -> str:
    """What decides the true values of the nano world."""
    return canonical(
        {
            "revision": REVISIONS["truth"],
            "world": _world(study),
            "words": max(study.config.measures.diversity.words),
            "prompts": {name: _prompts(prompts) for name, prompts in study.prompts.items()},
        }
    )


def figure_spec(study: Study, drawing: Drawing) -> str:
    """What decides a figure beside its tables and the modules that draw it."""
    stages = study.config.stages
    context = {
        "title": study.config.title,
        "labels": {stage: study.label(stage) for stage in stages},
        "methods": {name: stage.method for name, stage in stages.items()},
        "data": {name: stage.data for name, stage in stages.items()},
        "lineage": {stage: list(parents) for stage, parents in study.lineage.items()},
        "temperature": study.config.analysis.temperature,
        "prompts": {
            name: {prompt.id: prompt.text or prompt.id for prompt in prompts.prompts}
            for name, prompts in study.prompts.items()
        },
    }
    if study.stages != ordered(dict(sorted(study.lineage.items()))):
        context["stages"] = study.stages  # a canonical string sorts names, and would lose their order
    if study.runs.stages:
        context["runs"] = {stage: run for run, stages in study.runs.stages.items() for stage in stages}
    context |= {name: fact for name in drawing.spec.facts if (fact := FACTS[name](study)) is not None}
    if drawing.view is not None:
        context["view"] = {"name": drawing.view, "formats": study.views()[drawing.view]}
    return canonical(
        {
            "kind": drawing.kind,
            "size": drawing.size,
            "tables": [*drawing.spec.tables, *drawing.spec.further_tables],
            "options": dict(drawing.spec.options),
            "sizes": list(study.config.models),
            "context": context,
        }
    )


def _prompts(prompts: PromptSet) -> list[list[Any]]:
    return [[prompt.id, prompt.text, prompt.start, list(prompt.answers)] for prompt in prompts.prompts]


def _taken_over(study: Study, model: Model) -> dict[str, Any]:
    """What a stage takes over: a commit of the hub (None before it is locked), or SHA-256 of files; never a path."""
    source, path = study.source(model), study.local_source(model)
    if path is None:
        assert isinstance(source, HubSource | GgufSource)
        needed = study.needed_of(model)
        assert needed is not None
        stated = {"hub": needed.revision.repository, "commit": study.lock.commit(needed.revision)}
        return {"source": {**stated, "gguf": source.gguf} if isinstance(source, GgufSource) else stated}
    if isinstance(source, GgufSource):
        return {"source": {"gguf": study.file_digests.sha256(path)}}
    method = study.method(model)
    assert method is not None
    assert method.files_taken_over is not None
    return {"files": {file.name: study.file_digests.sha256(file) for file in method.files_taken_over(path)}}
