"""Measure token-level statistics of one model."""

from modecollapse.jobs.running import running
from modecollapse.jobs.tokens import measure_tokens

if __name__ == "__main__":
    with running() as job:
        read, write = job.snakemake.input, job.snakemake.output
        measure_tokens(
            job.spec,
            job.model(),
            (job.path(read.manifest), job.path(read.weights)),
            (job.path(read.reference_manifest), job.path(read.reference_weights)),
            job.path(read.documents),
            (job.path(write.documents), job.path(write.vocabulary)),
            job.store,
            job,
        )
