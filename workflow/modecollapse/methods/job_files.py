"""A training job as a JSON file, for processes that are started with it, and their record as another."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from modecollapse.data.nano.world import WorldSettings
from modecollapse.methods import METHODS
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.base import Method, RewardSource, TrainingJob, TrainingRecord
from modecollapse.methods.layout import Layout
from modecollapse.prompts import PromptFormat

_PATHS = ("output", "state", "parent", "source", "tokenizer", "data", "reference_scores")


def write_job(method: Method, job: TrainingJob, path: Path) -> None:
    """Write `job` of `method` to `path`; paths become absolute. What guard rails watch is one process."""
    assert job.guard is None
    assert job.adapted is None
    description: dict[str, Any] = {
        "method": method.name,
        "settings": json.loads(job.settings.model_dump_json()),
        "seed": job.seed,
        "threads": job.threads,
        "epoch_outputs": [str(output.absolute()) for output in job.epoch_outputs],
        "architecture": json.loads(job.architecture.model_dump_json()) if job.architecture else None,
        "format": {"name": job.format.name, "spec": job.format.spec} if job.format else None,
        "layout": asdict(job.layout),
        "world": json.loads(job.world.model_dump_json()) if job.world else None,
        "reward": _reward_description(job.reward) if job.reward else None,
        "guard": None,
        "adapted": None,
    }
    for name in _PATHS:
        value: Path | None = getattr(job, name)
        description[name] = None if value is None else str(value.absolute())
    missing = {field.name for field in fields(job)} - description.keys()
    assert not missing, f"{missing} would be lost"
    path.write_text(json.dumps(description, indent=1))


def read_job(path: Path) -> tuple[Method, TrainingJob]:
    """The method and the job in the file at `path`."""
    description = json.loads(path.read_text())
    method = METHODS[description.pop("method")]
    settings = method.settings.model_validate_json(json.dumps(description.pop("settings")))
    architecture, form = description.pop("architecture"), description.pop("format")
    world, reward = description.pop("world"), description.pop("reward")
    paths: dict[str, Any] = {name: None if (value := description.pop(name)) is None else Path(value) for name in _PATHS}
    job = TrainingJob(
        settings=settings,
        architecture=ArchitectureSettings.model_validate_json(json.dumps(architecture)) if architecture else None,
        format=PromptFormat.from_spec(form["name"], form["spec"]) if form else None,
        epoch_outputs=tuple(map(Path, description.pop("epoch_outputs"))),
        layout=Layout(**description.pop("layout")),
        world=WorldSettings.model_validate_json(json.dumps(world)) if world else None,
        reward=RewardSource(**{**reward, "weights": reward["weights"] and Path(reward["weights"])}) if reward else None,
        **description,
        **paths,
    )
    return method, job


def _reward_description(reward: RewardSource) -> dict[str, Any]:
    return {**asdict(reward), "weights": str(reward.weights.absolute()) if reward.weights else None}


def write_record(record: TrainingRecord, path: Path) -> None:
    """Write what a training reports to `path`."""
    path.write_text(json.dumps(asdict(record)))


def read_record(path: Path) -> TrainingRecord:
    """What a training reported in the file at `path`."""
    content = json.loads(path.read_text())
    return TrainingRecord(**{**content, "epochs": [TrainingRecord(**epoch) for epoch in content["epochs"]]})
