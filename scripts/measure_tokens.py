"""Measure token-level statistics of one model."""

from pathlib import Path

from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.jobs.tokens import measure_tokens

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        read, write = job.snakemake.input, job.snakemake.output
        measure_tokens(
            job.spec,
            job.model(),
            (Path(read.manifest), Path(read.weights)),
            (Path(read.reference_manifest), Path(read.reference_weights)),
            Path(read.documents),
            (Path(write.documents), Path(write.vocabulary)),
            job.store,
            job,
        )
