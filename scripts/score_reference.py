"""Compute the log-probabilities that a model, as a reference, gives to preference pairs."""

from pathlib import Path

from modecollapse.jobs.references import score_reference
from modecollapse.jobs.running import NO_MODEL_NEEDS, running

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without(*NO_MODEL_NEEDS)
        read = job.snakemake.input
        score_reference(
            job.spec,
            str(job.model()),
            (Path(read.manifest), Path(read.weights)),
            Path(read.data),
            Path(job.snakemake.output[0]),
            job.store,
            job,
        )
