"""Sample from one model what the creativity measures ask it."""

from pathlib import Path

from modecollapse.jobs.running import running
from modecollapse.specs import experiments_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.load("modecollapse.jobs.experiments")
        from modecollapse.jobs.experiments import run_experiments

        _, model = job.planned(experiments_spec)
        read = job.snakemake.input
        run_experiments(job.spec, model, (Path(read.manifest), Path(read.weights)), job.outputs(), job.store, job)
