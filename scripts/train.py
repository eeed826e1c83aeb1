"""Make one model."""

from pathlib import Path

from modecollapse.jobs.models import Inputs, describe, make_model
from modecollapse.jobs.running import running
from modecollapse.specs import model_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load_trainer()
        study, model = job.planned(model_spec)
        # What a run is watched by is described with its tasks.
        inputs = {name: Path(path) for name, path in job.snakemake.input.items() if name != "guard_data"}
        make_model(
            model,
            job.spec,
            study.settings(model),
            Inputs(**{**inputs, **describe(study, model)}),
            Path(job.snakemake.output.manifest).parent,
            job.store,
            job.layout(),
        )
