"""Measure how far the answers of one model are from those of its reference."""

from pathlib import Path

from modecollapse.jobs.divergence import measure_divergence
from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.specs import divergence_spec

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        study, model = job.planned(divergence_spec)
        read = job.snakemake.input
        measure_divergence(
            job.spec,
            model,
            (Path(read.manifest), Path(read.weights)),
            (Path(read.reference_manifest), Path(read.reference_weights)),
            study.prompts,
            Path(job.snakemake.output[0]),
            job.store,
            job,
        )
