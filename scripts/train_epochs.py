"""Make the models after each epoch of one run."""

from pathlib import Path
from typing import Any

from modecollapse.jobs.models import Asked, Inputs, describe, make_models
from modecollapse.jobs.running import running
from modecollapse.specs import run_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load_trainer()
        study, first = job.planned(run_spec)
        inputs: dict[str, Any] = {name: Path(path) for name, path in job.snakemake.input.items()}
        manifests = map(Path, job.snakemake.output.manifests)
        make_models(
            [
                Asked(model, spec, manifest.parent)
                for model, spec, manifest in zip(study.run(first), job.spec["epochs"], manifests, strict=True)
            ],
            study.settings(first),
            Inputs(**{**inputs, **describe(study, first)}),
            job.store,
            job.layout(),
        )
