"""Compute what a reward model gives to pairs of answers."""

from pathlib import Path

from modecollapse.jobs.rewards import score_rewards
from modecollapse.jobs.running import NO_MODEL_NEEDS, running

if __name__ == "__main__":
    with running() as job:
        job.do_without(*NO_MODEL_NEEDS)
        read = job.snakemake.input
        score_rewards(
            job.spec,
            job.model(),
            (Path(read.manifest), Path(read.weights)),
            job.inputs("data"),
            Path(job.snakemake.output[0]),
            job.store,
            job,
        )
