"""Specs of trained models and of reference log-probabilities."""

import json
from typing import Any

from modecollapse.cells import Model, ReferenceScores
from modecollapse.digests import canonical
from modecollapse.revisions import REVISIONS
from modecollapse.sources import GgufSource, HubSource
from modecollapse.specs.measures import benchmarks_spec
from modecollapse.specs.parts import plain, world_part
from modecollapse.study import Study

NOT_SCIENCE = ("save_every", "source", "trained_on", "each_epoch")
"""Settings that cannot change a weight: how often a run can be resumed from; where weights that are taken over lie
(they are stated themselves), and which base of an adapter is accepted; what is kept of a run (that no batch spans two
epochs then, is said by `epoch`)."""


def model_spec(study: Study, model: Model) -> str:
    """What decides a model's weights, beside its parent, data and tokenizer."""
    method = study.method(model)
    assert method is not None
    settings = study.settings(model)
    absent = [name for name in ("lora", "guard_rails") if getattr(settings, name, None) is None]
    spec: dict[str, Any] = {
        "method": method.name,
        "revision": method.revision,
        "settings": plain(settings, *NOT_SCIENCE, *absent),
        "threads": study.config.threads,
    }
    if method.needs_reward:
        # Of a reward model the digest counts, and its name nothing.
        reward = study.stage(model).reward
        spec["reward"] = {"function": reward} if study.reward(model) is None else "model"
        spec["world"] = world_part(study)
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
        spec["architecture"] = plain(architecture)
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
            "settings": plain(scores.settings),
            "threads": study.config.threads,
        }
    )


def run_spec(study: Study, model: Model) -> str:
    """What decides the models of a whole training run, one of which is given: the spec of each, by epoch."""
    specs = [json.loads(model_spec(study, each)) for each in study.run(model)]
    return canonical({"method": study.stage(model).method, "epochs": specs})


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


def _taken_over(study: Study, model: Model) -> dict[str, Any]:
    """What a stage takes over: a commit of the hub (None before it is locked), or SHA-256 of files; never a path."""
    parent = study.parent(model)
    if parent is not None and study.adapted(model) is not None:
        tuned: Any = study.settings(parent)
        quantization = tuned.lora.quantization
        return {"adapted": {"quantization": quantization, "dtype": tuned.dtype if quantization else None}}
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
